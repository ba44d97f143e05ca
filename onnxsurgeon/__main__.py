"""The console script, and `python -m onnxsurgeon`."""

import os
import signal
from typing import Any, NoReturn


def main() -> NoReturn:
    """Runs the command line. An interrupt while its modules are imported ends it at once."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)
    from onnxsurgeon.cli import main as run

    run()


def _end(number: int, frame: Any) -> None:
    os.write(2, b"error: interrupted\n  nothing was written\n")
    os._exit(130)


if __name__ == "__main__":
    main()
