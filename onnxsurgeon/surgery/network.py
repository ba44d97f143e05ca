"""A network to edit: nodes by name, edits that are done as a whole or not at all, one proof when it is saved.

Nothing touches a weight before it is needed: edits change lists of positions, and weights are gathered when they are
written.
"""

from __future__ import annotations

import fnmatch
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxsurgeon.dependency.labels import Labels, label
from onnxsurgeon.dependency.measure import Measure, count_params, measure
from onnxsurgeon.dependency.names import name_of, result_of
from onnxsurgeon.dependency.spaces import spaces
from onnxsurgeon.edit.apply import apply, copied
from onnxsurgeon.edit.growth import Growth, Init
from onnxsurgeon.edit.growth_check import placed
from onnxsurgeon.edit.step import Step
from onnxsurgeon.errors import InfeasibleError, UsageError
from onnxsurgeon.model.model import Model
from onnxsurgeon.model.read import read
from onnxsurgeon.model.write import size, write
from onnxsurgeon.neurons.relations import Free
from onnxsurgeon.options.record import takes
from onnxsurgeon.options.shared import SaveOptions
from onnxsurgeon.proof.of_edits import Proofs, prove
from onnxsurgeon.proof.saving import pending
from onnxsurgeon.surgery import insert as inserting
from onnxsurgeon.surgery import kernel
from onnxsurgeon.surgery import rewire as wiring
from onnxsurgeon.surgery import splice as splicing
from onnxsurgeon.surgery.blocks import Block, Start
from onnxsurgeon.surgery.draft import find
from onnxsurgeon.surgery.grouped_growth import multiply
from onnxsurgeon.surgery.rewire import Align, Choices
from onnxsurgeon.surgery.width_requests import WidthRequest, asks, expanded, limits, opened, parse
from onnxsurgeon.surgery.widths import Ask, Importance, Resized, select, value_axis


@dataclass(frozen=True)
class Node:
    """A node of a network, by its name."""

    network: Network
    name: str

    def __repr__(self) -> str:
        return f"<{self.operator} {self.name}>"

    @property
    def node(self) -> ir.Node:
        return find(self.network.ir, self.name)

    @property
    def operator(self) -> str:
        return self.node.op_type

    @property
    def inputs(self) -> list[str]:
        """The nodes and inputs of the graph that feed it."""
        made = [v for v in self.node.inputs if v is not None and not v.is_initializer()]
        return [name_of(p) if (p := v.producer()) is not None else v.name or "" for v in made]

    @property
    def readers(self) -> list[str]:
        """The nodes that it feeds."""
        return list(dict.fromkeys(name_of(use.node) for v in self.node.outputs for use in v.uses()))

    @property
    def width(self) -> int | None:
        """Neurons of its first output; None where it has none."""
        found = value_axis(self.network.labels, result_of(find(self.network.labels.model, self.name)))
        return None if found is None else len(found[1])

    def resize(self, by: int | None = None, *, to: int | None = None, **options: Any) -> Resized:
        """Changes its width by `by`, or to `to`; options as in `Network.resize`."""
        if (by is None) == (to is None):
            raise UsageError("a resize needs either a change or a width", fix="write resize(-16) or resize(to=64)")
        return self.network.resize(f"{self.name}={to}" if by is None else f"{self.name}={by:+d}", **options)

    def remove(self, **options: Any) -> None:
        self.network.remove(self.name, **options)


@dataclass(eq=False, repr=False)
class Network(Model):
    """A model that can be edited. steps: what was done to it."""

    steps: list[Step] = field(default_factory=list)
    _labels: tuple[ir.Model, Labels] | None = None

    def __repr__(self) -> str:
        return f"<Network {self.path}: {len(self.ir.graph)} nodes, {len(self.steps)} edits>"

    # --- looking ---

    def __getitem__(self, name: str) -> Node:
        find(self.ir, name)
        return Node(self, name)

    def __iter__(self) -> Iterator[Node]:
        return (Node(self, name_of(node)) for node in self.ir.graph)

    @property
    def labels(self) -> Labels:
        """The network's neurons, as its nodes are."""
        if self._labels is None or self._labels[0] is not self.ir:
            self._labels = self.ir, label(self.ir, rewritten=False)
        return self._labels[1]

    def find(self, pattern: str) -> list[str]:
        """Names of nodes that match a glob."""
        return [v.name for v in self if fnmatch.fnmatchcase(v.name, pattern)]

    def ancestors(self, name: str) -> list[str]:
        """Names of all nodes that `name` depends on, in the graph's order."""
        seen: set[ir.Node] = set()
        waiting = [find(self.ir, name)]
        while waiting:
            for source in waiting.pop().predecessors():
                if source not in seen:
                    seen.add(source)
                    waiting.append(source)
        return [name_of(node) for node in self.ir.graph if node in seen]

    def summary(self) -> str:
        """A line per node: name, operator, width, what feeds it."""
        rows = [("node", "operator", "width", "inputs")]
        rows += [(v.name, v.operator, str(v.width or ""), ", ".join(v.inputs)) for v in self]
        sizes = [max(len(row[k]) for row in rows) for k in range(3)]
        lines = ["  ".join((*(cell.ljust(n) for cell, n in zip(row, sizes, strict=False)), row[3])) for row in rows]
        return "\n".join([*(line.rstrip() for line in lines), f"{count_params(self.ir):,} parameters"])

    @property
    def bytes(self) -> int:
        """Size of its file, external data included: of the one that it was read from, or would be written to."""
        return size(self.ir) if self.steps else super().bytes

    def measure(self) -> Measure:
        """Parameters, MACs per sample, bytes and nodes."""
        labels = label(self.ir)
        return measure(self, spaces(labels, np.zeros(labels.relations.count)))

    # --- all or nothing ---

    def copy(self) -> Network:
        """A network of its own; weights are shared until they are written."""
        return Network(self.path, copied(self.ir), list(self.steps))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """What is done inside is undone where an exception leaves the block."""
        before, steps = self.ir, list(self.steps)
        try:
            yield
        except BaseException:
            self.ir, self.steps = before, steps
            raise

    def _do(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if step.selection is not None and step.selection.grows:
                placed(step)
        if steps:
            self.ir = steps[-1].after
            self.steps += steps

    # --- editing ---

    def resize(
        self,
        *requests: str,
        importance: Importance = "l2-norm",
        keep: Mapping[str, Sequence[int]] | None = None,
        drop: Mapping[str, Sequence[int]] | None = None,
        multiple: int = 1,
        max_new: int | Mapping[str, int] | None = None,
        relax: bool = False,
        init: Init = "normal",
        seed: int = 0,
        free: Free = "auto",
    ) -> Resized:
        """Changes widths; what is tied to them follows.

        requests: as on the command line, `conv3=-16`, `conv3~+8`, `fc=10`, `fc.in=512,free`; solved together. A glob
        speaks of all layers that match and can change.
        keep, drop: positions (from 0) of neurons that must stay or go, by node. max_new: new neurons on an axis at
        most, or by node. relax: where it can't be had exactly, the nearest. init: of new neurons. free: which factor
        of heads or groups changes. Raises UsageError, InfeasibleError; then nothing was changed.
        """
        wanted = [parse(text) for text in requests]
        growth = Growth(init, seed + len(self.steps))
        labels = label(self.ir, free=free)
        wanted = expanded(labels, wanted)
        outs = opened(labels, asks(labels, wanted))
        if outs:
            labels = label(self.ir, free=free, unfrozen=outs)
        asked = asks(labels, wanted)
        bounds = limits(labels, keep or {}, drop or {}, max_new, multiple)
        try:
            found = select(labels, asked, importance=importance, limits=bounds, relax=relax, init=init, seed=seed)
        except InfeasibleError:
            step = _multiplied(self.ir, wanted, asked, growth) if max_new is None else None
            if step is None or step.selection is None:
                raise
            found = Resized(step.selection, tuple(asked), (asked[0].size or 0,))
        else:
            after = apply(labels, found.selection, growth=growth)
            step = Step(f"resize {' '.join(requests)}", self.ir, after, labels, found.selection, growth)
        self._do([step])
        return found

    def remove(self, name: str, *, through: str | None = None, align: Align = "auto", **options: Any) -> None:
        """Takes a node out: what fed it feeds its readers. See `surgery.wiring.remove`."""
        self._do(wiring.remove(self.ir, name, through=through, choices=_choices(align, options)))

    def insert_after(
        self,
        name: str,
        block: Block,
        *,
        readers: Sequence[str] | None = None,
        init: Start = "identity",
        called: str | None = None,
        seed: int = 0,
    ) -> Node:
        """Puts a block behind a node. See `surgery.inserting.insert`."""
        before = {v.name for v in self}
        self._do(inserting.insert(self.ir, name, block, readers=readers, init=init, name=called, seed=seed))
        return Node(self, [v.name for v in self if v.name not in before][-1])

    def connect(
        self, source: str, target: str, *, position: int | None = None, align: Align = "auto", **options: Any
    ) -> None:
        """One more input for a node that adds or concatenates. See `surgery.wiring.connect`."""
        self._do(wiring.connect(self.ir, source, target, position=position, choices=_choices(align, options)))

    def disconnect(self, source: str, target: str) -> None:
        """One input less. See `surgery.wiring.disconnect`."""
        self._do(wiring.disconnect(self.ir, source, target))

    def kernel(self, name: str, size: int | Sequence[int]) -> None:
        """Another kernel size; pads follow. See `surgery.kernel.kernel`."""
        self._do(kernel.kernel(self.ir, name, size))

    def activation(self, name: str, kind: str) -> None:
        """Another activation. See `surgery.inserting.activation`."""
        self._do(inserting.activation(self.ir, name, kind))

    def replace(self, name: str, block: Block, *, init: Start = "he", seed: int = 0) -> None:
        """A fresh block in the place of a node. See `surgery.inserting.replace`."""
        self._do(inserting.replace(self.ir, name, block, init=init, seed=seed))

    def separate(self, name: str, **options: Any) -> None:
        """A depthwise and a pointwise convolution in the place of one. See `surgery.inserting.separate`."""
        self._do(inserting.separate(self.ir, name, **options))

    def splice(self, other: Model, *, after: str, align: Align = "auto", **options: Any) -> None:
        """A sub-graph of another model behind a node. See `surgery.splicing.splice`."""
        own = {k: options.pop(k) for k in ("entry", "exit", "prefix") if k in options}
        self._do(splicing.splice(self.ir, other.ir, after=after, choices=_choices(align, options), **own))

    # --- writing ---

    def prove(self, **options: Any) -> Proofs | None:
        """Proves all that was done; None where nothing was. Options as in `proving.prove`."""
        return prove(self.steps, **options) if self.steps else None

    @takes(SaveOptions)
    def save(self, path: str | os.PathLike[str], options: SaveOptions) -> Proofs | None:
        """Writes the network, once all that was done to it is proven; returns the proof.

        Nothing appears at `path` where the proof fails (ProofError).
        """
        with pending(path, options) as file:
            found = None
            if options.proof:
                found = self.prove(
                    device=options.device, atol=options.atol, rtol=options.rtol, seed=options.seed,
                    progress=options.told,
                )  # fmt: skip
            file.write(self.ir)
        return found


def _multiplied(model: ir.Model, wanted: Sequence[WidthRequest], asked: Sequence[Ask], growth: Growth) -> Step | None:
    """More outputs for each group, where that is all that is asked for."""
    by_input = wanted[0].inputs or any(v.name == wanted[0].name for v in model.graph.inputs)
    if len(wanted) != 1 or by_input or asked[0].size is None or growth.init == "duplicate":
        return None
    return multiply(model, wanted[0].name, asked[0].size - len(asked[0].axis), growth)


def _choices(align: Align, options: dict[str, Any]) -> Choices:
    growth = Growth(options.pop("grow_init", "normal"), options.pop("seed", 0))
    return Choices(align, options.pop("importance", "l2-norm"), growth, **options)


def load(path: str | os.PathLike[str]) -> Network:
    """The network at `path`; its weights stay in the file. Raises UsageError or ModelError where it can't be read."""
    return Network(Path(path), read(path))


@contextmanager
def on_disk(model: Model) -> Iterator[Path]:
    """A file of the model as it is: the one that it was read from, or, once it was edited, one for a while."""
    if not isinstance(model, Network) or not model.steps:
        yield model.path
        return
    with tempfile.TemporaryDirectory(prefix="onnxsurgeon-") as folder:
        path = Path(folder) / "model.onnx"
        write(model.ir, path)
        yield path
