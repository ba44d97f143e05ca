"""What is trained on what: the model as it trains, its weights, its loss and its samples, checked together."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Array, Arrays, IntArray, Shape
from onnxsurgeon.data import STEP, Data, opened
from onnxsurgeon.errors import UsageError
from onnxsurgeon.model.editor import copied
from onnxsurgeon.model.model import Model, as_model
from onnxsurgeon.model.widening import widen
from onnxsurgeon.ops.nodes import constant
from onnxsurgeon.options.parsing import is_own
from onnxsurgeon.runtime.partial_runs import Segment, nodes_for
from onnxsurgeon.training.batch_size import bound_batch, fitting, reading
from onnxsurgeon.training.ends import logits, loss_values
from onnxsurgeon.training.judging import Judge
from onnxsurgeon.training.learning_rate import sizes
from onnxsurgeon.training.options import TrainOptions
from onnxsurgeon.training.own_loss import own_loss
from onnxsurgeon.training.step_graph import Loss, LossCall, Recipe, Watch
from onnxsurgeon.training.targets import TrainingTargets, class_axis, wide
from onnxsurgeon.training.trainable import Trainable, trainable
from onnxsurgeon.training.trainer import Part, Trainer
from onnxsurgeon.training.training_set import TrainingSet, of_batches, training_set
from onnxsurgeon.training.unfolding import Unfolded, unfold

FEW = 8  # samples in a batch whose statistics are not worth using
LARGEST = 256  # batch that is chosen by memory


@dataclass(frozen=True)
class TrainingTask:
    """size: samples in a batch. parts: batches whose gradients make one step. judge: scores the model. held_out:
    whether on samples that it isn't trained on."""

    trainer: Trainer
    samples: TrainingSet
    targets: TrainingTargets
    size: int
    parts: int
    judge: Judge
    held_out: bool
    unfolded: Sequence[Unfolded]
    casts: Mapping[str, Any]

    @property
    def stride(self) -> int:
        """Samples of a step."""
        return self.size * self.parts

    def batch(self, rows: IntArray) -> tuple[Arrays, Arrays]:
        """Inputs and targets of these samples, as the training takes them."""
        feed, labels = self.samples.take(rows)
        feed = wide(feed)
        return feed, self.targets.of(feed, labels, len(rows))

    def taught(self, feed: Arrays) -> Arrays | None:
        """What the teacher says to inputs that were changed; None without a teacher."""
        return None if self.targets.teacher is None else self.targets.of(feed, None, self.size)

    def folded(self, weights: Arrays) -> Arrays:
        """The weights of the original graph."""
        found, held = dict(weights), self.trainer.recipe.model.graph.initializers
        whole = {n: v.const_value.numpy() for n, v in held.items() if v.const_value is not None} | weights
        for norm in self.unfolded:
            found |= norm.folded(whole)
            for name in (norm.scale, norm.shift, norm.mean, norm.variance):
                found.pop(name, None)
        return found

    def narrow(self, feed: Arrays) -> Arrays:
        """Inputs in the types of the original graph."""
        return {name: array.astype(self.casts.get(name, array.dtype)) for name, array in feed.items()}


def task_of(source: Model, data: Any, options: TrainOptions, watch: Watch | None = None) -> TrainingTask:
    """The task that options and data state. data: as `train` takes it, or a `TrainingSet`. watch: what is computed from
    gradients, beside the step.

    Raises UsageError if they don't fit together or to the model, ModelError if nothing can be trained.
    """
    samples = data if isinstance(data, TrainingSet) else training_set(_opened(data, source, options))
    val = None if options.val is None else _opened(options.val, source, options)
    model = copied(source.ir)
    casts = {v.name or "": v.dtype.numpy() for v in model.graph.inputs if v.dtype == ir.DataType.FLOAT16}
    widen(model, ir.DataType.FLOAT16)
    ends, shown, names = _ends(model, options)
    teacher = None if options.teacher is None else _teacher(options, [v.name or "" for v in model.graph.inputs], names)
    computed = [(model, [*ends, *shown]), *([] if teacher is None else [teacher])]
    stated = _only_batch(samples, computed, options)
    one = wide(samples.take(np.arange(1))[0])
    if options.memory is not None and stated is None:
        size = fitting(model, ends, one, float(options.memory), min(LARGEST, len(samples)))
    else:
        size = min(_wanted(samples, options), len(samples))
    parts = options.accumulate
    if stated is not None:  # gradients of as many samples make a step, a batch after the other
        size, parts = stated, parts * ceil(size / stated)
    rows = np.resize(np.arange(len(samples)), size)
    feed, labels = samples.take(rows)
    feed = wide(feed)
    unfolded = []
    if options.unfold_bn:
        nodes, _ = nodes_for(model, ends)
        unfolded = unfold(model, nodes, (wide(batch.feed) for batch in samples.data.batches()), options.device)
    nodes, _ = nodes_for(model, ends)
    batch_statistics = options.norms == "batch" or (options.norms == "auto" and size >= FEW)
    chosen = trainable(nodes, freeze=options.freeze, batch_statistics=batch_statistics, dropout=options.dropout)
    decays = {v.name or "": options.weight_decay * ((v.name or "") in chosen.decays) for v in chosen.weights}
    found = Segment(model, ends, options.device).run(feed, size)
    shaped = [(end.name or "", np.asarray(found[end.name or ""]).shape) for end in ends]
    targets, settings = (
        _labelled(options, shaped, labels) if teacher is None else _taught(options, shaped, names, teacher, feed, size)
    )
    recipe = Recipe(
        model, ends, chosen.weights, _loss(options, settings, targets), options.how, options.settings, shown=shown,
        trains=chosen.trains, decays=decays if options.weight_decay else {}, clip=options.clip,
        scales=_sizes(chosen) if options.relative else {},
        average=None if options.ema is None else float(options.ema), parts=parts, device=options.device,
        threads=options.threads, watch=watch,
    )  # fmt: skip
    example = Part(feed, targets.of(feed, labels, size), np.full(size, 1 / size, np.float32))
    trainer = Trainer(recipe, example)
    judged = samples.data if val is None else val
    judged = judged if stated is None and judged.expected.size is None else replace(judged, step=size)
    judge = _judge(judged, shown, targets, options, held_out=val is not None)
    return TrainingTask(trainer, samples, targets, size, parts, judge, val is not None, unfolded, casts)


def _only_batch(
    samples: TrainingSet, computed: Sequence[tuple[ir.Model, list[ir.Value]]], options: TrainOptions
) -> int | None:
    """The batch size to which a model or its teacher is bound; None if they take any. Raises UsageError if it is not
    the same for both. computed: each model with its values that are needed; shapes that only state a batch are freed.
    """
    bound = set[int]()
    for model, values in computed:
        stated = bound_batch(model, values, lambda rows: wide(samples.take(rows)[0]), len(samples), options.device)
        bound |= set() if stated is None else {stated}
    if len(bound) > 1:
        raise UsageError(
            "the teacher states another batch size than the model", why=f"they take {sorted(bound)} samples at once",
            fix="export both for batches of any size, or of one",
        )  # fmt: skip
    return next(iter(bound), None)


def _sizes(chosen: Trainable) -> dict[str, float]:
    start = {v.name or "": tensor.numpy() for v in chosen.weights if (tensor := constant(v)) is not None}
    return sizes(chosen.groups, start)


def _opened(given: Any, source: Model, options: TrainOptions) -> Data:
    if isinstance(given, str | os.PathLike | Data):
        return opened(given, source.ir, reading(options, source.ir))
    return of_batches(given, source, samples=options.samples, batch=options.batch, seed=options.seed)


def _ends(model: ir.Model, options: TrainOptions) -> tuple[list[ir.Value], list[ir.Value], list[str]]:
    """(what the loss judges, the outputs, the names by which a teacher knows what the loss judges)."""
    outputs = {value.name or "": value for value in model.graph.outputs}
    if options.output_name is not None and options.output_name not in outputs:
        raise UsageError(
            f"the model has no output {options.output_name}", why=f"outputs: {', '.join(outputs)}",
            fix="choose one with `output_name`",
        )  # fmt: skip
    shown = [outputs[options.output_name]] if options.output_name else list(outputs.values())
    if options.record.labels == "teacher":
        inside = {v.name or "": v for node in model.graph for v in node.outputs}
        missing = [name for name in options.match if name not in inside]
        if missing:
            raise UsageError(f"`match` {missing[0]} is no value of the model", fix="see onnxsurgeon inspect --layers")
        ends = [end for value in shown for end in [logits(value)] if end in loss_values(model, {}) or end is value]
        return [*ends, *(inside[name] for name in options.match)], shown, [v.name or "" for v in shown]
    if len(shown) != 1:
        raise UsageError(
            "the model has several outputs", why=f"outputs: {', '.join(outputs)}",
            fix="choose one with `output_name`",
        )  # fmt: skip
    return [logits(shown[0]) if options.record.logits else shown[0]], shown, []


def _wanted(samples: TrainingSet, options: TrainOptions) -> int:
    """Samples in a batch: those of the data, unless it is the file that states them."""
    step = samples.data.step
    return options.batch or STEP if step == samples.data.expected.size else step


def _teacher(options: TrainOptions, inputs: Collection[str], outputs: list[str]) -> tuple[ir.Model, list[ir.Value]]:
    """The teacher, and what of it is imitated."""
    teacher = copied(as_model(options.teacher).ir)
    widen(teacher, ir.DataType.FLOAT16)
    known = {v.name or "": v for node in teacher.graph for v in node.outputs}
    missing = [name for name in (*outputs, *options.match) if name not in known]
    if missing:
        raise UsageError(
            f"the teacher has no value {missing[0]}", why=f"its outputs: {[v.name for v in teacher.graph.outputs]}",
            fix="choose another with `output_name` or `match`",
        )  # fmt: skip
    taught = [*(logits(known[name]) for name in outputs), *(known[name] for name in options.match)]
    strange = [v.name for v in nodes_for(teacher, taught)[1] if v.name not in inputs]
    if strange:
        raise UsageError(
            f"the teacher reads {strange[0]}, which the model doesn't", why=f"the model's inputs: {', '.join(inputs)}",
            fix="give a teacher with the same inputs",
        )  # fmt: skip
    return teacher, taught


def _taught(
    options: TrainOptions, ends: Sequence[tuple[str, Shape]], outputs: list[str],
    teacher: tuple[ir.Model, list[ir.Value]], feed: Arrays, size: int,
) -> tuple[TrainingTargets, dict[str, Any]]:  # fmt: skip
    """What the teacher says of the ends, whose shapes are given, and the numbers that the loss needs."""
    segment, taught = Segment(*teacher, options.device), [value.name or "" for value in teacher[1]]
    names, shapes = zip(*ends, strict=True)
    targets = TrainingTargets("teacher", names, shapes, 1, segment, taught)
    said = targets.of(feed, None, size)
    for end, shape in ends:
        if said[end].shape != shape:
            raise UsageError(
                "the teacher does not fit the model", why=f"{end} has the shape {shape}, the teacher's "
                f"{said[end].shape}", fix="choose other values to imitate",
            )  # fmt: skip
    squashed = {end for end, name in zip(names, [*outputs, *options.match], strict=True) if end != name}
    scores = {e for e, s in ends if e in squashed or (len(s) == 2 and s[1] > 1)}
    plain = [end for end in names if end not in scores or end in options.match]
    factors = {end: size / max(float(said[end].var(axis=0).sum() * len(said[end])), 1e-12) for end in plain}
    return targets, {"temperature": options.temperature, "factors": factors}


def _labelled(
    options: TrainOptions, ends: Sequence[tuple[str, Shape]], labels: Array | None
) -> tuple[TrainingTargets, dict[str, Any]]:
    """Labels as targets, and the numbers that the loss needs."""
    if labels is None:
        raise UsageError(
            f"`loss={options.loss}` needs labels", why="the data have none",
            fix="add an array `labels`, or train with `loss=distill` and a `teacher`",
        )  # fmt: skip
    names, shapes = zip(*ends, strict=True)
    axis = class_axis(labels, shapes[0])
    return TrainingTargets(options.record.labels, names, shapes, axis, None), {"class_axis": axis}


def _loss(options: TrainOptions, settings: Mapping[str, Any], targets: TrainingTargets) -> Loss:
    if is_own(options.loss):
        return own_loss(options.loss)
    made = options.record.emit
    assert made is not None

    def emitted(call: LossCall) -> str:
        return made(call, settings)

    return emitted


def _judge(
    data: Data, shown: Sequence[ir.Value], targets: TrainingTargets, options: TrainOptions, *, held_out: bool
) -> Judge:
    metric = options.metric or options.record.metric
    where = f"{len(data)} held-out samples" if held_out else f"the {len(data)} samples that it was trained on"
    teaches = targets.teacher is not None and (options.metric is None or not data.labelled)
    return Judge(data, metric, targets.ends[0] if teaches else shown[0].name or "", targets if teaches else None, where)
