"""A user's own loss: a small ONNX model of an output and its labels, whose nodes join those of the training step."""

from __future__ import annotations

import numpy as np
import onnx

from onnxsurgeon.data.functions import explain_errors, import_function
from onnxsurgeon.errors import UsageError
from onnxsurgeon.training.step_graph import Loss, LossCall

FIX = "return an onnx.ModelProto with two inputs, the output and the labels, and the loss of each sample as its output"


def own_loss(spec: str) -> Loss:
    """The loss that `module:function` makes. Raises UsageError if that does not return such a model."""
    function = import_function(spec, "`loss`")

    def emitted(call: LossCall) -> str:
        emit, end = call.emit, call.ends[0]
        target = call.target(end)
        with explain_errors(f"loss {spec} failed"):
            made = function(emit.shapes[end], emit.shapes[target])
        if not isinstance(made, onnx.ModelProto) or len(made.graph.input) != 2 or len(made.graph.output) != 1:
            raise UsageError(f"loss {spec} does not return a loss", why=f"it returns {type(made).__name__}", fix=FIX)
        with explain_errors(f"loss {spec} can't be used with this model"):
            made = onnx.version_converter.convert_version(made, emit.version)
            sized = onnx.ModelProto()
            sized.CopyFrom(made)
            for value, shape in zip(sized.graph.input, (emit.shapes[end], emit.shapes[target]), strict=True):
                value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, onnx.TensorProto.FLOAT, shape))
            sized.graph.output[0].type.tensor_type.ClearField("shape")
            inferred = onnx.shape_inference.infer_shapes(sized, strict_mode=True, data_prop=True).graph
        shapes = {
            value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
            for value in (*inferred.value_info, *inferred.output)
        }
        names = dict(zip((value.name for value in made.graph.input), (end, target), strict=True))
        for tensor in made.graph.initializer:
            names[tensor.name] = emit.constant(np.array(onnx.numpy_helper.to_array(tensor)))
        for node in made.graph.node:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            for index, name in enumerate(node.output):
                names[name] = copy.output[index] = f"loss {name}"
                emit.shapes[names[name]] = shapes.get(name, ())
            copy.name, copy.input[:] = (
                f"loss {node.name or node.output[0]}",
                [names.get(name, "") for name in node.input],
            )
            emit.nodes.append(copy)
        result = str(names[made.graph.output[0].name])
        if emit.shapes[result] != (call.size,):
            raise UsageError(
                f"loss {spec} is not one number per sample", why=f"its shape is {emit.shapes[result]} for {call.size} "
                "samples", fix=FIX,
            )  # fmt: skip
        return result

    return emitted
