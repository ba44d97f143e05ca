"""What a proof feeds the original: inputs that it accepts, of several sizes, and runs that carry its states on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Arrays, Mask
from onnxsurgeon.dependency.dynamic_dims import dynamic_dims, samples, sized
from onnxsurgeon.dependency.facts import Sizes
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.errors import ModelError, UsageError
from onnxsurgeon.ops.size_expressions import Size
from onnxsurgeon.options.shared import Device
from onnxsurgeon.proof.reference import fixed_size
from onnxsurgeon.runtime.random_inputs import random_inputs
from onnxsurgeon.runtime.session import Session

Outcome = tuple[list[Arrays], str]  # the outputs for each set of inputs, and the execution provider
LARGEST_LIMIT, MOST_LIMITS = 1024, 4  # of sizes that are clamped: what the proof looks at
Given = Mapping[str, Any]  # inputs by name
BFLOAT16 = ir.DataType.BFLOAT16.numpy()
STEPS = 3  # runs in a row with the states of the run before


def real_inputs(labels: Labels, given: Given) -> Arrays:
    """Given inputs in the types of the model. Raises UsageError if they are not the model's."""
    inputs = {v.name or "": v for v in labels.model.graph.inputs if not v.is_initializer()}
    if inputs.keys() != given.keys():
        raise UsageError(
            "`samples` are not the model's inputs", why=f"given: {', '.join(given)}; wanted: {', '.join(inputs)}",
            fix="give an array for each input, by its name",
        )  # fmt: skip
    types = {name: value.dtype.numpy() if value.dtype else None for name, value in inputs.items()}
    wide = {name: np.dtype(np.float32) if kind == BFLOAT16 else kind for name, kind in types.items()}
    return {name: np.asarray(given[name], wide[name]) for name in inputs}


def runnable(
    labels: Labels, keep: Mask, original: str | os.PathLike[str], run: Callable[..., Outcome], seed: int,
    given: Given | None = None,
) -> tuple[list[Arrays], list[Arrays]]:  # fmt: skip
    """(feeds, results): two sets of inputs that the original accepts, of different sizes if it has dynamic dims, and
    its outputs for them. given: real inputs in place of random ones. Raises ModelError if it accepts none."""
    if given is not None:
        feeds = [{**random_inputs(labels, labels.sizes[0], seed), **real_inputs(labels, given)}]
        return feeds, run(original, feeds)[0]
    if fixed_size(labels, keep):
        choices: list[tuple[Sizes, ...]] = [labels.sizes[:1]]
    else:
        others = [labels.fitting.samples(labels, sample) for sample in samples(labels.model, labels.given)]
        choices = [labels.sizes[::2], *(sizes[::2] for sizes in others), labels.sizes[:1] * 2]
    problem: ModelError | None = None
    for sizes in choices:
        try:
            feeds = [random_inputs(labels, size, seed + i) for i, size in enumerate(sizes)]
            results, _ = run(original, feeds)
            if numeric(results) == 1:
                return feeds, results
            above = [random_inputs(labels, size, seed + i, positive=True) for i, size in enumerate(sizes)]
            return max((feeds, results), (above, run(original, above)[0]), key=lambda pair: numeric(pair[1]))
        except ModelError as error:
            problem = problem or error
            if "load" in error.what:
                break
    assert problem is not None
    raise problem


def at_more_sizes(
    labels: Labels,
    original: str | os.PathLike[str],
    others: Sequence[Sizes],
    device: Device,
    seed: int,
    *,
    optimise: bool,
) -> list[tuple[Arrays, Arrays]]:
    """(inputs, outputs of the original) at unusual sizes that it accepts. others: more sizes to try."""
    chosen = [*unusual_sizes(labels), *others]
    found: list[tuple[Arrays, Arrays]] = []
    if chosen:
        session = Session(original, device, optimise=optimise, lean=True)
        for sizes in chosen:
            feed = random_inputs(labels, sizes, seed)
            with suppress(ModelError):
                found.append((feed, session.run(feed)))
    return found


def unusual_sizes(labels: Labels) -> Iterator[Sizes]:
    """Sizes of the dynamic dims that the user does not state, batch apart: 1, 2, 7, and those around the limits of what
    is clamped; changed to what nodes demand."""
    dims = [dim for dim in dynamic_dims(labels.model) if dim[0] not in labels.given]
    if all(kind == "batch" for _, _, _, kind in dims):
        return
    sizes: list[Any] = [n for fact in labels.facts[2].values() for n in fact.shape or ()]
    limits = {limit for n in sizes if isinstance(n, Size) for limit in n.limits() if 1 < limit <= LARGEST_LIMIT}
    near = [limit + step for limit in sorted(limits)[:MOST_LIMITS] for step in (-1, 0, 1)]
    for size in dict.fromkeys((1, 2, 7, *near)):
        wanted = sized(dims, {symbol: 1 if kind == "batch" else size for _, _, symbol, kind in dims})
        yield labels.fitting.at(labels, {**labels.sizes[0], **wanted})


def empty_caches(labels: Labels, feed: Arrays, outcome: Arrays) -> Iterator[Sizes]:
    """Sizes at which all caches are empty, as in the first run of all. A cache is a state that one run makes longer.

    feed, outcome: inputs of the original, and its outputs for them.
    """
    dims, growing = list(dynamic_dims(labels.model)), set[str]()
    for name, axis, symbol, _ in dims:
        if name in labels.states and outcome[labels.states[name]].shape[axis] > feed[name].shape[axis]:
            growing.add(symbol)
    if growing:
        sizes = {symbol: feed[name].shape[axis] for name, axis, symbol, _ in dims}
        yield sized(dims, sizes | dict.fromkeys(growing, 0))


def numeric(results: Sequence[Arrays]) -> float:
    """The share of outputs that contain a finite number. If all are NaN or infinite, any two models agree."""
    floats = [a for arrays in results for a in arrays.values() if getattr(a, "dtype", np.dtype(object)).kind == "f"]
    return float(np.mean([a.size == 0 or bool(np.isfinite(a).any()) for a in floats])) if floats else 1.0


def carried_on(
    labels: Labels, original: str | os.PathLike[str], feeds: Sequence[Arrays], before: Sequence[Arrays],
    device: Device, seed: int, *, optimise: bool,
) -> tuple[list[Arrays], list[Arrays], int]:  # fmt: skip
    """(feeds, outputs of the original, steps): each of `feeds` and of its outputs `before`, followed by those of the
    next runs.

    Feeds of the next runs lack the states, which are outputs of the run before. steps: how many runs follow each other,
    fewer than STEPS if the original does not accept its own states.
    """
    if not labels.states:
        return list(feeds), list(before), 1
    session, steps = Session(original, device, optimise=optimise, lean=True), STEPS
    longer, results = list[Arrays](), list[Arrays]()
    for feed, outcome in zip(feeds, before, strict=True):
        longer.append(feed)
        results.append(outcome)
        for step in range(1, STEPS):
            state = {begin: outcome[end] for begin, end in labels.states.items()}
            following = _following(labels, {**feed, **state}, seed + step)
            try:
                outcome = session.run({**following, **state})
            except ModelError:
                steps = min(steps, step)
                break
            longer.append(following)
            results.append(outcome)
    return longer, results, steps


def with_states(labels: Labels, feeds: Sequence[Arrays], before: Sequence[Arrays]) -> list[Arrays]:
    """`feeds`, each with the states that the original had then. before: the original's outputs."""
    given = [feeds[0]]
    for feed, outcome in zip(feeds[1:], before, strict=False):
        given.append({**{begin: outcome[end] for begin, end in labels.states.items()}, **feed})
    return given


def _following(labels: Labels, feed: Arrays, seed: int) -> Arrays:
    """New inputs besides the states, of the sizes in `feed`; dims that states share follow these."""
    dims = sorted(dynamic_dims(labels.model), key=lambda dim: dim[0] in labels.states)
    sizes = sized(dims, {symbol: feed[name].shape[axis] for name, axis, symbol, _ in dims})
    return {name: a for name, a in random_inputs(labels, sizes, seed).items() if name not in labels.states}
