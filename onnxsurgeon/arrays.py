"""Types of arrays, used throughout."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Ids = npt.NDArray[np.int64]  # neuron ids
Mask = npt.NDArray[np.bool_]
Shape = tuple[int, ...]
Arrays = dict[str, np.ndarray]  # by the name of an input or output


def is_float(array: Array) -> bool:
    """Whether it holds floats, of any size; bfloat16 is one, too."""
    return array.dtype.kind == "f" or array.dtype.name == "bfloat16"
