"""The proof layer by layer: each layer of a cut model gets the original's values, and its own values are compared.

A point is a value inside, or an output, that both models compute. A stage is what lies between points. The reference
runs from point to point. Each stage of the cut model is given the reference's values, reduced to the neurons that stay,
so an error shows where it arises, and later layers neither amplify nor hide it. Stages run in groups whose weights fit
in memory. Values that later groups read are kept on disk where they don't.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Array, Arrays, Mask
from onnxsurgeon.dependency.facts import FLOATS
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.errors import ModelError
from onnxsurgeon.model.read import release
from onnxsurgeon.neurons.relations import Axes
from onnxsurgeon.ops.nodes import constant
from onnxsurgeon.options.shared import Device
from onnxsurgeon.proof.comparison import Comparison, Tolerance, compare, does_not_run
from onnxsurgeon.runtime.partial_runs import FOUND, Store, nodes_for, piece, reads
from onnxsurgeon.runtime.session import Session, trim

MOST_BYTES = 1 << 26  # of values inside that are compared where all stages run at once
ROUNDING = 8  # units in the last place, by which values are moved to see what rounding does
SLACK = 4.0  # times what rounding does: more is an error


@dataclass(frozen=True)
class StageGroup:
    """Stages that run at once. names: of their points. fed: names of what the reference and the cut model read."""

    names: tuple[str, ...]
    fed: tuple[frozenset[str], frozenset[str]]


class Side:
    """A model whose points are looked up by name. split: each stage is given all points that it reads."""

    def __init__(self, model: ir.Model, *, split: bool) -> None:
        self.model, self.split = model, split
        self.values = {v.name or "": v for node in model.graph for v in node.outputs}

    def part(self, names: Sequence[str], given: Collection[str]) -> tuple[list[ir.Node], list[ir.Value]]:
        """(nodes, fed): what computes these points, and what it reads of the inputs and the `given` points."""
        producers = {self.values[name].producer() for name in names}
        wanted = [value for node in producers if node is not None for value in reads(node)]
        nodes, fed = nodes_for(self.model, wanted, {self.values[name] for name in given})
        chosen = producers.union(nodes)
        return [node for node in self.model.graph if node in chosen], fed

    def session(
        self, names: Sequence[str], given: Collection[str], arrays: Arrays, device: Device, *, optimise: bool
    ) -> Session:
        """What computes these points. arrays: examples of what it is fed."""
        nodes, fed = self.part(names, given)
        examples = {v.name or "": arrays[v.name or ""] for v in fed}
        proto, folder = piece(self.model, nodes, examples, [self.values[name] for name in names])
        return Session(proto.SerializeToString(), device, optimise=optimise, lean=True, folder=folder)


class Layers:
    """The reference and the cut model, to be compared layer by layer.

    dense: compare each value inside that has labels, not the outputs of layers alone. memory: bytes; None: all stages
    run at once. optimise: whether onnxruntime may fuse nodes. provider: execution provider, once a stage has run.
    """

    def __init__(
        self, labels: Labels, keep: Mask, reference: ir.Model, edited: ir.Model, allowed: Tolerance, *,
        memory: float | None = None, dense: bool = False, device: Device = "auto", optimise: bool = True,
    ) -> None:  # fmt: skip
        self.labels, self.keep, self.allowed, self.device = labels, keep, allowed, device
        self.memory, self.optimise, self.provider = memory, optimise, ""
        self.sides = Side(reference, split=False), Side(edited, split=True)
        self.ends = [v.name or "" for v in reference.graph.outputs if v.producer() is not None]
        self.axes = {v.name or "": axes for v, axes in labels.axes.items() if v.name}
        common = self.sides[0].values.keys() & self.sides[1].values.keys()
        found = _points(labels, dense=dense, thin=memory is None)
        self.points = {name for name in found if name in common and name not in self.ends}
        self.stages = list(self._in_groups())

    def _in_groups(self) -> Iterator[StageGroup]:
        order = [v.name or "" for node in self.labels.model.graph for v in node.outputs]
        names, size, before, seen = list[str](), 0, list[str](), set[ir.Value]()
        for name in (name for name in order if name in self.points or name in self.ends):
            if self.memory is not None:
                nodes, _ = self.sides[0].part([name], self._given([*before, *names]))
                new = {v for node in nodes for v in reads(node) if v.is_initializer()} - seen
                more = sum(v.const_value.nbytes for v in new if v.const_value is not None)
                if names and size + more > self.memory / 4:
                    yield self._group(names, before)
                    before, names, size, seen = [*before, *names], [], 0, set()
                size, seen = size + more, seen | new
            names.append(name)
        if names:
            yield self._group(names, before)

    def _given(self, names: Sequence[str]) -> list[str]:
        """Those points that stages are given: outputs that are no labelled tensors are computed where they are read."""
        return [name for name in names if name in self.axes]

    def _group(self, names: Sequence[str], before: Sequence[str]) -> StageGroup:
        reads_of = [
            frozenset(v.name or "" for v in side.part(names, self._given([*before, *(names if side.split else ())]))[1])
            for side in self.sides
        ]
        return StageGroup(tuple(names), (reads_of[0], reads_of[1]))

    def session(self, which: int, index: int, arrays: Arrays) -> Session:
        """A session of a group of stages. which: 0 of the reference, 1 of the cut model. arrays: what they are fed."""
        release(self.labels.original)
        side, names = self.sides[which], self.stages[index].names
        release(side.model)
        before = [name for group in self.stages[:index] for name in group.names]
        given = self._given([*before, *(names if side.split else ())])
        made = side.session(names, given, arrays, self.device, optimise=self.optimise)
        self.provider = made.provider
        return made

    def run(self, feeds: Sequence[Arrays], compared: int | None = None) -> tuple[list[Arrays], Comparison]:
        """(outputs, comparison): those of the reference for each feed, and the worst difference of a layer.

        compared: for how many of the feeds layers are compared; None: for all. Only if all stages run at once, a feed
        may lack states.
        Raises ModelError if onnxruntime can't run a stage.
        """
        count = len(feeds) if compared is None else compared
        found, walk = [Comparison(0.0, 0.0, "", count)], Passage(self, feeds)
        for index in range(len(self.stages)):
            walk.advance(index, count)
            found += self._differences(index, walk.store, count)
            walk.forget(index)
        return walk.results(), replace(max(found, key=lambda c: c.margin), provider=self.provider)

    def prove(self, feeds: Sequence[Arrays], compared: int | None = None) -> tuple[list[Arrays], Comparison]:
        """As `run`; but that a stage does not run is a ProofError, because the original does."""
        try:
            return self.run(feeds, compared)
        except ModelError as problem:
            raise does_not_run("the reference", problem) from None

    def rounded(self, feeds: Sequence[Arrays]) -> list[Arrays]:
        """The outputs of the reference where each value that a group is given is off by some units in the last place.

        This shows what rounding alone does to the outputs.
        """
        walk = Passage(self, feeds, shaken=True)
        for index in range(len(self.stages)):
            walk.advance(index, 0)
            walk.forget(index)
        return walk.results()

    def _differences(self, index: int, store: Store, count: int) -> Iterator[Comparison]:
        """The values of the cut model's stages against the reference's, on equal inputs, for `count` feeds."""
        group, session = self.stages[index], None
        for batch in range(count):
            fed = {name: self._kept(name, store.get(name, batch)) for name in group.fed[1]}
            session = session or self.session(1, index, fed)
            found, moved = session.run(fed), dict[str, Any]()
            for name in group.names:
                made, inside = FOUND + name if name in fed else name, name in self.points
                expected = self._kept(name, store.get(name, batch))
                allowed = self._allowed(expected) if inside else self.allowed
                result = compare([{name: expected}], [{name: found[made]}], allowed, session.provider)
                if not result.passed:  # unless rounding of what the stage is given does as much
                    moved = moved or session.run({name: shake(array) for name, array in fed.items()})
                    noise = compare([{name: found[made]}], [{name: moved[made]}], allowed, session.provider)
                    result = replace(result, margin=result.margin / max(1.0, SLACK * noise.margin))
                yield replace(result, samples=count, inside=inside)
        del session
        trim()

    def _kept(self, name: str, array: Any) -> Any:
        """A value of the reference, reduced to the neurons that stay; where it normalises them, it has no others."""
        axes: Axes = self.axes.get(name, ())
        for axis, ids in enumerate(axes if len(axes) == np.ndim(array) else ()):
            if ids is not None and array.shape[axis] == len(ids) and not self.keep[ids].all():
                array = np.take(array, np.flatnonzero(self.keep[ids]), axis)
        return array

    def _allowed(self, array: Array) -> Tolerance:
        """The tolerance of a value inside: what is absolute in it follows the scale of the value."""
        if array.dtype.kind != "f":
            return self.allowed
        scale = float(np.max(np.abs(array), where=np.isfinite(array), initial=0.0))
        least = 16 * float(np.finfo(array.dtype).smallest_subnormal)
        return replace(self.allowed, atol=max(least, self.allowed.atol * min(1.0, scale)))


class Passage:
    """Runs the reference from point to point, for several feeds. shaken: move what later groups are given."""

    def __init__(self, layers: Layers, feeds: Sequence[Arrays], *, shaken: bool = False) -> None:
        self.layers, self.feeds, self.shaken = layers, feeds, shaken
        self.store = Store(np.inf if layers.memory is None else layers.memory / 8)
        self.outputs: list[dict[str, Any]] = [{} for _ in feeds]
        self.last = {name: i for i, group in enumerate(layers.stages) for fed in group.fed for name in fed}
        for batch, feed in enumerate(feeds):
            self._put(feed, batch)

    def _put(self, arrays: Arrays, batch: int) -> None:
        for name, array in arrays.items():
            self.store.put(name, batch, shake(array) if self.shaken else array)

    def advance(self, index: int, count: int) -> None:
        """Computes the points of a group; for the first `count` feeds all are kept, else what later groups read."""
        group, session = self.layers.stages[index], None
        later = {name for name in group.names if self.last.get(name, -1) > index}
        for batch in range(len(self.feeds)):
            self._carry(group.fed[0] & self.layers.labels.states.keys() - self.feeds[batch].keys(), batch)
            fed = {name: self.store.get(name, batch) for name in group.fed[0]}
            session = session or self.layers.session(0, index, fed)
            ends = {name for name in group.names if name in self.layers.ends}
            kept = {*group.names} if batch < count else later
            arrays = session.run(fed, [name for name in group.names if name in ends | kept])
            self.outputs[batch].update((name, arrays[name]) for name in ends)
            self._put({name: arrays[name] for name in kept}, batch)
        del session
        trim()

    def _carry(self, missing: Collection[str], batch: int) -> None:
        """States that a feed lacks are outputs of the run before."""
        self._put({name: self.outputs[batch - 1][self.layers.labels.states[name]] for name in missing}, batch)

    def forget(self, index: int) -> None:
        """Drops what no later group reads."""
        group = self.layers.stages[index]
        for name in {*group.names, *group.fed[0], *group.fed[1]}:
            if self.last.get(name, -1) <= index:
                self.store.drop(name, len(self.feeds))

    def results(self) -> list[Arrays]:
        """The outputs for each feed, in the model's order."""
        found, ends = [], self.layers.sides[0].model.graph.outputs
        for arrays, feed in zip(self.outputs, self.feeds, strict=True):
            for value in ends:
                if value.producer() is None:
                    tensor = constant(value)
                    arrays[value.name or ""] = feed[value.name or ""] if tensor is None else tensor.numpy()
            found.append({v.name or "": arrays[v.name or ""] for v in ends})
        return found


def shake(array: Any) -> Any:
    """`array`, each element moved by some units in its last place."""
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        return array
    signs = np.random.default_rng(array.size).choice([-1.0, 1.0], array.shape)
    return (array * (1 + signs * ROUNDING * float(np.finfo(array.dtype).eps))).astype(array.dtype)


def _points(labels: Labels, *, dense: bool, thin: bool) -> list[str]:
    """Names of values inside that are compared: outputs of layers, or all that have labels if `dense`.

    thin: leave some out, evenly, where they take more than `MOST_BYTES`.
    """
    found: dict[str, float] = {}
    for node, call in labels.calls.items():
        operator = labels.operator(node)
        chosen = operator is not None and (dense or operator.macs is not None)
        for value in node.outputs if chosen and node.graph is labels.model.graph and call.results else ():
            fact = labels.facts[0].get(value)
            if value.name and value in labels.axes and fact is not None and fact.shape and fact.dtype in FLOATS:
                found[value.name] = fact.nbytes
    step = -(-sum(found.values()) // MOST_BYTES) if thin and not dense else 1
    return list(found)[:: max(1, int(step))]
