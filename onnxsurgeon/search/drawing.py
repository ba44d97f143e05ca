"""Networks that are drawn from a space: from nothing, or as a part of another one.

A space adds nodes at a spot, and returns the spot behind them. A spot knows the shape of its value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import onnx_ir as ir

from onnxsurgeon.dependency.dynamic_dims import samples
from onnxsurgeon.dependency.facts import Evaluator, Facts
from onnxsurgeon.edit.inits import FRESH
from onnxsurgeon.errors import UsageError
from onnxsurgeon.model.editor import Editor, add_outputs
from onnxsurgeon.model.read import IN_MEMORY
from onnxsurgeon.ops.call import Fact
from onnxsurgeon.options.parsing import unknown
from onnxsurgeon.surgery.blocks import Site
from onnxsurgeon.surgery.network import Network

OPSET, IR_VERSION = 20, 9
INPUT, OUTPUT, BATCH = "input", "output", "batch"


@dataclass(frozen=True)
class Spot(Site):
    """A site in a model that is under construction: the shapes of all new values are known.

    name: the beginning of the names of new nodes; empty: they are called by what they are. facts: of each value.
    """

    facts: Facts | None = None

    def behind_of(self, value: ir.Value) -> Spot:
        """The spot behind another value of the model."""
        assert self.facts is not None
        return replace(self, value=value, shape=self.facts[value].shape or ())

    def called(self, kind: str) -> Spot:
        """The spot for one layer, under a name that is free: that of the spot, or one that adds the kind of layer."""
        taken = self.editor.node_names
        if self.name and self.name not in taken:
            return self
        stem = f"{self.name}.{kind}" if self.name else kind
        number = next(n for n in range(1, len(taken) + 2) if f"{stem}{n}" not in taken)
        return replace(self, name=f"{stem}{number}")

    @property
    def space(self) -> int:
        """How many spatial axes there are."""
        return len(self.shape) - 2


@dataclass(frozen=True)
class Space:
    """What networks are drawn from.

    A space that `chooses` decides how wide its output is, and obeys where a width is given.
    """

    @property
    def chooses(self) -> bool:
        return False

    def grow(self, spot: Spot, rng: np.random.Generator, width: int | None = None) -> Spot:
        """The spot behind a draw that is added at `spot`. width: of the output, if the space is to obey one."""
        raise NotImplementedError


def opened(site: Site) -> Spot:
    """The spot of a site; `Site.editor` must not have reserved names for later."""
    facts = {site.value: Fact(int(site.dtype), site.shape)}
    evaluator = Evaluator(site.editor.model)
    editor = Editor(site.editor.model, lambda node: evaluator.visit(node, facts))
    given = {field.name: getattr(site, field.name) for field in fields(Site)}
    return Spot(**{**given, "editor": editor, "name": ""}, facts=facts)


def draw(
    space: Space,
    inputs: Mapping[str, Sequence[int]] | Sequence[int],
    rng: np.random.Generator,
    *,
    init: str = "he",
    output: str = OUTPUT,
) -> Network:
    """A network drawn from a space.

    inputs: the shape of a sample, like (3, 32, 32), or a mapping of the input's name to it; the batch is dynamic.
    init: how weights start, as in `Network.insert`. output: name of the output. Raises UsageError where the space does
    not fit the input.
    """
    named = dict(inputs) if isinstance(inputs, Mapping) else {INPUT: inputs}
    if len(named) != 1:
        raise UsageError(
            "a network is drawn from one input", why=f"given: {', '.join(named) or 'none'}", fix="give one input"
        )
    if init not in FRESH:
        raise unknown(init, FRESH, "`init`")
    ((name, shape),) = named.items()
    value = ir.Value(
        name=name, shape=ir.Shape([BATCH, *map(int, shape)]), type=ir.TensorType(ir.DataType.FLOAT)
    )  # fmt: skip
    graph = ir.Graph([value], [], nodes=[], opset_imports={"": OPSET}, name="drawn")
    model = ir.Model(graph, ir_version=IR_VERSION, producer_name="onnxsurgeon")
    sizes = next(samples(model, {}))[0]
    shape = tuple(n if isinstance(n, int) else sizes[name, a] for a, n in enumerate(value.shape or ()))
    seed = int(rng.integers(2**31))
    editor = Editor(model)
    spot = space.grow(
        opened(Site(editor, value, shape, 1, ir.DataType.FLOAT, OPSET, "", init, seed)), rng
    )  # fmt: skip
    return finished(spot, output)


def finished(spot: Spot, output: str) -> Network:
    """The network whose output is the value of the spot."""
    editor, value = spot.editor, spot.value
    if value.producer() is None:
        value = editor.node("Identity", [value], name=output)[0]
    else:
        value.name = editor.value_name(output)
    value.type, value.shape = ir.TensorType(spot.dtype), ir.Shape([BATCH, *spot.shape[1:]])
    add_outputs(editor.model, [value])
    return Network(IN_MEMORY, editor.finished(), in_file=False)
