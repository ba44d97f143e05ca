"""Running models in onnxruntime and comparing what they compute."""

from __future__ import annotations

import ctypes
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Arrays, Mask
from onnxsurgeon.dependency.dynamic_dims import samples
from onnxsurgeon.dependency.facts import Sizes
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.edit.apply import cut
from onnxsurgeon.errors import ModelError, ProofError
from onnxsurgeon.model.read import release
from onnxsurgeon.model.write import write
from onnxsurgeon.proof.comparison import COARSE, Comparison, Tolerance, compare
from onnxsurgeon.proof.probes import inner, shown, taken
from onnxsurgeon.proof.reference import fixed_size, numbers, perturbed, reference
from onnxsurgeon.runtime.random_inputs import random_inputs
from onnxsurgeon.runtime.session import Device, Session

Ran = tuple[list[Arrays], str]  # the outputs, for each set of inputs, and the provider that computed them
REWRITTEN = "the rewritten model, uncut,"
VISIBLE = 10.0  # a reference that moved from the original by less than this many tolerances shows too little


@dataclass(frozen=True)
class Proof(Comparison):
    """moved: how far the reference lies from the original, relatively. perturbed: proven with tiny tensors made
    visible."""

    moved: float = 0.0
    perturbed: bool = False
    weak: bool = False  # even so, silencing hardly shows: the outputs can't tell a right cut from a wrong one


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
    """The surgery proof: the edited file computes what the original does when the dropped neurons contribute nothing.

    At both sizes of the dynamic dims. Where silencing hardly shows, it is done again with tiny tensors made visible,
    alike in both, and results of layers are compared, too. Where the labelled model is a rewritten one, that must
    compute what the original does, too.
    Raises ModelError where the original itself does not run.
    """
    exact = not _quantised(labels)  # fused integer kernels round at other places: compare what the graph itself says
    run = partial(outputs, labels, device=device, optimise=exact)
    rewritten = labels.model is not labels.original
    with tempfile.TemporaryDirectory(prefix="onnxsurgeon-") as folder:
        made = partial(_made, run, Path(folder) / "model.onnx")
        feeds, before = runnable(labels, keep, original, run, seed)
        if not keep.all() and not _numbers(before):
            raise ProofError(
                "nothing can be proven, and nothing was written",
                why="all that the original computes of random inputs is NaN or infinite",
                fix="use --no-proof, and compare the models on inputs of your own",
            )
        found, provider = _expect(run, edited, feeds, "the pruned model")
        if not exact:
            _expect(partial(run, optimise=True), edited, [], "the pruned model")  # its users' kernels are fused
        expected, _ = made(reference(labels, keep), feeds, "the reference")
        result, moved = compare(expected, found, allowed, provider), compare(before, expected, allowed, provider)
        results = [result]
        if rewritten:
            results.append(compare(before, made(labels.model, feeds, REWRITTEN)[0], allowed, provider))
        weak = result.passed and not keep.all() and moved.margin < VISIBLE
        if weak:
            spared, names = numbers(labels), inner(labels, keep)
            source = shown(perturbed(labels.model, seed, spared), names)
            expected = taken(made(reference(labels, keep, source), feeds, "the reference")[0], names)
            found, _ = made(cut(labels, keep, source), feeds, "the pruned model")
            results.append(compare(expected, found, allowed, provider))
            whole = taken(made(source, feeds, REWRITTEN)[0], names)
            moved = max(moved, compare(whole, expected, allowed, provider), key=lambda c: c.margin)
            if rewritten and not labels.rotated:
                before, _ = made(perturbed(labels.original, seed, spared), feeds, "the original")
                whole = [{name: arrays[name] for name in before[0]} for arrays in whole]
                results.append(compare(before, whole, allowed, provider))
        result = max(results, key=lambda c: c.margin)
    near = moved.margin < VISIBLE and moved.error <= 100 * result.error  # a wrong cut would be as far off as that
    shows_little = near and not keep.all()
    return Proof(result.error, result.margin, provider, len(feeds), result.worst, moved.error, weak, shows_little)


def _quantised(labels: Labels) -> bool:
    return bool({ir.DataType(f.dtype) for f in labels.facts[0].values() if f.dtype} & COARSE)


def runnable(
    labels: Labels, keep: Mask, original: str | os.PathLike[str], run: Callable[..., Ran], seed: int
) -> tuple[list[Arrays], list[Arrays]]:
    """Two sets of inputs that the original accepts, of different sizes where it has dynamic dims; and what it makes
    of them."""
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


def _numbers(results: Sequence[Arrays]) -> float:
    """The share of outputs that hold a number: where all are NaN or infinite, any two models agree."""
    floats = [a for arrays in results for a in arrays.values() if getattr(a, "dtype", np.dtype(object)).kind == "f"]
    return float(np.mean([a.size == 0 or bool(np.isfinite(a).any()) for a in floats])) if floats else 1.0


def outputs(
    labels: Labels, path: str | os.PathLike[str], feeds: Sequence[Arrays], *, device: Device, optimise: bool
) -> Ran:
    """What a model makes of the inputs. One session at a time holds the weights, and nothing else does."""
    release(labels.original)
    session = Session(path, device, optimise=optimise, lean=True)
    results, provider = [session.run(feed) for feed in feeds], session.provider
    del session
    with suppress(OSError, AttributeError, TypeError):  # glibc keeps what a session has freed
        ctypes.CDLL(None).malloc_trim(0)
    return results, provider


def _made(run: Callable[..., Ran], path: Path, model: ir.Model, feeds: Sequence[Arrays], what: str) -> Ran:
    """What a model that is written for the proof alone makes of the inputs; its weights are mapped from a file."""
    write(model, path, overwrite=True, external=True)
    return _expect(run, path, feeds, what)


def _expect(run: Callable[..., Ran], path: Path | str | os.PathLike[str], feeds: Sequence[Arrays], what: str) -> Ran:
    """What must run, since the original does."""
    try:
        return run(path, feeds)
    except ModelError as problem:
        raise ProofError(
            f"{what} does not run in onnxruntime; nothing was written", why=problem.why, fix="report this model"
        ) from None


def require(proof: Proof, allowed: Tolerance) -> None:
    """Raises ProofError where the proof failed."""
    if not proof.passed:
        error = ProofError(
            "the pruned model does not compute what it must; nothing was written",
            why=f"output {proof.worst} differs by {proof.error:.3g} of its magnitude, {allowed.rtol:g} is allowed",
            fix="report this model; --exclude nodes to narrow it down, or --rtol if the model is that sensitive",
        )
        error.proof = proof
        raise error


def require_sound(
    labels: Labels, bare: ir.Model, path: str | os.PathLike[str], *, device: Device = "auto", seed: int = 0
) -> None:
    """Raises ProofError unless the model at `path` runs, gives shapes as `bare` does, and numbers where that does."""
    with tempfile.TemporaryDirectory(prefix="onnxsurgeon-") as folder:
        run = partial(outputs, labels, device=device, optimise=True)
        feeds = [random_inputs(labels, labels.sizes[0], seed)]
        expected = _made(run, Path(folder) / "bare.onnx", bare, feeds, "the pruned model")[0][0]
        found = _expect(run, path, feeds, "the compensated model")[0][0]
    for name, before in expected.items():
        after = found.get(name)
        if not isinstance(before, np.ndarray):
            continue
        same = after is not None and after.shape == before.shape
        if not same or (before.dtype.kind == "f" and np.isfinite(before).all() > np.isfinite(np.asarray(after)).all()):
            raise ProofError(
                "the compensated model does not give what it must; nothing was written",
                why=f"output {name} has another shape, or holds NaN or infinity",
                fix="use --compensate none, and report this model",
            )
