"""What channels are worth, collected from the gradients of a training: no pass of its own."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Array, Arrays
from onnxsurgeon.dependency.labels import label
from onnxsurgeon.model.write import write_atomically
from onnxsurgeon.training.contributions import Average, by_node, channel_ends, completed, emitted, of_samples, summed
from onnxsurgeon.training.differentiate import Tape
from onnxsurgeon.training.options import TrainOptions

COUNT = " count"  # ends the name of how many samples an average is of


class Collection:
    """The averages of |activation * gradient| so far."""

    def __init__(self, model: ir.Model, options: TrainOptions) -> None:
        """model: as its file is, with its own names."""
        self.labels = label(model, shapes=options.shapes)
        self.ends, self.every = channel_ends(self.labels), options.every_nth
        self.average = Average(None if options.ewma is None else float(options.ewma))

    def watch(self, tape: Tape, size: int) -> dict[str, str]:
        """Emits the contributions of channels for `size` samples, as `emitted`."""
        return emitted(tape, self.ends, size)

    def add(self, step: int, found: Arrays, shares: Array) -> None:
        """found: what was watched of a batch. shares: of each sample in the loss of the step."""
        if step % self.every:
            return
        size, count = len(shares), int(np.count_nonzero(shares))
        rows = {key: of_samples(array, size) / shares[0] for key, array in found.items()}
        self.average.add({key: np.abs(array).sum(axis=0) / count for key, array in rows.items()}, count)

    def state(self) -> Arrays:
        """All that the collection goes on from."""
        counts = {key + COUNT: np.array(count) for key, count in self.average.counts.items()}
        return {**self.average.values, **counts}

    def start(self, state: Arrays) -> None:
        """Goes on from a state."""
        values = {key: array for key, array in state.items() if not key.endswith(COUNT)}
        self.average.values = values
        self.average.counts = {key: int(state[key + COUNT]) for key in values}

    def save(self, path: Path) -> None:
        """Writes the scores, by node."""
        known = self.average.values
        worth = summed(self.labels, self.ends, known)
        worth, _ = completed(self.labels, worth, [end.ids for end in self.ends if end.key in known])
        with write_atomically(path) as file, ZipFile(file, "w") as archive:  # any name is one of a node
            for name, array in by_node(self.labels, worth).items():
                with archive.open(f"{name}.npy", "w") as member:
                    np.lib.format.write_array(member, array)
