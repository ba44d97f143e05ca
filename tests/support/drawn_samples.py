"""Random samples for a model, in the form of calibration data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from onnxsurgeon.data import Batch


@dataclass(frozen=True)
class Drawn:
    """Normally distributed samples. padding: positions per batch that contain huge numbers instead of a sample."""

    name: str
    shape: tuple[int, ...]
    count: int
    step: int = 16
    padding: int = 0

    def __len__(self) -> int:
        return self.count

    def batches(self) -> Iterator[Batch]:
        rng = np.random.default_rng(0)
        for start in range(0, self.count, self.step):
            size = min(self.step, self.count - start)
            real = rng.standard_normal((size, *self.shape)).astype(np.float32)
            feed = np.concatenate([real, np.full((self.padding, *self.shape), 1e3, np.float32)])
            yield Batch({self.name: feed}, None, size, size + self.padding)
