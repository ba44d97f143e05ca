"""Laws: an empty edit changes no byte; names are unique; a replaced output keeps the interface; what was added can be
removed; nothing dead remains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper, parser

from onnxsurgeon.errors import InfeasibleError
from onnxsurgeon.model import editor as edit
from onnxsurgeon.model.editor import Editor, copied, feed, remove_dead
from onnxsurgeon.model.read import read
from onnxsurgeon.model.write import write
from paths import FIXTURES

MODELS = sorted(FIXTURES.glob("*.onnx"))


def example(ir_version: int = 8) -> ir.Model:
    """x > Mul by w > a > Relu > b > Neg > y, and a > Abs > z"""
    proto = parser.parse_model(
        f"""<ir_version: {ir_version}, opset_import: ["" : 17]> g (float[2,3] x) => (float[2,3] y, float[2,3] z)
        <float[3] w = {{1, 2, 3}}> {{ [m] a = Mul(x, w) [r] b = Relu(a) [n] y = Neg(b) [p] z = Abs(a) }}"""
    )
    return ir.from_proto(proto)


def node(model: ir.Model, name: str) -> ir.Node:
    return next(node for node in model.graph if node.name == name)


def spelled(model: ir.Model) -> bytes:
    return bytes(ir.to_proto(model).SerializeToString(deterministic=True))


def checked(model: ir.Model) -> onnx.ModelProto:
    """The model's proto, which is valid, with every name used once and nothing dead."""
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    graph, made = proto.graph, [name for n in proto.graph.node for name in n.output]
    made += [tensor.name for tensor in graph.initializer]
    assert len(set(made)) == len(made)
    assert len({n.name for n in graph.node}) == len(graph.node)
    used = {name for n in graph.node for name in n.input} | {output.name for output in graph.output}
    assert set(made) <= used
    return proto


@pytest.mark.parametrize("path", MODELS, ids=lambda path: str(path.stem))
def test_an_empty_edit_changes_no_byte(path: Path, tmp_path: Path) -> None:
    write(Editor(copied(read(path))).finished(), tmp_path / "same.onnx")
    assert (tmp_path / "same.onnx").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("path", MODELS, ids=lambda path: str(path.stem))
def test_what_was_added_can_be_removed(path: Path) -> None:
    model = copied(read(path))
    before, editor = spelled(model), Editor(model)
    source = model.graph.inputs[0]
    made = source
    for number in range(3):
        names = [f"part.{number}"]
        made = editor.node("Add", [made, editor.weight("w", np.ones(1, np.float32))], name="n", outputs=names)[0]
    assert spelled(model) != before
    remove_dead(made)
    assert spelled(model) == before


def test_names_are_unique_whatever_is_asked_for() -> None:
    model = example()
    editor = Editor(model)
    value = node(model, "m").outputs[0]
    for _ in range(3):
        weight = editor.weight("w", np.ones(3, np.float32))
        made = editor.node("Add", [value, weight], name="r", outputs=["b"], after=value.producer())[0]
        feed([(node(model, "p"), 0)], made)
        value = made
    assert [n.name for n in model.graph] == ["m", "r_1", "r_2", "r_3", "r", "n", "p"]
    assert [n.outputs[0].name for n in model.graph][1:4] == ["b_1", "b_2", "b_3"]
    checked(editor.finished())


def test_equal_shared_weights_are_one() -> None:
    editor = Editor(example())
    one, two = np.ones(3, np.float32), np.ones(3, np.float64)
    assert editor.shared_weight("k", one) is editor.shared_weight("other", one.copy())
    assert editor.shared_weight("k", two).name == "k_1"
    assert editor.weight("k", one).name == "k_2"


def _in_front(editor: Editor) -> None:
    """x > Sigmoid > y, in the place of the output's chain."""
    made = editor.node("Sigmoid", [editor.model.graph.inputs[0]], name="s")[0]
    editor.replace(node(editor.model, "n").outputs[0], made)


def _by_read_value(editor: Editor) -> None:
    """The output is a value that others read."""
    editor.replace(node(editor.model, "n").outputs[0], node(editor.model, "m").outputs[0])


def _by_output(editor: Editor) -> None:
    """Two outputs are one value."""
    editor.replace(node(editor.model, "n").outputs[0], node(editor.model, "p").outputs[0])


def _by_input(editor: Editor) -> None:
    editor.replace(node(editor.model, "n").outputs[0], editor.model.graph.inputs[0])


def _behind(editor: Editor) -> None:
    """A new node behind the one whose output it takes over."""
    old = node(editor.model, "n").outputs[0]
    made = editor.node("Neg", [old], name="last", after=old.producer())[0]
    editor.take_over(old, made)


def _inside(editor: Editor) -> None:
    """A value that is no output goes."""
    editor.replace(node(editor.model, "r").outputs[0], node(editor.model, "m").outputs[0])


CHANGES = [_in_front, _by_read_value, _by_output, _by_input, _behind, _inside]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: str(change.__name__[1:]))
def test_a_replaced_value_leaves_the_interface_and_nothing_dead(change: Callable[[Editor], None]) -> None:
    original, model = example(), example()
    editor = Editor(model)
    change(editor)
    before, after = ir.to_proto(original).graph, checked(editor.finished()).graph
    assert list(after.input) == list(before.input)
    assert list(after.output) == list(before.output)


def test_a_copy_leaves_the_original_as_it_was() -> None:
    model = example()
    before = spelled(model)
    _in_front(Editor(copied(model)))
    assert spelled(model) == before


def test_every_added_node_is_visited() -> None:
    seen: list[ir.Node] = []
    editor = Editor(example(), seen.append)
    _by_input(editor)
    assert [n.op_type for n in seen] == ["Identity"]


def test_inputs_come_and_go() -> None:
    model = example()
    joint, weight = node(model, "m"), Editor(model).weight("v", np.ones(3, np.float32))
    before = list(joint.inputs)
    edit.set_inputs(joint, [*before, weight])
    assert list(joint.inputs) == [*before, weight]
    edit.set_inputs(joint, before)
    assert list(joint.inputs) == before
    assert not weight.uses()
    edit.set_input(joint, 1, weight)
    assert list(model.graph.initializers) == ["v"]


def test_a_new_weight_raises_an_old_version() -> None:
    """Before IR version 4 every weight had to be an input, too."""
    model = example(ir_version=3)
    editor = Editor(model)
    edit.set_input(node(model, "m"), 1, editor.weight("v", np.ones(3, np.float32)))
    assert editor.finished().ir_version == 4


def test_a_constant_node_holds_what_it_is_given() -> None:
    model = ir.from_proto(
        parser.parse_model(
            '<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y) '
            "{ [k] c = Constant <value_floats = [1.0, 2.0]> () [s] y = Add(x, c) }"
        )
    )
    edit.set_tensor(model.graph[0].outputs[0], ir.Tensor(np.array([3, 4], np.float32)))
    (attribute,) = checked(model).graph.node[0].attribute
    assert numpy_helper.to_array(attribute.t).tolist() == [3.0, 4.0]


def test_a_cycle_is_refused() -> None:
    model = example()
    feed([(node(model, "m"), 0)], node(model, "r").outputs[0])
    with pytest.raises(InfeasibleError, match="cycle"):
        Editor(model).finished()
