"""Python is a pleasure: what is public, what is accepted, how objects show themselves, what errors say."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import onnxsurgeon as osg
from commands import environment
from onnxsurgeon.edit.inits import INITS
from onnxsurgeon.errors import UsageError
from onnxsurgeon.surgery.part_methods import OPERATIONS
from paths import FIXTURES

PLAIN = FIXTURES / "plain.onnx"


def test_what_is_public_is_there_and_documented() -> None:
    assert set(dir(osg)) == {*osg.__all__, "__version__"}
    assert sorted(osg.__all__) == osg.__all__
    for name in osg.__all__:
        assert inspect.getdoc(getattr(osg, name)), name
    with pytest.raises(AttributeError, match="prunes"):
        osg.prunes  # noqa: B018 - that it can't be had is the point
    assert (Path(osg.__file__).parent / "py.typed").exists()


def test_a_submodule_never_hides_a_function() -> None:
    for path in Path(osg.__file__).parent.iterdir():
        assert path.stem not in osg.__all__


def test_importing_the_package_imports_nothing_heavy() -> None:
    program = "import sys, onnxsurgeon; print(*{m.split('.')[0] for m in sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment())
    assert not {"numpy", "onnx", "onnx_ir", "onnxruntime", "highspy", "rich", "typer"} & set(done.stdout.split())


SOURCES: dict[str, Any] = {
    "a text": lambda: str(PLAIN),
    "a path": lambda: PLAIN,
    "a ModelProto": lambda: onnx.load(PLAIN),
    "a network": lambda: osg.load(PLAIN),
}


@pytest.mark.parametrize("source", SOURCES)
def test_a_model_may_be_given_in_many_ways(source: str, tmp_path: Path) -> None:
    network = osg.load(SOURCES[source]())
    network.resize("conv2=-8")
    network.save(tmp_path / "a.onnx", device="cpu")
    plain = osg.load(PLAIN)
    plain.resize("conv2=-8")
    plain.save(tmp_path / "b.onnx", device="cpu")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    plain.splice(SOURCES[source](), after="relu1", entry="conv1", exit="relu1", align="shrink")
    assert "spliced.relu1" in plain


def test_a_model_in_memory_has_the_size_of_its_serialisation() -> None:
    proto = onnx.load(PLAIN)
    network = osg.load(proto)
    assert network.bytes == proto.ByteSize() == PLAIN.stat().st_size
    assert osg.load(PLAIN).bytes == PLAIN.stat().st_size


@pytest.mark.parametrize("source", SOURCES)
def test_every_function_takes_every_model(source: str, tmp_path: Path) -> None:
    made, data = SOURCES[source], FIXTURES / "digits_test.npz"
    digits = {"a text": str, "a path": lambda path: path, "a ModelProto": onnx.load, "a network": osg.load}[source]
    result = osg.prune(made(), ratio="30%", data="none")
    assert result.after == osg.prune(PLAIN, ratio=0.3, data="none").after
    assert osg.inspect(made()).whole == result.before
    assert osg.inspect(result).whole.params == result.after.params
    assert osg.validate(made(), result, shapes_only=True, device="cpu").passed
    given = digits(FIXTURES / "digits.onnx")  # type: ignore[operator]
    samples = osg.open_data(data, given, samples=16)
    score = osg.evaluate(given, samples, device="cpu")
    assert score.value == osg.evaluate(FIXTURES / "digits.onnx", samples, device="cpu").value
    found = osg.sensitivity(given, samples, only="conv1", device="cpu")
    assert found.layers[0].nodes[0] == "conv1"
    small = osg.prune(
        given,
        ratio="20%",
        data=samples,
        importance="wanda",
        compensate="bias",
        metric="top1",
        stats=tmp_path / "stats.npz",
        device="cpu",
    )
    assert osg.evaluate(small, samples, against=given, metric="cosine", device="cpu").value > 0.5
    assert small.save(tmp_path / "small.onnx", device="cpu")


def test_what_is_not_a_model_is_refused() -> None:
    with pytest.raises(UsageError, match="list is not a kind of model"):
        osg.load([])  # type: ignore[arg-type]


def test_a_network_is_a_collection_of_nodes() -> None:
    network = osg.load(PLAIN)
    assert "conv1" in network
    assert "conv9" not in network
    assert len(network) == len(list(network)) == len(onnx.load(PLAIN).graph.node)
    assert next(iter(network)).name == "conv1"
    with pytest.raises(UsageError, match="conv2"):
        network["conv22"]


def test_a_node_stands_wherever_a_name_is_meant() -> None:
    network, named = osg.load(PLAIN), osg.load(PLAIN)
    network.insert("Relu", after=network["conv2"], name="extra")
    network.resize({network["conv2"]: "-8"})
    network.remove(network["extra"])
    named.insert("Relu", after="conv2", name="extra")
    named.resize("conv2=-8")
    named.remove("extra")
    assert [(node.name, node.operator, node.width) for node in network] == [
        (node.name, node.operator, node.width) for node in named
    ]
    assert type(network["conv2"].name) is str
    only = osg.prune(PLAIN, ratio=0.1, exclude=network["conv2"])
    assert only.after.params == osg.prune(PLAIN, ratio=0.1, exclude="conv2").after.params


def test_a_repr_is_one_short_line_and_a_notebook_gets_an_escaped_table() -> None:
    network = osg.load(PLAIN)
    resized = network.resize("conv2=-8")
    network.insert("Relu", after="conv2", name="<b>")
    shown = [network, osg.load(PLAIN), resized, network.prove(device="cpu"), osg.inspect(osg.load(PLAIN))]
    shown.append(osg.validate(PLAIN, PLAIN, device="cpu"))
    digits = FIXTURES / "digits.onnx"
    data = osg.open_data(FIXTURES / "digits_test.npz", digits, samples=8)
    shown += [data, osg.evaluate(digits, data, device="cpu"), osg.sensitivity(digits, data, device="cpu")]
    shown.append(osg.prune(PLAIN, ratio=0.2, data="none"))
    for found in shown:
        assert "\n" not in repr(found)
        assert len(repr(found).replace(str(FIXTURES), "")) < 120, repr(found)
        html = found._repr_html_()  # type: ignore[union-attr]
        assert html.startswith("<table>")
        assert html.endswith("</table>")
        assert html.count("<tr>") > 1
        assert "<b>" not in html
    assert "&lt;b&gt;" in network._repr_html_()
    assert repr(resized) == "<Resized conv2=-8: 24 -> 16>"


def test_one_text_is_a_list_and_units_are_those_of_the_shell() -> None:
    network = osg.load(PLAIN)
    network["conv2"].resize("-25%")
    assert network["conv2"].width == 18
    network.resize({"conv2": 24, "conv3": "-25%"})
    assert (network["conv2"].width, network["conv3"].width) == (24, 24)
    network.kernel("conv1", "5x5")
    network.insert("BatchNorm", after="relu1", readers="conv2", name="extra")
    assert network["extra"].readers == ["conv2"]
    network.insert(osg.Conv(kernel=1), after="relu1")
    network.replace("conv2", "Separable")
    network.resize("fc=3", keep={"fc": [0, "5-6"]}, drop={})


WRONG = {
    "`align` 'shrnk'.*did you mean shrink": lambda n: n.remove("conv2", align="shrnk"),
    "`init` 'hee'.*did you mean he": lambda n: n.resize("conv2=+1", init="hee"),
    "`op` 'Reelu'.*did you mean": lambda n: n.insert("Reelu", after="conv1"),
    "`importance` 'l2norm'.*did you mean l2-norm": lambda n: n.resize("conv2=8", importance="l2norm"),
    "`importance` 'l3'.*did you mean l2": lambda n: n.resize("conv2=8", importance="l3"),
    "name 'conv2' is taken": lambda n: n.insert("Relu", after="conv1", name="conv2"),
    "too wide.*10,000,000": lambda n: n.resize("conv2=99999999999"),
    "`round_to` 0 is": lambda n: n.resize("conv2=8", round_to=0),
    "`op` 5 is not valid": lambda n: n.insert(5, after="conv1"),
    "`kind` 'Sliu'.*did you mean Silu": lambda n: n.insert(osg.Activation("Sliu"), after="conv1"),
    "0 groups does not fit": lambda n: n.insert(osg.Conv(groups=0), after="conv1"),
    "'conv1=.2.5' is not a width": lambda n: n["conv1"].resize(2.5),
    "no node 5": lambda n: n[5],
    "`kind` 'Silo'.*did you mean Silu": lambda n: n.activation("relu1", "Silo"),
    "`keep` of conv2 'x'": lambda n: n.resize("conv2=8", keep={"conv2": "x"}),
    "Relu has no option kernel": lambda n: n.insert("Relu", after="conv1", kernel=3),
}


@pytest.mark.parametrize("words", WRONG)
def test_a_wrong_word_names_the_parameter_and_the_nearest_word(words: str) -> None:
    network = osg.load(PLAIN)
    with pytest.raises(UsageError, match=f"(?s){words}"):
        WRONG[words](network)
    assert not network.steps


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_is_a_documented_method(name: str) -> None:
    method = getattr(osg.Network, name)
    assert "Raises " in method.__doc__
    assert not {"args", "options"} & set(inspect.signature(method).parameters)
    assert "Annotated" not in str(inspect.signature(method)), "how options are described is not for readers"
    assert "Repeatable" not in (method.__doc__ or "")


@pytest.mark.parametrize("word", INITS)
def test_what_new_weights_start_as_is_used(word: str) -> None:
    init = INITS[word]
    assert init.deviation or init.copies or init.fresh or init.split
    if init.fresh is not None:
        weight = init.fresh((4, 2, 3, 3), np.random.default_rng(0))
        assert weight.shape == (4, 2, 3, 3)


def test_every_home_is_a_module() -> None:
    for name, home in osg._HOMES.items():
        assert hasattr(importlib.import_module(home), name)


def test_a_network_of_edited_weights_is_shown_by_onnx_ir_too() -> None:
    network = osg.load(PLAIN)
    network.resize("conv1=5")
    assert len(repr(network.ir)) < 20_000
