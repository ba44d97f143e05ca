"""Laws: equal letters are the same neurons, outputs have their symbols' neurons, misfits declare no relations."""

from __future__ import annotations

import numpy as np
import pytest

from onnxsurgeon.arrays import Shape
from onnxsurgeon.neurons.relations import Axes, Relations
from onnxsurgeon.neurons.signature import Operand, Unsolved, parse, relate

CONV = "n (g i) *, (g o) i *, (g o) -> n (g o) *"


def operand(relations: Relations, *shape: int, blank: tuple[int, ...] = ()) -> Operand:
    axes: Axes = tuple(None if n == 1 or a in blank else relations.fresh(n) for a, n in enumerate(shape))
    return Operand(shape, axes)


def conv(groups: int, channels: int, filters: int) -> tuple[Relations, Operand, Operand, Axes]:
    relations = Relations()
    x = operand(relations, 2, channels, 8, 8, blank=(0, 2, 3))
    w = operand(relations, filters, channels // groups, 3, 3)
    b = operand(relations, filters)
    out: Shape = (2, filters, 8, 8)
    (axes,) = relate(CONV, relations, [x, w, b], [out], {"g": groups})
    assert axes is not None
    return relations, x, w, axes


def test_a_plain_convolution_ties_channels_to_columns_and_filters_to_rows() -> None:
    relations, x, w, out = conv(1, 6, 4)
    root = relations.resolve().root
    assert (root[x.axes[1]] == root[w.axes[1]]).all()
    assert (root[out[1]] == root[w.axes[0]]).all()
    assert not np.intersect1d(root[x.axes[1]], root[out[1]]).size
    assert relations.resolve().frozen[w.axes[2]].all()


def test_a_depthwise_convolution_ties_input_and_output() -> None:
    relations, x, _, out = conv(6, 6, 6)
    root = relations.resolve().root
    assert (root[x.axes[1]] == root[out[1]]).all()
    assert len(np.unique(root[out[1]])) == 6


def test_a_depthwise_multiplier_keeps_all_filters_of_a_channel_together() -> None:
    relations, x, _, out = conv(4, 4, 8)
    root = relations.resolve().root
    assert (root[out[1]].reshape(4, 2) == root[x.axes[1]][:, None]).all()


def test_a_grouped_convolution_cuts_groups_or_widths() -> None:
    relations, x, _, out = conv(2, 12, 8)
    fine, coarse = relations.resolve("auto"), relations.resolve("heads")
    assert len(np.unique(fine.root[x.axes[1]])) == 6  # the same position of both groups
    assert len(np.unique(coarse.root[x.axes[1]])) == 2  # whole groups
    assert len(np.unique(coarse.root[out[1]])) == 2


def test_broadcasting_binds_nothing_and_a_missing_axis_freezes() -> None:
    relations = Relations()
    a, b = operand(relations, 5, 7), operand(relations, 1, 7, blank=(1,))
    (out,) = relate("..., ... -> ...", relations, [a, b], [(5, 7)], {})
    classes = relations.resolve()
    assert out is not None
    assert not classes.frozen[a.axes[0]].any()
    assert classes.frozen[a.axes[1]].all()
    assert out[0] is a.axes[0]


def test_what_does_not_fit_declares_nothing() -> None:
    relations = Relations()
    a, b = operand(relations, 5, 7), operand(relations, 6, 3)
    with pytest.raises(Unsolved, match="k is both"):
        relate("i k, k j -> i j", relations, [a, b], [(5, 3)], {})
    assert not relations.edges
    assert not relations.frozen
    assert not relations.products


@pytest.mark.parametrize("text", ["n c", "n (c -> n", "n c) -> n", "n ((a b)) -> n"])
def test_a_bad_signature_is_quoted(text: str) -> None:
    with pytest.raises(ValueError, match="signature"):
        parse(text)
