"""Laws of the algebra of scales: steps that follow each other are one step, and compute the same sizes."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from math import ceil

import numpy as np

import onnxsurgeon as osg
from onnxsurgeon import search
from onnxsurgeon.search.scales import Step, scales, then
from paths import FIXTURES


def applied(steps: tuple[Step, ...], n: int) -> int:
    for times, plus, by in steps:
        n = (n * times + plus) // by
    return n


def test_steps_that_follow_each_other_compute_the_same_as_one() -> None:
    kinds = [(1, 0, 1), (1, 1, 2), (1, 0, 2), (1, -2, 1), (1, 2, 3), (2, 0, 1), (2, 1, 1), (0, 1, 1), (4, 2, 2)]
    for several in product(kinds, repeat=3):
        steps: tuple[Step, ...] = ()
        for step in several:
            steps = then(steps, step)
        for n in range(1, 40):
            assert applied(steps, n) == applied(several, n)


def test_equal_scales_are_equal() -> None:
    down, up = (1, 1, 2), (2, 0, 1)
    assert then(then((), down), down) == ((1, 3, 4),)
    assert then(then((), up), (1, 0, 2)) == ()  # twice, and half of it
    assert then(then((), (1, -2, 1)), (1, 2, 1)) == ()
    assert then(then((), down), (0, 1, 1)) == ((0, 1, 1),)


def test_scales_of_paths() -> None:
    space = search.Chain(
        [
            search.Named("same", search.ConvSpace(4, kernels=5, dilations=2)),
            search.Named("half", search.ConvSpace(4, strides=2)),
            search.Named("quarter", search.PoolSpace()),
            search.FlattenSpace(),
        ]
    )
    network = search.draw(space, (3, 13, 8), np.random.default_rng(0))
    found = scales(network.labels)
    ratios = {name: found[name].ratio for name in ("input", "same", "half", "quarter")}
    assert ratios == {n: (Fraction(r),) * 2 for n, r in zip(ratios, ("1", "1", "1/2", "1/4"), strict=True)}
    assert found["quarter"].space == (ceil(13 / 4), 2)
    assert found["output"].axes == ()
    assert not found["half"].fits(found["quarter"])
    assert found["same"].fits(found["input"])


def test_scales_of_networks_agree_with_their_sizes() -> None:
    for name in ("plain", "residual", "deconv", "se", "concat", "depthwise"):
        network = osg.load(FIXTURES / f"{name}.onnx")
        found, facts = scales(network.labels), network.labels.facts[0]
        size = next(facts[v].shape for v in network.labels.model.graph.inputs)
        assert size is not None
        assert len(found) > 3
        for value in (v for node in network.labels.model.graph for v in node.outputs):
            scale = found.get(value.name or "")
            if scale is not None and scale.axes:
                assert tuple(applied(s, n) for s, n in zip(scale.axes, size[2:], strict=True)) == scale.space
