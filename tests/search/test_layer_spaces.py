"""Laws of spaces: every draw is a model that runs, and draws that start as the identity compute their input."""

from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
import pytest

import onnxsurgeon as osg
from drawn_networks import outputs, sample
from onnxsurgeon import search
from onnxsurgeon.errors import UsageError
from onnxsurgeon.search.architectures import split
from onnxsurgeon.search.layer_spaces import Numbers, WideSpace, pick

CONV = search.ConvSpace(range(3, 9), kernels=(1, 3, 5), dilations=(1, 2), batch_norm=True, activations=("Relu", "Silu"))
BODY = search.OneOf(
    [
        CONV,
        search.ConvSpace(range(3, 9), strides=(1, 2), coupled=False),
        search.Fork(search.Repeat(CONV, (1, 2)), range(1, 5)),
        search.Residual(search.Repeat(CONV, (1, 2))),
        search.Residual(CONV, init="identity"),
        search.Conditional(search.LargerThan(4), search.PoolSpace(kernels=(2, 3))),
        search.BatchNormSpace(),
        search.ActivationSpace(("Gelu", "Tanh")),
        search.NoOp(),
    ]
)
CLASSIFIER = search.Chain(
    [
        search.Named("stem", search.ConvSpace(range(3, 9))),
        search.Repeat(BODY, range(5)),
        search.OneOf([search.GlobalPoolSpace(), search.FlattenSpace()]),
        search.Repeat(search.DenseSpace(range(4, 9)), (0, 1, 2)),
        search.Named("head", search.DenseSpace(3, activations=())),
    ]
)
LINEAR = search.ConvSpace(range(1, 20), kernels=(1, 3, 5), dilations=(1, 2), activations=(), batch_norm=True)


@pytest.mark.slow
def test_every_draw_runs_and_is_repeatable() -> None:
    seen = Counter[str]()
    for seed in range(200):
        shape = [(2, 9), (2, 9, 7), (1, 5, 6, 4)][seed % 3]
        network = osg.search.draw(CLASSIFIER, shape, np.random.default_rng(seed))
        seen.update(node.operator for node in network)
        found = outputs(network, sample(network, batch=3))
        assert found.shape == (3, 3)
        if seed % 20 == 0:
            again = search.draw(CLASSIFIER, shape, np.random.default_rng(seed))
            assert np.array_equal(found, outputs(again, sample(again, batch=3)))
    wanted = "Conv BatchNormalization Concat Add MaxPool AveragePool Gemm Flatten GlobalAveragePool GlobalMaxPool Tanh"
    assert set(wanted.split()) <= set(seen)


IDENTITIES = {
    "chain": search.Chain([LINEAR, LINEAR, LINEAR]),
    "fork": search.Fork(LINEAR, (3,)),
    "deep fork": search.Fork(search.Repeat(LINEAR, (1, 2, 3)), range(2, 20)),
    "fork in a fork": search.Fork(search.OneOf([LINEAR, search.Fork(LINEAR, (2, 3))]), (3,)),
    "residual": search.Residual(search.Repeat(LINEAR, (1, 2))),
    "residual in a residual": search.Residual(search.Chain([LINEAR, search.Residual(LINEAR)])),
    "fork in a residual": search.Residual(search.Fork(search.Repeat(LINEAR, (1, 2)), (2, 3))),
    "no-op": search.NoOp(),
}


@pytest.mark.parametrize("case", IDENTITIES)
def test_what_starts_as_the_identity_computes_its_input(case: str) -> None:
    for seed in range(3):
        network = search.draw(IDENTITIES[case], (13, 4, 4), np.random.default_rng(seed), init="identity")
        array = sample(network)
        found = outputs(network, array)
        if case not in ("chain",):
            assert found.shape == array.shape
        np.testing.assert_allclose(found[:, :13], array, rtol=1e-4, atol=1e-5)


def test_a_residual_of_an_identity_is_halved() -> None:
    network = search.draw(search.Residual(LINEAR), (4, 3, 3), np.random.default_rng(0), init="identity")
    assert network["add1"].inputs == ["add1.sum"]
    assert outputs(network, sample(network)) == pytest.approx(sample(network), abs=1e-5)
    plain = search.draw(search.Residual(LINEAR), (4, 3, 3), np.random.default_rng(0), init="zeros")
    assert outputs(plain, sample(plain)) == pytest.approx(sample(plain), abs=1e-5)


def test_a_fork_splits_its_width_and_no_part_is_empty() -> None:
    assert split(13, 3) == [4, 4, 5]
    assert split(2, 5) == [1, 1]
    for width in range(1, 20):
        for parts in range(1, 20):
            found = split(width, parts)
            assert sum(found) == width
            assert min(found) >= 1
    network = search.draw(search.Fork(LINEAR, 3), (13, 4, 4), np.random.default_rng(0))
    assert [network[name].width for name in ("conv1", "conv2", "conv3", "concat1")] == [4, 4, 5, 13]


def test_coupled_sizes_are_one_draw_for_all_axes() -> None:
    rng = np.random.default_rng(0)
    coupled = [search.ConvSpace(kernels=(1, 3, 5)).layer(rng, 3).kernel for _ in range(30)]
    assert set(coupled) == {1, 3, 5}
    free = [search.ConvSpace(kernels=(1, 3, 5), coupled=False).layer(rng, 3).kernel for _ in range(30)]
    assert any(len(set(kernel)) == 3 for kernel in free if isinstance(kernel, tuple))


def test_a_conditional_pools_only_what_is_larger() -> None:
    space = search.Repeat(search.Conditional(search.LargerThan(3), search.PoolSpace()), 5)
    network = search.draw(space, (2, 16, 16), np.random.default_rng(0))
    assert outputs(network, sample(network)).shape == (2, 2, 2, 2)  # 16 -> 8 -> 4 -> 2, and no further


def test_names_and_weights_of_choices() -> None:
    rare = search.OneOf([search.Named("a", LINEAR), search.Named("b", LINEAR)], weights=(0.0, 1.0))
    network = search.draw(search.Named("outer", search.Repeat(rare, 2)), (3, 4), np.random.default_rng(0))
    assert [node.name for node in network if node.operator == "Conv"] == ["outer.b", "outer.b.conv1"]


def test_what_does_not_fit_is_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(UsageError, match="differ in shape"):
        search.draw(search.Residual(search.ConvSpace(strides=2)), (3, 8, 8), rng)
    with pytest.raises(UsageError, match="can't be 1 wide"):
        search.draw(search.Fork(search.PoolSpace(strides=1), 3), (3, 8, 8), rng)
    with pytest.raises(UsageError, match="is not known"):
        search.draw(LINEAR, (3, 4), rng, init="ones")
    with pytest.raises(UsageError, match="nothing can be drawn"):
        search.draw(search.ConvSpace(()), (3, 4), rng)
    with pytest.raises(UsageError, match="one input"):
        search.draw(LINEAR, {"a": (3, 4), "b": (3, 4)}, rng)


def test_spaces_travel_between_processes() -> None:
    space = pickle.loads(pickle.dumps(CLASSIFIER))
    assert space == CLASSIFIER
    assert isinstance(CONV, WideSpace)
    numbers: Numbers = (4,)
    assert pick(numbers, np.random.default_rng(0)) == 4
