"""Recurrent layers. The one of com.microsoft on integers is in `quantised`."""

from __future__ import annotations

from collections.abc import Callable

from onnxsurgeon.ops.call import Call
from onnxsurgeon.ops.composition import composed
from onnxsurgeon.ops.recurrent_gradients import unrolled
from onnxsurgeon.ops.registry import Factors, add
from onnxsurgeon.ops.signatures import counted, everything, signature


def recurrent(gates: int) -> Callable[[Call], str]:
    def choose(call: Call) -> str:
        batch_first = bool(call.attributes.get("layout"))
        x, h = ("b _ i", "b _ h") if batch_first else ("_ b i", "_ b h")
        y = "b _ _ h" if batch_first else "_ _ b h"
        states = f"{h}, {h}, _ (3 h)" if gates == 4 else h
        matrix = f"({gates} h)" if gates > 1 else "h"
        return f"{x}, _ {matrix} i, _ {matrix} h, _ ({2 * gates} h), b, {states} -> {y}, {h}, {h}"

    return choose


def recurrent_macs(call: Call) -> list[Factors]:
    steps = everything(call, call.operand(0))[:2]
    return [steps + everything(call, call.operand(1)), steps + everything(call, call.operand(2))]


for _name, _gates in (("RNN", 1), ("GRU", 3), ("LSTM", 4)):
    add(
        _name,
        signature(recurrent(_gates)),
        resize=counted("hidden_size", 2, 2, lambda call: 1),
        macs=recurrent_macs,
        neutral={3: 0.0, 7: 0.0},
        carries={5: 1, 6: 2},
        gradient=composed(unrolled(_gates)),
    )
