"""How far the outputs of a pruned model moved from the original's, on the samples at hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from onnxsurgeon.arrays import Array, Arrays
from onnxsurgeon.data import Batch, Samples
from onnxsurgeon.dependency.interface import Positions, taken
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.metrics.formulas import top1
from onnxsurgeon.model.model import Source, as_model
from onnxsurgeon.model.read import release
from onnxsurgeon.options.shared import Device
from onnxsurgeon.runtime.class_scores import like_classes
from onnxsurgeon.runtime.meter import meter
from onnxsurgeon.runtime.random_inputs import random_inputs
from onnxsurgeon.runtime.runnable_file import runnable_file
from onnxsurgeon.runtime.session import Session

SampleKind = Literal["data", "synthetic", "random"]
MOST_SAMPLES = 128  # samples that are compared, as far as batches allow
DRAWS = 8  # sets of random inputs, where there are no samples
MEMORY = 2**28  # bytes of outputs that are compared
FEW = 4  # samples that can show how much an output varies
TINY = 1e-12
CHOICES = (np.int32, np.int64, np.bool_)  # types of indices and decisions: a share of them differs


@dataclass(frozen=True)
class Moved:
    """One output. error: the root mean square of its change, relative to how it varies between samples: 1 is as far off
    as a constant. agreement: the share of samples whose top class stays; None if the output has no scores of classes,
    or the original gives all samples the same class."""

    name: str
    error: float
    agreement: float | None = None

    @property
    def share(self) -> float:
        """The share of samples whose top class changed, or else the error."""
        return self.error if self.agreement is None else 1 - self.agreement


@dataclass(frozen=True)
class Movement:
    """The outputs that could be compared. kind: where the samples come from. classes: whether an output looks like
    scores of classes."""

    outputs: tuple[Moved, ...]
    samples: int
    kind: SampleKind
    classes: bool = False

    @property
    def share(self) -> float:
        """That of the output that moved most."""
        return max(output.share for output in self.outputs)

    @property
    def worst(self) -> Moved:
        return max(self.outputs, key=lambda output: output.share)


def movement(
    before: Source, after: Source, batches: Iterable[Batch], *, kind: SampleKind, device: Device = "auto",
    places: Mapping[str, Positions] | None = None,
) -> Movement | None:  # fmt: skip
    """How far the outputs of `after` are from those of `before`; None if no output can be compared.

    places: the positions that stay of inputs and outputs that `after` has shortened.
    Raises ModelError if a model does not run on the samples.
    """
    feeds, expected, held = list[Batch](), list[Arrays](), 0
    with runnable_file(before) as path:
        release(as_model(before).ir)
        session = Session(path, device, lean=kind == "random")
        for batch in batches:
            feeds.append(batch)
            expected.append(taken(_numeric(session.run(batch.feed), batch), places or {}))
            held += sum(array.nbytes for array in expected[-1].values())
            if held > MEMORY:
                break
        del session  # only one model at a time is in memory
    with runnable_file(after) as path:
        session = Session(path, device, lean=kind == "random")
        found = [_numeric(session.run(taken(batch.feed, places or {})), batch) for batch in feeds]
    names = [name for name in expected[0] if all(name in arrays for arrays in (*expected, *found))]
    count = sum(batch.count for batch in feeds)
    meter().add(count, 2)  # both models
    compare = partial(_compared, samples=count)
    outputs = [compare(name, [a[name] for a in expected], [a[name] for a in found]) for name in names]
    known = [output for output, _ in outputs if output is not None]
    classes = any(is_class for _, is_class in outputs)
    return Movement(tuple(known), count, kind, classes) if known else None


def some(data: Samples) -> Iterator[Batch]:
    """About `MOST_SAMPLES` samples in whole batches, evenly spaced."""
    step = max(1, len(data) // MOST_SAMPLES)
    for number, batch in enumerate(data.batches()):
        if number % step == 0:
            yield batch


def drawn(labels: Labels, seed: int) -> Iterator[Batch]:
    """Batches of random inputs. Raises ModelError if an input can't be drawn."""
    batch = max((n for (_, axis), n in labels.sizes[0].items() if axis == 0), default=1)
    for draw in range(DRAWS):
        yield Batch(random_inputs(labels, labels.sizes[0], seed + draw), None, batch, batch)


def _numeric(outputs: Arrays, batch: Batch) -> Arrays:
    """The outputs that are arrays of numbers, without padding."""
    arrays = {name: a for name, a in outputs.items() if isinstance(a, np.ndarray) and a.dtype.kind in "fiub"}
    return {name: a[: batch.count] if a.shape[:1] == (batch.size,) else a for name, a in arrays.items()}


def _compared(name: str, expected: Sequence[Array], found: Sequence[Array], samples: int) -> tuple[Moved | None, bool]:
    """(the comparison of an output, None if there is nothing to compare; whether it looks like scores of classes)."""
    if [a.shape for a in expected] != [a.shape for a in found]:
        return Moved(name, np.inf), False
    if expected[0].dtype in CHOICES:
        pairs = list(zip(expected, found, strict=True))
        size = sum(a.size for a in expected)
        return (Moved(name, sum(int((a != b).sum()) for a, b in pairs) / size), False) if size else (None, False)
    whole, other = (_stacked(arrays) for arrays in (expected, found))
    error = _error(whole, other, samples)
    if error is None:
        return None, False
    classes = len(whole) == samples and like_classes(whole)
    varied = classes and len(np.unique(whole.reshape(samples, -1).argmax(axis=1))) > 1
    return Moved(name, error, top1([(other, whole)]) if varied else None), classes


def _stacked(arrays: Sequence[Array]) -> Array:
    """All samples of an output; flat where batches differ in more than their number of samples."""
    alike = arrays[0].ndim > 0 and len({a.shape[1:] for a in arrays}) == 1
    whole = np.concatenate(arrays) if alike else np.concatenate([a.ravel() for a in arrays])
    return np.asarray(whole, np.float64)


def _error(expected: Array, found: Array, samples: int) -> float | None:
    """The root mean square of the change, relative to the variation between samples, or to the size if samples are few
    or can't be told apart. Numbers that are not finite in `expected` don't count; None if there are no others."""
    known = np.isfinite(expected)
    if not known.any():
        return None
    if not np.isfinite(found[known]).all():
        return np.inf
    a, b = np.where(known, expected, 0.0), np.where(known, found, 0.0)
    spread = a - a.mean(axis=0) if len(a) == samples >= FEW else a
    change = float(np.square(a - b).sum())
    return float(np.sqrt(change / max(np.square(spread).sum(), TINY * max(np.square(a).sum(), TINY))))
