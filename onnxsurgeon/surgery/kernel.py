"""Resizes kernels of convolutions. The output keeps its shape; if the kernel grows, also its values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxsurgeon.dependency.labels import label
from onnxsurgeon.edit.step import Step
from onnxsurgeon.errors import UsageError
from onnxsurgeon.model.editor import Editor, copied, set_attribute, set_input
from onnxsurgeon.model.lazy_weights import Places, take
from onnxsurgeon.ops.making import padding
from onnxsurgeon.ops.nodes import constant, convolution_of
from onnxsurgeon.ops.windows import Convolution
from onnxsurgeon.surgery.find import find
from onnxsurgeon.surgery.fit_check import checked

LARGEST_KERNEL = 255  # along one axis


def kernel(model: ir.Model, name: str, size: int | Sequence[int]) -> list[Step]:
    """Gives a Conv or ConvTranspose a kernel of another size: one number, or one for each spatial axis.

    New elements are zeros around the old kernel. A smaller kernel loses the borders with the smaller weights. The
    padding follows. Raises UsageError if the node is not a convolution, or can't have this size.
    """
    node = find(model, name)
    place = convolution_of(node)
    tensor = None if place is None else constant(node.inputs[place.weight])
    if place is None or tensor is None:
        raise UsageError(f"{name} ({node.op_type}) is not a convolution with constant weights", fix="name a Conv")
    labels = label(model, rewritten=False)
    old = tuple(tensor.shape.numpy())[2:]
    new, given = (size,) * len(old) if isinstance(size, int) else tuple(size), labels.evaluator.attributes(node)
    _require_size(name, old, new, by_size=place.pads_by_size(given))
    energy = np.square(np.asarray(tensor.numpy(), np.float64)).sum(axis=(0, 1))
    windows = [_window(energy, axis, b) for axis, b in enumerate(new)]
    editor = Editor(copied(model))
    _shape(editor, find(editor.model, name), place, windows, new, given, tensor)
    grows = all(b >= a for a, b in zip(old, new, strict=True))
    return [checked(labels, editor.finished(), f"kernel {name}: {_text(old)} to {_text(new)}", same=grows)]


def _require_size(name: str, old: Sequence[int], new: Sequence[int], *, by_size: bool) -> None:
    """Raises UsageError if a kernel of size `old` can't become one of size `new`.

    by_size: the padding follows from the sizes.
    """
    if len(new) != len(old) or any(not 1 <= k <= LARGEST_KERNEL for k in new):
        raise UsageError(
            f"{name} can't have a kernel of {_text(new)}",
            why=f"its kernel is {_text(old)}; sizes along an axis are 1 to {LARGEST_KERNEL}",
            fix="give one size, or one for each spatial axis",
        )
    odd = any((b - a) % 2 for a, b in zip(old, new, strict=True))
    if odd and by_size:
        raise UsageError(
            f"a kernel of {_text(new)} would shift the output of {name}",
            why=f"its kernel is {_text(old)}, and auto_pad depends on the input's size",
            fix="change each size by an even number",
        )


def _text(kernel: Sequence[int]) -> str:
    return "x".join(str(k) for k in kernel)


def _window(energy: Any, axis: int, size: int) -> tuple[Any, int]:
    """The old position of each element along one axis, -1 for new ones; and how many new ones are in front.

    The second is negative where elements in front go.
    """
    old = energy.shape[axis]
    if size >= old:
        before = (size - old) // 2
        return np.r_[np.full(before, -1), np.arange(old), np.full(size - old - before, -1)], before
    weight = energy.sum(axis=tuple(a for a in range(energy.ndim) if a != axis))
    starts = [(old - size) // 2, -((size - old) // 2)]  # what goes is farthest from the centre
    start = max(starts, key=lambda s: float(weight[s : s + size].sum()))
    return np.arange(start, start + size), -start


def _shape(
    editor: Editor,
    node: ir.Node,
    place: Convolution,
    windows: Sequence[tuple[Any, int]],
    new: Sequence[int],
    given: dict[str, Any],
    tensor: ir.TensorProtocol,
) -> None:
    old = tuple(tensor.shape.numpy())[2:]
    recipe = (None, None, *(Places(positions, (0.0,)) for positions, _ in windows))
    source = node.inputs[place.weight]
    assert source is not None
    set_input(node, place.weight, editor.weight(source.name or f"{node.name}.weight", take(tensor, recipe)))
    before = [front for _, front in windows]
    after = [b - a - front for a, b, front in zip(old, new, before, strict=True)]
    attributes, missing = place.reshaped(given, new, before, after)
    for name, value in attributes.items():
        set_attribute(node, name, value)
    if any(missing):
        _crop(editor, node, place, missing)


def _crop(editor: Editor, node: ir.Node, place: Convolution, crop: Sequence[int]) -> None:
    """Crops the input for a smaller kernel that has no pads left to give up."""
    if place.transposed:
        raise UsageError(
            f"the kernel of {node.name} can't become that small",
            why="its output would change shape, and there is no padding to adjust",
            fix="choose a larger kernel",
        )
    space, name = len(crop) // 2, f"{node.name}.crop"
    parameters, attributes = padding(editor, name, [0, 0, *crop[:space], 0, 0, *crop[space:]])
    read = [node.inputs[place.data], *parameters]
    set_input(node, place.data, editor.node("Pad", read, attributes, name=name, before=node)[0])
