"""Compares two model files: inputs, outputs, and what they compute."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from onnxsurgeon.arrays import Arrays, Shape
from onnxsurgeon.dependency.labels import label
from onnxsurgeon.errors import ModelError, ProofError
from onnxsurgeon.model.model import Source, load, on_disk
from onnxsurgeon.notebook import Shown
from onnxsurgeon.options.record import takes
from onnxsurgeon.options.shared import ValidateOptions
from onnxsurgeon.proof.comparison import Tolerance, compare, tolerance
from onnxsurgeon.runtime.random_inputs import random_inputs
from onnxsurgeon.runtime.session import Session


@dataclass(frozen=True)
class Output:
    """One output in both models: its shapes in the first run, and the largest difference over all runs.

    error: relative to the scale of the element. margin: in units of the tolerance; at most 1 passes. note: any
    other difference, in words.
    """

    name: str
    before: Shape | None
    after: Shape | None
    error: float
    margin: float
    note: str = ""


@dataclass(frozen=True, repr=False)
class Validation(Shown):
    """The comparison of two models.

    differences: of names, types and declared shapes, in words. provider: the execution provider that ran the edited
    model. samples: number of input sets.
    """

    differences: tuple[str, ...]
    outputs: tuple[Output, ...]
    allowed: Tolerance
    provider: str
    samples: int
    shapes_only: bool

    @property
    def passed(self) -> bool:
        """Whether names, types and shapes agree and, unless `shapes_only`, values agree within the tolerance."""
        alike = all(o.before == o.after and o.before is not None for o in self.outputs)
        return not self.differences and alike and (self.shapes_only or all(o.margin <= 1.0 for o in self.outputs))

    def line(self) -> str:
        found = "passed" if self.passed else "failed"
        return f"{found}: {len(self.outputs)} outputs, {len(self.differences)} differences of their interfaces"

    def table(self) -> Iterator[Sequence[object]]:
        yield "output", "shape before", "shape after", "relative error", "note"
        yield from ((o.name, o.before, o.after, f"{o.error:.3g}", o.note) for o in self.outputs)
        yield from ((difference, "", "", "", "") for difference in self.differences)


@takes(ValidateOptions)
def validate(original: Source, edited: Source, options: ValidateOptions) -> Validation:
    """The comparison of two models on random inputs, at two sizes of the dynamic dims if the original takes both.

    With `shapes_only`, values may differ. Raises ModelError if one of the models can't run.
    """
    with on_disk(original) as first, on_disk(edited) as second:
        return _validate(first, second, options)


def _validate(original: Path, edited: Path, options: ValidateOptions) -> Validation:
    labels = label(load(original).ir, shapes=options.shapes)
    load(edited)  # gives a better reason than onnxruntime if the file is unsupported
    allowed = tolerance(labels, options.atol, options.rtol)
    first, second = Session(original, options.device), Session(edited, options.device)
    inputs = _interface("input", first.session.get_inputs(), second.session.get_inputs())
    differences = (*inputs, *_interface("output", first.session.get_outputs(), second.session.get_outputs()))
    if inputs:  # no inputs fit both models
        return Validation(differences, (), allowed, second.provider, 0, options.shapes_only)
    feeds = [random_inputs(labels, size, options.seed + k) for k, size in enumerate(labels.sizes)]
    same = all(a.shape == b.shape for a, b in zip(feeds[0].values(), feeds[1].values(), strict=True))
    runs = [_run(first, feeds[0], original)]
    if not same:
        try:
            runs.append(first.run(feeds[1]))
        except ModelError:  # the original refuses this size
            feeds = feeds[:1]
    others = [_run(second, feed, edited) for feed in feeds[: len(runs)]]
    outputs = [_output(name, runs, others, allowed) for name in runs[0]]
    if options.shapes_only:
        outputs = [replace(output, note="") if output.after is not None else output for output in outputs]
    return Validation(differences, tuple(outputs), allowed, second.provider, len(runs), options.shapes_only)


def require_same(found: Validation) -> None:
    """Raise ProofError if the models differ."""
    if found.passed:
        return
    lines = list(found.differences)
    for row in found.outputs:
        if row.before != row.after:
            lines.append(f"output {row.name} has shape {row.before} and {row.after}")
        elif row.margin > 1 and not found.shapes_only:
            lines.append(f"output {row.name} differs by {row.error:.3g} of its scale" + (row.note and f", {row.note}"))
    values = not found.differences and all(row.before == row.after for row in found.outputs)
    fix = "set `atol` and `rtol`, or use `shapes_only` if the values may differ, as after pruning"
    fix = fix if values else "compare models whose inputs and outputs are to be the same"
    raise ProofError("the models are not the same", why="\n".join(lines), fix=fix)


def _run(session: Session, feed: Arrays, path: str | os.PathLike[str]) -> Arrays:
    try:
        return session.run(feed)
    except ModelError as problem:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in feed.items())
        raise ModelError(
            f"onnxruntime can't run {path}",
            why=f"{problem.why}\ninputs: {shapes}",
            fix="state shapes that it accepts: `input_shape=name:1,3,224,224`",
        ) from None


def _interface(kind: str, before: Any, after: Any) -> list[str]:
    """Differences in names, types and declared shapes between two lists of onnxruntime's NodeArg, in words."""
    old, new = {v.name: v for v in before}, {v.name: v for v in after}
    lines = [f"{kind} {name} is missing from the edited model" for name in old if name not in new]
    lines += [f"{kind} {name} is new in the edited model" for name in new if name not in old]
    for name in old.keys() & new.keys():
        a, b = old[name], new[name]
        if a.type != b.type:
            lines.append(f"{kind} {name} has type {a.type} and {b.type}")
        if not _fits(a.shape, b.shape):
            lines.append(f"{kind} {name} has shape {a.shape} and {b.shape}")
    if not lines and list(old) != list(new):
        lines.append(f"{kind}s are in another order: {', '.join(old)} and {', '.join(new)}")
    return sorted(lines)


def _fits(a: list[Any], b: list[Any]) -> bool:
    """Whether two declared shapes are compatible: a dynamic dim matches any size."""
    pairs = zip(a, b, strict=False)
    return len(a) == len(b) and all(n == m for n, m in pairs if isinstance(n, int) and isinstance(m, int))


def _output(name: str, runs: list[Arrays], others: list[Arrays], allowed: Tolerance) -> Output:
    before = getattr(runs[0][name], "shape", ())
    if name not in others[0]:
        return Output(name, before, None, np.inf, np.inf, "missing")
    found = compare([{name: run[name]} for run in runs], [{name: run[name]} for run in others], allowed, "")
    note = found.worst.removeprefix(name).removeprefix(":").strip()
    return Output(name, before, getattr(others[0][name], "shape", ()), found.error, found.margin, note)
