"""Laws: references of `strip` point to the weights, `splice` undoes `strip`, and everything else is copied."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxsurgeon.model import wire

TOKEN = "t" * 32


def weight(name: str, size: int) -> onnx.TensorProto:
    """A uint8 weight of `size` bytes."""
    return numpy_helper.from_array(np.arange(size, dtype=np.uint8), name)


def everywhere(size: int) -> onnx.ModelProto:
    """A model with weights of `size` bytes: initializer, attribute, list attribute, subgraph, function."""
    info = helper.make_tensor_value_info("y", TensorProto.UINT8, [size])
    branch = helper.make_graph([helper.make_node("Identity", ["inner"], ["y"])], "branch", [], [info])
    branch.initializer.append(weight("inner", size))
    branches = helper.make_node("If", ["condition"], ["y"], then_branch=branch, else_branch=branch)
    listed = helper.make_node("Listed", [], ["z"], domain="custom", values=[weight("", size), weight("", size + 1)])
    constant = helper.make_node("Constant", [], ["c"], value=weight("", size))
    graph = helper.make_graph([constant, listed, branches], "graph", [], [info], [weight("w", size)], doc_string="d")
    function = helper.make_function("custom", "F", [], ["c"], [constant], [helper.make_opsetid("", 20)])
    return helper.make_model(graph, functions=[function])


def weights(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    """All tensors in `everywhere`, in the order of the file."""
    constant, listed, branches = model.graph.node
    inner = [attribute.g.initializer[0] for attribute in branches.attribute]
    own = [constant.attribute[0].t, *listed.attribute[0].tensors, *inner, *model.graph.initializer]
    return [*own, model.functions[0].node[0].attribute[0].t]


@pytest.mark.parametrize("size", [1024, 1025, 16383, 16384, 100_000])  # lengths that take two and three bytes
def test_strip_refers_to_the_weights_and_splice_brings_them_back(size: int) -> None:
    model = everywhere(size)
    data = model.SerializeToString()
    stripped = onnx.ModelProto.FromString(wire.strip(data, "here"))
    contents = []
    for number, (tensor, original) in enumerate(zip(weights(stripped), weights(model), strict=True)):
        entries = {entry.key: entry.value for entry in tensor.external_data}
        begin, length = int(entries["offset"]), int(entries["length"])
        assert entries["location"] == "here"
        assert not tensor.HasField("raw_data")
        assert data[begin : begin + length] == original.raw_data
        contents.append(original.raw_data)
        tensor.external_data[0].value = f"{TOKEN}{number:08}"
    parts = wire.splice(stripped.SerializeToString(), TOKEN.encode(), [len(content) for content in contents])
    assert wire.size(parts) == len(data)
    assert b"".join(contents[part.number] if isinstance(part, wire.Hole) else part for part in parts) == data


def test_nothing_large_nothing_changed() -> None:
    data = everywhere(wire.LARGE - 2).SerializeToString()
    assert wire.strip(data, "here") == data
    assert wire.splice(data, TOKEN.encode(), []) == [data]


@pytest.mark.parametrize("field", ["external_data", "float_data"])
def test_a_weight_that_is_not_raw_data_stays(field: str) -> None:
    model = everywhere(16)
    tensor = model.graph.initializer[0]
    if field == "external_data":
        tensor.raw_data = bytes(2000)
        tensor.data_location = TensorProto.EXTERNAL
    else:
        tensor.ClearField("raw_data")
        tensor.float_data.extend([1.0] * 2000)
    data = model.SerializeToString()
    assert wire.strip(data, "here") == data


def test_every_truncation_within_the_graph_is_noticed() -> None:
    model = everywhere(1024)
    model.ClearField("functions")
    model.ClearField("opset_import")  # now the graph is last
    data = model.SerializeToString()
    for end in range(len(data) - model.graph.ByteSize(), len(data)):
        with pytest.raises(ValueError, match=r"ends at byte|cut off"):
            wire.strip(data[:end], "here")


@pytest.mark.parametrize("data", [b"\x00\x00", b"\x0f", b"\x0b\x0c", b"\xff" * 12, b"\x08" + b"\x80" * 10])
def test_files_other_than_protobuf_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="byte"):
        wire.strip(data, "here")
