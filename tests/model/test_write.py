"""Laws: reading, then writing is the identity, a write is atomic, and only one weight is in memory at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxsurgeon.errors import SurgeonError, UsageError
from onnxsurgeon.model.read import read
from onnxsurgeon.model.write import check_target, write
from paths import MODELS

LIGHT = sorted((Path(onnx.__file__).parent / "backend/test/data/light").glob("*.onnx"))


def numbers(*shape: int, dtype: type = np.float32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2, shape).astype(dtype)


def weight(*shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array(numbers(*shape))


def model_of(*weights: onnx.TensorProto) -> onnx.ModelProto:
    """w0, w1, ... -> Custom -> y"""
    for number, tensor in enumerate(weights):
        tensor.name = f"w{number}"
    graph = helper.make_graph(
        [helper.make_node("Custom", [tensor.name for tensor in weights], ["y"], domain="custom")],
        "graph",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])],
        list(weights),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("custom", 1), helper.make_opsetid("", 20)])


def of_all_kinds() -> onnx.ModelProto:
    """A model with all element types, as raw and typed data, large, small and empty."""
    types = [np.float32, np.float16, np.float64, np.int8, np.int64, np.bool_, np.complex64]
    types += [ml_dtypes.bfloat16, ml_dtypes.float8_e5m2, ml_dtypes.int4, ml_dtypes.uint4, ml_dtypes.float4_e2m1fn]
    shapes = [(), (0, 3), (7,), (40, 100)]
    weights = [numpy_helper.from_array(numbers(*shape, dtype=dtype)) for dtype in types for shape in shapes]
    for kind in (TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32, TensorProto.DOUBLE, TensorProto.FLOAT16):
        weights += [helper.make_tensor("", kind, [size], [1] * size) for size in (3, 3000)]
    return model_of(*weights, helper.make_tensor("", TensorProto.STRING, [2000], [b"word"] * 2000))


def oddly_spelled() -> onnx.ModelProto:
    """A model with fields set explicitly to their defaults, entries in an unusual order, and descriptions."""
    model = model_of(weight(1000), weight(4), weight(900))
    model.doc_string = model.domain = model.graph.doc_string = ""
    model.model_version = 0
    model.opset_import[1].ClearField("domain")
    node, graph = model.graph.node[0], model.graph
    node.name = node.doc_string = ""
    node.output.append("")
    for first, second in (("value", "Constant"), ("", "ai.onnx")):
        new = helper.make_node("Constant", [], [f"c{first}"], name=second, value=weight(999))
        new.domain = second if second == "ai.onnx" else ""
        new.attribute[0].t.doc_string = ""
        graph.node.append(new)
    for tensor in (graph.initializer[0], graph.initializer[1]):
        tensor.doc_string = ""
        tensor.data_location = TensorProto.DEFAULT
    for message in (model, node, graph, graph.output[0]):
        message.metadata_props.add(key="z", value="first")
        if message is not graph.output[0]:
            message.metadata_props.add(key="a", value="second")
    for name in ("cvalue", "w1", "c"):
        graph.value_info.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"], doc_string=""))
    for name in ("y", "w2"):
        entry = graph.quantization_annotation.add(tensor_name=name)
        entry.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="w1")
    return model


def nested() -> onnx.ModelProto:
    """A model of IR version 3: a subgraph with a weight and an untyped output, and a weight that is also an input."""
    branch = helper.make_graph(
        [helper.make_node("Identity", ["inner"], ["y"], doc_string="")],
        "branch",
        [],
        [onnx.ValueInfoProto(name="y", type=onnx.TypeProto())],
        [numpy_helper.from_array(numbers(1000), "inner")],
    )
    model = model_of(weight(1000))
    model.ir_version = 3
    model.graph.node[0].output[0] = "condition"
    model.graph.node.append(helper.make_node("If", ["condition"], ["y"], then_branch=branch, else_branch=branch))
    model.graph.input.append(helper.make_tensor_value_info("w0", TensorProto.FLOAT, [1000]))
    return model


def saved(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def lazy(array: np.ndarray, func: Callable[[], np.ndarray] | None = None) -> ir.LazyTensor:
    """A lazy weight, evaluated from `array` or by `func` while it is written."""
    dtype = ir.DataType.from_numpy(array.dtype)
    return ir.LazyTensor(lambda: ir.tensor(func() if func else array), dtype, ir.Shape(array.shape), name="w")


def set_weight(model: ir.Model, name: str, tensor: ir.TensorProtocol) -> None:
    model.graph.initializers[name].const_value = tensor


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("make", [of_all_kinds, oddly_spelled, nested])
def test_read_then_write_is_identity(make: Callable[[], onnx.ModelProto], tmp_path: Path) -> None:
    source = saved(make(), tmp_path / "source.onnx")
    model = read(source)
    assert write(model, tmp_path / "target.onnx") == source.stat().st_size
    assert (tmp_path / "target.onnx").read_bytes() == source.read_bytes()
    write(model.clone(), tmp_path / "clone.onnx")
    assert (tmp_path / "clone.onnx").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("source", [*MODELS, *LIGHT], ids=lambda path: path.stem)
def test_read_then_write_is_identity_for_exported_models(source: Path, tmp_path: Path) -> None:
    write(read(source), tmp_path / "target.onnx")
    assert (tmp_path / "target.onnx").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("make", [of_all_kinds, oddly_spelled, nested])
def test_external_then_embedded_is_identity(make: Callable[[], onnx.ModelProto], tmp_path: Path) -> None:
    source = saved(make(), tmp_path / "source.onnx")
    write(read(source), tmp_path / "external.onnx", external=True)
    write(read(tmp_path / "external.onnx"), tmp_path / "embedded.onnx", external=False)
    before, after = onnx.load(source), onnx.load(tmp_path / "embedded.onnx")
    for tensor in (*before.graph.initializer, *after.graph.initializer):
        tensor.ClearField("data_location")  # a weight in a data file can't spell out DEFAULT
    assert before == after


def test_an_edit_changes_only_what_it_is_about(tmp_path: Path) -> None:
    proto = oddly_spelled()
    model = read(saved(proto, tmp_path / "source.onnx"))
    set_weight(model, "w2", lazy(numbers(500) + 1))
    write(model, tmp_path / "target.onnx")
    changed = onnx.load(tmp_path / "target.onnx")
    assert (numpy_helper.to_array(changed.graph.initializer[2]) == numbers(500) + 1).all()
    changed.graph.initializer[2].CopyFrom(proto.graph.initializer[2])
    assert changed == proto


@pytest.mark.parametrize("external", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16, ml_dtypes.int4, np.bool_])
def test_lazy_weights_are_evaluated_once(dtype: type, *, external: bool, tmp_path: Path) -> None:
    model = read(saved(model_of(weight(2000), weight(2000)), tmp_path / "source.onnx"))
    array, calls = numbers(60, 50, dtype=dtype).T, []
    for name in ("w0", "w1"):
        set_weight(model, name, lazy(array, lambda: calls.append(1) or array))
    write(model, tmp_path / "target.onnx", external=external)
    assert len(calls) == 2
    for value in read(tmp_path / "target.onnx").graph.initializers.values():
        np.testing.assert_array_equal(value.const_value.numpy(), array)


@pytest.mark.parametrize("wrong", [numbers(1001), numbers(1000, dtype=np.int32), numbers(10, 100)])
def test_a_weight_that_differs_from_its_declaration_is_not_written(wrong: np.ndarray, tmp_path: Path) -> None:
    model = read(saved(model_of(weight(1000)), tmp_path / "source.onnx"))
    set_weight(model, "w0", lazy(numbers(1000), lambda: wrong))
    with pytest.raises(SurgeonError, match=r"'w0?' does not match its declaration"):
        write(model, tmp_path / "target.onnx")
    assert names_in(tmp_path) == {"source.onnx"}


def test_no_reference_to_the_source_is_left(tmp_path: Path) -> None:
    model = read(saved(nested(), tmp_path / "source.onnx"))
    set_weight(model, "w0", lazy(numbers(1000)))
    write(model, tmp_path / "target.onnx")
    assert b"source.onnx" not in (tmp_path / "target.onnx").read_bytes()
    write(model, tmp_path / "external.onnx", external=True)
    assert b"source.onnx" not in (tmp_path / "external.onnx").read_bytes()


# external data


def test_external_data_stays_external_and_onnx_reads_it(tmp_path: Path) -> None:
    weights = [numbers(size) for size in (1000, 3, 300_000, 500)]
    onnx.save(
        model_of(*map(numpy_helper.from_array, weights)),
        tmp_path / "source.onnx",
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    size = write(read(tmp_path / "source.onnx"), tmp_path / "target.onnx")
    assert names_in(tmp_path) == {"source.onnx", "weights.bin", "target.onnx", "target.onnx.data"}
    assert size == sum((tmp_path / name).stat().st_size for name in ("target.onnx", "target.onnx.data"))
    for tensor in onnx.load(tmp_path / "target.onnx", load_external_data=False).graph.initializer:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        if tensor.name != "w1":
            assert entries["location"] == "target.onnx.data"
            assert int(entries["offset"]) % (4096 if tensor.name == "w2" else 64) == 0
    for tensor, weight in zip(onnx.load(tmp_path / "target.onnx").graph.initializer, weights, strict=True):
        np.testing.assert_array_equal(numpy_helper.to_array(tensor), weight)


def test_what_protobuf_cannot_hold_goes_to_a_data_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = read(saved(model_of(weight(1000)), tmp_path / "source.onnx"))
    monkeypatch.setattr(sys.modules[write.__module__], "LIMIT", 4000)
    with pytest.raises(UsageError, match="allows 4000"):
        write(model, tmp_path / "target.onnx", external=False)
    write(model, tmp_path / "target.onnx")
    assert (tmp_path / "target.onnx.data").read_bytes() == numbers(1000).tobytes()
    (tmp_path / "target.onnx").unlink()
    with pytest.raises(UsageError, match=r"target\.onnx\.data exists"):
        write(model, tmp_path / "target.onnx")


# all or nothing


@pytest.mark.parametrize("external", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, ValueError])
def test_a_crash_leaves_nothing_behind(error: type[BaseException], *, external: bool, tmp_path: Path) -> None:
    source = saved(model_of(weight(1000), weight(1000)), tmp_path / "source.onnx")
    before, model = source.read_bytes(), read(source)

    def fail() -> np.ndarray:
        raise error

    unfinished = lazy(numbers(1000), fail)
    set_weight(model, "w1", unfinished)
    with pytest.raises(error):
        write(model, source, overwrite=True, external=external)
    assert names_in(tmp_path) == {"source.onnx"}
    assert source.read_bytes() == before
    assert model.graph.initializers["w1"].const_value is unfinished


def test_a_full_disk_is_the_users_to_solve(tmp_path: Path) -> None:
    model = read(saved(model_of(weight(100_000)), tmp_path / "source.onnx"))
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(UsageError, match=r"can't write .*target\.onnx\nFile too large"):
            write(model, tmp_path / "target.onnx")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names_in(tmp_path) == {"source.onnx"}


@pytest.mark.parametrize("external", [False, True])
def test_a_model_may_replace_its_own_files(*, external: bool, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    write(read(saved(model_of(weight(1000), weight(1000)), path)), path, overwrite=True)
    write(read(path), path, overwrite=True, external=external)
    model = read(path)
    set_weight(model, "w0", lazy(numbers(10)))
    write(model, path, overwrite=True)
    np.testing.assert_array_equal(model.graph.initializers["w1"].const_value.numpy(), numbers(1000))
    again = read(path).graph.initializers
    np.testing.assert_array_equal(again["w0"].const_value.numpy(), numbers(10))
    np.testing.assert_array_equal(again["w1"].const_value.numpy(), numbers(1000))


def test_a_target_is_checked_before_the_work(tmp_path: Path) -> None:
    taken = tmp_path / "taken.onnx"
    taken.touch()
    assert check_target(taken, overwrite=True) == taken
    assert check_target(str(tmp_path / "new.onnx"), overwrite=False) == tmp_path / "new.onnx"
    for path, overwrite, reason in (
        (taken, False, "exists"),
        (tmp_path, True, "not a regular file"),
        (tmp_path / "nowhere" / "m.onnx", False, "no folder"),
        (taken / "m.onnx", False, "no folder"),
    ):
        with pytest.raises(UsageError, match=reason):
            check_target(path, overwrite=overwrite)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_read_only_folder_is_noticed(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="read-only"):
        check_target(tmp_path / "m.onnx", overwrite=False)


MEASURE = """
import sys
import onnx_ir as ir
from onnxsurgeon.model.read import (read)
from onnxsurgeon.model.write import write

def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) * 1024

before = peak()
model = read(sys.argv[1])
for value in model.graph.initializers.values():
    cut = lambda tensor=value.const_value: ir.tensor(tensor.numpy()[::-1].copy())
    value.const_value = ir.LazyTensor(cut, value.const_value.dtype, value.const_value.shape, name=value.name)
write(model, sys.argv[2])
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak of memory in /proc")
def test_memory_holds_one_weight_at_a_time(tmp_path: Path) -> None:
    source = saved(model_of(*(weight(2_500_000) for _ in range(12))), tmp_path / "source.onnx")
    package = Path(sys.modules[write.__module__].__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(source), str(tmp_path / "target.onnx")],
        env={**os.environ, "PYTHONPATH": str(package)},
        check=True,
        capture_output=True,
        text=True,
    )
    # the pages of the source, which the system can drop; one weight; the structure
    assert int(done.stdout) < source.stat().st_size + 3 * 10_000_000
