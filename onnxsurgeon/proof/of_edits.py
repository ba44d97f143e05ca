"""The proof of a sequence of edits: each step is compared with the model before it, on the same inputs.

A resize is proven from both sides: the model before it with dropped neurons silenced must compute the same as the model
after it with new neurons silenced. (Copies are new neurons that are not silenced: they share the originals' work.) A
structural edit must run. If it claims to change nothing, its outputs must agree with those before. A part that is
taken out gets what its inputs are in the model before it, and must compute what its outputs are there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Arrays
from onnxsurgeon.dependency.labels import Labels, label
from onnxsurgeon.edit.growth import alters
from onnxsurgeon.edit.growth_check import placed
from onnxsurgeon.edit.step import Step
from onnxsurgeon.errors import ModelError, ProofError
from onnxsurgeon.files import drafts
from onnxsurgeon.model.editor import add_outputs, copied
from onnxsurgeon.model.write import write
from onnxsurgeon.neurons.selection import Selection
from onnxsurgeon.notebook import Shown
from onnxsurgeon.options.shared import Device
from onnxsurgeon.proof.comparison import Tolerance, compare, require, tolerance
from onnxsurgeon.proof.feeds import Given, runnable
from onnxsurgeon.proof.of_a_cut import outputs as outputs_of
from onnxsurgeon.proof.reference import reference

UNCHANGED = 1e-5  # relative to its scale: the function is the same


@dataclass(frozen=True)
class Proven:
    """The proof of one step. error: relative error of the proof. change: relative change of the outputs.

    unchanged: whether the model still computes the same function, each slice of its outputs to 1e-5.
    """

    what: str
    error: float
    change: float
    unchanged: bool


@dataclass(frozen=True, repr=False)
class Proofs(Shown):
    """The proofs of all steps. provider: execution provider. samples: number of input sets. allowed: the tolerance."""

    steps: tuple[Proven, ...]
    provider: str
    samples: int
    allowed: Tolerance

    @property
    def error(self) -> float:
        return max((step.error for step in self.steps), default=0.0)

    @property
    def unchanged(self) -> bool:
        return all(step.unchanged for step in self.steps)

    def line(self) -> str:
        same = "the function is unchanged" if self.unchanged else "the outputs moved"
        return f"{len(self.steps)} step{'s' * (len(self.steps) != 1)}: error {self.error:.3g}, {same}"

    def table(self) -> Iterator[Sequence[object]]:
        yield "step", "error", "outputs moved by"
        yield from ((s.what, f"{s.error:.3g}", "0" if s.unchanged else f"{s.change:.3g}") for s in self.steps)


def prove(
    steps: Sequence[Step],
    *,
    device: Device = "auto",
    atol: float | None = None,
    rtol: float | None = None,
    seed: int = 0,
    samples: Given | None = None,
    progress: Callable[[str, str], None] = lambda stage, detail: None,
) -> Proofs:
    """The proofs of all steps. Raises ModelError if the first model does not run, ProofError if a step fails.

    The ProofError carries the proofs of the steps before the failed one.
    """
    first = steps[0]
    labels = first.labels or label(first.before, rewritten=False)
    allowed = tolerance(labels, atol, rtol)
    keep = np.ones(labels.relations.count, np.bool_) if first.selection is None else first.selection.keep
    with drafts() as folder:
        runner = _Runner(labels, Path(folder) / "model.onnx", device)
        write(first.before, runner.path, external=True)
        try:
            runner.feeds, before = runnable(labels, keep, runner.path, runner.run, seed, samples)
        except ModelError as problem:
            raise ModelError(
                "the model does not run in onnxruntime, even before the edit",
                why=problem.why.replace(str(runner.path), "it"),
                fix="give real inputs with `samples`, or use `proof=False`",
            ) from problem
        proven: list[Proven] = []
        try:
            for step in steps:
                progress("prove", step.what)
                if step.part:
                    before = _inside(step, runner)
                after = runner(step.after, step.what)
                proven.append(_prove(step, before, after, runner, allowed))
                before = after
        except ProofError as error:
            error.proof = Proofs(tuple(proven), runner.provider, len(runner.feeds), allowed)
            raise
    return Proofs(tuple(proven), runner.provider, len(runner.feeds), allowed)


class _Runner:
    """Runs models on one set of inputs."""

    def __init__(self, labels: Labels, path: Path, device: Device) -> None:
        self.path, self.provider, self.labels, self.device = path, "", labels, device
        self.feeds: list[Arrays] = []

    def run(self, path: Path, feeds: Sequence[Arrays]) -> tuple[list[Arrays], str]:
        return outputs_of(self.labels, path, feeds, device=self.device, optimise=False)

    def __call__(self, model: ir.Model, what: str) -> list[Arrays]:
        write(model, self.path, overwrite=True, external=True)
        try:
            results, self.provider = self.run(self.path, self.feeds)
            return results
        except ModelError as problem:
            raise ProofError(
                f"{what}: the model does not run in onnxruntime; nothing was written",
                why=problem.why,
                fix="report this model",
            ) from None


def _inside(step: Step, runner: _Runner) -> list[Arrays]:
    """What the outputs of a part are in the model that it is taken out of. The runner then feeds the part."""
    begins = [v.name or "" for v in step.after.graph.inputs if not v.is_initializer()]
    ends = [v.name or "" for v in step.after.graph.outputs]
    watched = copied(step.before)
    known = {v.name for v in (*watched.graph.inputs, *watched.graph.outputs)}
    made = {v.name: v for node in watched.graph for v in node.outputs}
    add_outputs(watched, [made[name] for name in dict.fromkeys([*begins, *ends]) if name not in known])
    results, feeds, states = runner(watched, step.what), list[Arrays](), runner.labels.states
    for number, (given, result) in enumerate(zip(runner.feeds, results, strict=True)):
        carried = {begin: results[number - 1][end] for begin, end in states.items() if begin not in given}
        feeds.append({name: {**carried, **given, **result}[name] for name in begins})
    runner.labels, runner.feeds = label(step.after, rewritten=False), feeds
    return [{name: result[name] for name in ends} for result in results]


def _prove(step: Step, before: list[Arrays], after: list[Arrays], runner: _Runner, allowed: Tolerance) -> Proven:
    if step.selection is None or step.labels is None:
        moved = compare(before, after, allowed, runner.provider)
        if step.same:
            require(moved, f"{step.what} changes what the model computes", allowed)
        return Proven(step.what, moved.error if step.same else 0.0, moved.error, step.same or moved.error <= UNCHANGED)
    labels, selection = step.labels, step.selection
    silent = after
    if selection.grows and (not step.growth.copies or alters(labels, selection)):
        grown, keep = placed(step)
        silent = runner(reference(grown, keep), f"{step.what} (new neurons silenced)")
    expected = before if selection.keep.all() else runner(reference(labels, selection.keep), "the reference")
    at_kept = partial(_at_kept, labels, selection)
    result = compare(at_kept(expected, old=True), at_kept(silent, old=False), allowed, runner.provider)
    require(result, f"{step.what}: the model does not compute what it should", allowed)
    moved = compare(at_kept(before, old=True), at_kept(after, old=False), allowed, runner.provider)
    return Proven(step.what, result.error, moved.error, moved.error <= max(UNCHANGED, result.error))


def _at_kept(labels: Labels, selection: Selection, results: Sequence[Arrays], *, old: bool) -> list[Arrays]:
    """The outputs, reduced to old neurons that stay. old: `results` are those of the model before, not after."""
    reduced: list[Arrays] = []
    for arrays in results:
        cut: dict[str, Any] = dict(arrays)
        for value in labels.model.graph.outputs:
            for axis, ids in enumerate(labels.axes.get(value, ())):
                positions = selection.positions(ids)
                if positions is not None:
                    stay = positions[positions >= 0] if old else np.flatnonzero(positions >= 0)
                    cut[value.name or ""] = np.take(cut[value.name or ""], stay, axis)
        reduced.append(cut)
    return reduced
