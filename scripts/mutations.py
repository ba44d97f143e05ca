"""Ways to break a model: each changes one place of a ModelProto, chosen by a random generator."""

from __future__ import annotations

import random
from collections.abc import Callable

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from onnxsurgeon.ops import OPERATORS

NUMBERS = (-(2**63), -(2**31), -2, -1, 0, 1, 2, 3, 7, 64, 2**31, 2**40, 2**62, 2**63 - 1)
REALS = (0.0, -1.0, 1e-30, 1e30, float("nan"), float("inf"))
SIZED = ("ConstantOfShape", "Expand", "Tile", "Reshape", "Range", "Pad", "Resize", "Upsample", "OneHot", "RandomNormal")
BODIES = {"If": ("then_branch", "else_branch"), "Loop": ("body",), "Scan": ("body",), "SequenceMap": ("body",)}
KEYS = ("group", "axis", "num_heads", "blocksize", "hidden_size", "to", "keepdims", "perm", "axes", "split")
TEXTS = ("", "[red]x[/red]", "\x1b[31m", "<b>&", "a\nb", "\0", "n" * 100_000, "x")
PLACES = ("../x", "/etc/passwd", "missing", "a\0b", "n" * 300, ".", "", "loop", "pipe", "zero", "some.bin", "a/" * 2000)
SCHEMAS = tuple(schema for schema in onnx.defs.get_all_schemas() if not schema.domain)
MUTATIONS: list[Callable[[random.Random, ModelProto], None]] = []


def mutation(function: Callable[[random.Random, ModelProto], None]) -> Callable[[random.Random, ModelProto], None]:
    MUTATIONS.append(function)
    return function


def _graph(rng: random.Random, model: ModelProto) -> GraphProto:
    """The main graph, or one inside a node."""
    inner = [a.g for node in model.graph.node for a in node.attribute if a.HasField("g") and a.g.node]
    return rng.choice(inner) if inner and rng.random() < 0.3 else model.graph


def _node(rng: random.Random, model: ModelProto) -> NodeProto:
    node: NodeProto = rng.choice(_graph(rng, model).node or [NodeProto()])
    return node


def _names(model: ModelProto) -> list[str]:
    return [name for node in model.graph.node for name in (*node.input, *node.output)] or [""]


def _info(rng: random.Random, model: ModelProto) -> ValueInfoProto:
    graph = _graph(rng, model)
    parts = [part for part in (graph.input, graph.output, graph.value_info) if part]
    return rng.choice(rng.choice(parts)) if parts else ValueInfoProto()


def _weight(rng: random.Random, model: ModelProto) -> TensorProto:
    held = [a.t for node in model.graph.node for a in node.attribute if a.HasField("t")]
    weight: TensorProto = rng.choice([*_graph(rng, model).initializer, *held] or [TensorProto()])
    return weight


def _some(rng: random.Random, most: int) -> list[int]:
    return [rng.choice(NUMBERS) for _ in range(rng.randrange(most))]


@mutation
def inputs_of_a_node(rng: random.Random, model: ModelProto) -> None:
    """One fewer, one more, none, or an empty one."""
    names = _node(rng, model).input
    kind = rng.randrange(4)
    if kind == 0 and names:
        del names[rng.randrange(len(names))]
    elif kind == 1:
        names.append(rng.choice(_names(model)))
    elif kind == 2:
        del names[:]
    elif names:
        names[rng.randrange(len(names))] = ""


@mutation
def rewire(rng: random.Random, model: ModelProto) -> None:
    """Cycles, values that nobody makes, weights of another layer."""
    node = _node(rng, model)
    if node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice([*_names(model), "nobody", *node.output[:1]])


@mutation
def outputs_of_a_node(rng: random.Random, model: ModelProto) -> None:
    names = _node(rng, model).output
    kind = rng.randrange(3)
    if kind == 0 and names:
        names[0] = rng.choice([*_names(model), "", "new", "[red]" * 3])
    elif kind == 1 and names:
        del names[rng.randrange(len(names))]
    else:
        names.append(rng.choice(["more", "", *_names(model)]))


@mutation
def order_of_nodes(rng: random.Random, model: ModelProto) -> None:
    nodes = list(model.graph.node)
    rng.shuffle(nodes)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


@mutation
def number_of_nodes(rng: random.Random, model: ModelProto) -> None:
    graph = _graph(rng, model)
    if not graph.node:
        return
    if rng.random() < 0.5:
        del graph.node[rng.randrange(len(graph.node))]
    else:
        graph.node.append(_node(rng, model))


@mutation
def operator(rng: random.Random, model: ModelProto) -> None:
    node = _node(rng, model)
    node.domain, node.op_type = rng.choice([*OPERATORS, ("", "Unheard"), ("", ""), ("nobody", node.op_type)])


@mutation
def domain(rng: random.Random, model: ModelProto) -> None:
    """With or without an operator set for it."""
    node = _node(rng, model)
    node.domain = rng.choice(["com.microsoft", "nobody", "ai.onnx", "ai.onnx.ml"])
    if rng.random() < 0.7:
        model.opset_import.append(helper.make_opsetid(node.domain, rng.choice([1, 0, 3, -1, 2**40])))


@mutation
def attribute(rng: random.Random, model: ModelProto) -> None:
    """Gone, or another value, often of another type."""
    node = _node(rng, model)
    if not node.attribute:
        return
    place = rng.randrange(len(node.attribute))
    changed = node.attribute[place]
    if rng.random() < 0.3:
        del node.attribute[place]
    elif rng.random() < 0.2:
        changed.type = rng.choice(AttributeProto.AttributeType.values())
    elif rng.random() < 0.1:
        node.attribute.append(changed)
    else:
        changed.CopyFrom(_any_attribute(rng, changed.name))


def _any_attribute(rng: random.Random, name: str) -> AttributeProto:
    tensor = helper.make_tensor("t", TensorProto.INT64, [2], [rng.choice(NUMBERS), 1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [], [])
    values = [
        rng.choice(NUMBERS), rng.choice(NUMBERS), rng.choice(REALS), rng.choice(TEXTS), _some(rng, 5), _some(rng, 5),
        [0.5], ["a"], tensor, [tensor], graph, [graph], helper.make_tensor_type_proto(1, [1]),
    ]  # fmt: skip
    value = rng.choice(values)
    return helper.make_attribute(name, value, attr_type=AttributeProto.INTS if value == [] else None)


@mutation
def key(rng: random.Random, model: ModelProto) -> None:
    """An attribute that decides about shapes."""
    node, name = _node(rng, model), rng.choice(KEYS)
    for index in reversed(range(len(node.attribute))):
        if node.attribute[index].name == name:
            del node.attribute[index]
    node.attribute.append(_any_attribute(rng, name))


@mutation
def reference(rng: random.Random, model: ModelProto) -> None:
    """To an attribute of a function, outside of functions."""
    name = rng.choice(["axis", "value", "then_branch", "unheard"])
    kind = rng.choice([AttributeProto.INT, AttributeProto.TENSOR, AttributeProto.GRAPH, AttributeProto.UNDEFINED])
    _node(rng, model).attribute.append(AttributeProto(name=name, ref_attr_name="outer", type=kind))


@mutation
def misplaced_graph(rng: random.Random, model: ModelProto) -> None:
    kind, name = AttributeProto.GRAPH, rng.choice(["body", "then_branch", "kernel_shape", ""])
    _node(rng, model).attribute.append(AttributeProto(name=name, type=kind, g=GraphProto(name="g")))


@mutation
def weight(rng: random.Random, model: ModelProto) -> None:
    """Its shape, type, bytes or name."""
    changed, kind = _weight(rng, model), rng.randrange(7)
    if kind == 0 and changed.dims:
        changed.dims[rng.randrange(len(changed.dims))] = rng.choice(NUMBERS)
    elif kind == 1:
        changed.data_type = rng.choice([*TensorProto.DataType.values(), 99, -1])
    elif kind == 2:
        changed.raw_data = changed.raw_data[: rng.randrange(len(changed.raw_data) + 1)]
    elif kind == 3:
        changed.name = rng.choice([*TEXTS, *_names(model)])
    elif kind == 4:
        changed.dims.extend(_some(rng, 3))
    elif kind == 5:
        dims = list(changed.dims)
        rng.shuffle(dims)
        changed.dims[:] = dims[: rng.choice([len(dims), len(dims), rng.randrange(len(dims) + 1)])]
    else:
        changed.float_data.append(0.5)


@mutation
def numbers(rng: random.Random, model: ModelProto) -> None:
    """Of a weight: as a Reshape, a Slice or a Range then reads them."""
    changed = _weight(rng, model)
    size = len(changed.raw_data)
    if changed.data_type in (TensorProto.INT64, TensorProto.UINT64) and 0 < size <= 800 and not size % 8:
        changed.raw_data = b"".join(
            rng.choice([changed.raw_data[i : i + 8], rng.choice(NUMBERS).to_bytes(8, "little", signed=True)])
            for i in range(0, size, 8)
        )
    elif changed.int64_data:
        changed.int64_data[rng.randrange(len(changed.int64_data))] = rng.choice(NUMBERS)
    elif size:
        changed.raw_data = rng.choice([b"\0", b"\xff", b"\x7f"]) * size


@mutation
def no_weight(rng: random.Random, model: ModelProto) -> None:
    """A weight becomes an input, or vanishes."""
    graph = _graph(rng, model)
    if graph.initializer:
        place = rng.randrange(len(graph.initializer))
        gone = graph.initializer[place]
        if rng.random() < 0.7:
            graph.input.append(helper.make_tensor_value_info(gone.name, gone.data_type, list(gone.dims)))
        if rng.random() < 0.8:
            del graph.initializer[place]


@mutation
def constant(rng: random.Random, model: ModelProto) -> None:
    """A weight becomes a node, perhaps of a wrong form."""
    if not model.graph.initializer:
        return
    place = rng.randrange(len(model.graph.initializer))
    held = model.graph.initializer[place]
    node = helper.make_node("Constant", [], [held.name])
    node.attribute.append(helper.make_attribute("value", held))
    if rng.random() < 0.5:
        name = rng.choice(["value", "value_int", "value_ints", "value_string", "sparse_value"])
        node.attribute.append(_any_attribute(rng, name))
    if rng.random() < 0.3:
        del node.attribute[0]
    del model.graph.initializer[place]
    model.graph.node.insert(0, node)


@mutation
def outside(rng: random.Random, model: ModelProto) -> None:
    """A weight in a file that can't be, or in a place where it isn't."""
    changed = _weight(rng, model)
    if rng.random() < 0.8:
        changed.ClearField("raw_data")
    changed.data_location = TensorProto.EXTERNAL
    if rng.random() < 0.95:
        changed.external_data.add(key="location", value=rng.choice(PLACES))
    for name in ("offset", "length", "odd", "checksum"):
        if rng.random() < 0.4:
            changed.external_data.add(key=name, value=rng.choice(["0", "4", "-1", "x", "", "9" * 30, "9" * 5000]))


@mutation
def dims(rng: random.Random, model: ModelProto) -> None:
    shape = _info(rng, model).type.tensor_type.shape
    kind = rng.randrange(4)
    if kind == 0 or not shape.dim:
        shape.dim.add().dim_value = rng.choice(NUMBERS)
    elif kind == 1:
        del shape.dim[rng.randrange(len(shape.dim))]
    elif kind == 2:
        rng.choice(shape.dim).dim_param = rng.choice([*TEXTS, "N", "N+1", "batch"])
    else:
        rng.choice(shape.dim).dim_value = rng.choice(NUMBERS)


@mutation
def kind_of_value(rng: random.Random, model: ModelProto) -> None:
    info, other = _info(rng, model), rng.randrange(6)
    if other < 3:
        info.type.tensor_type.elem_type = rng.choice([*TensorProto.DataType.values(), 77, -1])
    elif other == 3:
        info.ClearField("type") if rng.random() < 0.5 else info.type.tensor_type.ClearField("shape")
    else:
        inner = helper.make_tensor_type_proto(rng.choice([1, 0, 16]), rng.choice([[1, 2], None]))
        made = [helper.make_sequence_type_proto(inner), helper.make_optional_type_proto(inner),
                helper.make_sparse_tensor_type_proto(1, [2]), helper.make_map_type_proto(7, inner)]  # fmt: skip
        info.type.CopyFrom(rng.choice(made))


@mutation
def stated(rng: random.Random, model: ModelProto) -> None:
    """A wrong statement about a value inside."""
    shapes: list[list[int | str] | None] = [None, [*_some(rng, 5)], ["a", 2, "b", -1]]
    name = rng.choice(_names(model))
    model.graph.value_info.append(helper.make_tensor_value_info(name, rng.choice([1, 7, 16, 0]), rng.choice(shapes)))


@mutation
def versions(rng: random.Random, model: ModelProto) -> None:
    if model.opset_import and rng.random() < 0.6:
        model.opset_import[0].version = rng.choice([0, -1, 1, 6, *range(7, 27), 30, 2**40])
    elif rng.random() < 0.3:
        del model.opset_import[:]
    elif rng.random() < 0.5:
        model.opset_import.append(helper.make_opsetid(rng.choice(["", "ai.onnx"]), rng.choice([0, 7, 13, 99])))
    else:
        model.ir_version = rng.choice([0, 1, 2, 3, 4, 8, 99, 2**40])


@mutation
def interface(rng: random.Random, model: ModelProto) -> None:
    """Inputs and outputs that are gone, doubled, or other values."""
    graph = _graph(rng, model)
    part = rng.choice([graph.input, graph.output])
    if len(part):
        place, kind = rng.randrange(len(part)), rng.randrange(3)
        if kind == 0:
            del part[place]
        elif kind == 1:
            part.append(part[0])
        else:
            part[place].name = rng.choice([*_names(model), *TEXTS])


@mutation
def texts(rng: random.Random, model: ModelProto) -> None:
    node = _node(rng, model)
    text = rng.choice(TEXTS)
    kind = rng.randrange(4)
    if kind == 0:
        node.name = text
    elif kind == 1:
        model.graph.name = model.producer_name = model.domain = text
    elif kind == 2:
        helper.set_model_props(model, {"note": text})
        model.metadata_props.add(key="note", value="again")
    elif node.output:
        old = node.output[0]
        for reader in model.graph.node:
            for part in (reader.input, reader.output):
                for place, name in enumerate(part):
                    part[place] = text if name == old else name


def _insert(rng: random.Random, model: ModelProto, operator: str, domain: str = "") -> NodeProto:
    """A node between a value and one of its readers; its other inputs are weights of up to four numbers."""
    graph, number = _graph(rng, model), len(model.graph.node)
    place = rng.randrange(len(graph.node) or 1)
    node = graph.node[place] if graph.node else NodeProto(input=["nobody"])
    if not node.input:
        return node
    which = rng.randrange(len(node.input))
    inputs = [node.input[which]] * (rng.random() < 0.8)
    for index in range(rng.randrange(4)):
        name, kind = f"size{number}.{index}", rng.choice([TensorProto.INT64, TensorProto.INT64, TensorProto.FLOAT])
        values = [rng.choice(NUMBERS) for _ in range(rng.randrange(5))]
        shape = [len(values)] if len(values) != 1 or rng.random() < 0.5 else []
        graph.initializer.append(helper.make_tensor(name, kind, shape, values))
        inputs.append(name)
    made = helper.make_node(operator, inputs, [f"made{number}"], name=f"made{number}", domain=domain)
    graph.node.insert(place, made)
    node.input[which] = f"made{number}"
    inserted: NodeProto = graph.node[place]
    return inserted


@mutation
def huge(rng: random.Random, model: ModelProto) -> None:
    """What asks for terabytes."""
    _insert(rng, model, rng.choice(SIZED))


@mutation
def extra(rng: random.Random, model: ModelProto) -> None:
    """Any standard operator, with lists of numbers as its attributes."""
    schema = rng.choice(SCHEMAS)
    wanted = [name for name, about in schema.attributes.items() if about.type == onnx.defs.OpSchema.AttrType.INTS]
    made = _insert(rng, model, schema.name)
    for name in wanted:
        made.attribute.append(helper.make_attribute(name, [rng.choice(NUMBERS)] * rng.randrange(1, 4)))


@mutation
def extra_with_few_attributes(rng: random.Random, model: ModelProto) -> None:
    """Any known operator, with numbers as some of its attributes."""
    domain, name = rng.choice(list(OPERATORS))
    made = _insert(rng, model, name, domain)
    known = onnx.defs.get_schema(name).attributes if not domain and onnx.defs.has(name) else dict.fromkeys(KEYS)
    for key in known:
        if rng.random() < 0.4:
            made.attribute.append(_any_attribute(rng, key))
    if domain:
        model.opset_import.append(helper.make_opsetid(domain, 1))


@mutation
def nested(rng: random.Random, model: ModelProto) -> None:
    """Subgraphs in subgraphs, some without what they need."""
    operator = rng.choice(list(BODIES))
    read = list(_node(rng, model).output[:1]) or ["x"]
    graph = helper.make_graph([helper.make_node("Identity", read, ["in"])], "g", [], [])
    graph.output.add(name="in")
    leaf = graph
    for level in range(rng.choice([1, 1, 2, 25, 30])):
        bodies = {name: leaf for name in BODIES[operator] if rng.random() < 0.95}
        bodies[BODIES[operator][0]] = graph
        node = helper.make_node(operator, [*read] * rng.randrange(3), [f"out{level}"], name=f"n{level}", **bodies)
        if operator == "Scan":
            node.attribute.append(helper.make_attribute("num_scan_inputs", rng.choice(NUMBERS)))
            if rng.random() < 0.4:
                name = rng.choice(["scan_input_axes", "scan_output_axes", "directions", "scan_input_directions"])
                node.attribute.append(helper.make_attribute(name, [rng.choice(NUMBERS)] * rng.randrange(1, 3)))
            for _ in range(rng.randrange(3)):
                graph.input.add(name=rng.choice(["a", "b", "c"]))
        graph = helper.make_graph([node], "g", [], [])
        graph.output.add(name=f"out{level}")
    model.graph.node.extend(graph.node)
    reader = _node(rng, model)
    if reader.input:
        reader.input[0] = graph.output[0].name


@mutation
def functions(rng: random.Random, model: ModelProto) -> None:
    """Local functions: some call themselves or each other, have references to attributes, or an operator's name."""
    home = rng.choice(["local", "local", "", "com.microsoft"])
    levels, begin = rng.choice([2, 30]), rng.choice([0, 0, 1])
    for level in range(begin, levels):
        call = f"f{level - 1}" if level else rng.choice(["Relu", "Unheard", "f1", "Softmax"])
        inner = helper.make_node(call, ["a"], ["t"], domain=home if level else "")
        if not level and rng.random() < 0.5:
            inner.attribute.append(AttributeProto(name="axis", ref_attr_name="axis", type=AttributeProto.INT))
        body = [inner, helper.make_node(call, ["t"], ["b"], domain=home if level else "")]
        takes = rng.choice([["a"], ["a"], [], ["a", "c"]])
        name = f"f{level}" if rng.random() < 0.98 else "Relu"
        opsets = [*model.opset_import, helper.make_opsetid("local", 1)]
        model.functions.append(helper.make_function(home, name, takes, ["b"], body, opsets, ["axis"]))
    model.opset_import.append(helper.make_opsetid(home, rng.choice([1, 1, 2])))
    _insert(rng, model, f"f{levels - 1}", home)


@mutation
def odd_parts(rng: random.Random, model: ModelProto) -> None:
    """Parts that few files have."""
    kind = rng.randrange(5)
    if kind == 0:
        model.training_info.add()
    elif kind == 1:
        model.graph.sparse_initializer.add()
    elif kind == 2:
        model.graph.quantization_annotation.add(tensor_name=rng.choice(_names(model)))
    elif kind == 3:
        model.ClearField("graph") if rng.random() < 0.5 else model.graph.ClearField("input")
    else:
        model.graph.output.extend(model.graph.input)
