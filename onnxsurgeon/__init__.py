"""onnxsurgeon: edits trained neural networks as .onnx files.

    import onnxsurgeon as osg
    model = osg.load("model.onnx")
    result = osg.prune(model, ratio=0.2, metric="macs")
    result.save("small.onnx")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnxsurgeon.errors import InfeasibleError, ModelError, ProofError, SurgeonError, UsageError

if TYPE_CHECKING:
    from onnxsurgeon.prune import Model, Result, load, prune

__version__ = "0.1.0"
__all__ = [
    "InfeasibleError",
    "Model",
    "ModelError",
    "ProofError",
    "Result",
    "SurgeonError",
    "UsageError",
    "load",
    "prune",
]


def __getattr__(name: str) -> Any:
    """The API is imported when it is first used: `--help` needs none of it."""
    if name in ("Model", "Result", "load", "prune"):
        import importlib

        return getattr(importlib.import_module("onnxsurgeon.prune"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
