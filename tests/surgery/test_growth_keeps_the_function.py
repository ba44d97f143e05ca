"""The law of additions: a network that gains neurons, layers or larger kernels computes what it did before.

Neurons that a normalisation runs along are left out: its statistics are over all of them.
"""

from __future__ import annotations

import importlib.util
import random
from contextlib import suppress
from pathlib import Path

import onnx
import pytest

from onnxsurgeon.edit.growth import normalised
from onnxsurgeon.errors import InfeasibleError, UsageError
from onnxsurgeon.surgery.blocks import Activation, BatchNorm, Conv, Linear
from onnxsurgeon.surgery.network import Network, load
from paths import MODELS, ZOO

SKELETONS = """
    hf_bert_dynamo hf_llama_dynamo timm_test_vit_script timm_test_convnext_script timm_test_byobnet_script
    timm_test_nfnet_script timm_test_mambaout_dynamo timm_ghostnet_050_script timm_mobilevit_xxs_dynamo
    timm_regnetx_002_dynamo tv_shufflenet_v2_x1_0_script tv_squeezenet1_1_script
""".split()


def filled(name: str, folder: Path) -> Path:
    """A runnable model of the zoo; skips where there is none."""
    source = ZOO / "skeletons" / f"{name}.onnx"
    if not source.exists():
        pytest.skip("no zoo here")
    spec = importlib.util.spec_from_file_location("fill", ZOO / "fill.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = onnx.load(source)
    module.fill(model, 0)
    onnx.save(model, folder / f"{name}.onnx")
    return folder / f"{name}.onnx"


@pytest.fixture(params=[*MODELS, *SKELETONS], ids=lambda p: p.stem if isinstance(p, Path) else p)
def network(request: pytest.FixtureRequest, tmp_path: Path) -> Network:
    return load(request.param if isinstance(request.param, Path) else filled(request.param, tmp_path))


@pytest.mark.slow
def test_additions_leave_the_function_as_it_was(network: Network) -> None:
    """Growth of several nodes, an identity in each place that can hold one, larger kernels, an Identity removed."""
    rng = random.Random(0)
    wide = [v.name for v in network if v.width]
    grown = [_grow(network, name, rng) for name in rng.sample(wide, min(8, len(wide)))]
    assert any(grown)
    for block in (Conv(3), BatchNorm(), Linear(), Activation("Identity")):
        _somewhere(network, block, rng)
    for name in [v.name for v in network if v.operator == "Identity"]:
        with suppress(UsageError):  # of a weight
            network.remove(name)
    for name in [v.name for v in network if v.operator in ("Conv", "ConvTranspose")][:3]:
        _larger(network, name)
    proofs = network.prove(device="cpu")
    assert proofs is not None
    wrong = [step for step in proofs.steps if not step.unchanged and step.change > 1e-5]
    assert not wrong


def _grow(network: Network, name: str, rng: random.Random) -> bool:
    try:
        network.resize(f"{name}~+{rng.choice([1, 2, 5])}", init=rng.choice(["normal", "he"]), max_new=64)
    except (InfeasibleError, UsageError):
        return False
    step = network.steps[-1]
    assert step.labels is not None
    assert step.selection is not None
    if normalised(step.labels, step.selection):
        network.ir = step.before
        network.steps.pop()
    return True


def _somewhere(network: Network, block: Conv | BatchNorm | Linear | Activation, rng: random.Random) -> None:
    names = [v.name for v in network]
    rng.shuffle(names)
    for name in names:
        try:
            network.insert(block, after=name)
        except (InfeasibleError, UsageError):
            continue
        return


def _larger(network: Network, name: str) -> None:
    value = network[name].node.inputs[1]
    tensor = None if value is None else value.const_value
    if tensor is not None and all(n < 8 for n in tensor.shape.numpy()[2:]):
        network.kernel(name, [n + 2 for n in tensor.shape.numpy()[2:]])
