"""A network to edit: nodes by name, edits that succeed or change nothing, one proof when it is saved.

Edits change lists of positions. The weights are read and gathered only when the network is written.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxsurgeon.dependency.labels import Labels, label
from onnxsurgeon.dependency.measure import Measure, count_params, measure
from onnxsurgeon.dependency.names import name_of, result_of
from onnxsurgeon.dependency.spaces import spaces
from onnxsurgeon.edit.growth_check import placed
from onnxsurgeon.edit.step import Step
from onnxsurgeon.errors import UsageError
from onnxsurgeon.model.editor import copied
from onnxsurgeon.model.model import Model, Source, as_model
from onnxsurgeon.options.record import takes
from onnxsurgeon.options.shared import SaveOptions
from onnxsurgeon.proof.of_edits import Proofs, prove
from onnxsurgeon.proof.saving import pending
from onnxsurgeon.surgery.find import find
from onnxsurgeon.surgery.part_methods import AllOperations
from onnxsurgeon.surgery.widths import Resized, value_axis


class Node(str):
    """A node of a network, as `network["conv1"]` returns it. It is its name, and stands wherever a name is meant."""

    network: Network

    def __new__(cls, network: Network, name: str) -> Node:
        node = super().__new__(cls, name)
        node.network = network
        return node

    @property
    def name(self) -> str:
        """Its name in the network."""
        return str(self)

    def __repr__(self) -> str:
        return f"<{self.operator} {self.name}>"

    @property
    def node(self) -> ir.Node:
        """The node in the present graph. Raises UsageError if it was removed."""
        return find(self.network.ir, self.name)

    @property
    def operator(self) -> str:
        """Its operator, like Conv."""
        return self.node.op_type

    @property
    def inputs(self) -> list[str]:
        """Names of the nodes and graph inputs that feed it."""
        made = [v for v in self.node.inputs if v is not None and not v.is_initializer()]
        return [name_of(p) if (p := v.producer()) is not None else v.name or "" for v in made]

    @property
    def readers(self) -> list[str]:
        """Names of the nodes that it feeds."""
        return list(dict.fromkeys(name_of(use.node) for v in self.node.outputs for use in v.uses()))

    @property
    def width(self) -> int | None:
        """Number of channels (or neurons) of its first output; None if it has none."""
        found = value_axis(self.network.labels, result_of(find(self.network.labels.model, self.name)))
        return None if found is None else len(found[1])

    def resize(self, by: int | str | None = None, *, to: int | None = None, **options: Any) -> Resized:
        """The widths before and after a change by `by`, like -16 or "-25%", or to `to` channels.

        options: as in `Network.resize`, and raises as that does.
        """
        if (by is None) == (to is None):
            raise UsageError("resize needs either a change or a width", fix="write resize(-16) or resize(to=64)")
        change = by if isinstance(by, str) else f"{by:+}" if by is not None else str(to)
        found: Resized = self.network.resize(f"{self.name}={change}", **options)
        return found

    def remove(self, **options: Any) -> None:
        """Takes it out of the network. options: as in `Network.remove`, and raises as that does."""
        self.network.remove(self.name, **options)


@dataclass(eq=False, repr=False)
class Network(AllOperations, Model):
    """A model that can be edited, and a collection of its nodes.

    An edit succeeds or changes nothing. Weights are read only when the network is saved.
    steps: the edits so far.
    """

    steps: list[Step] = field(default_factory=list)
    _labels: tuple[ir.Model, Labels] | None = None

    def line(self) -> str:
        edits = f", {len(self.steps)} edit{'s' * (len(self.steps) != 1)}" if self.steps else ""
        return super().line() + edits

    def table(self) -> Iterator[tuple[str, str, str, str]]:
        """Rows: the headings, then name, operator, width and inputs of each node."""
        yield "node", "operator", "width", "inputs"
        yield from ((v.name, v.operator, str(v.width or ""), ", ".join(v.inputs)) for v in self)

    # --- looking ---

    def __getitem__(self, name: str) -> Node:
        """The node of this name. Raises UsageError with the nearest names if there is none."""
        find(self.ir, name)
        return Node(self, name)

    def __iter__(self) -> Iterator[Node]:
        return (Node(self, name_of(node)) for node in self.ir.graph)

    def __len__(self) -> int:
        """Number of nodes."""
        return len(self.ir.graph)

    def __bool__(self) -> bool:
        return True

    def __contains__(self, name: object) -> bool:
        """Whether a node has this name."""
        return any(name_of(node) == name for node in self.ir.graph)

    @property
    def labels(self) -> Labels:
        """The neurons on each axis of its values and weights."""
        if self._labels is None or self._labels[0] is not self.ir:
            self._labels = self.ir, label(self.ir, rewritten=False)
        return self._labels[1]

    def find(self, pattern: str) -> list[str]:
        """Names of the nodes that match a glob, in the graph's order."""
        return [v.name for v in self if fnmatch.fnmatchcase(v.name, pattern)]

    def ancestors(self, name: str) -> list[str]:
        """Names of all nodes that `name` depends on, in the graph's order. Raises UsageError for an unknown one."""
        seen: set[ir.Node] = set()
        waiting = [find(self.ir, name)]
        while waiting:
            for source in waiting.pop().predecessors():
                if source not in seen:
                    seen.add(source)
                    waiting.append(source)
        return [name_of(node) for node in self.ir.graph if node in seen]

    def summary(self) -> str:
        """A text with a line per node: name, operator, width, inputs."""
        rows = list(self.table())
        sizes = [max(len(row[k]) for row in rows) for k in range(3)]
        lines = ["  ".join((*(cell.ljust(n) for cell, n in zip(row, sizes, strict=False)), row[3])) for row in rows]
        return "\n".join([*(line.rstrip() for line in lines), f"{count_params(self.ir):,} parameters"])

    @property
    def written(self) -> bool:
        return self.in_file and not self.steps

    def measure(self) -> Measure:
        """Its number of parameters, MACs per sample, bytes on disk, memory of activations and number of nodes."""
        labels = label(self.ir)
        return measure(self, spaces(labels, np.zeros(labels.relations.count)))

    # --- all or nothing ---

    def copy(self) -> Network:
        """An independent copy to edit; it shares the weights."""
        return Network(self.path, copied(self.ir), self.in_file, list(self.steps))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A block whose edits are undone if it raises."""
        before, steps = self.ir, list(self.steps)
        try:
            yield
        except BaseException:
            self.ir, self.steps = before, steps
            raise

    def do(self, steps: Sequence[Step]) -> None:
        """Applies steps to the network."""
        for step in steps:
            if step.selection is not None and step.selection.grows:
                placed(step)
        if steps:
            self.ir = steps[-1].after
            self.steps += steps

    # --- writing ---

    def prove(self, **options: Any) -> Proofs | None:
        """The proof of all edits on random inputs in onnxruntime; None without edits.

        options: device, atol, rtol, seed, samples, progress as in `save`. Raises ProofError if an edit is not what it
        states.
        """
        return prove(self.steps, **options) if self.steps else None

    @takes(SaveOptions)
    def save(self, path: str | os.PathLike[str], options: SaveOptions) -> Proofs | None:
        """The proof of all edits, once the network is written to `path`; None without edits, or without `proof`.

        Raises ProofError if an edit does something else than it states; then `path` is not written. Raises UsageError
        if `path` exists and may not be overwritten, or can't be written.
        """
        with pending(path, options) as file:
            found = None
            if options.proof:
                found = self.prove(
                    device=options.device, atol=options.atol, rtol=options.rtol, seed=options.seed,
                    samples=options.inputs, progress=options.announce,
                )  # fmt: skip
            file.write(self.ir)
        return found


def load(model: Source) -> Network:
    """The network of a file, an onnx.ModelProto or a model of onnxsurgeon; a file's weights are read later.

    Edits of the network do not change the given model. Raises UsageError or ModelError if the model can't be read.
    """
    found = as_model(model)
    return Network(found.path, found.ir, found.written)
