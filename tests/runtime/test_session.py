"""Sessions of onnxruntime."""

from __future__ import annotations

import time

import numpy as np

from onnxsurgeon.runtime.session import Session
from paths import FIXTURES


def test_threads_of_a_session_rest_between_its_runs() -> None:
    """Else they take cores from the models that take turns with it: two of them would take three times as long."""
    session = Session(FIXTURES / "digits.onnx", "cpu", threads=4)
    feed = {given.name: np.zeros((64, 1, 8, 8), np.float32) for given in session.session.get_inputs()}
    session.run(feed)
    before = time.process_time()
    time.sleep(0.2)
    assert time.process_time() - before < 0.03  # seconds of processors: the process itself sleeps
