"""Random valid edits of all kinds, one after another, each proven: `torture.py MODEL... --edits 1000 --seed 0`.

An edit that is refused with a reason is no edit, and is not counted; the graph must be as it was. Whatever else goes
wrong ends the run with exit code 1, and says after how many edits of which seed.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir

from onnxsurgeon.errors import InfeasibleError, SurgeonError, UsageError
from onnxsurgeon.model.model import Model
from onnxsurgeon.ops.making import ACTIVATIONS
from onnxsurgeon.ops.nodes import constant
from onnxsurgeon.ops.registry import of_kind
from onnxsurgeon.surgery.blocks import Activation, BatchNorm, Block, Conv, Linear, Pool
from onnxsurgeon.surgery.network import Network, load

REFUSALS = 400  # in a row, after which the graph counts as too small to edit


class Torture:
    """A network and a stream of random edits."""

    def __init__(self, network: Network, seed: int) -> None:
        self.network, self.random = network, random.Random(seed)
        self.size = len(list(network))
        self.kinds: dict[str, tuple[int, Callable[[], None]]] = {
            "resize": (8, self.resize),
            "insert": (3, self.insert),
            "remove": (4, self.remove),
            "connect": (2, self.connect),
            "disconnect": (2, self.disconnect),
            "kernel": (2, self.kernel),
            "activation": (1, self.activation),
            "replace": (1, self.replace),
            "separate": (1, self.separate),
            "splice": (1, self.splice),
        }

    def step(self) -> str:
        """Try one random edit; returns its kind. Raises InfeasibleError or UsageError if it is refused."""
        crowded = len(list(self.network)) > 1.3 * self.size + 10
        kinds = {k: n for k, (n, _) in self.kinds.items()}
        if crowded:
            kinds |= {"insert": 0, "splice": 0, "separate": 0, "remove": 12}
        kind = self.random.choices(list(kinds), list(kinds.values()))[0]
        self.kinds[kind][1]()
        return kind

    def name(self, *operators: str) -> str:
        names = [v.name for v in self.network if not operators or v.operator in operators]
        if not names:
            raise UsageError(f"no {operators}")
        return self.random.choice(names)

    def amount(self, name: str) -> str:
        width = self.network[name].width
        if width is None:
            raise UsageError(f"{name} has no width")
        small = max(1, width // 4)
        grows = self.random.random() < (0.3 if width > 64 else 0.6)
        number = self.random.randint(1, small)
        mark = self.random.choice("==~")
        return f"{name}{mark}{'+' if grows else '-'}{number}"

    def resize(self) -> None:
        names = [self.name() for _ in range(self.random.choice([1, 1, 1, 2, 3]))]
        requests = [self.amount(name) for name in dict.fromkeys(names)]
        lists: dict[str, dict[str, list[int]]] = {"keep": {}, "drop": {}}
        width = self.network[names[0]].width or 1
        if self.random.random() < 0.3:
            lists[self.random.choice(["keep", "drop"])][names[0]] = [self.random.randrange(width)]
        self.network.resize(
            *requests,
            **lists,  # type: ignore[arg-type]
            importance=self.random.choice(["l2-norm", "uniform", "random", "l1"]),
            init=self.random.choice(["normal", "zeros", "he", "duplicate"]),
            relax=self.random.random() < 0.5,
            seed=self.random.randrange(1000),
            attention=self.random.choice(["auto", "heads", "head-size"]),
        )

    def insert(self) -> None:
        name = self.name()
        blocks: list[Block] = [
            Conv(self.random.choice([1, 3, 5])), Linear(), BatchNorm(), Pool("Average"), Pool("Max"),
            Activation(self.random.choice(list(ACTIVATIONS))),
        ]  # fmt: skip
        readers = self.network[name].readers
        chosen = [self.random.choice(readers)] if readers and self.random.random() < 0.3 else None
        init = self.random.choices(["identity", "he", "zeros"], [6, 2, 1])[0]
        block = self.random.choice(blocks)
        start = init if isinstance(block, Conv | Linear) else None
        self.network.insert(block, after=name, readers=chosen, init=start)

    def remove(self) -> None:
        name = self.name()
        feeding = self.network[name].inputs
        through = self.random.choice(feeding) if len(set(feeding)) > 1 else None
        align = self.random.choice(["auto", "grow", "shrink", "both"])
        self.network.remove(name, through=through, align=align)

    def connect(self) -> None:
        target = self.name("Concat", "Add", "Sum")
        count = len(self.network[target].node.inputs)
        if count > 6:
            raise UsageError("enough inputs")
        position = self.random.choice([None, *range(count + 1)])
        self.network.connect(self.name(), target, position=position)

    def disconnect(self) -> None:
        target = self.name("Concat", "Add", "Sum")
        feeding = self.network[target].inputs
        if not feeding:
            raise UsageError("only weights")
        self.network.disconnect(self.random.choice(feeding), target)

    def kernel(self) -> None:
        name = self.name("Conv", "ConvTranspose")
        tensor = constant(self.network[name].node.inputs[1])
        space = max(1, len(tensor.shape) - 2) if tensor is not None else 1
        self.network.kernel(name, [self.random.choice([1, 2, 3, 3, 4, 5]) for _ in range(space)])

    def activation(self) -> None:
        self.network.activation(self.name(*of_kind("activation")), self.random.choice(list(ACTIVATIONS)))

    def replace(self) -> None:
        blocks: list[Block] = [Conv(3), Conv(1), Linear(), Activation("Relu")]
        self.network.replace(self.name(), self.random.choice(blocks))

    def separate(self) -> None:
        self.network.replace(self.name("Conv"), "Separable")

    def splice(self) -> None:
        name = self.name()
        value = self.network[name].node.outputs[0]
        fact = self.network.labels.facts[0].get(value)
        if fact is None or fact.shape is None or len(fact.shape) != 4 or not self.network[name].width:
            raise UsageError("no image")
        guest = _guest(self.network, fact.shape[1] + self.random.randint(0, 2), len(list(self.network)))
        self.network.splice(guest, after=name)


def _guest(network: Network, width: int, number: int) -> Model:
    """A separate model of a convolution and an activation."""
    value = ir.Value(name="x", shape=ir.Shape(["n", width, "h", "w"]), type=ir.TensorType(ir.DataType.FLOAT))
    rng = np.random.default_rng(number)
    array = rng.standard_normal((width + 1, width, 3, 3)).astype(np.float32) / width
    weight = ir.Value(name="w", const_value=ir.Tensor(array, name="w"), shape=ir.Shape(array.shape), type=value.type)
    conv = ir.Node("", "Conv", [value, weight], [ir.AttrInt64s("pads", [1] * 4)], name=f"guest{number}.conv")
    relu = ir.Node("", "Relu", [conv.outputs[0]], name=f"guest{number}.relu")
    conv.outputs[0].name, relu.outputs[0].name = "c", "y"
    versions = dict(network.ir.opset_imports)
    graph = ir.Graph([value], [relu.outputs[0]], nodes=[conv, relu], initializers=[weight], opset_imports=versions)
    return Model(Path("guest"), ir.Model(graph, ir_version=network.ir.ir_version))


def torture(path: Path, edits: int, seed: int, seconds: float = float("inf")) -> int | None:
    """The number of edits done and proven; None after a failure, which is printed."""
    run, done, refused, row = Torture(load(path), seed), Counter[str](), Counter[str](), 0
    began, unchanged = time.perf_counter(), 0
    while sum(done.values()) < edits and row < REFUSALS and time.perf_counter() - began < seconds:
        before = run.network.ir
        try:
            kind = run.step()
        except (InfeasibleError, UsageError) as refusal:
            refused[type(refusal).__name__] += 1
            row += 1
            assert run.network.ir is before
            assert not run.network.steps
            continue
        except Exception as problem:  # noqa: BLE001 - of any class
            _failed(path, done, seed, problem)
            return None
        try:
            proofs = run.network.prove(device="cpu", seed=seed)
        except SurgeonError as problem:
            _failed(path, done, seed, problem, "; ".join(step.what for step in run.network.steps))
            return None
        unchanged += proofs is not None and proofs.unchanged
        run.network.steps.clear()
        done[kind], row = done[kind] + 1, 0
    kinds = ", ".join(f"{n} {kind}" for kind, n in done.most_common())
    print(
        f"{path.stem}: seed {seed}: {sum(done.values())} edits proven ({unchanged} left the function as it was), "
        f"{sum(refused.values())} refused, {time.perf_counter() - began:.0f} s: {kinds}",
        flush=True,
    )
    return sum(done.values())


def _failed(path: Path, done: Counter[str], seed: int, problem: Exception, what: str = "") -> None:
    print(f"{path.stem}: seed {seed}: FAILED after {sum(done.values())} edits: {what}")
    print(f"{type(problem).__name__}: {problem}")
    if not isinstance(problem, SurgeonError):
        sys.excepthook(type(problem), problem, problem.__traceback__)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--edits", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="time limit per model")
    given = parser.parse_args()
    results = [torture(path, given.edits, given.seed, given.seconds) for path in given.models]
    sys.exit(1 if None in results else 0)


if __name__ == "__main__":
    main()
