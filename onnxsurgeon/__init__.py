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
    from onnxsurgeon.data import Data, inputs_of, open_data
    from onnxsurgeon.evaluation import Score, evaluate
    from onnxsurgeon.inspection import Inspection, Model, inspect
    from onnxsurgeon.network import Network, load
    from onnxsurgeon.proving import Proofs
    from onnxsurgeon.prune import Result, prune
    from onnxsurgeon.search import Examiner, Found, smallest
    from onnxsurgeon.sensitivity import Sensitivity, sensitivity
    from onnxsurgeon.surgery.blocks import Activation, BatchNorm, Conv, Linear, Pool

__version__ = "0.1.0"
__all__ = [
    "Activation",
    "BatchNorm",
    "Conv",
    "Data",
    "Examiner",
    "Found",
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
    "Score",
    "Sensitivity",
    "SurgeonError",
    "UsageError",
    "Validation",
    "evaluate",
    "inputs_of",
    "inspect",
    "load",
    "open_data",
    "prune",
    "sensitivity",
    "smallest",
    "validate",
]

_HOMES = {
    "Activation": "onnxsurgeon.surgery.blocks",
    "BatchNorm": "onnxsurgeon.surgery.blocks",
    "Conv": "onnxsurgeon.surgery.blocks",
    "Data": "onnxsurgeon.data",
    "Examiner": "onnxsurgeon.search",
    "Found": "onnxsurgeon.search",
    "Inspection": "onnxsurgeon.inspection",
    "Linear": "onnxsurgeon.surgery.blocks",
    "Model": "onnxsurgeon.inspection",
    "Network": "onnxsurgeon.network",
    "Pool": "onnxsurgeon.surgery.blocks",
    "Proofs": "onnxsurgeon.proving",
    "Result": "onnxsurgeon.prune",
    "Score": "onnxsurgeon.evaluation",
    "Sensitivity": "onnxsurgeon.sensitivity",
    "Validation": "onnxsurgeon.comparison",
    "evaluate": "onnxsurgeon.evaluation",
    "inputs_of": "onnxsurgeon.data",
    "inspect": "onnxsurgeon.inspection",
    "load": "onnxsurgeon.network",
    "open_data": "onnxsurgeon.data",
    "prune": "onnxsurgeon.prune",
    "sensitivity": "onnxsurgeon.sensitivity",
    "smallest": "onnxsurgeon.search",
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
