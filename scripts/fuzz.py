#!/usr/bin/env python3
"""Feeds broken models to the command line: `fuzz.py --mutants 500 --seed 0`.

Each mutant is one of the fixtures with a few changes of its structure or of its bytes. A command must end with an exit
code of its own (2 to 5, or 0 where the model is sound after all): 1 is a fault of ours. It must take no more than
`--seconds` and `--memory`. Prints a line a fault, then a count by exit code; exits with 1 if there was a fault.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import random
import resource
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto

FIXTURES = sorted((Path(__file__).resolve().parent.parent / "fixtures").glob("*.onnx"))
OUT = ("-o", "out.onnx", "--overwrite")
COMMANDS = (  # LAYER stands for a layer of the fixture
    ("inspect", "m.onnx", "-v"),
    ("prune", "m.onnx", "--ratio", "0.3", *OUT),
    ("prune", "m.onnx", "--ratio", "0.3", "--data", "data.npz", *OUT),
    ("validate", "source.onnx", "m.onnx"),
    ("resize", "m.onnx", "LAYER=-1", *OUT),
    ("remove", "m.onnx", "LAYER", *OUT),
    ("edit", "m.onnx", "recipe.yaml", *OUT),
)
RECIPE = "- insert: {after: LAYER, op: Relu}\n- resize: {LAYER: +3}\n- rename: {LAYER: other}\n"
NUMBERS = (-(2**63), -1, 0, 1, 2, 3, 7, 2**31, 2**40, 2**62, 2**63 - 1)
SIZED = ("ConstantOfShape", "Expand", "Tile", "Reshape", "Range", "Pad", "Resize", "Upsample", "OneHot", "RandomNormal")
BODIES = {"If": ("then_branch", "else_branch"), "Loop": ("body",), "Scan": ("body",), "SequenceMap": ("body",)}
Mutation = Callable[[random.Random, ModelProto], None]


def _node(rng: random.Random, model: ModelProto) -> NodeProto:
    node: NodeProto = rng.choice(model.graph.node)
    return node


def _drop_input(rng: random.Random, model: ModelProto) -> None:
    node = _node(rng, model)
    if node.input:
        del node.input[rng.randrange(len(node.input))]


def _rewire(rng: random.Random, model: ModelProto) -> None:
    """Cycles, values that nobody makes, weights of another layer."""
    node, names = _node(rng, model), [name for n in model.graph.node for name in (*n.input, *n.output)]
    if node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice([*names, "nobody", ""])


def _rename_output(rng: random.Random, model: ModelProto) -> None:
    node = _node(rng, model)
    if node.output:
        node.output[0] = rng.choice([_node(rng, model).output[0], "", "new", "[red]" * 3])


def _shuffle(rng: random.Random, model: ModelProto) -> None:
    nodes = list(model.graph.node)
    rng.shuffle(nodes)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _drop_node(rng: random.Random, model: ModelProto) -> None:
    del model.graph.node[rng.randrange(len(model.graph.node))]


def _repeat_node(rng: random.Random, model: ModelProto) -> None:
    model.graph.node.append(_node(rng, model))


def _other_operator(rng: random.Random, model: ModelProto) -> None:
    schemas = [schema.name for schema in onnx.defs.get_all_schemas()]
    _node(rng, model).op_type = rng.choice([*schemas, "Unheard", ""])


def _other_domain(rng: random.Random, model: ModelProto) -> None:
    _node(rng, model).domain = rng.choice(["com.microsoft", "nobody", "ai.onnx", "ai.onnx.ml"])


def _drop_attribute(rng: random.Random, model: ModelProto) -> None:
    node = _node(rng, model)
    if node.attribute:
        del node.attribute[rng.randrange(len(node.attribute))]


def _change_attribute(rng: random.Random, model: ModelProto) -> None:
    node = _node(rng, model)
    if node.attribute:
        attribute = rng.choice(node.attribute)
        name = attribute.name
        values = [
            rng.choice(NUMBERS),
            [rng.choice(NUMBERS) for _ in range(rng.randrange(4))],
            0.5,
            "text",
            [0.5],
            ["a"],
        ]
        value = rng.choice(values)
        kind = AttributeProto.INTS if value == [] else None
        attribute.CopyFrom(onnx.helper.make_attribute(name, value, attr_type=kind))


def _refer_attribute(rng: random.Random, model: ModelProto) -> None:
    node = _node(rng, model)
    node.attribute.append(AttributeProto(name="axis", ref_attr_name="outer", type=AttributeProto.INT))


def _graph_attribute(rng: random.Random, model: ModelProto) -> None:
    node = _node(rng, model)
    kind = AttributeProto.GRAPH
    node.attribute.append(AttributeProto(name=rng.choice(["body", "then_branch", "kernel_shape"]), type=kind))


def _change_weight(rng: random.Random, model: ModelProto) -> None:
    if model.graph.initializer:
        weight = rng.choice(model.graph.initializer)
        kind = rng.randrange(4)
        if kind == 0 and weight.dims:
            weight.dims[rng.randrange(len(weight.dims))] = rng.choice(NUMBERS)
        elif kind == 1:
            weight.data_type = rng.choice([*TensorProto.DataType.values(), 99])
        elif kind == 2:
            weight.raw_data = weight.raw_data[: rng.randrange(len(weight.raw_data) + 1)]
        else:
            weight.name = rng.choice(["", "other", model.graph.initializer[0].name])


def _outside(rng: random.Random, model: ModelProto) -> None:
    if model.graph.initializer:
        weight = rng.choice(model.graph.initializer)
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        places = ["../x", "/etc/passwd", "missing", "a\0b", "n" * 300, ".", ""]
        weight.external_data.add(key="location", value=rng.choice(places))
        weight.external_data.add(key=rng.choice(["offset", "length", "odd"]), value=rng.choice(["-1", "x", "9" * 30]))


def _change_dims(rng: random.Random, model: ModelProto) -> None:
    infos = [*model.graph.input, *model.graph.output, *model.graph.value_info]
    shape = rng.choice(infos).type.tensor_type.shape if infos else onnx.TensorShapeProto()
    if shape.dim:
        shape.dim[rng.randrange(len(shape.dim))].dim_value = rng.choice(NUMBERS)


def _change_type(rng: random.Random, model: ModelProto) -> None:
    infos = [*model.graph.input, *model.graph.output]
    if not infos:
        return
    info = rng.choice(infos)
    info.type.tensor_type.elem_type = rng.choice([*TensorProto.DataType.values(), 77])


def _drop_shape(rng: random.Random, model: ModelProto) -> None:
    infos = [*model.graph.input, *model.graph.output]
    if not infos:
        return
    info = rng.choice(infos)
    info.ClearField("type") if rng.random() < 0.5 else info.type.tensor_type.ClearField("shape")


def _versions(rng: random.Random, model: ModelProto) -> None:
    if model.opset_import and rng.random() < 0.5:
        model.opset_import[0].version = rng.choice([0, -1, 1, 6, 30, 2**40])
    elif rng.random() < 0.5:
        del model.opset_import[:]
    else:
        model.ir_version = rng.choice([0, 1, 2, 3, 99])


def _interface(rng: random.Random, model: ModelProto) -> None:
    part = rng.choice([model.graph.input, model.graph.output])
    if len(part) and rng.random() < 0.5:
        del part[rng.randrange(len(part))]
    elif len(part):
        part.append(part[0])


def _insert(rng: random.Random, model: ModelProto, operator: str, domain: str = "", **attributes: Any) -> None:
    """A node between a value and one of its readers; its other inputs are weights of up to four numbers."""
    node, number = _node(rng, model), len(model.graph.node)
    if not node.input:
        return
    place = rng.randrange(len(node.input))
    inputs = [node.input[place]] * (rng.random() < 0.7)
    for index in range(rng.randrange(4)):
        name, kind = f"size{number}.{index}", rng.choice([TensorProto.INT64, TensorProto.FLOAT])
        numbers = [rng.choice(NUMBERS) for _ in range(rng.randrange(5))]
        model.graph.initializer.append(onnx.helper.make_tensor(name, kind, [len(numbers)], numbers))
        inputs.append(name)
    made = onnx.helper.make_node(operator, inputs, [f"made{number}"], name=f"made{number}", domain=domain, **attributes)
    model.graph.node.insert(list(model.graph.node).index(node), made)
    node.input[place] = f"made{number}"


def _huge(rng: random.Random, model: ModelProto) -> None:
    """What asks for terabytes."""
    _insert(rng, model, rng.choice(SIZED))


def _any_operator(rng: random.Random, model: ModelProto) -> None:
    schema = rng.choice([schema for schema in onnx.defs.get_all_schemas() if not schema.domain])
    wanted = [name for name, about in schema.attributes.items() if about.type == onnx.defs.OpSchema.AttrType.INTS]
    attributes: dict[str, Any] = {name: [rng.choice(NUMBERS)] * rng.randrange(1, 4) for name in wanted}
    _insert(rng, model, schema.name, **attributes)


def _nested(rng: random.Random, model: ModelProto) -> None:
    """Subgraphs in subgraphs, some without what they need."""
    operator = rng.choice(list(BODIES))
    read = _node(rng, model).output[:1] or ["x"]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", read, ["in"])], "g", [], [])
    graph.output.add(name="in")
    leaf = graph
    for level in range(rng.choice([1, 1, 2, 25])):
        bodies = {name: leaf for name in BODIES[operator] if rng.random() < 0.95}
        bodies[BODIES[operator][0]] = graph
        node = onnx.helper.make_node(operator, [*read] * rng.randrange(3), [f"out{level}"], name=f"n{level}", **bodies)
        if operator == "Scan":
            node.attribute.append(onnx.helper.make_attribute("num_scan_inputs", rng.choice(NUMBERS)))
        graph = onnx.helper.make_graph([node], "g", [], [])
        graph.output.add(name=f"out{level}")
    model.graph.node.extend(graph.node)
    reader = _node(rng, model)
    if reader.input:
        reader.input[0] = graph.output[0].name


def _group(rng: random.Random, model: ModelProto) -> None:
    node = _node(rng, model)
    name = rng.choice(["group", "axis", "num_heads", "blocksize", "hidden_size", "to", "keepdims", "allowzero"])
    for index in reversed(range(len(node.attribute))):
        if node.attribute[index].name == name:
            del node.attribute[index]
    node.attribute.append(onnx.helper.make_attribute(name, rng.choice(NUMBERS)))


def _functions(rng: random.Random, model: ModelProto) -> None:
    """Local functions, some of which call themselves, or each other without end."""
    opset = onnx.helper.make_opsetid("local", 1)
    levels, begin = rng.choice([2, 30]), rng.choice([0, 1])
    for level in range(begin, levels):
        inner = onnx.helper.make_node(f"f{level - 1}", ["a"], ["t"], domain="local")
        body = [inner, onnx.helper.make_node(f"f{level - 1}", ["t"], ["b"], domain="local")]
        if not level:
            body = [onnx.helper.make_node(rng.choice(["Relu", "Unheard", "f1"]), ["a"], ["b"], domain="")]
        opsets = [*model.opset_import, opset]
        model.functions.append(onnx.helper.make_function("local", f"f{level}", ["a"], ["b"], body, opsets))
    model.opset_import.append(opset)
    _insert(rng, model, f"f{levels - 1}", domain="local")


STRUCTURE: tuple[Mutation, ...] = (
    _drop_input, _rewire, _rename_output, _shuffle, _drop_node, _repeat_node, _other_operator, _other_domain,
    _drop_attribute, _change_attribute, _refer_attribute, _graph_attribute, _change_weight, _outside, _change_dims,
    _change_type, _drop_shape, _versions, _interface, _huge, _any_operator, _nested, _group, _functions,
)  # fmt: skip


def source(seed: int) -> Path:
    """The fixture that a mutant is made from."""
    return random.Random(seed).choice(FIXTURES)


def mutant(seed: int) -> bytes:
    """A fixture, changed in one to three places; one in five in its bytes, one in twenty in a name's."""
    rng = random.Random(seed)
    data = rng.choice(FIXTURES).read_bytes()
    if rng.random() < 0.2:
        changed = bytearray(data)
        for _ in range(rng.randint(1, 8)):
            changed[rng.randrange(min(len(changed), 4000))] = rng.randrange(256)
        return bytes(changed[: rng.choice([len(changed), rng.randrange(1, len(changed))])])
    model = onnx.load_from_string(data)
    for _ in range(rng.randint(1, 3)):
        if model.graph.node:
            rng.choice(STRUCTURE)(rng, model)
    changed_model: bytes = model.SerializeToString()
    names = [name for node in model.graph.node for name in (node.name, *node.output) if name]
    if names and rng.random() < 0.05:
        name = rng.choice(names).encode()
        return changed_model.replace(name, b"\xff\xfe" * (len(name) // 2) + name[len(name) // 2 * 2 :])
    return changed_model


def run(arguments: Sequence[str], folder: str, memory: int) -> None:
    """Runs a command in this process, which ends with its exit code; what it says of an internal error is in a file."""
    from onnxsurgeon.cli import main

    os.chdir(folder)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    said = io.StringIO()
    code = 1
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(said):
            sys.argv = ["onnxsurgeon", *arguments]
            main()
            code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException as error:  # noqa: BLE001 - a traceback is what this looks for
        said.write(repr(error))
    Path("said").write_text(said.getvalue())
    os._exit(code)


def _prepare(folder: Path, number: int) -> list[str]:
    """The command for a mutant, once all that it reads is in the folder."""
    original = source(number)
    model = onnx.load(original)
    (folder / "m.onnx").write_bytes(mutant(number))
    (folder / "source.onnx").symlink_to(original)
    layer = next((node.name for node in model.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")), "conv1")
    (folder / "recipe.yaml").write_text(RECIPE.replace("LAYER", layer))
    data = {}
    for info in model.graph.input:
        kind = info.type.tensor_type
        shape = [dim.dim_value or 4 for dim in kind.shape.dim]
        data[info.name] = np.ones(shape, onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
    np.savez(folder / "data.npz", allow_pickle=False, **data)
    return [word.replace("LAYER", layer) for word in COMMANDS[number % len(COMMANDS)]]


def fuzz(mutants: int, seed: int, *, seconds: float = 10.0, memory: int = 2 * 2**30) -> tuple[Counter[str], list[str]]:
    """How often each exit code came, and a line a fault."""
    from onnxsurgeon.pruning import prune  # noqa: F401 - imported once, before the processes fork

    forking, codes, faults = multiprocessing.get_context("fork"), Counter[str](), list[str]()
    for number in range(seed * 1_000_003, seed * 1_000_003 + mutants):
        with tempfile.TemporaryDirectory() as folder:
            command = _prepare(Path(folder), number)
            process = forking.Process(target=run, args=(command, folder, memory + 4 * 2**30))
            process.start()
            process.join(seconds)
            code = "slow" if process.is_alive() else str(process.exitcode)
            process.kill()
            process.join()
            codes[code] += 1
            if code not in ("0", "2", "3", "4", "5"):
                path = Path(folder) / "said"
                lines = path.read_text().strip().splitlines() if path.exists() else []
                faults.append(f"mutant {number} {command[0]}: {code}: {' | '.join(lines[:2])[:200]}")
    return codes, faults


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=10.0)
    given = parser.parse_args()
    codes, faults = fuzz(given.mutants, given.seed, seconds=given.seconds)
    print("\n".join(faults))
    print(", ".join(f"exit {code}: {count}" for code, count in sorted(codes.items())))
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
