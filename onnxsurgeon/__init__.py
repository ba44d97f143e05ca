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
    from onnxsurgeon.data import Data, inputs_of, open_data
    from onnxsurgeon.evaluation.score import Score, evaluate
    from onnxsurgeon.evaluation.sensitivity import Sensitivity, sensitivity
    from onnxsurgeon.inspection import Inspection, inspect
    from onnxsurgeon.model.model import Model
    from onnxsurgeon.proof.of_edits import Proofs
    from onnxsurgeon.proof.of_two_files import Validation, validate
    from onnxsurgeon.pruning.prune import Result, prune
    from onnxsurgeon.pruning.ratio_search import Examiner, Found, smallest
    from onnxsurgeon.surgery.blocks import Activation, BatchNorm, Conv, Linear, Pool
    from onnxsurgeon.surgery.network import Network, load

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
    "Examiner": "onnxsurgeon.pruning.ratio_search",
    "Found": "onnxsurgeon.pruning.ratio_search",
    "Inspection": "onnxsurgeon.inspection",
    "Linear": "onnxsurgeon.surgery.blocks",
    "Model": "onnxsurgeon.model.model",
    "Network": "onnxsurgeon.surgery.network",
    "Pool": "onnxsurgeon.surgery.blocks",
    "Proofs": "onnxsurgeon.proof.of_edits",
    "Result": "onnxsurgeon.pruning.prune",
    "Score": "onnxsurgeon.evaluation.score",
    "Sensitivity": "onnxsurgeon.evaluation.sensitivity",
    "Validation": "onnxsurgeon.proof.of_two_files",
    "evaluate": "onnxsurgeon.evaluation.score",
    "inputs_of": "onnxsurgeon.data",
    "inspect": "onnxsurgeon.inspection",
    "load": "onnxsurgeon.surgery.network",
    "open_data": "onnxsurgeon.data",
    "prune": "onnxsurgeon.pruning.prune",
    "sensitivity": "onnxsurgeon.evaluation.sensitivity",
    "smallest": "onnxsurgeon.pruning.ratio_search",
    "validate": "onnxsurgeon.proof.of_two_files",
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
