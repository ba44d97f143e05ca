"""Synthetic samples for a labelled model: as many as a pass may cost, in the range that the file suggests.

A network remembers what it was trained on. Batch normalisations hold the mean and variance of their inputs. Where they
were folded into weights and biases, the biases of the first layer cancel the mean of its inputs, and are about as large
as the spread of its outputs. Logits spread by a few units, and differ from picture to picture. So the candidates are
tried on some pictures, and the one that agrees best is used.
"""

from __future__ import annotations

from dataclasses import replace
from math import log, prod

import numpy as np

from onnxsurgeon.arrays import Arrays, FloatArray, Shape
from onnxsurgeon.calibration.linear_layers import FitTarget, goals
from onnxsurgeon.compensation.norm_statistics import ChannelSums, Norm, norms
from onnxsurgeon.data import Data
from onnxsurgeon.data.made_samples import RANGES, Made, Range, draw, may_be_sign
from onnxsurgeon.data.model_inputs import Expected, inputs_of
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.errors import ModelError
from onnxsurgeon.ops.nodes import constant
from onnxsurgeon.options.shared import SYNTHETIC, Device
from onnxsurgeon.pruning.options import PruneOptions
from onnxsurgeon.runtime.partial_runs import Segment
from onnxsurgeon.runtime.random_inputs import index_limit
from onnxsurgeon.training.ends import loss_values

MOST, LEAST = 512, 8  # samples
MOST_ELEMENTS = 2**24  # of a tensor inside
WORK = 3e10  # MACs of a pass over all samples
STEP = 32
TRIED, PIXELS = 16, 2**19  # the most pictures, and pixels of them, on which ranges are compared
NORMS = 12  # the most normalisations that are asked
WORST = 4.0  # the most that one normalisation says against a range
BIAS, BIAS_SPREAD = 0.5, 1.2  # usual size of biases relative to the outputs, and the spread of its logarithm
LOGITS, LOGITS_SPREAD = 2.5, 0.8  # likewise, of the spread of logits
TOLD, TOLD_SPREAD = 0.7, 0.4  # likewise, of what differs between pictures in it: less where biases drown the pictures
CLEAR = 4.0  # the largest t-value that counts, of the correlation of biases with sums of weights


def samples_for(labels: Labels, options: PruneOptions) -> Data:
    """Synthetic samples for the original. Raises ModelError if it can't run on them, or not in little memory."""
    largest = max((prod(fact.shape) for fact in labels.facts[0].values() if fact.shape), default=0)
    if largest > MOST_ELEMENTS:
        raise ModelError("a tensor inside is too large to run synthetic samples", why=f"{largest:,} elements")
    inputs = inputs_of(labels.original, options.shapes)
    expected = Expected(inputs)
    count = options.samples or int(np.clip(WORK / _macs(labels), LEAST, MOST))
    step = expected.size or options.batch or STEP
    values = {value.name: value for value in labels.model.graph.inputs}
    facts = [labels.facts[0][values[wanted.name]] for wanted in inputs]
    bound = [f.shape[0] for w, f in zip(inputs, facts, strict=True) if w.name in expected.sampled and f.shape]
    follows = any(None in w.shape[1:] for w in inputs if w.name not in expected.sampled)
    if follows and bound:  # the batch is also another axis of an input, which is drawn once
        step = bound[0]
    count = step * max(1, count // step)

    def made(*, signs: bool) -> Made:
        drawn = []
        for wanted, fact in zip(inputs, facts, strict=True):
            shape, limit = fact.shape or (), index_limit(labels, values[wanted.name])
            alone = wanted.name not in expected.sampled
            own = draw(wanted, shape if alone else shape[1:], 1 if alone else count, limit, options.seed, signs=signs)
            drawn.append(replace(own, array=own.array[0]) if alone else own)
        return Made(tuple(drawn), expected, count)

    photographs = made(signs=False)
    data, pictures = Data(SYNTHETIC, expected, photographs, step), [d for d in photographs.inputs if d.range]
    if not pictures:
        Segment(labels.model, loss_values(labels.model, labels.states), options.device).run(next(data.batches()).feed)
        return data
    kinds = [photographs, made(signs=True)] if any(map(may_be_sign, pictures)) else [photographs]
    ranges = [RANGES["0 to 255"]] if pictures[0].input.dtype == np.uint8 else list(RANGES.values())
    agreement = Agreement(labels, options.device)
    pilot = data if expected.size else replace(data, step=min(step, max(1, PIXELS // pictures[0].array[0].size)))
    tried = [(kind.ranged(found), found) for kind in kinds for found in ranges]
    against = [agreement(replace(pilot, source=source), found) for source, found in tried]
    return replace(data, source=tried[int(np.argmin(against))][0])


def _macs(labels: Labels) -> float:
    """About the MACs of one sample."""
    total = 1.0
    for goal in goals(labels):
        call = goal.consumer.call
        shape = call.outputs[0].shape or (1,)
        positions = prod(shape) / max(1, shape[0] * goal.consumer.outputs.size)
        total += positions * prod(call.shape(goal.consumer.linear.weight) or ())
    return total


class Agreement:
    """Measures how much speaks against a range of pictures: about minus the logarithm of its likelihood."""

    def __init__(self, labels: Labels, device: Device) -> None:
        self.norms = list(norms(labels, ()))[:NORMS]
        self.first = next(iter(goals(labels)), None)
        facts = labels.facts[0]
        ends = loss_values(labels.model, labels.states)
        self.ends = [end for end in ends if end in facts and _scores(facts[end].shape)]
        values = [*(norm.data for norm in self.norms), *self.ends]
        if self.first is not None:
            values += [v for v in (self.first.consumer.node.inputs[self.first.consumer.linear.data],) if v is not None]
            values += [self.first.consumer.node.outputs[0]]
        self.values = [value for value in values if value.name]
        self.piece = Segment(labels.model, [*self.values, *loss_values(labels.model, labels.states)], device)

    def __call__(self, data: Data, tried: Range) -> float:
        arrays = self._run(data)
        if self.norms:
            return sum(_of_norm(norm, arrays[norm.data.name or ""]) for norm in self.norms) - log(tried.prior)
        against = -log(tried.prior)
        if self.first is not None:
            against += _of_first(self.first, arrays)
        for end in self.ends:
            found = arrays[end.name or ""]
            rows = found.reshape(len(found), -1)
            spread = float(rows.std(axis=1).mean())
            against += _far(spread, LOGITS, LOGITS_SPREAD) / len(self.ends)
            if len(rows) > 1:
                told = float(rows.std(axis=0).mean()) / (spread + 1e-12)
                against += _far(told, TOLD, TOLD_SPREAD) / len(self.ends)
        return against

    def _run(self, data: Data) -> Arrays:
        """The observed values on some samples."""
        runs, count = list[Arrays](), 0
        for batch in data.batches():
            found = self.piece.run(batch.feed)
            if not all(np.isfinite(found[value.name or ""]).all() for value in self.ends):
                raise ModelError("the model computes NaN or infinity from synthetic samples", fix="give real `data`")
            runs.append({value.name or "": found[value.name or ""] for value in self.values})
            count += batch.size
            if count >= TRIED or sum(a.size for a in batch.feed.values()) * len(runs) > PIXELS:
                break
        return {name: np.concatenate([run[name] for run in runs]) for name in runs[0]}


def _of_norm(norm: Norm, array: np.ndarray) -> float:
    """How far the means and variances of a normalisation's input are from those that it holds."""
    sums = ChannelSums()
    sums.add(array, 1.0)
    mean, variance = sums.moments
    held = [constant(norm.node.inputs[index]) for index in (norm.statistics.mean, norm.statistics.variance)]
    known_mean, known = (np.asarray(tensor.numpy(), np.float64) for tensor in held if tensor is not None)
    known = np.maximum(known, 1e-12)
    off = np.log1p((mean - known_mean) ** 2 / known) + np.log(np.sqrt(variance / known) + 1e-6) ** 2
    return float(np.minimum(off, WORST).mean())


def _of_first(goal: FitTarget, arrays: Arrays) -> float:
    """What the biases of the first layer say against the mean and the scale of its inputs."""
    layer = goal.consumer
    bias = _bias(goal)
    if bias is None or not bias.any():
        return 0.0
    matrix = layer.matrix()
    total, norm = matrix.sum(axis=1).ravel(), np.sqrt((matrix**2).sum(axis=1)).ravel() + 1e-12
    output = np.moveaxis(arrays[layer.output], layer.linear.channels, -1)
    spread = np.sqrt((output.reshape(-1, output.shape[-1]).astype(np.float64).std(axis=0) ** 2).mean())
    against = _far(np.sqrt((bias**2).mean()) / (spread + 1e-12), BIAS, BIAS_SPREAD)
    inputs = arrays[layer.data].astype(np.float64)
    r = float(np.corrcoef(bias / norm, total / norm)[0, 1]) if len(bias) > 2 else 0.0
    t = np.clip(np.nan_to_num(r) * np.sqrt(max(len(bias) - 2, 0) / max(1 - r * r, 1e-3)), -CLEAR, CLEAR)
    off_centre = inputs.mean() / (inputs.std() + 1e-12)  # a positive mean has biases that cancel sums of weights
    wrong = max(0.0, -t) if off_centre < 1 else max(0.0, t)
    return float(against + wrong**2 / 2)


def _scores(shape: Shape | None) -> bool:
    """Whether an output may be one score for each of several classes."""
    return shape is not None and len(shape) > 1 and 1 < max(shape[1:]) == prod(shape[1:])


def _bias(goal: FitTarget) -> FloatArray | None:
    """What a layer adds to its outputs, its own bias or a constant behind it, shape (outputs,); None without any."""
    layer = goal.consumer
    index = layer.linear.bias
    own = constant(layer.node.inputs[index]) if index is not None and index < len(layer.node.inputs) else None
    parts = [np.asarray(own.numpy(), np.float64).ravel()] if own is not None else []
    parts += [goal.shift.ravel()] if goal.shift is not None else []
    return np.sum(parts, axis=0) if parts and all(part.size == layer.outputs.size for part in parts) else None


def _far(found: float, usual: float, spread: float) -> float:
    """How much a number of another size than usual is worth, as minus the logarithm of a likelihood."""
    return 0.5 * (log(max(found, 1e-12) / usual) / spread) ** 2
