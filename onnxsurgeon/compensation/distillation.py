"""All weights and biases of a cut network refined together, by gradient steps towards the outputs of the original.

This is distillation on samples without labels, not a closed form: Adam (Kingma and Ba 2015), whose steps are relative
to the size of each weight. Some samples are held out from the gradients. They choose how large the steps are and which
iterate is kept; the start is one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import ceil, cos, pi

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Arrays, FloatArray, IntArray, Mask
from onnxsurgeon.compensation.cut_layers import CutLayer, layers
from onnxsurgeon.compensation.layerwise import TOGETHER, Change, Targets, sequential
from onnxsurgeon.data import Batch, Mirrored
from onnxsurgeon.edit.apply import copied
from onnxsurgeon.errors import ModelError
from onnxsurgeon.runtime.partial_runs import Segment
from onnxsurgeon.runtime.session import Device, Session
from onnxsurgeon.training.differentiate import EXPECTED, backward
from onnxsurgeon.training.losses import relative, scored

HELD = 4  # every so many samples one is held out
STEP = 32  # samples that a gradient is of, at least
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)  # of a weight's root mean square: what it moves in one step, about
TRIAL = 4  # epochs that each rate is tried for
EPOCHS = 30
PATIENCE = 8  # epochs without a better iterate after which no more are made
DECAY = (0.9, 0.99)  # of the means of gradients and of their squares
TINY = 1e-12


@dataclass(frozen=True)
class SamplePool:
    """Samples one by one. feed, expected: arrays with one row a sample, by input and by output.

    size: of the batches that they came in. shapes: of the outputs of one such batch, which `original` gives. vary: what
    else samples could be.
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
        """All of them, in order; the last batch is filled up."""
        for at in range(0, len(self), self.size):
            chosen = np.arange(at, min(at + self.size, len(self)))
            yield Batch(self.fed(np.resize(chosen, self.size)), None, len(chosen), self.size)

    def fed(self, chosen: IntArray) -> Arrays:
        return {name: array[chosen] for name, array in self.feed.items()}

    def shown(self, chosen: IntArray, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
        """A batch of them, varied where they can be, and what the original makes of it."""
        feed = self.fed(chosen)
        if self.vary is None:
            return feed, {name: array[chosen].reshape(self.shapes[name]) for name, array in self.expected.items()}
        feed = self.vary(feed, rng)
        return feed, self.original.run(feed)

    def some(self, chosen: Mask) -> SamplePool:
        return replace(self, feed=_rows(self.feed, chosen), expected=_rows(self.expected, chosen))


def _rows(arrays: Arrays, chosen: Mask) -> Arrays:
    return {name: array[chosen] for name, array in arrays.items()}


def pooled(targets: Targets) -> SamplePool | None:
    """The samples and what the original makes of them; None where they can't be told apart.

    No more samples than memory is for are looked at.
    """
    piece = Segment(targets.labels.model, ends := scored(targets.labels.model), targets.device)
    names, pools, used = [end.name or "" for end in ends], list[SamplePool](), 0
    mirrored = targets.data if isinstance(targets.data, Mirrored) else None
    for batch in (mirrored.samples if mirrored else targets.data).batches():
        arrays = piece.run(batch.feed)
        whole = [array.shape[:1] == (batch.size,) for array in batch.feed.values()]
        if not names or not all(whole) or any((arrays[name].shape or (1,))[0] % batch.size for name in names):
            return None
        expected = {name: arrays[name].reshape(batch.size, -1)[: batch.count] for name in names}
        feed = {name: array[: batch.count] for name, array in batch.feed.items()}
        shapes, vary = {name: arrays[name].shape for name in names}, mirrored.drawn if mirrored else None
        pools.append(SamplePool(feed, expected, batch.size, shapes, piece, vary))
        used += sum(array.nbytes for array in [*feed.values(), *expected.values()])
        if used > targets.memory / 4:
            break
    if len({tuple(a.shape[1:] for a in [*pool.feed.values(), *pool.expected.values()]) for pool in pools}) != 1:
        return None
    return replace(pools[0], feed=_stacked([p.feed for p in pools]), expected=_stacked([p.expected for p in pools]))


def _stacked(parts: Sequence[Arrays]) -> Arrays:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


class Descent:
    """The network on samples that are seen, its weights as inputs and on their way.

    start: the weights that a gradient reaches, by name.
    """

    def __init__(self, seen: SamplePool, layers: Sequence[CutLayer], device: Device, seed: int) -> None:
        self.seen, self.rng, model = seen, np.random.default_rng(seed), layers[0].model
        named = [[value.name or "" for value in layer.values()] for layer in layers]
        weights = list(dict.fromkeys(value for layer in layers for value in layer.values()))
        ends = {end: self._factor(end.name or "") for end in scored(model)}
        self.ends = [end.name or "" for end in ends]
        try:
            made = backward(model, weights, ends, seen.fed(np.arange(seen.size) % len(seen)), device)
            self.model, self.forward = Session(made.model, device), Session(made.forward, device)
        except ModelError as problem:
            raise ModelError(
                "no gradients can be computed of this model", why=problem.why, fix="use --compensate sequential"
            ) from None
        self.gradients = made.gradients
        values = {weight.name or "": _array(weight) for weight in weights}
        self.start = {name: values[name] for name in made.gradients}
        self.fixed = {name: array for name, array in values.items() if name not in made.gradients}
        self.scales = _scales(named, self.start)

    def _factor(self, name: str) -> float:
        """What makes a squared error of one batch relative to the variance of the outputs; 0 where there is none."""
        spread = self.seen.expected[name].var(axis=0, dtype=np.float64).sum()
        return float(1 / (spread * self.seen.size)) if spread > 0 else 0.0

    def loss(self, weights: Arrays, held: SamplePool) -> float:
        """The squared error of the outputs beside their variance."""
        runs = [(self.forward.run({**b.feed, **self.fixed, **weights}), b) for b in held.batches()]
        found = _stacked([{n: a[n].reshape(b.size, -1)[: b.count] for n in self.ends} for a, b in runs])
        loss = relative([held.expected[name] for name in self.ends], [found[name] for name in self.ends])
        return loss if np.isfinite(loss) else np.inf

    def _slopes(self, weights: Arrays, chosen: IntArray) -> Arrays:
        """The gradient over some samples, as many as make whole batches."""
        total, seen = Arrays(), self.seen
        for part in chosen.reshape(-1, seen.size):
            feed, expected = seen.shown(part, self.rng)
            expected = {EXPECTED + name: expected[name] for name in self.ends}
            found = self.model.run({**feed, **expected, **self.fixed, **weights})
            for name, output in self.gradients.items():
                total[name] = total[name] + found[output] if name in total else found[output]
        return total

    def run(self, rate: float, epochs: int, total: int) -> Iterator[Arrays]:
        """The weights after each of the first epochs of `total`, over which the rate falls along a cosine."""
        adam = Adam(self.start, self.scales)
        stride = self.seen.size * ceil(STEP / self.seen.size)
        for epoch in range(epochs):
            order = np.resize(self.rng.permutation(len(self.seen)), max(stride, len(self.seen)))
            steps = len(order) // stride
            for step in range(steps):
                slopes = self._slopes(adam.weights, order[step * stride : (step + 1) * stride])
                adam.step(slopes, rate * (1 + cos(pi * (epoch + step / steps) / total)) / 2)
            yield dict(adam.weights)


class Adam:
    """Weights on their way. scales: by weight, what a rate is relative to."""

    def __init__(self, weights: Arrays, scales: Mapping[str, float]) -> None:
        self.weights, self.scales, self.steps = dict(weights), scales, 0
        self.mean = {name: np.zeros_like(array) for name, array in weights.items()}
        self.square = {name: np.zeros_like(array) for name, array in weights.items()}

    def step(self, slopes: Arrays, rate: float) -> None:
        self.steps += 1
        first, second = (1 - decay**self.steps for decay in DECAY)
        for name, slope in slopes.items():
            slope = slope * np.float32(self.scales[name])  # in units of the scale, so that TINY means the same to all
            self.mean[name] += (1 - DECAY[0]) * (slope - self.mean[name])
            self.square[name] += (1 - DECAY[1]) * (slope * slope - self.square[name])
            moved = self.mean[name] / first / (np.sqrt(self.square[name] / second) + TINY)
            self.weights[name] = self.weights[name] - np.float32(rate * self.scales[name]) * moved


def joint(
    targets: Targets, keep: Mask, model: ir.Model, *, seed: int = 0, progress: Callable[[str], None] | None = None
) -> list[Change]:
    """Fits `model`, which `keep` was cut out of, layer after layer (see `sequential`), and then all of it together.

    It is done twice: on a part of the samples, to learn from the others how far to go; and on all samples, so far.
    Where no gradient arrives, or none makes what is held out better, the model is as `sequential` makes it.
    """
    pool = pooled(targets)
    plan = None if pool is None else _rehearsed(targets, pool, keep, copied(model), seed, progress)
    changes = sequential(targets, keep, model, progress=progress)
    if pool is None or plan is None or plan.epochs == 0:
        return changes
    if progress:
        progress(f"all together, {plan.epochs} epochs")
    descent = Descent(pool, list(layers(targets.labels, keep, model)), targets.device, seed)
    *_, found = descent.run(plan.rate, plan.epochs, EPOCHS)
    for name, array in found.items():
        model.graph.initializers[name].const_value = ir.Tensor(array, name=name)
    return [*changes, Change(TOGETHER, plan.before, plan.after)]


@dataclass(frozen=True)
class Plan:
    """How far to go. before, after: the loss of what was held out."""

    rate: float
    epochs: int
    before: float
    after: float


def _rehearsed(
    targets: Targets, pool: SamplePool, keep: Mask, model: ir.Model, seed: int, progress: Callable[[str], None] | None
) -> Plan | None:
    block = min(pool.size * ceil(STEP / pool.size), len(pool) // HELD)
    if block == 0:
        return None
    out = np.arange(len(pool)) // block % HELD == HELD - 1  # neighbours, which may be alike, stay together
    seen, held = pool.some(~out), pool.some(out)
    part = Targets(targets.labels, seen, memory=targets.memory, device=targets.device, seed=seed)
    sequential(part, keep, model)
    found = list(layers(targets.labels, keep, model))
    descent = Descent(seen, found, targets.device, seed) if found else None
    if descent is None or not descent.start:
        return None
    rate = _rate(descent, held)
    before = descent.loss(descent.start, held)
    best, epochs = before, 0
    for epoch, weights in enumerate(descent.run(rate, EPOCHS, EPOCHS), 1):
        loss = descent.loss(weights, held)
        if progress:
            progress(f"rehearsal, epoch {epoch}: the outputs held out are {loss:.3g} wrong")
        best, epochs = (loss, epoch) if loss < best else (best, epochs)
        if epoch - epochs >= PATIENCE:
            break
    return Plan(rate, epochs, before, best)


def _rate(descent: Descent, held: SamplePool) -> float:
    """Of RATES, from the middle on: the one whose neighbours lose more after a short run."""

    @cache
    def lost(at: int) -> float:
        *_, weights = descent.run(RATES[at], TRIAL, TRIAL)
        return descent.loss(weights, held)

    at = len(RATES) // 2
    for way in (-1, 1):
        while 0 <= at + way < len(RATES) and lost(at + way) < lost(at):
            at += way
    return RATES[at]


def _array(value: ir.Value) -> FloatArray:
    assert value.const_value is not None
    return np.asarray(value.const_value.numpy(), np.float32)


def _scales(named: Sequence[Sequence[str]], start: Arrays) -> dict[str, float]:
    """The root mean square of each weight; a bias counts as large as the weight of its layer at least."""
    scales = dict[str, float]()
    for names in named:
        size = 0.0
        for name in (name for name in names if name in start):
            size = max(size, float(np.sqrt(np.mean(start[name] ** 2, dtype=np.float64))))
            scales[name] = size
    return scales
