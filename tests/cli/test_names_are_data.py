"""Names in a file are data: whatever they hold comes out inert and short."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxsurgeon
from commands import Run
from onnxsurgeon.errors import SurgeonError

EVIL = "[red]x[/red]\x1b[31m\x1b]0;title\x07<script>alert(1)</script>\r\u202e"
LONG = "n" * 300_000
COMMANDS = (
    ("inspect", "m.onnx", "-v"),
    ("inspect", "m.onnx", "--json"),
    ("prune", "m.onnx", "--ratio", "0.2", "-v", "--log-file", "log.json"),
    ("remove", "m.onnx", "nobody"),
)


def save(name: str, path: Path, *, broken: bool) -> None:
    """x -> MatMul -> Relu -> MatMul -> y, in which all is called `name`."""
    nodes = [
        helper.make_node("MatMul", [f"x{name}", f"w{name}"], [f"a{name}"], name=f"1{name}"),
        helper.make_node("Relu", [f"a{name}"], [f"b{name}"], name=f"2{name}"),
        helper.make_node("MatMul", [f"b{name}", f"{'no' * broken}v{name}"], [f"y{name}"], name=f"3{name}"),
    ]
    weights = np.random.default_rng(0).normal(size=(2, 8, 8)).astype(np.float32)
    tensors = [numpy_helper.from_array(w, f"{key}{name}") for key, w in zip("wv", weights, strict=True)]
    x, y = (helper.make_tensor_value_info(f"{key}{name}", TensorProto.FLOAT, [1, 8]) for key in "xy")
    graph = helper.make_graph(nodes, f"g{name}", [x], [y], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


@pytest.mark.parametrize("state", ["sound", "broken"])
@pytest.mark.parametrize("name", [EVIL, LONG], ids=["evil", "long"])
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_what_is_printed_is_inert_and_short(
    command: tuple[str, ...], name: str, state: str, folder: Path, run: Run
) -> None:
    broken = state == "broken"
    save(name, folder / "m.onnx", broken=broken)
    command = tuple(word for word in command if word != "-v" or not broken)  # which shows the traceback
    result = run(*command, code=4 if broken else 2 if command[0] == "remove" else 0)
    log = folder / "log.json"
    said = result.stdout + result.stderr + (log.read_text(encoding="utf-8") if log.exists() else "")
    assert all(c.isprintable() for line in said.split("\n") for c in line)
    assert len(said) < 40_000
    if name is EVIL and not broken and command == COMMANDS[0]:
        assert "[red]x[/red]\\x1b[31m" in said


@pytest.mark.parametrize("name", [EVIL, LONG], ids=["evil", "long"])
def test_notebooks_and_exceptions_show_names_as_text(name: str, tmp_path: Path) -> None:
    save(name, tmp_path / "m.onnx", broken=False)
    network = onnxsurgeon.load(tmp_path / "m.onnx")
    shown = network._repr_html_() + onnxsurgeon.inspect(network)._repr_html_() + repr(network)
    assert "<script>" not in shown
    assert shown.isprintable()
    assert len(shown) < 40_000
    with pytest.raises(SurgeonError) as raised:
        network[f"nobody{name}"].remove()
    assert len(str(raised.value)) < 10_000
    assert "\x1b" not in str(raised.value)
