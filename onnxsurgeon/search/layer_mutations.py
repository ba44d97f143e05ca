"""Mutations of layers: widths, kernels, activations, global pools. All act on `Vertices`, and keep weights."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, copysign

import numpy as np

from onnxsurgeon.arrays import Ids
from onnxsurgeon.dependency.labels import Labels, label
from onnxsurgeon.dependency.names import result_of
from onnxsurgeon.edit.apply import apply
from onnxsurgeon.edit.growth import Growth
from onnxsurgeon.edit.step import Step
from onnxsurgeon.errors import InfeasibleError, SurgeonError
from onnxsurgeon.ops.making import GLOBAL_POOLS
from onnxsurgeon.ops.nodes import constant, convolution_of
from onnxsurgeon.search.layer_spaces import COMMON
from onnxsurgeon.search.mutation import Mutated, Mutation, Note
from onnxsurgeon.search.vertices import Vertices, changed, is_activation, is_convolution, is_layer, one_by_one, reason
from onnxsurgeon.surgery.blocks import GlobalPool
from onnxsurgeon.surgery.find import find
from onnxsurgeon.surgery.insert import gated, replace
from onnxsurgeon.surgery.network import Network
from onnxsurgeon.surgery.widths import Ask, Importance, Resized, select, value_axis

WIDTH, KERNEL, ACTIVATION, POOL = "width", "kernel", "activation", "global pool"


def new_width(
    low: float = -0.2, high: float = 0.2, *, least: int = 2, importance: Importance = "l2-norm", init: str = "normal"
) -> Mutation[Vertices]:
    """Other widths of layers, by changes relative to the present: sign * ceil(|u| * width), u from `low` to `high`.

    All widths are changed together, each as nearly as what is tied to it allows. What goes is least important; what is
    new leaves the function as it is. importance, init: as in `Network.resize`.
    least: channels that a layer keeps; one that is cut to 1 could not grow again.
    """

    def mutate(vertices: Vertices, rng: np.random.Generator) -> Mutated[Vertices]:
        names, notes = vertices.suited(WIDTH, is_layer)
        drawn = rng.uniform(low, high, len(names)).tolist()
        growth = Growth(init, int(rng.integers(2**31)))
        if not names:
            return Mutated(vertices, tuple(notes))
        labels, asks = label(vertices.network.ir), dict[str, Ask]()
        for name, share in zip(names, drawn, strict=True):
            axis = _free_axis(labels, name)
            if axis is None:
                notes.append(Note(WIDTH, name, done=False, why="its width can't change"))
                continue
            size = max(least, len(axis) + int(copysign(ceil(abs(share) * len(axis)), share)))
            if size == len(axis) or (size > len(axis)) != (share > 0):
                notes.append(Note(WIDTH, name, done=False, why=f"its width is at its minimum, {len(axis)}"))
            else:
                asks[name] = Ask(f"{name}~{size}", axis, size, exact=False)
        try:
            step, found = _resized(labels, list(asks.values()), importance, growth)
            work = vertices.network.copy()
            work.do([step])
        except SurgeonError as error:
            return Mutated(vertices, (*notes, *(Note(WIDTH, name, done=False, why=reason(error)) for name in asks)))
        for name, before, after in zip(asks, found.before, found.after, strict=True):
            why = f"{before} to {after}" if after != before else "what is tied to it does not allow another width"
            notes.append(Note(WIDTH, name, done=after != before, why=why))
        done = any(note.done for note in notes)
        return Mutated(changed(vertices, work) if done else vertices, tuple(notes))

    return mutate


def _free_axis(labels: Labels, name: str) -> Ids | None:
    """The neurons of a node, if they can change."""
    try:
        found = value_axis(labels, result_of(find(labels.model, name)))
    except SurgeonError:  # a rewriting has split it
        return None
    return None if found is None or labels.classes.frozen[found[1]].all() else found[1]


def _resized(labels: Labels, asks: list[Ask], importance: Importance, growth: Growth) -> tuple[Step, Resized]:
    if not asks:
        raise InfeasibleError("no width can change")
    found = select(labels, asks, importance=importance, relax=True, spread=growth.copies)
    after = apply(labels, found.selection, growth=growth)
    return Step(" ".join(ask.text for ask in asks), labels.original, after, labels, found.selection, growth), found


def new_kernel(
    changes: Sequence[int] = (-2, 2), *, most: int = 9, coupled: bool = True
) -> Mutation[Vertices]:  # fmt: skip
    """Other kernel sizes of convolutions; what is new is zero, so that the function stays, and so do all shapes.

    changes: of the size along an axis, to choose from. most: the largest size. coupled: one draw for all axes.
    """

    def mutate(vertices: Vertices, rng: np.random.Generator) -> Mutated[Vertices]:
        def edit(work: Network, name: str) -> Note:
            node = find(work.ir, name)
            place = convolution_of(node)
            tensor = None if place is None else constant(node.inputs[place.weight])
            old = () if tensor is None else tuple(tensor.shape.numpy())[2:]
            picked = rng.integers(len(changes), size=1 if coupled else max(1, len(old)))
            drawn = [changes[int(k)] for k in np.broadcast_to(picked, len(old))]
            new = [k if k + d > most and d > 0 else max(1, k + d) for k, d in zip(old, drawn, strict=True)]
            if new == list(old):
                return Note(KERNEL, name, done=False, why=f"its kernel is at its bound, {_by(old)}")
            count = len(work)
            work.kernel(name, new)
            if len(work) > count:  # another node would crop what it reads, and shift it from then on
                raise InfeasibleError(f"its padding can't follow a kernel of {_by(new)}")
            return Note(KERNEL, name, done=True, why=f"{_by(old)} to {_by(new)}")

        return one_by_one(vertices, KERNEL, is_convolution, edit)

    return mutate


def _by(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))


def new_activation(kinds: Sequence[str] = COMMON) -> Mutation[Vertices]:
    """Other activations. kinds: words to choose from."""

    def mutate(vertices: Vertices, rng: np.random.Generator) -> Mutated[Vertices]:
        def edit(work: Network, name: str) -> Note:
            node = find(work.ir, name)
            product = gated(node)
            if result_of(product or node).is_graph_output():
                return Note(ACTIVATION, name, done=False, why="it computes an output of the graph")
            others = [kind for kind in kinds if kind != ("Silu" if product else node.op_type)]
            if not others:
                return Note(ACTIVATION, name, done=False, why="there is no other")
            kind = others[int(rng.integers(len(others)))]
            work.activation(name, kind)
            return Note(ACTIVATION, name, done=True, why=f"{node.op_type} to {kind}")

        return one_by_one(vertices, ACTIVATION, is_activation, edit)

    return mutate


def new_global_pool() -> Mutation[Vertices]:
    """The other kind of pooling over all of space: the mean or the maximum."""
    kinds = {operator: kind for kind, operator in GLOBAL_POOLS.items()}

    def mutate(vertices: Vertices, rng: np.random.Generator) -> Mutated[Vertices]:
        def edit(work: Network, name: str) -> Note:
            old = kinds[find(work.ir, name).op_type]
            others = [kind for kind in GLOBAL_POOLS if kind != old]
            kind = others[int(rng.integers(len(others)))]
            work.do(replace(work.ir, name, GlobalPool(kind, flat=False)))
            return Note(POOL, name, done=True, why=f"{old} to {kind}")

        return one_by_one(vertices, POOL, lambda node: node.op_type in kinds and not node.domain, edit)

    return mutate
