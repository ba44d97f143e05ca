"""The command line in a process that ends when the one that started it does, even if that was killed.

python -m onnxsurgeon.cli.child PID COMMAND ...
"""

from __future__ import annotations

import os
import sys
import threading
import time

LOOKS = 0.5  # seconds between two looks at the parent


def main() -> None:
    """Runs the command line behind the number of the process that is waited for."""
    parent = int(sys.argv.pop(1))
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    from onnxsurgeon.__main__ import main as run

    run()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOKS)
    os._exit(1)


if __name__ == "__main__":
    main()
