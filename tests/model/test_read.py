"""Laws: a weight is read as it was stored, wherever that is; unsupported models are refused with a reason."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxsurgeon.dependency.dynamic_dims import dynamic_dims
from onnxsurgeon.errors import ModelError, UsageError
from onnxsurgeon.model.read import read
from onnxsurgeon.model.write import write

OPEN_FILES = Path("/proc/self/fd")
DTYPES = [
    *(np.float32, np.float64, np.float16, np.int8, np.uint16, np.int32, np.int64, np.bool_, np.complex64),
    *(ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.int4, ml_dtypes.uint4, ml_dtypes.float4_e2m1fn),
]


def chain(weights: dict[str, np.ndarray], *, opset: int = 20) -> onnx.ModelProto:
    """x -> Custom(x, w0) -> Custom(., w1) -> ... -> y"""
    ends = ["x", *(f"{name}_out" for name in weights)]
    nodes = [
        helper.make_node("Custom", [before, name], [after], name=name, domain="custom")
        for name, (before, after) in zip(weights, itertools.pairwise(ends), strict=True)
    ]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info(ends[-1], TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("custom", 1)])


def numbers(*shape: int, dtype: type = np.float32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2, shape).astype(dtype)


def save(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def save_external(model: onnx.ModelProto, path: Path) -> Path:
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path


def values(model: ir.Model) -> dict[str, np.ndarray]:
    return {name: value.const_value.numpy() for name, value in model.graph.initializers.items()}


@pytest.mark.parametrize("saver", [save, save_external])
@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_read_as_they_were_stored(
    dtype: type, saver: Callable[[onnx.ModelProto, Path], Path], tmp_path: Path
) -> None:
    weights = {"large": numbers(8, 512, dtype=dtype), "small": numbers(3, dtype=dtype), "none": numbers(0, dtype=dtype)}
    model = read(saver(chain(weights), tmp_path / "m.onnx"))
    for name, array in values(model).items():
        assert array.dtype == dtype
        np.testing.assert_array_equal(array, weights[name])


def test_strings_and_typed_data_are_kept(tmp_path: Path) -> None:
    proto = chain({})
    proto.graph.initializer.append(helper.make_tensor("text", TensorProto.STRING, [2000], [b"word"] * 2000))
    proto.graph.initializer.append(helper.make_tensor("numbers", TensorProto.FLOAT, [2000], [0.5] * 2000))
    proto.graph.output[0].name = "x"
    tensors = values(read(save(proto, tmp_path / "m.onnx")))
    assert (tensors["text"] == b"word").all()
    assert (tensors["numbers"] == 0.5).all()


def test_a_weight_is_a_view_of_the_file(tmp_path: Path) -> None:
    path = save(chain({"w": numbers(1000)}), tmp_path / "m.onnx")
    array = values(read(path))["w"]
    assert not array.flags.owndata
    assert not array.flags.writeable
    path.unlink()  # the map outlives the name
    np.testing.assert_array_equal(array, numbers(1000))


@pytest.mark.skipif(not OPEN_FILES.is_dir(), reason="counts open files in /proc")
def test_all_weights_share_one_open_file(tmp_path: Path) -> None:
    path = save(chain({f"w{number}": numbers(300) for number in range(300)}), tmp_path / "m.onnx")
    before = len(list(OPEN_FILES.iterdir()))
    model = read(path)
    assert len(values(model)) == 300
    assert len(list(OPEN_FILES.iterdir())) <= before + 1


def test_weights_in_nodes_and_subgraphs_are_mapped(tmp_path: Path) -> None:
    tensor = numpy_helper.from_array(numbers(1000), "inner")
    info = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1000])
    branch = helper.make_graph([helper.make_node("Identity", ["inner"], ["y"])], "b", [], [info], [tensor])
    nodes = [
        helper.make_node("Constant", [], ["condition"], value=numpy_helper.from_array(np.array(True))),
        helper.make_node("Listed", [], ["z"], domain="custom", values=[tensor, tensor]),
        helper.make_node("If", ["condition"], ["y"], then_branch=branch, else_branch=branch),
    ]
    proto = helper.make_model(helper.make_graph(nodes, "g", [], [info]))
    model = read(save(proto, tmp_path / "m.onnx"))
    _, listed, branches = model.graph
    inner = branches.attributes["then_branch"].as_graph().initializers["inner"].const_value
    for found in (inner, *listed.attributes["values"].as_tensors()):
        np.testing.assert_array_equal(found.numpy(), numbers(1000))
        assert isinstance(found, ir.Tensor)


def test_functions_are_inlined(tmp_path: Path) -> None:
    opset = helper.make_opsetid("", 20)
    body = [helper.make_node("Relu", ["a"], ["b"]), helper.make_node("Neg", ["b"], ["c"])]
    function = helper.make_function("local", "F", ["a"], ["c"], body, [opset])
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("F", ["x"], ["y"], domain="local")], "g", info[:1], info[1:])
    proto = helper.make_model(graph, functions=[function], opset_imports=[opset, helper.make_opsetid("local", 1)])
    model = read(save(proto, tmp_path / "m.onnx"))
    assert [node.op_type for node in model.graph] == ["Relu", "Neg"]
    assert not model.functions
    assert model.graph.outputs[0].name == "y"


def calls(levels: int) -> onnx.ModelProto:
    """A function of each level calls that below twice; the lowest is a Gelu of onnxruntime."""
    opset, local = helper.make_opsetid("", 20), helper.make_opsetid("local", 1)
    lowest = helper.make_node("FastGelu", ["a"], ["b"], domain="com.microsoft", name="n")
    gelu = helper.make_opsetid("com.microsoft", 1)
    functions = [helper.make_function("local", "f0", ["a"], ["b"], [lowest], [opset, gelu])]
    for level in range(1, levels):
        body = [helper.make_node(f"f{level - 1}", [a], [b], domain="local") for a, b in ("at", "tb")]
        functions.append(helper.make_function("local", f"f{level}", ["a"], ["b"], body, [opset, local]))
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy"]
    call = helper.make_node(f"f{levels - 1}", ["x"], ["y"], domain="local")
    graph = helper.make_graph([call], "g", info[:1], info[1:])
    return helper.make_model(graph, functions=functions, opset_imports=[opset, local])


def test_functions_that_call_functions_are_inlined_under_names_of_their_own(tmp_path: Path) -> None:
    model = read(save(calls(8), tmp_path / "m.onnx"))
    assert len({node.name for node in model.graph}) == len(model.graph) == 2**7
    assert model.opset_imports["com.microsoft"] == 1


def test_functions_that_would_grow_without_bound_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="more than 200,000 nodes"):
        read(save(calls(60), tmp_path / "m.onnx"))


def test_a_function_that_calls_itself_is_refused(tmp_path: Path) -> None:
    proto = calls(3)
    proto.functions[0].node[0].op_type, proto.functions[0].node[0].domain = "f2", "local"
    with pytest.raises(ModelError, match="calls itself"):
        read(save(proto, tmp_path / "m.onnx"))


def test_a_weight_that_is_also_an_input_is_both(tmp_path: Path) -> None:
    proto = chain({"w": numbers(1000)})
    proto.ir_version = 3
    proto.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [1000]))
    model = read(save(proto, tmp_path / "m.onnx"))
    assert model.graph.inputs[1] is model.graph.initializers["w"]
    np.testing.assert_array_equal(values(model)["w"], numbers(1000))


def test_links_of_a_download_cache_are_followed(tmp_path: Path) -> None:
    blobs, names = tmp_path / "blobs", tmp_path / "names"
    blobs.mkdir()
    names.mkdir()
    save_external(chain({"w": numbers(1000)}), blobs / "m.onnx")
    (blobs / "m.onnx").rename(blobs / "1")
    (blobs / "weights.bin").rename(blobs / "2")
    (names / "m.onnx").symlink_to(blobs / "1")
    (names / "weights.bin").symlink_to(blobs / "2")
    np.testing.assert_array_equal(values(read(names / "m.onnx"))["w"], numbers(1000))


# what is refused


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\n", "git-lfs pointer"),
        (b"PK\x03\x04" + bytes(100), "zip archive"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"\x1c\x00\x00\x00TFL3" + bytes(100), "TensorFlow Lite"),
        (b"an ordinary text, hardly a network\n" * 9, "not an ONNX model"),
        (np.random.default_rng(0).bytes(5000), "not an ONNX model"),
        (b"\x12\x00", "not an ONNX model\n.*no graph"),
        (b"\x08\x09", "incomplete\n.*no graph"),
        (b"\x08", "incomplete"),
    ],
)
def test_other_files_are_named(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=reason) as caught:
        read(path)
    assert caught.value.fix


def test_a_missing_file_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not found"):
        read(tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="directory"):
        read(tmp_path)


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    data = save(chain({"w": numbers(300)}), tmp_path / "m.onnx").read_bytes()
    path = tmp_path / "cut.onnx"
    for end in [*range(1, len(data) - 40, 37), *range(len(data) - 40, len(data) - 12)]:
        path.write_bytes(data[:end])
        with pytest.raises(ModelError, match=r"damaged|not an ONNX|no opset"):
            read(path)


def test_random_damage_is_refused_or_harmless(tmp_path: Path) -> None:
    data = save(chain({"w": numbers(300)}), tmp_path / "m.onnx").read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / "damaged.onnx"
    for _ in range(300):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), 3):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(ModelError):  # and nothing else
            read(path)


def sparse() -> onnx.SparseTensorProto:
    return helper.make_sparse_tensor(
        numpy_helper.from_array(np.ones(1, np.float32), "s"), numpy_helper.from_array(np.zeros(1, np.int64)), [9]
    )


def in_subgraph(model: onnx.ModelProto) -> None:
    branch = onnx.GraphProto(name="branch", sparse_initializer=[sparse()])
    model.graph.node.add(op_type="If", output=["i"]).attribute.append(helper.make_attribute("then_branch", branch))


def in_attribute(model: onnx.ModelProto) -> None:
    node = model.graph.node.add(op_type="Constant", output=["c"])
    node.attribute.add(name="sparse_value", type=onnx.AttributeProto.SPARSE_TENSOR, sparse_tensor=sparse())


def map_output(model: onnx.ModelProto) -> None:
    of_map = model.graph.output[0].type.sequence_type.elem_type.map_type
    of_map.key_type = TensorProto.INT64
    of_map.value_type.tensor_type.elem_type = TensorProto.FLOAT


def in_branches(node: onnx.NodeProto) -> Callable[[onnx.ModelProto], None]:
    """Puts a node that makes `c` into both branches of an If."""

    def damage(model: onnx.ModelProto) -> None:
        branch = helper.make_graph([node], "branch", [], [onnx.ValueInfoProto(name="c")])
        model.graph.node.append(helper.make_node("If", ["w_out"], ["i"], then_branch=branch, else_branch=branch))

    return damage


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda m: m.graph.sparse_initializer.append(sparse()), "sparse.*\n.*'s'"),
        (in_subgraph, "sparse.*\n.*branch"),
        (in_attribute, "sparse.*\n.*sparse_value"),
        (lambda m: m.training_info.add(), "training"),
        (lambda m: m.graph.ClearField("output"), "no outputs"),
        (lambda m: m.ClearField("opset_import"), "no opset"),
        (lambda m: setattr(m.opset_import[0], "version", 6), "opset 6\n.*7 to"),
        (lambda m: setattr(m.opset_import[0], "version", 999), "opset 999\n.*installed onnx"),
        (lambda m: setattr(m, "ir_version", 999), "IR version 999"),
        (map_output, "the type of 'w_out' is not supp.*\nmap_type"),
        (lambda m: m.graph.initializer.append(m.graph.initializer[0]), "same one"),
        (lambda m: m.graph.initializer[0].ClearField("name"), "without a name"),
        (lambda m: m.graph.initializer[0].dims.append(2), "has 4000 bytes, but FLOAT .* takes 8000"),
        (lambda m: setattr(m.graph.initializer[0], "data_type", TensorProto.STRING), "STRING can.t be"),
        (lambda m: setattr(m.graph.initializer[0], "data_type", 99), "99"),
        (lambda m: m.graph.output.add(name="nobody"), "'nobody' is used"),
        (lambda m: m.graph.node.append(m.graph.node[0]), "redeclared"),
        (lambda m: m.graph.node[0].attribute.add(name="a"), "'a' of Custom 'w' has no type"),
        (lambda m: m.opset_import.add(domain="ai.onnx", version=7), "several versions"),
        (lambda m: m.opset_import.add(domain="other", version=2**40), "version 1099511627776"),
        (lambda m: m.graph.input.append(m.graph.input[0]), "inputs with the same name"),
        (lambda m: m.graph.initializer.add(name="small", data_type=1, dims=[64], float_data=[1]), "'small'.*too small"),
        (lambda m: m.graph.initializer.add(name="small", data_type=1, dims=[2], raw_data=bytes(12)), "has 12 bytes"),
        (lambda m: m.graph.initializer.add(name="small", data_type=58, dims=[2], raw_data=bytes(8)), "data type: 58"),
        (in_branches(helper.make_node("Identity", ["i"], ["c"])), "cycle"),
        (in_branches(helper.make_node("Identity", ["nobody"], ["c"])), "nobody"),
        (in_branches(helper.make_node("Gather", ["x"], ["c"], name="g")), "'g' .Gather.*has input size 1"),
        (in_branches(helper.make_node("Softmax", ["x"], ["c"], name="s", axis=0.5)), "'s' .Softmax.*axis"),
        (lambda m: m.graph.node[0].MergeFromString(b"\x1a\x02\xd6\xd0"), r"b'\\xd6\\xd0' .* is not UTF-8"),
    ],
)
def test_what_is_not_supported_is_refused(
    damage: Callable[[onnx.ModelProto], object], reason: str, tmp_path: Path
) -> None:
    model = chain({"w": numbers(1000)})
    damage(model)
    with pytest.raises(ModelError, match=reason) as caught:
        read(save(model, tmp_path / "m.onnx"))
    assert caught.value.fix


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("../weights.bin", "outside"),
        ("folder/../../weights.bin", "outside"),
        ("/weights.bin", "outside"),
        ("link.bin", "outside"),
        ("missing.bin", "missing"),
        ("short.bin", "too short\n.*'w' ends at byte 4000, the file at byte 3999"),
        ("empty.bin", "too short"),
    ],
)
def test_external_data_must_be_there(location: str, reason: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "weights.bin").write_bytes(bytes(4000))
    (folder / "link.bin").symlink_to(tmp_path / "weights.bin")
    (folder / "short.bin").write_bytes(bytes(3999))
    (folder / "empty.bin").touch()
    model = chain({"w": numbers(1000)})
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    with pytest.raises(ModelError, match=reason) as caught:
        read(save(model, folder / "m.onnx"))
    assert caught.value.fix


def three_nodes(path: Path, *, dims: list[int | str], order: tuple[int, ...] = (0, 1, 2), loop: bool = False) -> Path:
    """x -> MatMul -> Relu -> MatMul -> y, its nodes written in this order."""
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(rng.standard_normal(s).astype(np.float32), n) for n, s in (("a", (4, 8)), ("b", (8, 2)))
    ]
    nodes = [
        helper.make_node("MatMul", ["r" if loop else "x", "a"], ["h"], name="first"),
        helper.make_node("Relu", ["h"], ["r"], name="relu"),
        helper.make_node("MatMul", ["r", "b"], ["y"], name="last"),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, dims)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [*dims[:-1], 2])]
    graph = helper.make_graph([nodes[k] for k in order], "g", inputs, outputs, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def test_negative_dims_are_dynamic_and_keep_their_spelling(tmp_path: Path) -> None:
    """Old exporters write -1, and one name for several sizes that differ."""
    model = read(three_nodes(tmp_path / "model.onnx", dims=[-1, "?", "?", 4]))
    dims = list(dynamic_dims(model))
    assert [axis for _, axis, _, _ in dims] == [0, 1, 2]
    assert len({symbol for _, _, symbol, _ in dims}) == 3
    write(model, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "model.onnx").read_bytes()


def test_nodes_in_any_order_are_sorted(tmp_path: Path) -> None:
    """onnxruntime runs such files, too."""
    model = read(three_nodes(tmp_path / "model.onnx", dims=["n", 4], order=(2, 0, 1)))
    assert [node.name for node in model.graph] == ["first", "relu", "last"]


def test_a_cycle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cycle"):
        read(three_nodes(tmp_path / "model.onnx", dims=["n", 4], loop=True))
