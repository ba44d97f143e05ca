"""Distillation: trains all weights and biases of a cut network on the outputs of the original.

Needs samples without labels. Uses Adam (Kingma and Ba 2015) with steps relative to the size of each weight. Held-out
samples choose the learning rate and the number of epochs, which may be 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from math import ceil, cos, pi

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Arrays, FloatArray, IntArray, Mask
from onnxsurgeon.compensation.cut_layers import CutLayer, layers
from onnxsurgeon.compensation.evidence import Evidence
from onnxsurgeon.compensation.layerwise import TOGETHER, Change, Targets, sequential
from onnxsurgeon.data import Batch, Mirrored, inputs_of
from onnxsurgeon.data.model_inputs import Expected
from onnxsurgeon.dependency.interface import Positions, positions, taken
from onnxsurgeon.errors import InfeasibleError, ModelError
from onnxsurgeon.model.editor import Editor, copied, set_tensor
from onnxsurgeon.options.shared import Counted
from onnxsurgeon.runtime.class_scores import changed_classes
from onnxsurgeon.runtime.meter import GRADIENT, meter
from onnxsurgeon.runtime.partial_runs import Segment
from onnxsurgeon.training.batch_size import bound_batch, fitting
from onnxsurgeon.training.ends import loss_values, relative_error
from onnxsurgeon.training.learning_rate import sizes
from onnxsurgeon.training.losses import squared_errors
from onnxsurgeon.training.optimisers import OPTIMISERS
from onnxsurgeon.training.step_graph import Recipe, UntrainableError
from onnxsurgeon.training.trainer import NotFiniteError, Part, Trainer

HELD_OUT = 4  # one in this many samples is held out
STEP = 32  # the least number of samples per gradient
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)  # learning rates, relative to the root mean square of a weight
TRIAL = 4  # epochs for which each rate is tried
EPOCHS = 30
PATIENCE = 8  # epochs without improvement before the search for the best epoch stops
ADAM = {"beta1": 0.9, "beta2": 0.99, "tiny": 1e-12}


@dataclass(frozen=True)
class SamplePool:
    """Samples and the original's outputs for them. feed, expected: arrays with one row per sample, by input and output.

    size: batch size. shapes: output shapes of one batch of `original`. vary: draws an augmented batch, if there is one.
    """

    feed: Arrays
    expected: Arrays
    size: int
    shapes: Mapping[str, tuple[int, ...]]
    original: Segment
    vary: Callable[[Arrays, np.random.Generator], Arrays] | None

    def __len__(self) -> int:
        return len(next(iter(self.expected.values())))

    def batches(self) -> Iterator[Batch]:
        """All samples in batches, in order; the last batch is padded."""
        for at in range(0, len(self), self.size):
            chosen = np.arange(at, min(at + self.size, len(self)))
            yield Batch(self.fed(np.resize(chosen, self.size)), None, len(chosen), self.size)

    def fed(self, chosen: IntArray) -> Arrays:
        return {name: array[chosen] for name, array in self.feed.items()}

    def draw(self, chosen: IntArray, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
        """A batch of samples, augmented if possible, and the original's outputs for it."""
        feed = self.fed(chosen)
        if self.vary is None:
            return feed, {name: array[chosen].reshape(self.shapes[name]) for name, array in self.expected.items()}
        feed = self.vary(feed, rng)
        return feed, self.original.run(feed, self.size)

    def some(self, chosen: Mask) -> SamplePool:
        return replace(self, feed=_rows(self.feed, chosen), expected=_rows(self.expected, chosen))

    def enlarged(self, targets: Targets, model: ir.Model, places: Mapping[str, Positions]) -> SamplePool:
        """The same in batches of up to STEP samples, as memory allows, where the original and the cut `model` state a
        batch size without need. Changes `model`, which computes the same."""
        original, states = copied(targets.labels.model), targets.labels.states
        if Expected(inputs_of(original)).size is None:
            return self
        ends, cut_ends = loss_values(original, states), loss_values(model, states)

        def cut_feed(rows: IntArray) -> Arrays:
            return taken(self.fed(rows), places)

        for net, values, feed in ((original, ends, self.fed), (model, cut_ends, cut_feed)):
            if bound_batch(net, values, feed, len(self), targets.device) is not None:
                return self
        with suppress(InfeasibleError):
            size = max(self.size, fitting(model, cut_ends, cut_feed(np.arange(1)), targets.memory, STEP))
            shapes = {name: (*(n // self.size * size for n in s[:1]), *s[1:]) for name, s in self.shapes.items()}
            return replace(self, size=size, shapes=shapes, original=Segment(original, ends, targets.device))
        return self


def _rows(arrays: Arrays, chosen: Mask) -> Arrays:
    return {name: array[chosen] for name, array in arrays.items()}


def pool_samples(targets: Targets) -> SamplePool | None:
    """The samples and the original's outputs for them; None if a batch can't be split into samples.

    Uses only as many samples as fit into memory.
    """
    ends = loss_values(targets.labels.model, targets.labels.states)
    piece = Segment(targets.labels.model, ends, targets.device)
    names, pools, used = [end.name or "" for end in ends], list[SamplePool](), 0
    mirrored = targets.data if isinstance(targets.data, Mirrored) else None
    for batch in (mirrored.samples if mirrored else targets.data).batches():
        arrays = piece.run(batch.feed, batch.size)
        whole = [array.shape[:1] == (batch.size,) for array in batch.feed.values()]
        if not names or not all(whole) or any((arrays[name].shape or (1,))[0] % batch.size for name in names):
            return None
        expected = {name: arrays[name].reshape(batch.size, -1)[: batch.count] for name in names}
        feed = {name: array[: batch.count] for name, array in batch.feed.items()}
        shapes, vary = {name: arrays[name].shape for name in names}, mirrored.augment if mirrored else None
        pools.append(SamplePool(feed, expected, batch.size, shapes, piece, vary))
        used += sum(array.nbytes for array in [*feed.values(), *expected.values()])
        if used > targets.memory / 4:
            break
    if len({tuple(a.shape[1:] for a in [*pool.feed.values(), *pool.expected.values()]) for pool in pools}) != 1:
        return None
    return replace(pools[0], feed=_stacked([p.feed for p in pools]), expected=_stacked([p.expected for p in pools]))


def _stacked(parts: Sequence[Arrays]) -> Arrays:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


class Training:
    """Training of the cut network on the samples `seen`, whose batches are enlarged where the network allows it.

    layers: those of a copy: what binds it to a batch size may change. start: the initial weights that a gradient
    reaches, by name.
    """

    def __init__(self, seen: SamplePool, layers: Sequence[CutLayer], targets: Targets, keep: Mask, seed: int) -> None:
        labels, device = targets.labels, targets.device
        self.rng, model, self.places = np.random.default_rng(seed), layers[0].editor.model, positions(labels, keep)
        self.seen = seen = seen.enlarged(targets, model, self.places)
        self.parts = ceil(STEP / seen.size)
        named = [[value.name or "" for value in layer.values()] for layer in layers]
        weights = list(dict.fromkeys(value for layer in layers for value in layer.values()))
        ends = loss_values(model, labels.states)
        self.ends = [end.name or "" for end in ends]
        recipe = Recipe(
            model, ends, weights, squared_errors([self._factor(name) for name in self.ends]), OPTIMISERS["adam"],
            ADAM, scales=sizes(named, {value.name or "": _array(value) for value in weights}), parts=self.parts,
            device=device,
        )  # fmt: skip
        self.trainer: Trainer | None = None
        self.start = Arrays()
        try:
            self.trainer = Trainer(recipe, self._part(np.arange(seen.size) % len(seen)))
            self.start = {name: self.trainer.initial[name] for name in self.trainer.layout.shapes}
        except UntrainableError:
            pass
        except ModelError as problem:
            raise ModelError(
                "can't compute gradients of this model", why=problem.why, fix="choose `compensate=sequential`"
            ) from None

    def _factor(self, name: str) -> float:
        """The factor that makes the squared error of a batch relative to the outputs' variance; 0 if that is 0."""
        spread = self.seen.expected[name].var(axis=0, dtype=np.float64).sum()
        return float(1 / (spread * self.seen.size)) if spread > 0 else 0.0

    def loss(self, weights: Arrays, held: SamplePool) -> float:
        """The squared error of the outputs on `held`, relative to their variance."""
        return self.judged(weights, held)[0]

    def judged(self, weights: Arrays, held: SamplePool) -> tuple[float, float]:
        """(squared error of the outputs on `held`, relative to their variance; share of samples whose top class
        changed, 0 for outputs that don't look like scores of classes)."""
        assert self.trainer is not None
        held = replace(held, size=self.seen.size, shapes=self.seen.shapes)
        meter().add(len(held))
        runs = [(self.trainer.predict(taken(b.feed, self.places), weights), b) for b in held.batches()]
        found = _stacked([{n: a[n].reshape(b.size, -1)[: b.count] for n in self.ends} for a, b in runs])
        loss = relative_error([held.expected[name] for name in self.ends], [found[name] for name in self.ends])
        shapes = {name: (-1, *held.shapes[name][1:]) for name in self.ends if held.shapes[name][:1] == (held.size,)}
        pairs = [(held.expected[name].reshape(shape), found[name].reshape(shape)) for name, shape in shapes.items()]
        changed = max((changed_classes(a, b) for a, b in pairs), default=0.0)
        return (loss, changed) if np.isfinite(loss) else (np.inf, 1.0)

    def _part(self, chosen: IntArray) -> Part:
        feed, expected = self.seen.draw(chosen, self.rng)
        targets = {name: expected[name] for name in self.ends}
        return Part(taken(feed, self.places), targets, np.ones(self.seen.size, np.float32))

    def run(self, rate: float, epochs: int, total: int) -> Iterator[Arrays]:
        """The weights after each of the first `epochs` of `total`, over which the rate falls along a cosine. Ends early
        where the loss is no longer finite."""
        assert self.trainer is not None
        self.trainer.start()
        stride = self.seen.size * self.parts
        for epoch in range(epochs):
            order = np.resize(self.rng.permutation(len(self.seen)), max(stride, len(self.seen)))
            steps = len(order) // stride
            for step in range(steps):
                chosen = order[step * stride : (step + 1) * stride].reshape(-1, self.seen.size)
                meter().add(stride, GRADIENT)
                falling = rate * (1 + cos(pi * (epoch + step / steps) / total)) / 2
                try:
                    self.trainer.step([self._part(part) for part in chosen], falling)
                except NotFiniteError:
                    yield self.trainer.weights()
                    return
            yield self.trainer.weights()


def distillation(evidence: Evidence, keep: Mask, model: ir.Model) -> list[Change]:
    """The compensation `distillation`."""
    said = partial(evidence.announce, "compensate")
    return distill(evidence.targets, keep, model, seed=evidence.seed, progress=said)


def distill(
    targets: Targets, keep: Mask, model: ir.Model, *, seed: int = 0, progress: Callable[[str], None] | None = None
) -> list[Change]:
    """Refit `model`, the original cut to `keep`, by `sequential`, then train it as a whole. Returns the changes.

    Runs twice: first on a part of the samples, where the others choose rate and epochs; then on all samples with these.
    The result is that of `sequential` if no gradient reaches a weight, or training doesn't improve held-out samples: if
    the error stays, or more of their top classes change.
    Raises ModelError if the gradient of an operator is unknown.
    """
    pool = pool_samples(targets)
    plan = None if pool is None else _make_plan(targets, pool, keep, copied(model), seed, progress)
    changes = sequential(targets, keep, model, progress=progress)
    if pool is None or plan is None or plan.epochs == 0:
        return changes
    if progress:
        progress(f"distillation, {plan.epochs} epochs")
    training = Training(pool, list(layers(targets.labels, keep, Editor(copied(model)))), targets, keep, seed)
    *_, weights = training.run(plan.rate, plan.epochs, EPOCHS)
    for name, array in weights.items():
        set_tensor(model.graph.initializers[name], ir.Tensor(array, name=name))
    return [*changes, Change(TOGETHER, plan.before, plan.after)]


@dataclass(frozen=True)
class Plan:
    """Learning rate and number of epochs. before, after: the loss on held-out samples."""

    rate: float
    epochs: int
    before: float
    after: float


def _make_plan(
    targets: Targets, pool: SamplePool, keep: Mask, model: ir.Model, seed: int, progress: Callable[[str], None] | None
) -> Plan | None:
    block = min(pool.size * ceil(STEP / pool.size), len(pool) // HELD_OUT)
    if block == 0:
        return None
    out = np.arange(len(pool)) // block % HELD_OUT == HELD_OUT - 1  # neighbours may be similar, so blocks stay whole
    seen, held = pool.some(~out), pool.some(out)
    part = Targets(targets.labels, seen, memory=targets.memory, device=targets.device, seed=seed)
    sequential(part, keep, model)
    found = list(layers(targets.labels, keep, Editor(model)))
    training = Training(seen, found, targets, keep, seed) if found else None
    if training is None or not training.start:
        return None
    rate = _rate(training, held)
    before, changed = training.judged(training.start, held)
    best, epochs = before, 0
    for epoch, weights in enumerate(training.run(rate, EPOCHS, EPOCHS), 1):
        loss, now = training.judged(weights, held)
        if progress:
            progress(Counted(epoch, EPOCHS, f"rehearsal: relative error {loss:.3g} on held-out samples"))
        best, epochs = (loss, epoch) if loss < best and now <= changed else (best, epochs)
        if epoch - epochs >= PATIENCE:
            break
    return Plan(rate, epochs, before, best)


def _rate(training: Training, held: SamplePool) -> float:
    """The best of RATES after a short run, found by descent from the middle."""

    @cache
    def lost(at: int) -> float:
        *_, weights = training.run(RATES[at], TRIAL, TRIAL)
        return training.loss(weights, held)

    at = len(RATES) // 2
    for way in (-1, 1):
        while 0 <= at + way < len(RATES) and lost(at + way) < lost(at):
            at += way
    return RATES[at]


def _array(value: ir.Value) -> FloatArray:
    assert value.const_value is not None
    return np.asarray(value.const_value.numpy(), np.float32)
