"""Axis signatures: an einops-like notation for which axes of an operator carry the same neurons.

    Conv    n (g i) *, (g o) i *, (g o) -> n (g o) *

A letter is an axis; the same letter means the same neurons. `(a b)` is a row-major composite. `4` is a frozen axis of
size 4, `_` a frozen axis, `*` all other axes, frozen. `...` are axes that pass through, aligned from the right
(broadcasting). An empty operand is ignored. An axis of size 1 broadcasts, so it binds nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from math import prod
from typing import NamedTuple

from onnxsurgeon.arrays import Shape
from onnxsurgeon.neurons.relations import LAYOUT, POSITIONS, WORKED, Axes, Axis, Relations

Symbol = tuple[str, ...]  # the factors of an axis; one for a plain letter

FROZEN: Symbol = ("_",)
REST, ELLIPSIS = "*", "..."


class Operand(NamedTuple):
    """The shape of a tensor and the neurons on its axes."""

    shape: Shape
    axes: Axes


class Signature(NamedTuple):
    inputs: tuple[tuple[Symbol, ...], ...]
    outputs: tuple[tuple[Symbol, ...], ...]


class Unsolved(ValueError):
    """The signature does not fit the shapes."""


@cache
def parse(text: str) -> Signature:
    """The parsed signature. Raises ValueError, with the pattern, if it is malformed."""
    left, arrow, right = text.partition("->")
    if not arrow:
        raise ValueError(f"signature without '->': {text!r}")
    return Signature(*(tuple(_parse_operand(part, text) for part in side.split(",")) for side in (left, right)))


def _parse_operand(part: str, text: str) -> tuple[Symbol, ...]:
    symbols: list[Symbol] = []
    group: list[str] | None = None
    for word in part.replace("(", " ( ").replace(")", " ) ").split():
        if word == "(" and group is None:
            group = []
        elif word == ")" and group is not None:
            symbols.append(tuple(group))
            group = None
        elif word in "()":
            raise ValueError(f"unbalanced parenthesis in signature {text!r}")
        elif group is not None:
            group.append(word)
        else:
            symbols.append((word,))
    if group is not None:
        raise ValueError(f"unbalanced parenthesis in signature {text!r}")
    return tuple(symbols)


Place = tuple[int, int]  # an operand and one of its axes


def equal_axes(text: str, ranks: Sequence[int | None]) -> tuple[dict[str, list[Place]], list[tuple[Place, Symbol]]]:
    """The places that each letter of the inputs stands for, and the composite axes with their factors.

    ranks: of the operands; None if one is absent or its rank is unknown. Operands whose rank doesn't fit are left out.
    """
    letters: dict[str, list[Place]] = {}
    composites: list[tuple[Place, Symbol]] = []
    for k, (pattern, rank) in enumerate(zip(parse(text).inputs, ranks, strict=False)):
        try:
            symbols = _expand(pattern, rank, text) if pattern and rank else ()
        except Unsolved:
            continue
        for axis, symbol in enumerate(symbols):
            if len(symbol) > 1:
                composites.append(((k, axis), symbol))
            elif symbol != FROZEN:
                letters.setdefault(symbol[0], []).append((k, axis))
    return letters, composites


def relate(
    text: str,
    relations: Relations,
    operands: Sequence[Operand | None],
    outputs: Sequence[Shape | None],
    sizes: Mapping[str, int],
) -> list[Axes | None]:
    """The neurons on each output's axes. Declares in `relations` how the operands' axes relate.

    operands: one per input of the signature, None if absent. outputs: the outputs' shapes. sizes: known letters.
    Raises Unsolved if a letter's size is unknown or ambiguous; then nothing is declared.
    """
    signature = parse(text)
    bound: list[tuple[Symbol, int, Axis]] = []
    for pattern, operand in zip(signature.inputs, operands, strict=False):
        if pattern and operand is not None and operand.shape:  # a scalar binds nothing
            symbols = _expand(pattern, len(operand.shape), text)
            bound += [(s, n, axis) for s, n, axis in zip(symbols, operand.shape, operand.axes, strict=True)]
    targets = [
        _expand(pattern, len(shape), text) if pattern and shape is not None else None
        for pattern, shape in zip(signature.outputs, outputs, strict=False)
    ]
    sized = [(s, n) for s, n, _ in bound]
    for target, shape in zip(targets, outputs, strict=False):
        sized += zip(target or (), shape or (), strict=True) if target is not None and shape is not None else []
    solved = _solve(sized, sizes, text)
    vectors = _bind(bound, targets, solved, relations)
    return [None if target is None else tuple(vectors.get(s) for s in target) for target in targets]


@cache
def _expand(pattern: tuple[Symbol, ...], rank: int, text: str) -> tuple[Symbol, ...]:
    """One symbol per axis: `*` becomes frozen axes, `...` becomes letters numbered from the right."""
    extra = rank - len(pattern) + 1
    symbols: list[Symbol] = []
    for symbol in pattern:
        if symbol == (REST,):
            symbols += [FROZEN] * extra
        elif symbol == (ELLIPSIS,):
            symbols += [(f"...{i}",) for i in range(extra - 1, -1, -1)]
        else:
            symbols.append(symbol)
    if len(symbols) != rank:
        raise Unsolved(f"rank {rank} does not fit {text!r}")
    return tuple(symbols)


def _solve(sized: Sequence[tuple[Symbol, int]], known: Mapping[str, int], text: str) -> dict[str, int]:
    """The size of each letter. A larger size overrides a size of 1 (broadcasting). Raises Unsolved."""
    sizes = dict(known)
    for symbol, size in sized:
        sizes |= {factor: int(factor) for factor in symbol if factor.isdigit()}
        if len(symbol) == 1 and symbol != FROZEN:
            if sizes.setdefault(symbol[0], size) == 1:
                sizes[symbol[0]] = size
            elif size not in (1, sizes[symbol[0]]):
                raise Unsolved(f"{symbol[0]} is both {sizes[symbol[0]]} and {size} in {text!r}")
    composites = sorted((pair for pair in sized if len(pair[0]) > 1), key=lambda pair: -pair[1])
    for _ in composites:
        for symbol, size in composites:
            missing = [f for f in symbol if f not in sizes]
            rest = prod(sizes[f] for f in symbol if f in sizes)
            if len(missing) == 1 and rest and size % rest == 0:
                sizes[missing[0]] = size // rest
    for symbol, size in composites:
        if any(f not in sizes for f in symbol) or size not in (1, prod(sizes[f] for f in symbol)):
            raise Unsolved(f"({' '.join(symbol)}) of size {size} does not fit {text!r}")
    return sizes


def _bind(
    bound: Sequence[tuple[Symbol, int, Axis]],
    targets: Sequence[Sequence[Symbol] | None],
    sizes: Mapping[str, int],
    relations: Relations,
) -> dict[Symbol, Axis]:
    """The neurons of each symbol. Declares axes of one symbol as the same neurons, and composites as products."""
    vectors: dict[Symbol, Axis] = {}
    positional: set[Symbol] = set()
    for symbol, size, axis in bound:
        if symbol == FROZEN:
            relations.freeze(axis, WORKED)
        elif symbol[0].isdigit() and len(symbol) == 1:
            relations.freeze(axis, LAYOUT)
            vectors.setdefault(symbol, axis)
        elif size == 1 and prod(sizes[f] for f in symbol) > 1:
            relations.freeze(axis, "an axis of one neuron")
        elif axis is None:
            positional.add(symbol)
        elif vectors.setdefault(symbol, axis) is not axis:
            relations.same(vectors[symbol], axis)  # type: ignore[arg-type]
    for symbol in positional:
        relations.freeze(vectors.get(symbol), POSITIONS)
    composites = {s for s, _, _ in bound if len(s) > 1}
    composites |= {s for target in targets if target for s in target if len(s) > 1}
    for symbol in sorted(composites):
        _compose(symbol, vectors, positional, sizes, relations)
    return vectors


def _compose(
    symbol: Symbol, vectors: dict[Symbol, Axis], positional: set[Symbol], sizes: Mapping[str, int], relations: Relations
) -> None:
    factors: list[Axis] = []
    for factor in symbol:
        if (factor,) not in vectors and (factor,) not in positional:
            vectors[factor,] = relations.fresh(sizes[factor])
            if factor.isdigit():
                relations.freeze(vectors[factor,], LAYOUT)
        factors.append(vectors.get((factor,)))
    flat = vectors.get(symbol)
    real = [f for f, name in zip(factors, symbol, strict=True) if sizes[name] > 1]
    if flat is None and symbol not in positional and len(real) == 1 and real[0] is not None:
        vectors[symbol] = real[0]
    elif flat is None and symbol in positional:
        for f in factors:
            relations.freeze(f, POSITIONS)
    elif any(f is None for f in real):
        for f in (flat, *factors):
            relations.freeze(f, POSITIONS)
    else:
        if flat is None:
            flat = vectors[symbol] = relations.fresh(prod(sizes[f] for f in symbol))
        relations.product(flat, [f if f is not None else relations.fresh(1) for f in factors])
