"""Rules made of signatures, for operators that a signature says all about. See `neurons.signature` for the notation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from onnxsurgeon.arrays import Shape
from onnxsurgeon.neurons.relations import Axes
from onnxsurgeon.neurons.signature import Operand, Unsolved, parse, relate
from onnxsurgeon.ops.call import Call, Changes, Keep, blocks
from onnxsurgeon.ops.registry import Factors, Resize, Rule


def read(call: Call, text: str, **sizes: int) -> list[Axes | None]:
    """Relates the node by a signature; where it doesn't fit, everything is frozen."""
    call.pattern = text, sizes
    patterns = parse(text).inputs
    operands = [call.operand(i) if pattern else None for i, pattern in enumerate(patterns)]
    if any(pattern and call.has(i) and operands[i] is None for i, pattern in enumerate(patterns)):
        return call.freeze_all("an input of unknown shape")
    return connect(call, text, operands, sizes)


def connect(
    call: Call,
    text: str,
    operands: Sequence[Operand | None],
    sizes: Mapping[str, int],
    *,
    given: Mapping[int, Shape] | None = None,
) -> list[Axes | None]:
    """Relates operands, parts of the node's inputs, with its outputs; `given`: shapes for those of unknown shape."""
    count = len(parse(text).outputs)
    shapes = [(given or {}).get(i) if t.shape is None else t.shape for i, t in enumerate(call.outputs[:count])]
    try:
        results = relate(text, call.relations, operands, shapes, sizes)
    except Unsolved as problem:
        call.misfit = str(problem)
        return call.freeze_all(call.misfit)
    results += [call.blank(i) for i in range(len(results), len(call.outputs))]
    shapes += [None] * (len(results) - len(shapes))
    return [
        call.blank(i) if axes is None or shape is None else lengthy(axes, shape)
        for i, (axes, shape) in enumerate(zip(results, shapes, strict=True))
    ]


def lengthy(axes: Axes, shape: Shape) -> Axes:
    """`axes` without neurons on those of size 1."""
    return tuple(None if n == 1 else axis for n, axis in zip(shape, axes, strict=True))


def signature(text: str | Callable[[Call], str], **attributes: str) -> Rule:
    """A rule from a signature; `g='group'` reads the size of letter g from the attribute."""

    def rule(call: Call) -> Sequence[Axes | None]:
        sizes = {letter: int(call.attributes.get(name) or 1) for letter, name in attributes.items()}
        return read(call, text if isinstance(text, str) else text(call), **sizes)

    return rule


def letters(rank: int, frozen: Sequence[int] = ()) -> list[str]:
    """One letter per axis, `_` for those that stay whole."""
    return ["_" if a in frozen else f"x{a}" for a in range(rank)]


def text(*operands: Sequence[str]) -> str:
    """The signature of these symbols; the last operand is the output."""
    return ", ".join(" ".join(o) for o in operands[:-1]) + " -> " + " ".join(operands[-1])


def counted(attribute: str, index: int, axis: int, share: Callable[[Call], int]) -> Resize:
    """The attribute becomes the number of blocks of `share` neurons on an axis of input `index` that keep a neuron."""

    def resize(call: Call, keep: Keep) -> Changes:
        operand = call.operand(index)
        labels = None if operand is None else operand.axes[axis]
        if labels is None:
            return {}
        count = blocks(keep, labels, share(call))
        return {} if count == len(labels) // share(call) else {attribute: count}

    return resize


def everything(call: Call, *operands: Any) -> Factors:
    return [(n, axis) for operand in operands if operand for n, axis in zip(operand.shape, operand.axes, strict=True)]


def frozen(why: str) -> Rule:
    """The rule of an operator that freezes its inputs."""
    return lambda call: call.freeze_all(why)
