"""Sessions of onnxruntime. All models are loaded and run here."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import onnxruntime as ort

from onnxsurgeon.arrays import Arrays
from onnxsurgeon.errors import ModelError
from onnxsurgeon.model.check import ill_typed
from onnxsurgeon.model.model import Model
from onnxsurgeon.model.read import SOURCE
from onnxsurgeon.options.shared import Device
from onnxsurgeon.runtime.cuda import PROVIDER, preload, refusal

ort.set_default_logger_severity(4)  # no warnings about a missing GPU: the session reports what it runs on


class Session:
    """A model in onnxruntime. `provider` is the execution provider in use, since onnxruntime falls back silently."""

    def __init__(
        self,
        path: str | os.PathLike[str] | bytes,
        device: Device = "auto",
        *,
        optimise: bool = True,
        lean: bool = False,
        threads: int | None = None,
        profile: str = "",
        folder: str = "",
    ) -> None:
        """Load the model at `path`, or a serialised one. lean: save memory at the cost of speed, for a few runs.

        folder: of the files that hold weights of a serialised model. threads: of an operator; one per core if None.
        profile: prefix of the file to which the times of nodes go.

        Raises ModelError if onnxruntime refuses the model, UsageError if `device` is cuda and CUDA is not available.
        """
        options = ort.SessionOptions()
        # Threads of a session wait for its next run in a loop, long after the last: they take cores from all others.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        if lean:
            options.enable_cpu_mem_arena = options.enable_mem_pattern = False
            options.add_session_config_entry("session.disable_prepacking", "1")
        if folder:
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
        if not optimise:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        if threads is not None:
            options.intra_op_num_threads = threads
        if profile:
            options.enable_profiling, options.profile_file_prefix = True, profile
        options.log_severity_level = 4
        cuda = device != "cpu" and PROVIDER in ort.get_available_providers()
        if cuda:
            preload()
        chosen: list[Any] = [(PROVIDER, {"use_tf32": 0})] if cuda else []
        try:
            source = path if isinstance(path, bytes) else os.fspath(path)
            self.session = ort.InferenceSession(source, options, providers=[*chosen, "CPUExecutionProvider"])
        except Exception as problem:  # noqa: BLE001 - onnxruntime raises many types
            raise ModelError(
                f"onnxruntime can't load {'the model' if isinstance(path, bytes) else path}",
                why=_first_line(problem),
                fix="check the model; `proof=False` writes without running it",
            ) from None
        self.provider = self.session.get_providers()[0].removesuffix("ExecutionProvider")
        if device == "cuda" and self.provider != "CUDA":
            raise refusal()

    def run(self, feed: Arrays, names: Sequence[str] | None = None) -> Arrays:
        """The outputs by name, or those in `names`; ignores entries of `feed` that are not inputs.

        Raises ModelError if the run fails.
        """
        names = [o.name for o in self.session.get_outputs()] if names is None else list(names)
        if not names:  # which onnxruntime takes for all of them
            return {}
        wanted = {i.name for i in self.session.get_inputs()}
        try:
            values = self.session.run(names, {k: v for k, v in feed.items() if k in wanted})
        except Exception as problem:  # noqa: BLE001 - onnxruntime raises many types
            raise ModelError(
                "onnxruntime can't run the model",
                why=_first_line(problem),
                fix="state shapes that it accepts with `input_shape`, or give real inputs with `samples`",
            ) from None
        return dict(zip(names, values, strict=True))

    def bound(self, feed: Arrays) -> Callable[[], object]:
        """Runs these inputs where the model runs, without copies from and to it: for timing.

        Raises ModelError if the first run fails.
        """
        binding, device = self.session.io_binding(), "cuda" if self.provider == "CUDA" else "cpu"
        try:
            for given in self.session.get_inputs():
                array = np.ascontiguousarray(feed[given.name])
                binding.bind_ortvalue_input(given.name, ort.OrtValue.ortvalue_from_numpy(array, device, 0))
        except RuntimeError:  # texts, and types that numpy has not
            self.run(feed)
            return lambda: self.run(feed)
        for output in self.session.get_outputs():
            binding.bind_output(output.name, device)

        def run() -> None:
            try:
                self.session.run_with_iobinding(binding)
                binding.synchronize_outputs()
            except Exception:  # noqa: BLE001 - many types: sequences and outputs whose size varies can't be bound
                self.run(feed)

        run()
        return run


def in_turn(session: Session, feeds: Iterable[Arrays], states: Mapping[str, str]) -> list[Arrays]:
    """The outputs for each of `feeds`. A feed without the states takes them from the outputs of the run before.

    states: the output that becomes the input of the next run, by input. Raises ModelError if a run fails.
    """
    results: list[Arrays] = []
    for feed in feeds:
        missing = {begin: end for begin, end in states.items() if begin not in feed}
        results.append(session.run({**feed, **{begin: results[-1][end] for begin, end in missing.items()}}))
    return results


def trim() -> None:
    """Gives memory back that a session has freed: glibc keeps it."""
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def version() -> str:
    """The version of onnxruntime."""
    return str(ort.__version__)


def _first_line(problem: Exception) -> str:
    return str(problem).strip().splitlines()[0][:500] if str(problem).strip() else type(problem).__name__


def require_typed(model: Model) -> None:
    """Raises ModelError if both onnx and onnxruntime say that the nodes of a model don't fit together.

    One of them is not enough: onnxruntime lacks some operators, and onnx is wrong about some files that run.
    """
    source = model.ir.graph.meta.get(SOURCE)
    problem = "" if source is None or not model.written else ill_typed(source)
    if problem:
        try:
            Session(model.path, "cpu", optimise=False, lean=True)
        except ModelError as error:
            raise ModelError(
                f"{model.path} is not a valid model", why=f"{problem}; {error.why}", fix=error.fix
            ) from None
