"""Random selections that satisfy all relations."""

from __future__ import annotations

import numpy as np

from onnxsurgeon.arrays import Mask
from onnxsurgeon.dependency.labels import Labels


def random_selection(labels: Labels, share: float, seed: int) -> Mask:
    """A selection without a random share of the free classes; each axis keeps a neuron."""
    rng = np.random.default_rng(seed)
    root, frozen = labels.classes.root, labels.classes.frozen
    dropped = (rng.random(len(root)) < share)[root] & ~frozen
    for table in (labels.axes.values(), labels.uses.values()):
        for axes in table:
            for axis in axes:
                if axis is not None and dropped[axis].all():
                    dropped[root == root[axis[0]]] = False
    return ~dropped
