"""Learning rates: a number, or a share of the size of each weight, like "1%".

Networks differ in the size of their weights by more than a factor of ten, and layers within one do, so that one number
trains some and destroys others: relative rates suit all of them, as in Adafactor (Shazeer and Stern 2018).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf
from typing import TYPE_CHECKING, Any

from onnxsurgeon.options.parsing import number

if TYPE_CHECKING:
    from onnxsurgeon.arrays import Arrays

RELATIVE = "1%"  # the default of optimisers whose steps don't grow with the gradient
UNKNOWN = 0.1  # the size of a weight of zeros
_positive = number('more than 0, like 0.001, or a share of each weight, like "1%"', lambda x: 0 < x < inf)


def learning_rate(value: Any, name: str) -> Any:
    """A positive number, or one in percent as text. Raises UsageError for others."""
    if isinstance(value, str) and value.strip().endswith("%"):
        return f"{_positive(value.strip()[:-1], name):g}%"
    return _positive(value, name)


def factor(value: float | str) -> float:
    """The number of a learning rate; of 1% that is 0.01."""
    return float(value[:-1]) / 100 if isinstance(value, str) else value


def written(rate: float, peak: float | str) -> str:
    """A rate as text, in percent if the highest one, `peak`, is."""
    return f"{100 * rate:.3g}%" if str(peak).endswith("%") else f"{rate:.3g}"


def sizes(groups: Iterable[Sequence[str]], start: Arrays) -> dict[str, float]:
    """The root mean square of each weight.

    groups: names of weights that are read together; a bias is as large as the weight before it, at least.
    """
    import numpy as np

    found = dict[str, float]()
    for names in groups:
        size = 0.0
        for name in (name for name in names if name in start):
            size = max(size, float(np.sqrt(np.mean(start[name] ** 2, dtype=np.float64))))
            found[name] = max(size, found.get(name, 0.0))
    return {name: size or UNKNOWN for name, size in found.items()}
