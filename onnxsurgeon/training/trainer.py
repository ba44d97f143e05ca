"""Training of a model in onnxruntime: weights and states stay in the session's memory between steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir

from onnxsurgeon.arrays import Array, Arrays
from onnxsurgeon.errors import ModelError, SurgeonError
from onnxsurgeon.ops.nodes import constant
from onnxsurgeon.runtime.held_state import HeldState
from onnxsurgeon.runtime.partial_runs import nodes_for, serialise
from onnxsurgeon.runtime.session import Session
from onnxsurgeon.training.differentiate import FREE_CONSTANTS
from onnxsurgeon.training.step_graph import (
    AVERAGE,
    GRADIENTS,
    KEEP,
    LOSS,
    NEXT,
    NORM,
    OURS,
    RATE,
    SHARES,
    STATISTICS,
    TARGET,
    WEIGHTS,
    Recipe,
    StepGraph,
    step_graph,
)


@dataclass(frozen=True)
class Part:
    """A batch. targets: by the name of an end. shares: of each sample in the loss, 0 for padding, shape (size,)."""

    feed: Arrays
    targets: Arrays
    shares: Array


@dataclass(frozen=True)
class Taken:
    """A step that was taken: the loss before it, the norm of the gradient, and what was watched of each part."""

    loss: float
    norm: float
    watched: tuple[Arrays, ...] = ()


class NotFiniteError(SurgeonError):
    """The loss or its gradient is not finite. The weights are those before the step."""

    exit_code = 4


@dataclass(frozen=True)
class _Compiled:
    graph: StepGraph
    step: Session
    gather: Session | None


class Trainer:
    """Takes steps that train a model's weights. Each shape of batch is compiled once.

    weights: layout of those that a gradient reaches. lost: by other weights the node that ends their gradient.
    """

    def __init__(self, recipe: Recipe, example: Part) -> None:
        """Compiles the step for batches like `example`; the weights are those of the model.

        Raises ModelError if no weight can be trained, or onnxruntime refuses the step.
        """
        self.recipe, self._compiled = recipe, dict[tuple[object, ...], _Compiled]()
        graph = self._for(example).graph
        self.layout, self.statistics, self.lost = graph.weights, graph.statistics, graph.lost
        values = {value.name or "": value for value in recipe.weights} | _statistics(recipe.model, graph)
        self.initial = {name: _array(values[name]) for name in (*self.layout.shapes, *self.statistics.shapes)}
        self._forward: Session | None = None
        self.start()

    def start(self, weights: Arrays | None = None, state: Arrays | None = None) -> None:
        """Begins with these weights (by default those of the model), or with a state as `state` returned it."""
        arrays, flat = {**self.initial, **(weights or {})}, np.zeros(self.layout.size, np.float32)
        vectors = {WEIGHTS: self.layout.pack(arrays), STATISTICS: self.statistics.pack(arrays)}
        vectors |= dict.fromkeys(self.recipe.vectors, flat)
        if self.recipe.average is not None:
            vectors[AVERAGE] = vectors[WEIGHTS]
        self.steps, given = 0, dict(state or {})
        if given:
            self.steps = int(given.pop("steps"))
            vectors |= given
        self.held = HeldState(vectors, self.provider)

    @property
    def provider(self) -> str:
        return str(next(iter(self._compiled.values())).step.provider)

    def step(self, parts: Sequence[Part], rate: float, rng: np.random.Generator | None = None) -> Taken:
        """Takes a step on the sum of the parts' losses. rng: draws what Dropout drops.

        Raises NotFiniteError, and leaves all as it is, if the loss or the gradient is not finite.
        """
        loss, kept, watched = 0.0, 0.0, list[Arrays]()
        for number, part in enumerate(parts):
            last, made = number == len(parts) - 1, self._for(part)
            session = made.step if last or made.gather is None else made.gather
            writes = made.graph.writes
            if not last:
                writes = {name: NEXT + name for name in (GRADIENTS, STATISTICS) if name == GRADIENTS or name in writes}
            feed = {**self._given(part, made.graph, rng), RATE: _number(rate), KEEP: _number(kept)}
            scalars = self.recipe.optimiser.scalars(self.steps + 1, self.recipe.settings)
            feed |= {OURS + name: _number(value) for name, value in scalars.items()}
            names = made.graph.watched
            found = self.held.run(session, feed, writes, [LOSS, NORM, *dict.fromkeys(names.values())])
            loss, norm, kept = loss + float(found[LOSS]), float(found[NORM]), 1.0
            if not np.isfinite(loss) or not np.isfinite(norm):
                raise self._not_finite(made.graph, feed)
            self.held.accept(writes)
            watched.append({key: found[name] for key, name in names.items()})
        self.steps += 1
        return Taken(loss, norm, tuple(watched))

    def weights(self) -> Arrays:
        """The trained weights and statistics by name; the mean of the weights, if one is kept."""
        vector = WEIGHTS if self.recipe.average is None else AVERAGE
        return {
            **self.layout.unpack(self.held.get(vector)),
            **self.statistics.unpack(self.held.get(STATISTICS)),
        }

    def state(self) -> Arrays:
        """All that training goes on from."""
        return {"steps": np.array(self.steps), **{name: self.held.get(name) for name in self.held}}

    def predict(self, feed: Arrays, weights: Arrays | None = None) -> Arrays:
        """The ends and what is `shown`, for these inputs, with the trained weights or others, as the model infers."""
        if self._forward is None:
            self._forward = Session(self._inference(feed), self.recipe.device, threads=self.recipe.threads)
        arrays = {**self.initial, **(self.weights() if weights is None else weights)}
        given = {WEIGHTS: self.layout.pack(arrays), STATISTICS: self.statistics.pack(arrays)}
        return self._forward.run({**feed, **given})

    def _for(self, part: Part) -> _Compiled:
        arrays = {**part.feed, **part.targets}
        key = tuple((name, array.shape, array.dtype) for name, array in sorted(arrays.items()))
        if key not in self._compiled:
            recipe = self.recipe
            graph = step_graph(recipe, part.feed, len(part.shares))
            if self._compiled and graph.weights != self.layout:
                raise ModelError("batches of different shapes train different weights", fix="choose one `batch`")
            sessions = [
                Session(proto, recipe.device, threads=recipe.threads, profile=recipe.profile) if proto else None
                for proto in (graph.step, graph.gather)
            ]
            assert sessions[0] is not None
            self._compiled[key] = _Compiled(graph, sessions[0], sessions[1])
        return self._compiled[key]

    def _given(self, part: Part, graph: StepGraph, rng: np.random.Generator | None) -> Arrays:
        feed = {name: array for name, array in part.feed.items() if name in graph.tape.feed}
        feed |= {TARGET + name: np.asarray(array, np.float32) for name, array in part.targets.items()}
        feed[SHARES] = np.asarray(part.shares, np.float32)
        for name, (shape, ratio) in graph.masks.items():
            drawn = (rng or np.random.default_rng(self.steps)).random(shape, np.float32)
            feed[name] = (drawn >= ratio).astype(np.float32) / np.float32(1 - ratio)
        return feed

    def _inference(self, feed: Arrays) -> bytes:
        """The model with the vectors as inputs; for any batch size that it takes."""
        graph = next(iter(self._compiled.values())).graph
        model = self.recipe.model
        wanted = list(dict.fromkeys([*self.recipe.ends, *self.recipe.shown]))
        nodes, fed = nodes_for(model, wanted)
        proto, given = onnx.ModelProto(), {value.name or "": feed[value.name or ""] for value in fed}
        proto.ParseFromString(serialise(model, nodes, given, wanted))
        proto.ir_version = max(proto.ir_version, FREE_CONSTANTS)
        emit = type(graph.tape.emit)(graph.tape.version, graph.tape.emit.shapes)
        for vector, layout in ((WEIGHTS, self.layout), (STATISTICS, self.statistics)):
            held = onnx.helper.make_tensor_value_info(vector, onnx.TensorProto.FLOAT, [layout.size])
            proto.graph.input.append(held)
            if layout.shapes:
                layout.read(emit, vector)
        known = {*self.layout.shapes, *self.statistics.shapes}
        kept = [tensor for tensor in proto.graph.initializer if tensor.name not in known]
        kept += [onnx.numpy_helper.from_array(array, name) for name, array in emit.constants.items()]
        others = [node for node in proto.graph.node if not known.intersection(node.output)]
        for field_, content in (("initializer", kept), ("node", [*emit.nodes, *others])):
            proto.graph.ClearField(field_)
            getattr(proto.graph, field_).extend(content)
        return bytes(proto.SerializeToString())

    def _not_finite(self, graph: StepGraph, feed: Arrays) -> NotFiniteError:
        """Names the first node whose result is not finite, or the weight whose gradient is not."""
        named = [name for node in graph.tape.nodes for value in node.outputs if (name := value.name or "")]
        inputs = [name for name in feed if name not in graph.tape.feed]
        wanted = dict.fromkeys([*(n for n in named if n in graph.tape.emit.shapes), *graph.gradients.values()])
        values = graph.tape.proto([*inputs, WEIGHTS, *[STATISTICS] * bool(self.statistics.shapes)], list(wanted))
        session = Session(bytes(values.SerializeToString()), self.recipe.device, optimise=False)
        found = self.held.run(session, feed, {}, list(wanted))
        bad = {name for name, array in found.items() if array.dtype.kind == "f" and not np.isfinite(array).all()}
        for node in graph.tape.nodes:
            if any(value.name in bad for value in node.outputs):
                where = f"{node.op_type} {node.name or node.outputs[0].name}"
                break
        else:
            weight = next((n for n in reversed([*self.layout.shapes]) if graph.gradients[n] in bad), "")
            where = f"the gradient of {weight}" if weight else "the loss, or one of the running statistics,"
        return NotFiniteError(
            f"training failed at step {self.steps + 1}", why=f"{where} is not finite",
            fix="use a smaller `lr`, clip gradients with `clip`, or check the data",
        )  # fmt: skip


def _statistics(model: ir.Model, graph: StepGraph) -> dict[str, ir.Value]:
    read = (value for node in graph.tape.nodes for value in node.inputs if value is not None)
    return {value.name or "": value for value in read if value.name in graph.statistics.shapes}


def _array(value: ir.Value) -> np.ndarray:
    tensor = constant(value)
    assert tensor is not None
    return np.asarray(tensor.numpy(), np.float32)


def _number(value: float) -> np.ndarray:
    return np.array(value, np.float32)
