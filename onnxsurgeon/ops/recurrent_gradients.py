"""Recurrent layers step by step, as other operators compute them: gradients go back through time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from onnxsurgeon.ops.composition import Body
from onnxsurgeon.ops.emitter import Emitter
from onnxsurgeon.ops.gradient import GradientCall

MOST_STEPS = 1024  # of a sequence that is unrolled
PLAIN = frozenset("Relu Sigmoid Softplus Softsign Tanh".split())  # activations without a parameter
DATA, WEIGHT, RECURRENCE, BIAS, LENGTHS, HIDDEN, CELL, PEEPHOLES = range(8)


@dataclass(frozen=True)
class Direction:
    """One direction of a layer, shapes: x (steps * batch, gates * size) by the input alone, recurrence
    (size, gates * size), bias of the recurrence (gates * size,) or "". functions: names of activations."""

    call: GradientCall
    x: Sequence[str]
    recurrence: str
    bias: str
    peepholes: Sequence[str]
    functions: Sequence[str]
    size: int

    @property
    def emit(self) -> Emitter:
        return self.call.emit

    def act(self, place: int, value: str, *, state: bool = False) -> str:
        """The activation of this place; what goes into gates is clipped first."""
        limit = self.call.attributes.get("clip")
        if limit is not None and not state:
            value = self.emit("Min", self.emit("Max", value, -float(limit)), float(limit))
        return self.emit(self.functions[place], value)

    def gates(self, value: str, count: int) -> list[str]:
        return self.emit.parted(value, [self.size] * count, 1)

    def recurred(self, hidden: str) -> str:
        product = self.emit.product(hidden, self.recurrence)
        return self.emit("Add", product, self.bias) if self.bias else product


States = tuple[str, ...]  # the hidden state, and that of the cell if there is one
Step = Callable[[Direction, str, States], States]


def _rnn(way: Direction, x: str, states: States) -> States:
    return (way.act(0, way.emit("Add", x, way.recurred(states[0]))),)


def _gru(way: Direction, x: str, states: States) -> States:
    emit, (hidden,), size = way.emit, states, way.size
    given = way.gates(x, 3)
    if way.call.attributes.get("linear_before_reset"):
        back = way.gates(way.recurred(hidden), 3)
        update, reset = (way.act(0, emit("Add", given[k], back[k])) for k in (0, 1))
        new = emit("Add", given[2], emit("Mul", reset, back[2]))
    else:
        ways = way.gates(way.recurrence, 3)
        biases = emit.parted(way.bias, [size] * 3) if way.bias else [""] * 3

        def back_of(value: str, k: int) -> str:
            product = emit.product(value, ways[k])
            return emit("Add", product, biases[k]) if biases[k] else product

        update, reset = (way.act(0, emit("Add", given[k], back_of(hidden, k))) for k in (0, 1))
        new = emit("Add", given[2], back_of(emit("Mul", reset, hidden), 2))
    new = way.act(1, new)
    return (emit("Add", emit("Mul", emit("Sub", 1.0, update), new), emit("Mul", update, hidden)),)


def _lstm(way: Direction, x: str, states: States) -> States:
    emit, (hidden, cell), see = way.emit, states, way.peepholes
    enter, leave, keep, new = way.gates(emit("Add", x, way.recurred(hidden)), 4)

    def peeked(value: str, place: int, state: str) -> str:
        return emit("Add", value, emit("Mul", see[place], state)) if see else value

    enter = way.act(0, peeked(enter, 0, cell))
    coupled = bool(way.call.attributes.get("input_forget"))
    keep = emit("Sub", 1.0, enter) if coupled else way.act(0, peeked(keep, 2, cell))
    cell = emit("Add", emit("Mul", keep, cell), emit("Mul", enter, way.act(1, new)))
    leave = way.act(0, peeked(leave, 1, cell))
    return emit("Mul", leave, way.act(2, cell, state=True)), cell


STEPS: dict[int, tuple[Step, Sequence[str]]] = {  # by the number of gates: the step, and the usual activations
    1: (_rnn, ["Tanh"]),
    3: (_gru, ["Sigmoid", "Tanh"]),
    4: (_lstm, ["Sigmoid", "Tanh", "Tanh"]),
}


def unrolled(gates: int) -> Body:
    """The outputs: all hidden states, the last one, and the last one of the cell."""

    def body(call: GradientCall) -> Sequence[str] | None:
        steps, (functions, ways) = call.shape(DATA)[0], _functions(call, gates)
        if call.attributes.get("layout") or steps > MOST_STEPS or not set(functions) <= PLAIN:
            return None
        found = [_direction(call, gates, k, way, functions) for k, way in enumerate(ways)]
        return [call.emit.joined(list(parts), axis) for parts, axis in zip(zip(*found, strict=True), (1, 0, 0))]  # noqa: B905 - only an LSTM has a cell

    return body


def _functions(call: GradientCall, gates: int) -> tuple[list[str], list[str]]:
    """(activations of all directions, directions)."""
    given = str(call.attributes.get("direction") or "forward")
    ways = ["forward", "reverse"] if given == "bidirectional" else [given]
    usual = list(STEPS[gates][1]) * len(ways)
    named = [str(name).title() for name in call.attributes.get("activations") or usual]
    return named[: len(usual)], ways  # the schema's default is that of two directions


def _direction(call: GradientCall, gates: int, number: int, way: str, functions: Sequence[str]) -> list[str]:
    """(all hidden states, the last one, that of the cell): shapes (steps, 1, batch, size) and (1, batch, size)."""
    emit, (steps, batch, width), size = call.emit, call.shape(DATA), call.shape(RECURRENCE)[2]
    lengths = _lengths(call)
    data = call.inputs[DATA]
    if lengths and way == "reverse":
        data = emit("ReverseSequence", data, lengths, batch_axis=1, time_axis=0, shape=call.shape(DATA))
    weight, recurrence = (emit.reshaped(_one(call, k, number), call.shape(k)[1:]) for k in (WEIGHT, RECURRENCE))
    product = emit.product(emit.reshaped(data, (steps * batch, width)), emit.swapped(weight))
    bias = ""
    if call.has(BIAS):
        flat = emit.reshaped(_one(call, BIAS, number), (2 * gates * size,))
        first, bias = emit.parted(flat, [gates * size] * 2)
        product = emit("Add", product, first)
    see: list[str] = []
    if call.has(PEEPHOLES):
        see = emit.parted(emit.reshaped(_one(call, PEEPHOLES, number), (3 * size,)), [size] * 3)
    each = len(functions) // (2 if call.attributes.get("direction") == "bidirectional" else 1)
    one = Direction(
        call, emit.parted(product, [batch] * steps), emit.swapped(recurrence), bias, see,
        functions[number * each : (number + 1) * each], size,
    )  # fmt: skip
    states: States = tuple(
        emit.reshaped(_one(call, k, number), (batch, size)) if call.has(k) else emit.filled((batch, size), 0.0)
        for k in ((HIDDEN, CELL) if gates == len("iofc") else (HIDDEN,))
    )
    return _run(one, STEPS[gates][0], states, lengths, turned=way == "reverse")


def _run(way: Direction, step: Step, states: States, lengths: str, *, turned: bool) -> list[str]:
    emit, count, seen = way.emit, len(way.x), dict[int, str]()
    for t in reversed(range(count)) if turned and not lengths else range(count):
        new = step(way, way.x[t], states)
        if lengths:  # what has ended stays, and shows nothing
            goes = emit.mask("Greater", _column(emit, lengths), float(t))
            seen[t] = emit("Mul", goes, new[0])
            rests = emit("Sub", 1.0, goes)
            states = tuple(
                emit("Add", emit("Mul", goes, a), emit("Mul", rests, b)) for a, b in zip(new, states, strict=True)
            )
        else:
            states, seen[t] = new, new[0]
    batch, size = emit.shapes[states[0]]
    rows = emit.joined([emit.reshaped(seen[t], (1, batch, size)) for t in range(count)], 0)
    if lengths and turned:
        rows = emit("ReverseSequence", rows, lengths, batch_axis=1, time_axis=0, shape=(count, batch, size))
    last = [emit.reshaped(state, (1, batch, size)) for state in states]
    return [emit.reshaped(rows, (count, 1, batch, size)), *last]


def _one(call: GradientCall, index: int, number: int) -> str:
    """What an input holds for one direction."""
    return call.emit.selected(call.inputs[index], 0, np.array([number]))


def _lengths(call: GradientCall) -> str:
    """How long each sequence is, int64; "" where all are as long as the data."""
    known = call.static(LENGTHS)
    if not call.has(LENGTHS) or (known is not None and (known == call.shape(DATA)[0]).all()):
        return ""
    return call.emit.integers(call.inputs[LENGTHS])


def _column(emit: Emitter, lengths: str) -> str:
    return emit.reshaped(emit.number(lengths), (emit.shapes[lengths][0], 1))
