"""The loss of a model on batches, and what is computed from its gradients, without a step."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Array, Arrays
from onnxsurgeon.errors import ModelError
from onnxsurgeon.options.shared import Device
from onnxsurgeon.runtime.session import Session
from onnxsurgeon.training.differentiate import Tape
from onnxsurgeon.training.step_graph import SHARES, TARGET, Loss, Watch, backward


class LossGradient:
    """Runs forward and backward as the model infers. Each shape of batch is compiled once.

    ends: the values that the loss judges. names: of what is differentiated by. watch: what is computed from gradients.
    lost: the nodes that end gradients, by the value whose gradient is not known. Calls raise ModelError if gradients
    reach nothing that is watched.
    """

    def __init__(
        self, model: ir.Model, ends: Sequence[ir.Value], names: Collection[str], loss: Loss, watch: Watch,
        device: Device = "auto",
    ) -> None:  # fmt: skip
        self.model, self.ends, self.names, self.loss, self.watch = model, ends, names, loss, watch
        self.device, self.lost = device, dict[str, str]()
        self._compiled = dict[tuple[object, ...], tuple[Session, dict[str, str]]]()

    def __call__(self, feed: Arrays, targets: Arrays, shares: Array) -> Arrays:
        """What is watched, by its keys. targets: by the name of an end. shares: of each sample in the loss."""
        given = {TARGET + name: np.asarray(array, np.float32) for name, array in targets.items()}
        key = tuple((name, array.shape, array.dtype) for name, array in sorted({**feed, **given}.items()))
        if key not in self._compiled:
            self._compiled[key] = self._session(feed, len(shares))
        session, wanted = self._compiled[key]
        found = session.run({**feed, **given, SHARES: np.asarray(shares, np.float32)})
        return {name: found[value] for name, value in wanted.items()}

    def _session(self, feed: Arrays, size: int) -> tuple[Session, dict[str, str]]:
        tape = Tape(self.model, self.ends, self.names, feed, device=self.device)
        call, _, self.lost = backward(tape, self.loss, [end.name or "" for end in self.ends], size)
        wanted = dict(self.watch(tape, size))
        if not wanted:
            ends = ", ".join(list(dict.fromkeys(self.lost.values()))[:5])
            why = f"they end at {ends}" if ends else "the loss depends on nothing that they are asked for"
            raise ModelError("there are no gradients", why=why, fix="choose an `importance` that needs none")
        proto = tape.proto([*call.targets, SHARES], list(dict.fromkeys(wanted.values())))
        return Session(bytes(proto.SerializeToString()), self.device), wanted
