"""A resize from end to end: requests become a selection, the selection a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir

from onnxsurgeon.dependency.labels import label
from onnxsurgeon.edit.apply import apply
from onnxsurgeon.edit.growth import Growth
from onnxsurgeon.edit.step import Step
from onnxsurgeon.errors import InfeasibleError
from onnxsurgeon.surgery.grouped_growth import multiply
from onnxsurgeon.surgery.width_requests import WidthRequest, asks, expanded, limits, opened, parse
from onnxsurgeon.surgery.widths import Ask, Importance, Resized, select


def resize(
    model: ir.Model,
    requests: Sequence[str],
    *,
    importance: Importance,
    keep: Mapping[str, Sequence[int]],
    drop: Mapping[str, Sequence[int]],
    round_to: int,
    max_new: int | Mapping[str, int] | None,
    relax: bool,
    growth: Growth,
    attention: Any,
    seed: int,
) -> tuple[Step, Resized]:
    """The step that gives a model the requested widths, and these widths. The rest as in `Operations.resize`."""
    wanted = [parse(text) for text in requests]
    labels = label(model, attention=attention)
    wanted = expanded(labels, wanted)
    outs = opened(labels, asks(labels, wanted))
    if outs:
        labels = label(model, attention=attention, unfrozen=outs)
    asked = asks(labels, wanted)
    bounds = limits(labels, keep, drop, max_new, round_to)
    try:
        found = select(
            labels, asked, importance=importance, limits=bounds, relax=relax, spread=growth.copies, seed=seed
        )  # fmt: skip
    except InfeasibleError:
        step = _multiplied(model, wanted, asked, growth) if max_new is None else None
        if step is None or step.selection is None:
            raise
        return step, Resized(step.selection, tuple(asked), (asked[0].size or 0,))
    after = apply(labels, found.selection, growth=growth)
    return Step(f"resize {' '.join(requests)}", model, after, labels, found.selection, growth), found


def _multiplied(model: ir.Model, wanted: Sequence[WidthRequest], asked: Sequence[Ask], growth: Growth) -> Step | None:
    """The step that adds outputs to each group of a convolution, if that is the only request; else None."""
    by_input = wanted[0].inputs or any(v.name == wanted[0].name for v in model.graph.inputs)
    if len(wanted) != 1 or by_input or asked[0].size is None or growth.copies:
        return None
    return multiply(model, wanted[0].name, asked[0].size - len(asked[0].axis), growth)
