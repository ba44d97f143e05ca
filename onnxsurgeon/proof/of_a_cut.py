"""The proof of a cut: the pruned model against a reference made from the original, run in onnxruntime."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Arrays, Mask
from onnxsurgeon.dependency.interface import positions, taken
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.edit.apply import cut
from onnxsurgeon.errors import ModelError, ProofError
from onnxsurgeon.files import drafts
from onnxsurgeon.model.read import read, release
from onnxsurgeon.model.write import size, write
from onnxsurgeon.options.shared import Device
from onnxsurgeon.proof.comparison import COARSE, Comparison, Tolerance, compare, does_not_run
from onnxsurgeon.proof.feeds import (
    Given,
    Outcome,
    at_more_sizes,
    carried_on,
    empty_caches,
    numeric,
    runnable,
    with_states,
)
from onnxsurgeon.proof.in_stages import compare_in_stages
from onnxsurgeon.proof.layers import SLACK, Layers
from onnxsurgeon.proof.noise import Noise, noise
from onnxsurgeon.proof.parts import parts_of
from onnxsurgeon.proof.probes import at_kept, inner_values, with_outputs
from onnxsurgeon.proof.reference import fixed_size, numbers, perturbed, reference
from onnxsurgeon.runtime.random_inputs import random_inputs
from onnxsurgeon.runtime.session import Session, in_turn, trim

REWRITTEN = "the rewritten model, uncut,"
MEMORY = 2e9  # bytes
VISIBLE = 10.0  # in tolerances: a reference that differs less from the original is too insensitive to prove much


@dataclass(frozen=True)
class Proof(Comparison):
    """moved: relative difference between reference and original. perturbed: proven again with small tensors enlarged.

    weak: even so, silencing hardly changes the outputs, so they can't tell a right cut from a wrong one.
    steps: runs in a row with states carried on.
    layers: number of values inside that were compared as well, each computed from equal inputs.
    notes: what the proof does not cover, in words.
    """

    moved: float = 0.0
    perturbed: bool = False
    weak: bool = False
    steps: int = 1
    layers: int = 0
    notes: tuple[str, ...] = ()


def prove(
    labels: Labels,
    keep: Mask,
    original: str | os.PathLike[str],
    edited: str | os.PathLike[str],
    *,
    allowed: Tolerance,
    device: Device = "auto",
    seed: int = 0,
    memory: float = MEMORY,
    samples: Given | None = None,
) -> Proof:
    """The surgery proof: the edited file computes what the original does if the dropped neurons contribute nothing.

    Runs at two sizes of the dynamic dims, and at small, odd and clamped ones that the original accepts. States are
    carried on over several runs, and the cut model's must be what stays of the original's. At one size, layers are
    compared as well, each on equal inputs; where rounding alone moves the outputs as much as they differ, layers
    decide, at all sizes. If silencing hardly changes the outputs, it runs again with small tensors enlarged in both
    models, and compares inner layers, too. A rewritten model must also agree with the original. Models larger than half
    of `memory`, bytes, are compared layer by layer alone.
    samples: real inputs, in place of random ones at usual sizes.
    Raises ModelError if the original does not run, ProofError if the pruned model or the reference does not.
    """
    exact = not _quantised(labels)  # fused integer kernels round differently: run the graph without fusing
    random = noise(labels, keep)
    notes = random.parts.notes()
    if size(labels.original) > memory / 2:
        compare_stages = partial(
            compare_in_stages, memory=memory, device=device, seed=seed, samples=samples, optimise=exact
        )
        result, moved, before, count = compare_stages(labels, keep, edited, allowed, random)
        _require_numbers(keep, before)
        return _proof([result], moved, keep, layers=count, notes=notes)
    run = partial(outputs, labels, device=device, optimise=exact)
    rewritten = labels.model is not labels.original
    with drafts() as folder:
        run_model = partial(_run_model, run, Path(folder) / "model.onnx", random)
        if random.alters:
            write(random.recorded(labels.original), original := Path(folder) / "recorded.onnx", external=True)
        feeds, before = runnable(labels, keep, original, run, seed, samples)
        empty = list(empty_caches(labels, feeds[0], before[0]))
        feeds, before, steps = carried_on(labels, original, feeds, before, device, seed, optimise=exact)
        if not fixed_size(labels, keep):
            for feed, outcome in at_more_sizes(labels, original, empty, device, seed, optimise=exact):
                feeds.append(feed)
                before.append(outcome)
        if random.made:
            feeds = random.fed(feeds, before)
            before, _ = run_model(labels.original, feeds, "the original")
        places = {**positions(labels, keep), **random.places}
        short, at = [taken(feed, places) for feed in feeds], partial(at_kept, names=places)
        _require_numbers(keep, before)
        as_it_is = random.parts.whole
        found, provider = _expect(run, edited, short, "the pruned model") if as_it_is else ([], "")
        if random.alters:
            found, provider = run_model(read(edited), short, "the pruned model")
        if not exact and as_it_is:
            _expect(partial(run, optimise=True), edited, [], "the pruned model")  # users run it with fused kernels
        given = with_states(labels, feeds, before)
        by_layer = partial(Layers, labels, allowed=allowed, device=device, optimise=exact)
        pair = partial(by_layer, keep, random.replayed(reference(labels, keep)), random.replayed(read(edited)))
        layers = pair()
        expected, inside = layers.prove(feeds, 1 if exact else 0)
        moved = compare(at(before), at(expected), allowed, provider)
        result = settled(compare(at(expected), found, allowed, provider), pair, given)
        results = [result] if inside.passed else [result, inside]
        if rewritten:
            whole, _ = run_model(labels.model, feeds, REWRITTEN)
            same = partial(
                by_layer, np.ones_like(keep), random.replayed(labels.original), random.replayed(labels.model)
            )
            results.append(settled(compare(before, whole, allowed, provider), same, given))
        weak = result.passed and not keep.all() and moved.margin < VISIBLE
        if weak:
            spared, inner = numbers(labels), inner_values(labels, keep)
            source = with_outputs(perturbed(labels.model, seed, spared), inner)
            at = partial(at_kept, names={**inner, **places})
            expected = at(run_model(reference(labels, keep, source), feeds, "the reference")[0])
            found, _ = run_model(cut(labels, keep, source), short, "the pruned model")
            results.append(compare(expected, found, allowed, provider))
            whole, _ = run_model(source, feeds, REWRITTEN)
            moved = max(moved, compare(at(whole), expected, allowed, provider), key=lambda c: c.margin)
            if rewritten and not labels.rotated:
                before, _ = run_model(perturbed(labels.original, seed, spared), feeds, "the original")
                whole = [{name: arrays[name] for name in before[0]} for arrays in whole]
                results.append(compare(before, whole, allowed, provider))
    count = len(layers.points) if exact else 0
    return _proof(results, moved, keep, perturbed=weak, steps=steps, samples=len(feeds), layers=count, notes=notes)


def _proof(results: Sequence[Comparison], moved: Comparison, keep: Mask, **found: Any) -> Proof:
    result = max(results, key=lambda c: c.margin)
    near = moved.margin < VISIBLE and moved.error <= 100 * result.error  # a wrong cut may differ as little as this
    rounding = max(c.rounding for c in results)
    known = vars(result) | {"rounding": rounding, "moved": moved.error, "weak": near and not keep.all()}
    return Proof(**known | found)


def _require_numbers(keep: Mask, before: Sequence[Arrays]) -> None:
    if not keep.all() and not numeric(before):
        raise ProofError(
            "the cut can't be proven; nothing was written",
            why="all outputs of the original for random inputs are NaN or infinite",
            fix="use `proof=False`, and compare the models on your own inputs",
        )


def settled(result: Comparison, pair: Callable[..., Layers], feeds: list[Arrays]) -> Comparison:
    """`result`; where rounding alone moves the outputs as much, the comparison layer by layer of the pair of models."""
    if result.passed or not np.isfinite(result.error):
        return result
    stages = pair(memory=0.0)
    rounding = compare(stages.prove(feeds, 0)[0], stages.rounded(feeds), stages.allowed, result.provider)
    if SLACK * rounding.error < result.error:
        return result
    return replace(pair(dense=True).prove(feeds)[1], rounding=rounding.error)


def _quantised(labels: Labels) -> bool:
    return bool({ir.DataType(f.dtype) for f in labels.facts[0].values() if f.dtype} & COARSE)


def outputs(
    labels: Labels, path: str | os.PathLike[str], feeds: Sequence[Arrays], *, device: Device, optimise: bool
) -> Outcome:
    """The outputs of a model for each set of inputs. Only one session at a time keeps the weights in memory."""
    release(labels.original)
    session = Session(path, device, optimise=optimise, lean=True)
    results, provider = in_turn(session, feeds, labels.states), session.provider
    del session
    trim()
    return results, provider


def _run_model(
    run: Callable[..., Outcome], path: Path, random: Noise, model: ir.Model, feeds: Sequence[Arrays], what: str
) -> Outcome:
    """The outputs of an in-memory model, which is written to `path` first so that its weights are memory-mapped.

    random: its random nodes, which `feeds` replace, and the parts of it that can run.
    """
    write(random.replayed(model), path, overwrite=True, external=True)
    return _expect(run, path, feeds, what)


def _expect(
    run: Callable[..., Outcome], path: Path | str | os.PathLike[str], feeds: Sequence[Arrays], what: str
) -> Outcome:
    """The outputs of a model. Raises ProofError if it does not run, because the original does."""
    try:
        return run(path, feeds)
    except ModelError as problem:
        raise does_not_run(what, problem) from None


def require_sound(
    labels: Labels, keep: Mask, bare: ir.Model, path: str | os.PathLike[str], *, device: Device = "auto", seed: int = 0
) -> None:
    """Raise ProofError unless the compensated model at `path` runs and has the output shapes of `bare`, the model
    before compensation, and finite outputs wherever `bare` has."""
    with drafts() as folder:
        run = partial(outputs, labels, device=device, optimise=True)
        feeds = [taken(random_inputs(labels, labels.sizes[0], seed), positions(labels, keep))]
        run_model = partial(_run_model, run, Path(folder) / "model.onnx", Noise({}, {}, {}, parts := parts_of(labels)))
        expected = run_model(bare, feeds, "the pruned model")[0][0]
        if parts.whole:
            found = _expect(run, path, feeds, "the compensated model")[0][0]
        else:
            found = run_model(read(path), feeds, "the compensated model")[0][0]
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
