"""Tensors that stay where a model runs, from one run to the next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import onnxruntime as ort

from onnxsurgeon.arrays import Arrays
from onnxsurgeon.errors import ModelError
from onnxsurgeon.runtime.session import Session


class HeldState:
    """Named tensors of fixed shapes. A run reads one copy of each and writes another; `accept` exchanges them."""

    def __init__(self, arrays: Arrays, provider: str) -> None:
        """provider: of the sessions that use them."""
        self.device = "cuda" if provider == "CUDA" else "cpu"
        self._read = {name: self._held(array) for name, array in arrays.items()}
        self._write = {name: self._held(np.zeros_like(array)) for name, array in arrays.items()}

    def _held(self, array: np.ndarray) -> ort.OrtValue:
        return ort.OrtValue.ortvalue_from_numpy(np.array(array, order="C"), self.device, 0)  # it may alias the array

    def __contains__(self, name: str) -> bool:
        return name in self._read

    def __iter__(self) -> Iterator[str]:
        return iter(self._read)

    def get(self, name: str) -> np.ndarray:
        """A copy."""
        return np.array(self._read[name].numpy())

    def put(self, name: str, array: np.ndarray) -> None:
        self._read[name] = self._held(array)

    def accept(self, names: Iterable[str]) -> None:
        """What the last run wrote is what the next one reads."""
        for name in names:
            self._read[name], self._write[name] = self._write[name], self._read[name]

    def run(self, session: Session, feed: Arrays, writes: Mapping[str, str], wanted: Sequence[str]) -> Arrays:
        """The outputs `wanted`. Inputs that are no entries of `feed` are held tensors.

        writes: by the name of a held tensor, the output that is written in its place. Raises ModelError if the run
        fails.
        """
        binding = session.session.io_binding()
        for given in session.session.get_inputs():
            if given.name in feed:
                binding.bind_cpu_input(given.name, np.ascontiguousarray(feed[given.name]))
            else:
                binding.bind_ortvalue_input(given.name, self._read[given.name])
        for name, output in writes.items():
            binding.bind_ortvalue_output(output, self._write[name])
        for output in wanted:
            binding.bind_output(output, "cpu")
        try:
            session.session.run_with_iobinding(binding)
            binding.synchronize_outputs()
            found = binding.get_outputs()[len(writes) :]
        except Exception as problem:  # noqa: BLE001 - onnxruntime raises many types
            why = str(problem).splitlines()[0]
            raise ModelError("onnxruntime can't train the model", why=why, fix="use a smaller `batch`") from None
        return {name: np.array(value.numpy()) for name, value in zip(wanted, found, strict=True)}
