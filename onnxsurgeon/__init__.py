"""onnxsurgeon: edits trained neural networks as .onnx files.

import onnxsurgeon as osg
network = osg.load("model.onnx")
network["conv3"].resize(-16)
network.save("edited.onnx")
result = osg.prune(network, ratio=0.2, metric="macs")
result.save("small.onnx")
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from onnxsurgeon.errors import InfeasibleError, ModelError, ProofError, SurgeonError, UsageError

if TYPE_CHECKING:
    from onnxsurgeon.comparison import Validation, validate
    from onnxsurgeon.inspection import Inspection, Model, inspect
    from onnxsurgeon.network import Network, load
    from onnxsurgeon.proving import Proofs
    from onnxsurgeon.prune import Result, prune
    from onnxsurgeon.surgery.blocks import Activation, BatchNorm, Conv, Linear, Pool

__version__ = "0.1.0"
__all__ = [
    "Activation",
    "BatchNorm",
    "Conv",
    "InfeasibleError",
    "Inspection",
    "Linear",
    "Model",
    "ModelError",
    "Network",
    "Pool",
    "ProofError",
    "Proofs",
    "Result",
    "SurgeonError",
    "UsageError",
    "Validation",
    "inspect",
    "load",
    "prune",
    "validate",
]

_HOMES = {
    "Activation": "onnxsurgeon.surgery.blocks",
    "BatchNorm": "onnxsurgeon.surgery.blocks",
    "Conv": "onnxsurgeon.surgery.blocks",
    "Inspection": "onnxsurgeon.inspection",
    "Linear": "onnxsurgeon.surgery.blocks",
    "Model": "onnxsurgeon.inspection",
    "Network": "onnxsurgeon.network",
    "Pool": "onnxsurgeon.surgery.blocks",
    "Proofs": "onnxsurgeon.proving",
    "Result": "onnxsurgeon.prune",
    "Validation": "onnxsurgeon.comparison",
    "inspect": "onnxsurgeon.inspection",
    "load": "onnxsurgeon.network",
    "prune": "onnxsurgeon.prune",
    "validate": "onnxsurgeon.comparison",
}


def __getattr__(name: str) -> Any:
    """The API is imported when it is first used: `--help` needs none of it."""
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _Package(ModuleType):
    """The package, on which a function of the API is never hidden by the submodule of its name."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
