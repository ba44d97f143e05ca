"""Runs the command line in tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from typer.testing import Result

from paths import ROOT

Run = Callable[..., Result]
PRUNE = ("prune", "net.onnx", "--ratio", "0.3", "--data", "none")


def module(name: str) -> Any:
    """The module of that name, which the package's attribute (a function) hides."""
    import importlib

    return importlib.import_module(f"onnxsurgeon.{name}")


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}
