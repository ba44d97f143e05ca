"""Whether onnxruntime can run on the NVIDIA GPU of this machine; if not, why, and what mends it."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import lru_cache
from io import StringIO

import onnxruntime as ort

from onnxsurgeon.errors import UsageError
from onnxsurgeon.install import Fault, install_hint, pip, runtimes, several

PROVIDER = "CUDAExecutionProvider"
GPU_BUILD = "onnxruntime-gpu"
# By the major version of CUDA: the oldest driver that runs it (CUDA Compatibility, table 1), and what onnxruntime loads
DRIVERS = {11: "450", 12: "525", 13: "580"}
LIBRARIES = {
    12: ("cudart.so.12", "cublasLt.so.12", "cublas.so.12", "curand.so.10", "cufft.so.11", "cudnn.so.9"),
    13: ("cudart.so.13", "cublasLt.so.13", "cublas.so.13", "curand.so.10", "cufft.so.12", "cudnn.so.9"),
}


@dataclass(frozen=True)
class Cuda:
    """What there is for CUDA. driver: the CUDA version that NVIDIA's driver runs, like (12, 4); None without a driver.

    built: the major version that onnxruntime was built for; None if for CPUs alone. missing: libraries that can't be
    loaded, as the loader says it.
    """

    driver: tuple[int, int] | None
    built: int | None
    missing: tuple[str, ...]

    @property
    def usable(self) -> bool:
        return self.driver is not None and not self.faults()

    def line(self) -> str:
        """What there is, in words."""
        if self.driver is None:
            return "no NVIDIA driver: models run on the CPU"
        build = "for CPUs alone" if self.built is None else f"for CUDA {self.built}"
        return f"the driver runs CUDA {'.'.join(map(str, self.driver))}, onnxruntime is built {build}"

    def faults(self) -> list[Fault]:
        """What keeps models from the GPU of this machine: none without one."""
        return [] if self.driver is None else [*self._faults(self.driver)]

    def _faults(self, driver: tuple[int, int]) -> Iterator[Fault]:
        if self.built is None:
            other = f"{pip('uninstall')} {' '.join(runtimes()) or 'onnxruntime'} && "
            yield Fault(
                "onnxruntime is built for CPUs alone", "this machine has an NVIDIA driver",
                f"{other}{pip('install')} '{GPU_BUILD}[cuda,cudnn]'",
            )  # fmt: skip
        elif driver[0] < self.built:
            oldest = DRIVERS.get(self.built, "a newer")
            yield Fault(
                f"the NVIDIA driver is too old for CUDA {self.built}", self.line(),
                f"sudo ubuntu-drivers install, or NVIDIA's driver {oldest} or newer for another system",
            )  # fmt: skip
        elif self.missing:
            yield Fault("libraries of CUDA are missing", "\n".join(self.missing), install_hint("cuda"))


@lru_cache(maxsize=1)
def preload() -> None:
    """Load CUDA and cuDNN from Python packages, if they are installed."""
    if hasattr(ort, "preload_dlls"):
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):  # it prints what is missing
            ort.preload_dlls()


def cuda() -> Cuda:
    """What there is for CUDA on this machine."""
    driver = _driver()
    built = int(str(getattr(ort, "cuda_version", None) or "0").partition(".")[0]) or None
    if PROVIDER not in ort.get_available_providers():
        built = None
    return Cuda(driver, built, () if driver is None or built is None else tuple(_missing(built)))


def _driver() -> tuple[int, int] | None:
    """The version of CUDA that the driver runs."""
    try:
        library = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        version = ctypes.c_int()
        if library.cuDriverGetVersion(ctypes.byref(version)) != 0:
            return None
    except (OSError, AttributeError):
        return None
    return version.value // 1000, version.value % 1000 // 10


def _missing(built: int) -> Iterator[str]:
    """Why libraries can't be loaded, a line for each."""
    preload()
    for name in LIBRARIES.get(built, ()) if sys.platform == "linux" else ():
        try:
            ctypes.CDLL(f"lib{name}")
        except OSError as problem:
            yield str(problem)


def refusal() -> UsageError:
    """The error where CUDA is asked for, and onnxruntime runs without it: why, and what mends it."""
    found = cuda()
    driver = Fault("", "there is no NVIDIA driver: libcuda can't be loaded", "install NVIDIA's driver")
    unknown = Fault("", f"{found.line()}, and it fell back to the CPU", install_hint("cuda"))
    fault = driver if found.driver is None else next(iter([*several(), *found.faults()]), unknown)
    return UsageError(
        "`device` is cuda, but onnxruntime can't use CUDA here",
        why="\n".join(filter(None, (f"onnxruntime {ort.__version__}", fault.what, fault.why))),
        fix=f"{fault.fix}; or choose `device=auto` or cpu",
    )
