"""The proof of a cut: the pruned model against a reference made from the original, run in onnxruntime."""

from __future__ import annotations

import ctypes
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Arrays, Mask
from onnxsurgeon.dependency.dynamic_dims import dynamic_dims, samples
from onnxsurgeon.dependency.facts import Sizes
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.edit.apply import cut
from onnxsurgeon.errors import ModelError, ProofError
from onnxsurgeon.model.read import release
from onnxsurgeon.model.write import write
from onnxsurgeon.ops.size_expressions import Size
from onnxsurgeon.options.shared import Device
from onnxsurgeon.proof.comparison import COARSE, Comparison, Tolerance, compare
from onnxsurgeon.proof.probes import at_kept, inner_values, with_outputs
from onnxsurgeon.proof.reference import fixed_size, numbers, perturbed, reference
from onnxsurgeon.runtime.random_inputs import random_inputs
from onnxsurgeon.runtime.session import Session

Outcome = tuple[list[Arrays], str]  # the outputs for each set of inputs, and the execution provider
REWRITTEN = "the rewritten model, uncut,"
LARGEST_LIMIT, MOST_LIMITS = 1024, 4  # of sizes that are clamped: what the proof looks at
VISIBLE = 10.0  # in tolerances: a reference that differs less from the original is too insensitive to prove much


@dataclass(frozen=True)
class Proof(Comparison):
    """moved: relative difference between reference and original. perturbed: proven again with small tensors enlarged.

    weak: even so, silencing hardly changes the outputs, so they can't tell a right cut from a wrong one.
    """

    moved: float = 0.0
    perturbed: bool = False
    weak: bool = False


def prove(
    labels: Labels,
    keep: Mask,
    original: str | os.PathLike[str],
    edited: str | os.PathLike[str],
    *,
    allowed: Tolerance,
    device: Device = "auto",
    seed: int = 0,
) -> Proof:
    """The surgery proof: the edited file computes what the original does if the dropped neurons contribute nothing.

    Runs at two sizes of the dynamic dims, and at small, odd and clamped ones that the original accepts. If silencing
    hardly changes the outputs, it runs again with small tensors enlarged in both models, and compares inner layers,
    too. A rewritten model must also agree with the original.
    Raises ModelError if the original does not run, ProofError if the pruned model or the reference does not.
    """
    exact = not _quantised(labels)  # fused integer kernels round differently: run the graph without fusing
    run = partial(outputs, labels, device=device, optimise=exact)
    rewritten = labels.model is not labels.original
    with tempfile.TemporaryDirectory(prefix="onnxsurgeon-") as folder:
        run_model = partial(_run_model, run, Path(folder) / "model.onnx")
        feeds, before = runnable(labels, keep, original, run, seed)
        if not fixed_size(labels, keep):
            for feed, outcome in _at_more_sizes(labels, original, device, seed, optimise=exact):
                feeds.append(feed)
                before.append(outcome)
        if not keep.all() and not _numbers(before):
            raise ProofError(
                "the cut can't be proven; nothing was written",
                why="all outputs of the original for random inputs are NaN or infinite",
                fix="use `proof=False`, and compare the models on your own inputs",
            )
        found, provider = _expect(run, edited, feeds, "the pruned model")
        if not exact:
            _expect(partial(run, optimise=True), edited, [], "the pruned model")  # users run it with fused kernels
        expected, _ = run_model(reference(labels, keep), feeds, "the reference")
        result, moved = compare(expected, found, allowed, provider), compare(before, expected, allowed, provider)
        results = [result]
        if rewritten:
            results.append(compare(before, run_model(labels.model, feeds, REWRITTEN)[0], allowed, provider))
        weak = result.passed and not keep.all() and moved.margin < VISIBLE
        if weak:
            spared, names = numbers(labels), inner_values(labels, keep)
            source = with_outputs(perturbed(labels.model, seed, spared), names)
            expected = at_kept(run_model(reference(labels, keep, source), feeds, "the reference")[0], names)
            found, _ = run_model(cut(labels, keep, source), feeds, "the pruned model")
            results.append(compare(expected, found, allowed, provider))
            whole = at_kept(run_model(source, feeds, REWRITTEN)[0], names)
            moved = max(moved, compare(whole, expected, allowed, provider), key=lambda c: c.margin)
            if rewritten and not labels.rotated:
                before, _ = run_model(perturbed(labels.original, seed, spared), feeds, "the original")
                whole = [{name: arrays[name] for name in before[0]} for arrays in whole]
                results.append(compare(before, whole, allowed, provider))
        result = max(results, key=lambda c: c.margin)
    near = moved.margin < VISIBLE and moved.error <= 100 * result.error  # a wrong cut may differ as little as this
    shows_little = near and not keep.all()
    return Proof(result.error, result.margin, provider, len(feeds), result.worst, moved.error, weak, shows_little)


def _quantised(labels: Labels) -> bool:
    return bool({ir.DataType(f.dtype) for f in labels.facts[0].values() if f.dtype} & COARSE)


def runnable(
    labels: Labels, keep: Mask, original: str | os.PathLike[str], run: Callable[..., Outcome], seed: int
) -> tuple[list[Arrays], list[Arrays]]:
    """(feeds, results): two sets of inputs that the original accepts, of different sizes if it has dynamic dims, and
    its outputs for them. Raises ModelError if it accepts none."""
    if fixed_size(labels, keep):
        choices: list[tuple[Sizes, ...]] = [labels.sizes[:1]]
    else:
        others = [sizes for sample in samples(labels.model, {}) for sizes in (sample[::2], sample[:2])]
        choices = [labels.sizes[::2], labels.sizes[:2], *others]
    problem: ModelError | None = None
    for sizes in choices:
        feeds = [random_inputs(labels, size, seed + i) for i, size in enumerate(sizes)]
        try:
            results, _ = run(original, feeds)
            if _numbers(results) == 1:
                return feeds, results
            above = [random_inputs(labels, size, seed + i, positive=True) for i, size in enumerate(sizes)]
            return max((feeds, results), (above, run(original, above)[0]), key=lambda pair: _numbers(pair[1]))
        except ModelError as error:
            problem = problem or error
            if "load" in error.what:
                break
    assert problem is not None
    raise problem


def _at_more_sizes(
    labels: Labels, original: str | os.PathLike[str], device: Device, seed: int, *, optimise: bool
) -> list[tuple[Arrays, Arrays]]:
    """(inputs, outputs of the original) at unusual sizes that it accepts."""
    chosen = list(unusual_sizes(labels))
    found: list[tuple[Arrays, Arrays]] = []
    if chosen:
        session = Session(original, device, optimise=optimise, lean=True)
        for sizes in chosen:
            feed = random_inputs(labels, sizes, seed)
            with suppress(ModelError):
                found.append((feed, session.run(feed)))
    return found


def unusual_sizes(labels: Labels) -> Iterator[Sizes]:
    """Sizes of the dynamic dims, batch apart: 1, 2, 7, and those around the limits of what is clamped."""
    dims = list(dynamic_dims(labels.model))
    if all(kind == "batch" for _, _, _, kind in dims):
        return
    sizes: list[Any] = [n for fact in labels.facts[2].values() for n in fact.shape or ()]
    limits = {limit for n in sizes if isinstance(n, Size) for limit in n.limits() if 1 < limit <= LARGEST_LIMIT}
    near = [limit + step for limit in sorted(limits)[:MOST_LIMITS] for step in (-1, 0, 1)]
    for size in dict.fromkeys((1, 2, 7, *near)):
        yield {(name, axis): 1 if kind == "batch" else size for name, axis, _, kind in dims}


def _numbers(results: Sequence[Arrays]) -> float:
    """The share of outputs that contain a finite number. If all are NaN or infinite, any two models agree."""
    floats = [a for arrays in results for a in arrays.values() if getattr(a, "dtype", np.dtype(object)).kind == "f"]
    return float(np.mean([a.size == 0 or bool(np.isfinite(a).any()) for a in floats])) if floats else 1.0


def outputs(
    labels: Labels, path: str | os.PathLike[str], feeds: Sequence[Arrays], *, device: Device, optimise: bool
) -> Outcome:
    """The outputs of a model for each set of inputs. Only one session at a time keeps the weights in memory."""
    release(labels.original)
    session = Session(path, device, optimise=optimise, lean=True)
    results, provider = [session.run(feed) for feed in feeds], session.provider
    del session
    with suppress(OSError, AttributeError, TypeError):  # glibc keeps memory that a session has freed
        ctypes.CDLL(None).malloc_trim(0)
    return results, provider


def _run_model(run: Callable[..., Outcome], path: Path, model: ir.Model, feeds: Sequence[Arrays], what: str) -> Outcome:
    """The outputs of an in-memory model, which is written to `path` first so that its weights are memory-mapped."""
    write(model, path, overwrite=True, external=True)
    return _expect(run, path, feeds, what)


def _expect(
    run: Callable[..., Outcome], path: Path | str | os.PathLike[str], feeds: Sequence[Arrays], what: str
) -> Outcome:
    """The outputs of a model. Raises ProofError if it does not run, because the original does."""
    try:
        return run(path, feeds)
    except ModelError as problem:
        raise ProofError(
            f"{what} does not run in onnxruntime; nothing was written", why=problem.why, fix="report this model"
        ) from None


def require_sound(
    labels: Labels, bare: ir.Model, path: str | os.PathLike[str], *, device: Device = "auto", seed: int = 0
) -> None:
    """Raise ProofError unless the compensated model at `path` runs and has the output shapes of `bare`, the model
    before compensation, and finite outputs wherever `bare` has."""
    with tempfile.TemporaryDirectory(prefix="onnxsurgeon-") as folder:
        run = partial(outputs, labels, device=device, optimise=True)
        feeds = [random_inputs(labels, labels.sizes[0], seed)]
        expected = _run_model(run, Path(folder) / "bare.onnx", bare, feeds, "the pruned model")[0][0]
        found = _expect(run, path, feeds, "the compensated model")[0][0]
    for name, before in expected.items():
        after = found.get(name)
        if not isinstance(before, np.ndarray):
            continue
        same = after is not None and after.shape == before.shape
        if not same or (before.dtype.kind == "f" and np.isfinite(before).all() > np.isfinite(np.asarray(after)).all()):
            raise ProofError(
                "the compensated model has wrong outputs; nothing was written",
                why=f"output {name} has another shape, or contains NaN or infinity",
                fix="use `compensate=none`, and report this model",
            )
