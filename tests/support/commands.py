"""Running the command line in tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from typer.testing import Result

from paths import ROOT

Run = Callable[..., Result]
PRUNE = ("prune", "net.onnx", "--ratio", "0.3")


def module(name: str) -> Any:
    """The module, where the package's attribute of that name is a function."""
    import importlib

    return importlib.import_module(f"onnxsurgeon.{name}")


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}
