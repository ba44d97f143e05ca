"""What is known about a pruned model, in words: that the cut is right, how far the outputs moved, the accuracy."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from onnxsurgeon.data import Samples
from onnxsurgeon.dependency.costs import Budgets
from onnxsurgeon.dependency.interface import positions
from onnxsurgeon.errors import InfeasibleError, ModelError, UsageError
from onnxsurgeon.evaluation.movement import Movement, SampleKind, drawn, movement, some
from onnxsurgeon.options.record import option_of
from onnxsurgeon.pruning.options import PruneOptions
from onnxsurgeon.pruning.result import Result, Scored

if TYPE_CHECKING:
    from onnxsurgeon.proof.of_a_cut import Proof

MUCH = 0.1  # outputs that moved by more make an unknown accuracy a warning
MOST_NODES = 20_000  # that onnxruntime loads where nobody asked for it
UNPROVEN = "not proven"
WORTH: Mapping[SampleKind, tuple[str, str]] = {
    "data": ("samples of `data`", "they also chose and fitted the cut, so others may move a little more"),
    "synthetic": ("synthetic samples", "no substitute for real ones, but a sign"),
    "random": ("random inputs", "noise shows whether outputs moved, and says little about real samples"),
}


@dataclass(frozen=True)
class Verdict:
    """What is known about a pruned model.

    cut: whether it is proven that it computes what the original does without the dropped channels. outputs: how far
    they moved from the original's, on which samples, and what that is worth. accuracy: measured, or unknown. next: the
    command that tells more; empty if the accuracy is measured. moved: the outputs one by one; None if nothing was cut
    or they can't be compared. measured: whether the accuracy is. alarming: whether it is unknown and the outputs moved
    much. brief: the outputs or the accuracy in a few words.
    """

    cut: str
    outputs: str
    accuracy: str
    next: str
    moved: Movement | None
    measured: bool
    alarming: bool
    brief: str

    def __str__(self) -> str:
        lines = {"cut": self.cut, "outputs": self.outputs, "accuracy": self.accuracy, "next": self.next}
        return "\n".join(f"{word:8s} {text}" for word, text in lines.items() if text)


def compared(result: Result, data: Samples | None, options: PruneOptions) -> Result:
    """`result` with how far its outputs moved, on `data` or else on random inputs.

    Raises InfeasibleError if they moved by more than `max_moved`.
    """
    if result.unchanged or (_large(result) and data is None and not options.max_moved):
        return result  # a large model would have to run as a whole
    options.announce("compare", "the outputs of the original and the pruned model")
    batches = some(data) if data is not None else drawn(result.labels, options.seed)
    kind: SampleKind = "random" if data is None else "synthetic" if options.is_synthetic else "data"
    try:
        places = positions(result.labels, result.keep)
        moved = movement(result.source, result.model, batches, kind=kind, device=options.device, places=places)
    except (ModelError, UsageError):  # the original does not run on such inputs, or there is no room for a file
        if options.max_moved is not None:
            raise
        return result
    if options.max_moved is not None and moved is not None and moved.share > float(options.max_moved):
        raise InfeasibleError(
            f"the outputs moved by {moved.share:.3g}; nothing was written",
            why=f"`max_moved` allows {options.max_moved:g}; {_moved(moved)}",
            fix="cut less, give samples with `data`, or allow more",
        )  # fmt: skip
    return replace(result, moved=moved)


def verdict(result: Result, proof: Proof | None, unproven: str, output: str) -> Verdict:
    """The verdict on a result.

    proof: that of the written file, if there is one. unproven: why there is none. output: the file.
    """
    if result.unchanged:
        return Verdict("nothing was cut", "those of the original", "that of the original", "", None, True, False, "=")
    moved, score = result.moved, result.score
    measured = score is not None and not score.after.against
    accuracy = _scored(score, result.options) if score is not None else "unknown: no labels have been used"
    return Verdict(
        cut=_proven(result, proof, unproven),
        outputs=_moved(moved) if moved is not None else _unknown(result, proof),
        accuracy=accuracy,
        next="" if measured else _next(result, output),
        moved=moved,
        measured=measured,
        alarming=not measured and (moved is None or moved.share > MUCH),
        brief=_brief(moved, score if measured else None),
    )


def _proven(result: Result, proof: Proof | None, unproven: str) -> str:
    if proof is None:
        return f"{UNPROVEN}: {unproven}"
    if not proof.passed:
        return "failed: the file does not compute what the original does without the dropped channels"
    if result.rewritten:
        return "proven: it computes what the original does; nothing is dropped, but what follows from constants is one"
    fitted = ", before the weights were refitted" if result.ir is not result.bare else ""
    strength = "weakly proven (the outputs hardly depend on the dropped channels)" if proof.weak else "proven"
    return f"{strength}: it computes what the original does without the dropped channels{fitted}"


def _unknown(result: Result, proof: Proof | None) -> str:
    large = _large(result)
    if not large:
        return "unknown: none could be compared"
    moved = "" if proof is None else f"; by the proof, they moved by {proof.moved:.2g} of their scale on random inputs"
    return f"not compared: {large}{moved}"


def _large(result: Result) -> str:
    """Why a model does not run as a whole where nobody asked for it; empty if it may."""
    if result.source.bytes > result.options.whole:
        return "the file is larger than half of `memory`"
    nodes = len(result.source.ir.graph)
    return f"onnxruntime takes long to load {nodes:,} nodes" if nodes > MOST_NODES else ""


def _moved(moved: Movement) -> str:
    samples, worth = WORTH[moved.kind]
    worst = moved.worst
    on = f"{moved.samples:,} {samples}" + (f" ({worst.name})" if len(moved.outputs) > 1 else "")
    error = f"relative error {worst.error:.2g}"
    if worst.agreement is None:
        return f"{error} on {on} (0: none, 1: as far off as a constant); {worth}"
    return f"the top class changed for {_percent(1 - worst.agreement)} of {on}, {error}; {worth}"


def _scored(score: Scored, options: PruneOptions) -> str:
    before, after = score.before, score.after
    text = f"{after.metric} {before.value:.4g} -> {after.value:.4g} on {after.samples:,} samples"
    if after.against:
        return f"unknown: {text} compares with the original's outputs"
    fitted = options.criterion.needs != "nothing" or options.compensation.needs != "nothing"
    return text + ", which also chose and fitted the cut" * fitted


def _brief(moved: Movement | None, score: Scored | None) -> str:
    if score is not None:
        return f"{score.after.metric} {score.after.value - score.before.value:+.3g}"
    if moved is None:
        return "unknown"
    by_class = moved.worst.agreement is not None
    return (f"{_percent(moved.share)} of top classes" if by_class else f"error {moved.share:.2g}") + f" ({moved.kind})"


def _next(result: Result, output: str) -> str:
    """The command that tells more about the accuracy."""
    moved, source = result.moved, shlex.quote(str(result.source.path))
    classes = moved is not None and moved.classes
    if not result.options.has_real_data:
        data = "--data LABELLED_SAMPLES --metric top1" if classes else "--data SAMPLES --metric cosine"
        return f"onnxsurgeon prune {source} {_goal(result.options)} {data} -o {shlex.quote(output)} --overwrite"
    data = "--data LABELLED_SAMPLES" if classes else f"--data SAMPLES --metric cosine --against {source}"
    return f"onnxsurgeon evaluate {shlex.quote(output)} {data}"


def _goal(options: PruneOptions) -> str:
    """The budgets, as on the command line."""
    given = [(option_of(of).names(of.name), getattr(options, of.name), of.default) for of in fields(Budgets)]
    return " ".join(
        f"{name} {value:.12g}" if isinstance(value, float) else f"{name} {value}"
        for name, value, usual in given
        if value != usual
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
