"""Interrupts of the command line: they stop the work, but not the answer."""

from __future__ import annotations

import _thread
import atexit
import os
import signal
import sys
from types import FrameType
from typing import Any, NoReturn

from onnxsurgeon.files import INTERRUPTS, WRITTEN

INTERRUPTED = 130  # the exit code
IMPORTS, SOON = "<frozen importlib._bootstrap>", 0.005  # code that imports; seconds until an interrupt comes again
_caught: list[int] = []  # the signals that stop the work of this process
_raised: list[int] = []  # those that did


def catch() -> None:
    """Makes each interrupt a KeyboardInterrupt, which cleans up; those that are ignored stay ignored."""
    for number in INTERRUPTS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
            _caught.append(number)
    sys.unraisablehook = _again


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raises KeyboardInterrupt, but not while a module is imported: native ones don't survive it. The signal comes
    again, so that whoever holds or ignores interrupts by then is asked."""
    place = frame
    while place is not None:
        if place.f_code.co_filename == IMPORTS and hasattr(signal, "setitimer"):
            signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(number))
            signal.setitimer(signal.ITIMER_REAL, SOON)
            return
        place = place.f_back
    _raised.append(number)
    raise KeyboardInterrupt


def raised() -> bool:
    """Whether a KeyboardInterrupt was raised: some native code makes another error of it, and does not say so."""
    return bool(_raised)


def _again(problem: Any) -> None:
    """An interrupt in a finalizer would be lost, and printed with a traceback: it comes again."""
    if isinstance(problem.exc_value, KeyboardInterrupt):
        _thread.interrupt_main()
    else:
        sys.__unraisablehook__(problem)


def ignore() -> None:
    """From now on the answer is being given, and the exit code is known."""
    for number in _caught:
        signal.signal(number, signal.SIG_IGN)


def leave() -> NoReturn:
    """Ends the process with exit code 130. Python itself would end it by the signal, if that came inside an exec."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(INTERRUPTED)


def left_behind() -> str:
    """What an interrupt leaves."""
    names = ", ".join(str(path) for path in WRITTEN)
    return f"{names} had been written, whole" if names else "nothing was written"
