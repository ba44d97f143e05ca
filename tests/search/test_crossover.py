"""Laws of crossover: parts with equal ends change places, both children run, and both parents stay as they were."""

from __future__ import annotations

import numpy as np
import pytest

from drawn_networks import outputs, sample, saved
from onnxsurgeon import search
from onnxsurgeon.model.editor import copied
from onnxsurgeon.search.separable_parts import separable
from onnxsurgeon.surgery.network import Network, load
from onnxsurgeon.surgery.splice import exchange
from paths import FIXTURES


def stage(name: str) -> search.Named:
    body = search.OneOf(
        [
            search.ConvSpace(range(4, 12), kernels=(1, 3), batch_norm=True),
            search.Residual(search.ConvSpace(range(4, 12))),
            search.Fork(search.ConvSpace(range(4, 12)), 2),
        ]
    )
    return search.Named(name, search.Chain([search.Repeat(body, (1, 2)), search.PoolSpace()]))


SPACE = search.Chain(
    [
        search.Named("stem", search.ConvSpace(range(4, 12))),
        stage("a"),
        stage("b"),
        search.GlobalPoolSpace(),
        search.Repeat(search.DenseSpace(range(4, 12)), (1, 2)),
        search.Named("head", search.DenseSpace(3, activations=())),
    ]
)


def drawn(seed: int) -> Network:
    return search.draw(SPACE, (2, 12, 12), np.random.default_rng(seed))


@pytest.mark.slow
def test_children_run_and_parents_stay() -> None:
    swapped = 0
    for seed in range(4):
        a, b = drawn(seed), drawn(seed + 100)
        before, array = (saved(a), saved(b)), sample(a)
        found = search.crossover(a, b, np.random.default_rng(seed))
        assert (saved(a), saved(b)) == before
        for parent, child in zip((a, b), found, strict=True):
            assert (child.subject is parent) == (not child.notes[0].done)
            assert not child.subject.steps
            assert outputs(child.subject, array).shape == (2, 3)
            swapped += child.notes[0].done
        again = search.crossover(a, b, np.random.default_rng(seed))
        assert [saved(child.subject) for child in again] == [saved(child.subject) for child in found]
    assert swapped >= 6


def test_parts_swap_for_each_other_again_and_again() -> None:
    a, b = drawn(0), drawn(1)
    array, rng = sample(a), np.random.default_rng(0)
    for _ in range(4):
        a, b = (child.subject for child in search.crossover(a, b, rng))
        assert np.isfinite(outputs(a, array)).all()
        assert np.isfinite(outputs(b, array)).all()
    assert max(len(node.name) for node in (*a, *b)) < 40


def test_a_part_is_connected_by_its_ends_alone() -> None:
    network = load(FIXTURES / "residual.onnx")
    graph = network.ir.graph
    for part in separable(graph):
        inside = {*network.ancestors(_maker(network, part.end)), _maker(network, part.end)}
        inside -= {*network.ancestors(_maker(network, part.begin)), _maker(network, part.begin)}
        assert len(inside) == part.nodes
        for name in inside - {_maker(network, part.end)}:
            assert set(network[name].readers) <= inside
    ends = {(part.begin, part.end) for part in separable(graph)}
    assert not {begin for begin, _ in ends} & {value.name for value in graph.inputs}


def _maker(network: Network, value: str) -> str:
    return next(node.name for node in network if any(v.name == value for v in node.node.outputs))


def test_a_part_for_itself_changes_nothing() -> None:
    network = drawn(0)
    array = sample(network)
    for part in list(separable(network.ir.graph))[::5]:
        ends = (part.begin, part.end)
        work = network.copy()
        work.do(exchange(work.ir, copied(network.ir), old=ends, new=ends))
        np.testing.assert_allclose(outputs(work, array), outputs(network, array), atol=1e-5)


def test_parts_of_other_scales_are_not_exchanged() -> None:
    def only(stride: int) -> Network:
        layers = [search.Named(n, search.ConvSpace(4, strides=s)) for n, s in (("x", 1), ("y", stride), ("z", 1))]
        space = search.Chain([*layers, search.FlattenSpace(), search.DenseSpace(2, activations=())])
        return search.draw(space, (3, 8, 8), np.random.default_rng(0))

    seen = set[str]()
    for seed in range(4):
        found = search.crossover(only(1), only(2), np.random.default_rng(seed))
        seen |= {child.notes[0].where.split(",")[0] for child in found if child.notes[0].done}
    assert seen
    assert all(where.endswith(" to flat1") for where in seen)  # where there is no space, it is as long as it must be


def test_where_nothing_fits_both_parents_are_returned() -> None:
    dense = search.Chain([search.Repeat(search.DenseSpace(6), 3), search.DenseSpace(2, activations=())])
    a, b = drawn(0), search.draw(dense, (5,), np.random.default_rng(0))
    other = b.copy()
    other.ir.opset_imports[""] = 19
    for left, right, why in ((b, other, "opsets"), (only_one(), b, "no two parts")):
        found = search.crossover(left, right, np.random.default_rng(0))
        assert [child.subject for child in found] == [left, right]
        assert all(why in note.why for child in found for note in child.notes)
    assert [child.notes[0].done for child in search.crossover(a, b, np.random.default_rng(0))] in (
        [True, True], [False, False],
    )  # fmt: skip


def only_one() -> Network:
    return search.draw(search.DenseSpace(2, activations=()), (5,), np.random.default_rng(0))


@pytest.mark.parametrize("align", ["grow", "shrink"])
def test_a_guest_that_adds_what_it_reads_follows_its_width(align: str) -> None:
    """The port of a part is as wide as what feeds it there, also where nothing but a sum reads it."""
    a, guest = load(FIXTURES / "plain.onnx"), load(FIXTURES / "residual.onnx")
    array, work = sample(a), a.copy()
    work.splice(guest, after="relu1", entry="relu1", exit="layer1.0.relu", align=align)
    assert outputs(work, array).shape == outputs(a, array).shape
