"""onnxsurgeon: prunes and edits trained neural networks as .onnx files, and proves each result.

    import onnxsurgeon as osg

    network = osg.load("model.onnx")
    network["conv3"].resize("-25%")
    network.save("edited.onnx")
    osg.prune(network, ratio=0.2).save("small.onnx")

A model is a path, an `onnx.ModelProto`, or a Model, Network or Result of this package. Every error is a `SurgeonError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnxsurgeon.errors import GateError, InfeasibleError, ModelError, ProofError, SurgeonError, UsageError

if TYPE_CHECKING:
    from onnxsurgeon.data import Data, inputs_of, open_data
    from onnxsurgeon.evaluation.check_model import Checked, check
    from onnxsurgeon.evaluation.score import Score, evaluate
    from onnxsurgeon.evaluation.sensitivity import Sensitivity, sensitivity
    from onnxsurgeon.inspection import Inspection, inspect
    from onnxsurgeon.latency.bench import Bench, bench
    from onnxsurgeon.latency.compare import SideBySide, compare
    from onnxsurgeon.latency.measure_profile import profile
    from onnxsurgeon.latency.profile import Profile
    from onnxsurgeon.model.model import Model
    from onnxsurgeon.proof.of_edits import Proofs
    from onnxsurgeon.proof.of_two_files import Validation, validate
    from onnxsurgeon.pruning.compress import Compressed, compress
    from onnxsurgeon.pruning.prune import prune
    from onnxsurgeon.pruning.result import Result
    from onnxsurgeon.surgery.blocks import Activation, BatchNorm, Conv, Linear, Pool, Separable
    from onnxsurgeon.surgery.differences import Differences, diff
    from onnxsurgeon.surgery.network import Network, load
    from onnxsurgeon.training.gradients import gradients
    from onnxsurgeon.training.train import train
    from onnxsurgeon.training.trained import Epoch, Trained

__version__ = "0.1.0"
__all__ = [
    "Activation",
    "BatchNorm",
    "Bench",
    "Checked",
    "Compressed",
    "Conv",
    "Data",
    "Differences",
    "Epoch",
    "GateError",
    "InfeasibleError",
    "Inspection",
    "Linear",
    "Model",
    "ModelError",
    "Network",
    "Pool",
    "Profile",
    "ProofError",
    "Proofs",
    "Result",
    "Score",
    "Sensitivity",
    "Separable",
    "SideBySide",
    "SurgeonError",
    "Trained",
    "UsageError",
    "Validation",
    "bench",
    "check",
    "compare",
    "compress",
    "diff",
    "evaluate",
    "gradients",
    "inputs_of",
    "inspect",
    "load",
    "open_data",
    "profile",
    "prune",
    "sensitivity",
    "train",
    "validate",
]

ROOMS = ("search",)  # that are public as a whole
_HOMES = {
    name: f"onnxsurgeon.{module}"
    for module, names in (
        ("data", "Data inputs_of open_data"),
        ("evaluation.check_model", "Checked check"),
        ("evaluation.score", "Score evaluate"),
        ("evaluation.sensitivity", "Sensitivity sensitivity"),
        ("inspection", "Inspection inspect"),
        ("latency.bench", "Bench bench"),
        ("latency.compare", "SideBySide compare"),
        ("latency.measure_profile", "profile"),
        ("latency.profile", "Profile"),
        ("model.model", "Model"),
        ("proof.of_edits", "Proofs"),
        ("proof.of_two_files", "Validation validate"),
        ("pruning.compress", "Compressed compress"),
        ("pruning.prune", "prune"),
        ("pruning.result", "Result"),
        ("surgery.blocks", "Activation BatchNorm Conv Linear Pool Separable"),
        ("surgery.differences", "Differences diff"),
        ("surgery.network", "Network load"),
        ("training.gradients", "gradients"),
        ("training.train", "train"),
        ("training.trained", "Epoch Trained"),
    )
    for name in names.split()
}


def __getattr__(name: str) -> Any:
    """What is public is imported when it is first used: `--help` needs none of it."""
    import importlib

    if name in ROOMS:
        return importlib.import_module(f"onnxsurgeon.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals().setdefault(name, getattr(importlib.import_module(_HOMES[name]), name))


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
