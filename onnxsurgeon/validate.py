"""Running models in onnxruntime and comparing what they compute."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxsurgeon.edit import cut
from onnxsurgeon.errors import ModelError, ProofError
from onnxsurgeon.facts import Sizes
from onnxsurgeon.graph import Labels
from onnxsurgeon.neurons import Mask
from onnxsurgeon.ops.indexing import LOOKUPS
from onnxsurgeon.reference import fixed_size, numbers, perturbed, reference
from onnxsurgeon.samples import samples
from onnxsurgeon.session import Arrays, Device, Session
from onnxsurgeon.write import write

COARSE = {ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT4, ir.DataType.UINT4}
REWRITTEN = "the rewritten model, uncut,"
VISIBLE = 10.0  # a reference that moved from the original by less than this many tolerances shows too little


@dataclass(frozen=True)
class Tolerance:
    """Largest accepted difference: atol + rtol * the largest magnitude of the output."""

    atol: float
    rtol: float


@dataclass(frozen=True)
class Comparison:
    """error: largest difference over all outputs and samples, relative to the output's largest magnitude.

    margin: the same in units of the tolerance; 1 and less passes. provider: what really ran the edited model.
    samples: sets of inputs.
    """

    error: float
    margin: float
    provider: str
    samples: int
    worst: str = ""

    @property
    def passed(self) -> bool:
        return self.margin <= 1.0


@dataclass(frozen=True)
class Proof(Comparison):
    """moved: how far the reference lies from the original, relatively. perturbed: proven with tiny tensors made
    visible."""

    moved: float = 0.0
    perturbed: bool = False
    weak: bool = False  # even so, silencing hardly shows: the outputs can't tell a right cut from a wrong one


def tolerance(labels: Labels, atol: float | None, rtol: float | None) -> Tolerance:
    """The stated tolerance, or one for the least precise type in the graph."""
    dtypes = {ir.DataType(f.dtype) for f in labels.facts[0].values() if f.dtype}
    half = dtypes & {ir.DataType.FLOAT16, ir.DataType.BFLOAT16}
    default = 5e-2 if dtypes & COARSE else 2e-2 if half else 1e-3
    return Tolerance(1e-5 if atol is None else atol, default if rtol is None else rtol)


def random_inputs(labels: Labels, sizes: Sizes, seed: int, *, positive: bool = False) -> Arrays:
    """Inputs that respect types and dims: normal floats; indices below the tables that they look up; ones for masks.

    positive: floats above 0, for what takes logarithms or roots of them.
    """
    rng = np.random.default_rng(seed)
    feed = {}
    for value in labels.model.graph.inputs:
        if value.is_initializer():
            continue
        fact = labels.evaluator.input_fact(value, sizes)
        if fact.shape is None or not fact.dtype:
            raise ModelError(
                f"input {value.name} is no tensor of known rank", why=f"its type is {value.type}", fix="use --no-proof"
            )
        dtype = ir.DataType(fact.dtype).numpy()
        if np.issubdtype(dtype, np.integer):
            limit = _index_limit(labels, value)
            feed[value.name or ""] = (rng.integers(0, limit, fact.shape) if limit else np.ones(fact.shape)).astype(
                dtype
            )
        elif dtype == np.bool_:
            feed[value.name or ""] = np.ones(fact.shape, np.bool_)
        else:
            drawn = rng.standard_normal(fact.shape)
            feed[value.name or ""] = (np.abs(drawn) + 0.1 if positive else drawn).astype(dtype)
    return feed


def _index_limit(labels: Labels, value: ir.Value, depth: int = 4) -> int:
    """The smallest table that `value` indexes, through a few vertices; 0 where it indexes none."""
    limits = []
    for use in value.uses():
        node = use.node
        table = LOOKUPS.get(node.op_type, {}).get(use.idx)
        looked_up = None if table is None else node.inputs[table]
        if looked_up is not None:
            shape = labels.evaluator.fact(looked_up, labels.facts[0]).shape
            if shape:
                limits.append(shape[int(labels.evaluator.attributes(node).get("axis") or 0)])
        elif depth and use.idx == 0:
            limits += [_index_limit(labels, out, depth - 1) for out in node.outputs]
    return min((n for n in limits if n), default=0)


def compare(expected: Sequence[Arrays], found: Sequence[Arrays], allowed: Tolerance, provider: str) -> Comparison:
    """The largest difference between two sets of outputs."""
    error, margin, worst = 0.0, 0.0, ""
    for a, b in zip(expected, found, strict=True):
        if list(a) != list(b):
            return Comparison(np.inf, np.inf, provider, len(expected), f"outputs {list(a)} and {list(b)}")
        for name in a:
            relative, tolerances, why = _difference(a[name], b[name], allowed)
            if tolerances > margin:
                worst = f"{name}{why}"
            error, margin = max(error, relative), max(margin, tolerances)
    return Comparison(error, margin, provider, len(expected), worst)


def _difference(a: Any, b: Any, allowed: Tolerance) -> tuple[float, float, str]:
    """The largest difference relative to the largest magnitude, and in tolerances."""
    if isinstance(a, list):
        pairs = [_difference(x, y, allowed) for x, y in zip(a, b, strict=False)]
        if len(a) != len(b):
            return np.inf, np.inf, f": {len(a)} and {len(b)} elements"
        return max((p[0] for p in pairs), default=0.0), max((p[1] for p in pairs), default=0.0), ""
    if isinstance(a, dict) or np.asarray(a).dtype.kind in "OUS":
        return (0.0, 0.0, "") if str(a) == str(b) else (np.inf, np.inf, ": values differ")
    if a.shape != b.shape:
        return np.inf, np.inf, f": shapes {a.shape} and {b.shape}"
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    unequal = ~((x == y) | (np.isnan(x) & np.isnan(y)))
    if not unequal.any():
        return 0.0, 0.0, ""
    scale = float(np.abs(x[np.isfinite(x)]).max(initial=0.0))
    gap = float(np.abs(x - y)[unequal].max())
    if not np.isfinite(gap):
        return np.inf, np.inf, ": NaN or infinity on one side"
    tolerances = _ratio(gap, allowed.atol + allowed.rtol * scale)
    if a.dtype in (np.int32, np.int64, np.bool_):  # positions and choices: a few may hang in the balance
        tolerances = min(tolerances, _ratio(float(unequal.mean()), allowed.rtol))
    return _ratio(gap, max(scale, allowed.atol)), tolerances, ""


def _ratio(a: float, b: float) -> float:
    return a / b if b else np.inf


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
    alike in both. Where the labelled model is a rewritten one, that must compute what the original does, too.
    Raises ModelError where the original itself does not run.
    """
    exact = not _quantised(labels)  # fused integer kernels round at other places: compare what the graph itself says
    run = partial(_outputs, device=device, optimise=exact)
    rewritten = labels.model is not labels.original
    with tempfile.TemporaryDirectory(prefix="onnxsurgeon-") as folder:
        made = partial(_made, run, Path(folder) / "model.onnx")
        feeds, before = _runnable(labels, keep, original, run, seed)
        if not keep.all() and not _numbers(before):
            raise ProofError(
                "nothing can be proven, and nothing was written",
                why="all that the original computes of random inputs is NaN or infinite",
                fix="use --no-proof, and compare the models on inputs of your own",
            )
        found = _expect(run, edited, feeds, "the pruned model")
        provider = Session(edited, device).provider
        expected = made(reference(labels, keep), feeds, "the reference")
        result, moved = compare(expected, found, allowed, provider), compare(before, expected, allowed, provider)
        results = [result]
        if rewritten:
            results.append(compare(before, made(labels.model, feeds, REWRITTEN), allowed, provider))
        weak = result.passed and not keep.all() and moved.margin < VISIBLE
        if weak:
            spared = numbers(labels)
            source = perturbed(labels.model, seed, spared)
            expected = made(reference(labels, keep, source), feeds, "the reference")
            found = made(cut(labels, keep, source), feeds, "the pruned model")
            results.append(compare(expected, found, allowed, provider))
            whole = made(source, feeds, REWRITTEN)
            moved = max(moved, compare(whole, expected, allowed, provider), key=lambda c: c.margin)
            if rewritten:
                before = made(perturbed(labels.original, seed, spared), feeds, "the original")
                results.append(compare(before, whole, allowed, provider))
        result = max(results, key=lambda c: c.margin)
    near = moved.margin < VISIBLE and moved.error <= 100 * result.error  # a wrong cut would be as far off as that
    shows_little = near and not keep.all()
    return Proof(result.error, result.margin, provider, len(feeds), result.worst, moved.error, weak, shows_little)


def _quantised(labels: Labels) -> bool:
    return bool({ir.DataType(f.dtype) for f in labels.facts[0].values() if f.dtype} & COARSE)


def _runnable(
    labels: Labels, keep: Mask, original: str | os.PathLike[str], run: Callable[..., list[Arrays]], seed: int
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
            results = run(original, feeds)
            if _numbers(results) == 1:
                return feeds, results
            above = [random_inputs(labels, size, seed + i, positive=True) for i, size in enumerate(sizes)]
            return max((feeds, results), (above, run(original, above)), key=lambda pair: _numbers(pair[1]))
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


def _outputs(path: str | os.PathLike[str], feeds: Sequence[Arrays], *, device: Device, optimise: bool) -> list[Arrays]:
    session = Session(path, device, optimise=optimise)
    return [session.run(feed) for feed in feeds]


def _made(
    run: Callable[..., list[Arrays]], path: Path, model: ir.Model, feeds: Sequence[Arrays], what: str
) -> list[Arrays]:
    """What a model that is written for the proof alone makes of the inputs."""
    write(model, path, overwrite=True)
    return _expect(run, path, feeds, what)


def _expect(
    run: Callable[..., list[Arrays]], path: Path | str | os.PathLike[str], feeds: Sequence[Arrays], what: str
) -> list[Arrays]:
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
            fix="report this model; --exclude vertices to narrow it down, or --rtol if the model is that sensitive",
        )
        error.proof = proof
        raise error


def require_sound(
    labels: Labels, bare: ir.Model, path: str | os.PathLike[str], *, device: Device = "auto", seed: int = 0
) -> None:
    """Raises ProofError unless the model at `path` runs, gives shapes as `bare` does, and numbers where that does."""
    with tempfile.TemporaryDirectory(prefix="onnxsurgeon-") as folder:
        run = partial(_outputs, device=device, optimise=True)
        feeds = [random_inputs(labels, labels.sizes[0], seed)]
        expected = _made(run, Path(folder) / "bare.onnx", bare, feeds, "the pruned model")[0]
        found = _expect(run, path, feeds, "the compensated model")[0]
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
