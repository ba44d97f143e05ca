"""The console script, and `python -m onnxsurgeon`."""

import os
import signal
import sys
from typing import Any, NoReturn


def main() -> NoReturn:
    """Runs the command line. An interrupt while its modules are imported ends it at once."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)
    try:
        from onnxsurgeon.cli import main as run

        run()
    except Exception as problem:
        _blame(problem)
        raise


def _blame(problem: Exception) -> None:
    """Ends with the fault of the install that kept the command line from working, if there is one."""
    from onnxsurgeon.install import blamed
    from onnxsurgeon.report.earlier import forget

    forget(sys.argv[1:])
    error = blamed(problem)
    if error is not None:
        why = (f"  {line}" for line in error.why.splitlines())
        sys.stderr.write("\n".join((f"error: {error.what}", *why, f"fix: {error.fix}", "")))
        sys.exit(error.exit_code)


def _end(number: int, frame: Any) -> None:
    os.write(2, b"error: interrupted\n  nothing was written\n")
    os._exit(130)


if __name__ == "__main__":
    main()
