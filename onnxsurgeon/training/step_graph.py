"""One step of training as one ONNX graph: forward, loss, backward, and the optimiser on flat vectors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Arrays, Shape
from onnxsurgeon.errors import ModelError
from onnxsurgeon.ops.emitter import Emitter
from onnxsurgeon.options.shared import Device
from onnxsurgeon.training.differentiate import Tape
from onnxsurgeon.training.flat_vector import Packing
from onnxsurgeon.training.optimisers import Optimiser, OptimiserCall, Settings

OURS = "training: "  # begins the names of what is ours, beside those of the model
TARGET, SHARES, RATE = f"{OURS}target of ", f"{OURS}shares of samples", f"{OURS}learning rate"
WEIGHTS, STATISTICS, AVERAGE = f"{OURS}weights", f"{OURS}statistics", f"{OURS}average"  # flat vectors
GRADIENTS, KEEP = f"{OURS}gradients", f"{OURS}share of the gradients so far"
NEXT, LOSS, NORM = "next ", f"{OURS}loss", f"{OURS}norm of the gradient"


@dataclass(frozen=True)
class LossCall:
    """A loss while it is emitted. ends: names of the values that it judges. targets: the inputs that it asked for, with
    their shapes. size: samples in a batch."""

    emit: Emitter
    ends: Sequence[str]
    size: int
    targets: dict[str, Shape] = field(default_factory=dict)

    def target(self, end: str, shape: Shape | None = None) -> str:
        """The input with what `end` should be; of its shape, if none is given."""
        name = TARGET + end
        self.targets[name] = self.emit.shapes[name] = self.emit.shapes[end] if shape is None else shape
        return name

    def by_sample(self, value: str) -> str:
        """Summed over all but the samples, shape (size,)."""
        emit, shape = self.emit, self.emit.shapes[value]
        if not shape or shape[0] % self.size:
            raise ModelError(
                "an output can't be split into samples", why=f"its shape is {shape} for {self.size} samples",
                fix="train with `batch=1`, or choose other outputs",
            )  # fmt: skip
        rows = emit.reshaped(value, (self.size, int(np.prod(shape)) // self.size))
        return emit.reshaped(emit.total(rows, [1]), (self.size,))


class UntrainableError(ModelError):
    """No gradient reaches any weight."""


Watch = Callable[[Tape, int], Mapping[str, str]]  # emits what is wanted, for a number of samples: names by keys
Loss = Callable[[LossCall], str]  # emits the loss of each sample, shape (size,)


@dataclass(frozen=True)
class Recipe:
    """What is trained, and how. Its weights are float32.

    ends: the values that the loss judges. weights: what may change. shown: what else is predicted. trains: nodes that
    work as in training. decays: the weight decay of each weight. scales: of each weight, in whose units it is trained.
    clip: the largest norm of a gradient. average: how much of the mean of the weights stays in each step, if one is
    kept. parts: batches whose gradients make one step. watch: what else is computed from the gradients of each batch.
    profile: prefix of the file with the times of nodes.
    """

    model: ir.Model
    ends: Sequence[ir.Value]
    weights: Sequence[ir.Value]
    loss: Loss
    optimiser: Optimiser
    settings: Settings
    shown: Sequence[ir.Value] = ()
    trains: Collection[ir.Node] = ()
    decays: Mapping[str, float] = field(default_factory=dict)
    scales: Mapping[str, float] = field(default_factory=dict)
    clip: float | None = None
    average: float | None = None
    parts: int = 1
    watch: Watch | None = None
    device: Device = "cpu"
    threads: int | None = None
    profile: str = ""

    @property
    def vectors(self) -> tuple[str, ...]:
        """The vectors, beside the weights, that have a number for each weight."""
        more = [AVERAGE] * (self.average is not None) + [GRADIENTS] * (self.parts > 1)
        return (*self.states.values(), *more)

    @property
    def states(self) -> dict[str, str]:
        """The optimiser's vectors, by what it calls them."""
        return {name: OURS + name for name in self.optimiser.states}


@dataclass(frozen=True)
class StepGraph:
    """The graph of a step for one shape of inputs.

    step, gather: serialised models; gather only adds to GRADIENTS. weights, statistics: layouts of the vectors. lost:
    by weight that stays as it is, the node that ends its gradient. masks: inputs of random factors. targets: inputs
    that the loss asks for. writes: by vector, the output with its next value. gradients: of each weight, by name.
    watched: the outputs with what is watched, by key.
    """

    tape: Tape
    step: bytes
    gather: bytes
    weights: Packing
    statistics: Packing
    lost: Mapping[str, str]
    masks: Mapping[str, tuple[Shape, float]]
    targets: Mapping[str, Shape]
    writes: Mapping[str, str]
    gradients: Mapping[str, str]
    watched: Mapping[str, str]


def step_graph(recipe: Recipe, feed: Arrays, size: int) -> StepGraph:
    """The step for batches like `feed`, of `size` samples. Raises ModelError where the model can't be trained so."""
    names = [value.name or "" for value in recipe.weights]
    tape = Tape(recipe.model, recipe.ends, names, feed, device=recipe.device, trains=recipe.trains)
    emit = tape.emit
    call, found, lost = backward(tape, recipe.loss, [end.name or "" for end in recipe.ends], size)
    weights = Packing({name: emit.shapes[name] for name in names if name in found})
    statistics = Packing({name: emit.shapes[name] for name in tape.state.updates})
    if not weights.shapes:
        raise _untrainable(names, lost)
    watched = {} if recipe.watch is None else dict(recipe.watch(tape, size))
    begun = len(emit.nodes)
    for vector, layout in ((WEIGHTS, weights), (STATISTICS, statistics)):
        emit.shapes[vector] = (layout.size,)
        if layout.shapes:
            layout.read(emit, vector)
    emit.nodes[:] = [*emit.nodes[begun:], *emit.nodes[:begun]]  # what reads the vectors comes first
    inputs, norm = _optimise(recipe, emit, weights.join(emit, found), weights)
    if statistics.shapes:
        following = statistics.join(emit, tape.state.updates)
        emit.named(following, NEXT + STATISTICS)
        spoilt = emit.reshaped(emit.total(emit("Mul", following, 0.0), [0]), ())  # not finite if one of them is not
        norm = emit("Add", norm, spoilt)
    emit.named(norm, NORM)
    given = [SHARES, *call.targets, *tape.state.masks, WEIGHTS, *[STATISTICS] * bool(statistics.shapes)]
    kept = [KEEP, GRADIENTS] if recipe.parts > 1 else []
    more = [*[NEXT + STATISTICS] * bool(statistics.shapes), *dict.fromkeys(watched.values())]
    vectors = [WEIGHTS, *recipe.states.values(), *[AVERAGE] * (recipe.average is not None)]
    step = tape.proto([*given, *inputs, *kept], [LOSS, NORM, *map(NEXT.__add__, vectors), *more])
    gather = tape.proto([*given, *kept], [LOSS, NORM, NEXT + GRADIENTS, *more]) if kept else None
    for proto in (step, gather) if gather is not None else (step,):
        for value in proto.graph.input:  # known shapes let onnxruntime plan its memory
            if value.name in tape.feed:
                for dim, length in zip(value.type.tensor_type.shape.dim, tape.feed[value.name].shape, strict=True):
                    dim.dim_value = length
    return StepGraph(
        tape, bytes(step.SerializeToString()), b"" if gather is None else bytes(gather.SerializeToString()),
        weights, statistics, lost, tape.state.masks, call.targets,
        {name: NEXT + name for name in [*vectors, *[STATISTICS] * bool(statistics.shapes)]}, found, watched,
    )  # fmt: skip


def backward(tape: Tape, loss: Loss, ends: Sequence[str], size: int) -> tuple[LossCall, dict[str, str], dict[str, str]]:
    """Emits the loss of `size` samples, as LOSS, and its gradients: what the loss asked for, and `Tape.gradients`."""
    emit, begun = tape.emit, len(tape.emit.nodes)
    call = LossCall(emit, ends, size)
    losses = loss(call)
    emit.shapes[SHARES] = (size,)
    emit.named(emit.reshaped(emit.total(emit("Mul", losses, SHARES), [0]), ()), LOSS)
    emit.shapes[LOSS] = ()
    tape.add(emit.nodes[begun:])
    return call, *tape.gradients({LOSS: emit.filled((), 1.0)})


def _optimise(recipe: Recipe, emit: Emitter, gradient: str, weights: Packing) -> tuple[list[str], str]:
    """Emits the next weights and states; the inputs that this needs, and the norm of the gradient."""
    optimiser, inputs = recipe.optimiser, [RATE]
    emit.shapes |= dict.fromkeys((*recipe.vectors, WEIGHTS), (weights.size,)) | {RATE: (), KEEP: ()}
    if recipe.parts > 1:
        gradient = emit("Add", gradient, emit("Mul", GRADIENTS, KEEP))
        emit.named(gradient, NEXT + GRADIENTS)
    norm = emit("Sqrt", emit.reshaped(emit.total(emit("Mul", gradient, gradient), [0]), ()))
    if recipe.clip is not None:
        most = emit("Div", recipe.clip, emit("Max", norm, recipe.clip))
        gradient = emit("Mul", gradient, most)
    decay = weights.numbers(emit, recipe.decays) if recipe.decays else 0.0
    if decay != 0.0 and not optimiser.decoupled:
        gradient = emit("Add", gradient, emit("Mul", WEIGHTS, decay))
    scale = weights.numbers(emit, recipe.scales) if recipe.scales else 1.0
    if scale != 1.0:
        gradient = emit("Mul", gradient, scale)

    def scalar(name: str) -> str:
        inputs.append(OURS + name)
        emit.shapes[OURS + name] = ()
        return OURS + name

    direction, states = optimiser.emit(OptimiserCall(emit, gradient, recipe.states, recipe.settings, scalar))
    if scale != 1.0:
        direction = emit("Mul", direction, scale)
    if decay != 0.0 and optimiser.decoupled:
        direction = emit("Add", direction, emit("Mul", WEIGHTS, decay))
    moved = emit("Sub", WEIGHTS, emit("Mul", direction, RATE))
    for name, value in {**{recipe.states[name]: value for name, value in states.items()}, WEIGHTS: moved}.items():
        emit.named(value, NEXT + name)
    if recipe.average is not None:
        old, new = emit("Mul", AVERAGE, recipe.average), emit("Mul", moved, 1 - recipe.average)
        emit.named(emit("Add", old, new), NEXT + AVERAGE)
        inputs.append(AVERAGE)
    return [*inputs, *recipe.states.values()], norm


def _untrainable(names: Sequence[str], lost: Mapping[str, str]) -> UntrainableError:
    if not names:
        return UntrainableError("nothing can be trained", why="no weight is chosen", fix="freeze less")
    ends = dict.fromkeys(lost[name] for name in names if name in lost)
    why = f"the gradient ends at {', '.join(list(ends)[:5])}" if ends else "no gradient reaches a weight"
    return UntrainableError("nothing can be trained", why=why, fix="choose outputs whose operators have gradients")
