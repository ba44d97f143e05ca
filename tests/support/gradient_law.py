"""The law of gradients: along any direction, a rule's gradient says what central differences say.

A case is one node with inputs. Random numbers weigh its float outputs; their sum is differentiated by each float input.
Forward passes run in float64 where a runtime has a kernel for it: then steps are so small that kinks don't matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir as ir

from law import is_random
from onnxsurgeon.arrays import is_float
from onnxsurgeon.errors import ModelError
from onnxsurgeon.ops import OPERATORS
from onnxsurgeon.ops.emitter import OLDEST
from onnxsurgeon.runtime.session import Session
from onnxsurgeon.training.differentiate import Tape
from operator_case import Array, Case, Feed, NotRunnable, execute, model_of
from squared_error import GRADIENT

MOST = 20  # cases of an operator
READS_BETWEEN = {"DeformConv"}  # operators with a kink at each whole number, as their examples have
NEWEST = 24  # the opset that onnxruntime takes
# by the type of the outputs: the step; the difference that is allowed, relative to all terms of the sum
STEPS = {"float64": (1e-5, 2e-4), "float32": (4e-3, 1e-2), "float16": (6e-2, 5e-2)}


@dataclass
class Judged:
    """The results of one operator's cases. lost: why no gradient was made, by input."""

    cases: int = 0
    checks: int = 0
    lost: dict[int, str] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)


def nudged(case: Case) -> Case:
    """Moved a little, so that no two numbers are the same by intention and none lies on a kink."""
    rng, imports = np.random.default_rng(1), dict(case.imports)
    imports[""] = min(imports.get("", NEWEST), NEWEST)

    by = 0.3 if case.key[1] in READS_BETWEEN else 0.003

    def moved(array: Array) -> Array:
        small, more = rng.uniform(-1, 1, (2, *array.shape))
        return np.asarray(array * (1 + 0.02 * small) + by * more).astype(array.dtype)

    inputs = {name: moved(a) if name in differentiable(case) else a for name, a in case.inputs.items()}
    return replace(case, inputs=inputs, imports=imports)


def differentiable(case: Case) -> list[str]:
    """The float inputs for which the operator has a rule; all if it has none."""
    operator = OPERATORS[case.key]
    known = {name for k, name in enumerate(case.node.input) if not operator.gradient or operator.gradient_of(k)}
    return [name for name, array in case.inputs.items() if _varies(array) and name in known]


def _varies(array: Array) -> bool:
    return is_float(array) and array.dtype.itemsize >= 2 and bool(array.size)


def examine(cases: Iterable[Case]) -> dict[tuple[str, str], Judged]:
    """The results of all cases, by operator."""
    results: dict[tuple[str, str], Judged] = {}
    for case in cases:
        if case.key in results and results[case.key].cases >= MOST:
            continue
        old = case.imports.get("", OLDEST) < OLDEST
        if case.key in OPERATORS and not old and any(map(_varies, case.inputs.values())) and not is_random(case):
            check(case, results.setdefault(case.key, Judged()))
    return results


def check(case: Case, judged: Judged, *, fed: bool = False) -> None:
    """Compares one case. fed: integers are inputs of the model, not constants."""
    case = nudged(case)
    wanted = differentiable(case)
    try:
        runs = execute(case.node, dict(case.inputs), case.imports)
    except NotRunnable:
        return
    rng = np.random.default_rng(2)
    weights = {
        name: rng.standard_normal(array.shape).astype(np.float32)
        for name, array in zip((o for o in case.node.output if o), runs, strict=True)
        if _varies(array) and array.dtype.name in STEPS
    }
    if not weights or not wanted:
        return
    try:
        tape = taped(case, wanted, weights, fed=fed)
    except ModelError:  # onnxruntime lacks the operator, or a type
        return
    try:
        found, lost = gradients(tape, wanted, weights)
    except Exception as problem:  # noqa: BLE001 - of any class: it is what the law reports
        judged.broken.append(f"{case.key[1]} {case.name}: {type(problem).__name__}: {str(problem)[:300]}")
        return
    judged.cases += 1
    for name in wanted:
        if name in lost:
            judged.lost[list(case.node.input).index(name)] = lost[name]
    steps = Steps.of(case, weights)
    for name in wanted:
        if name in lost or name not in found or steps is None:
            continue
        said = steps.compare(name, found[name])
        judged.checks += said is not None
        if said:
            judged.broken.append(f"{case.key[1]} {case.name}: {name}: {said}")


def taped(case: Case, wanted: list[str], weights: Mapping[str, Array], *, fed: bool = False) -> Tape:
    """The tape of a case. Raises ModelError if onnxruntime can't run it."""
    constants = frozenset(name for name in case.inputs if name in wanted or not fed)
    model = ir.from_proto(model_of(case.node, case.inputs, case.imports, constants))
    ends = [value for node in model.graph for value in node.outputs if value.name in weights]
    feed = {value.name or "": case.inputs[value.name or ""] for value in model.graph.inputs}
    Session(ir.to_proto(model).SerializeToString(), "cpu", optimise=False).run(feed)
    return Tape(model, ends, wanted, feed)


def gradients(tape: Tape, wanted: list[str], weights: Mapping[str, Array]) -> tuple[Feed, dict[str, str]]:
    """(gradients, lost) of the weighed outputs by the inputs, by name; what no output depends on has none."""
    found, lost = tape.gradients({name: tape.emit.constant(array) for name, array in weights.items()})
    names = [name for name in wanted if name in found]
    for name in names:
        tape.emit.named(found[name], GRADIENT + name)
    if not names:
        return {}, lost
    proto = tape.proto([], [GRADIENT + name for name in names])
    arrays = Session(proto.SerializeToString(), "cpu").run(tape.feed)
    return {name: arrays[GRADIENT + name] for name in names}, lost


@dataclass(frozen=True)
class Steps:
    """Central differences of one case. sizes: of the steps. allowed: the error relative to all terms of the sum."""

    case: Case
    weights: Mapping[str, Array]
    feed: Feed
    sizes: list[float]
    allowed: float

    @classmethod
    def of(cls, case: Case, weights: Mapping[str, Array]) -> Steps | None:
        """In the widest floats that a runtime computes with; None if there are none."""
        usual = _weighed(case, dict(case.inputs), weights)
        double = {k: a.astype(np.float64) if is_float(a) else a for k, a in case.inputs.items()}
        varied = differentiable(case)
        some = {k: double[k] if k in varied else a for k, a in case.inputs.items()}
        for feed in (double, some, dict(case.inputs)):
            try:
                made = _weighed(case, feed, weights)
            except (NotRunnable, KeyError, ValueError):
                continue
            if all(a.shape == usual[k].shape and np.allclose(a, usual[k], 1e-2, 1e-2) for k, a in made.items()):
                coarsest = min((a.dtype.name for a in made.values()), key=lambda n: int(n[5:]))
                step, allowed = STEPS[coarsest]
                short = 1 if coarsest == "float64" else 64
                return cls(case, weights, feed, [step / k for k in (1, 4, 16, 64) if k <= short], allowed)
        return None

    def compare(self, name: str, gradient: Array) -> str | None:
        """What is wrong, "" if nothing is; None if differences say nothing."""
        start = self.case.inputs[name]
        if gradient.shape != start.shape:
            return f"a gradient of shape {gradient.shape} for {start.shape}"
        along = np.random.default_rng(3).standard_normal(start.shape)
        terms = gradient.astype(np.float64) * along
        total, size = float(terms.sum()), float(np.abs(terms).sum()) + 5e-2
        coarse, allowed = STEPS["float32"]  # some kernels take float64, and compute in float32
        steps = [*((step, self.allowed) for step in self.sizes), (coarse, allowed), (coarse / 16, allowed)]
        slope = 0.0
        for step, error in steps:  # shorter ones where a kink is near
            try:
                slope = self._slope(name, along, step)
            except NotRunnable:  # at this place
                return None
            if not np.isfinite(slope):
                return None
            if abs(total - slope) <= error * size:
                return ""
        return f"central differences say {slope:.6g}, the gradient says {total:.6g}"

    def _slope(self, name: str, along: Array, step: float) -> float:
        sums = []
        for way in (step, -step):
            moved = {**self.feed, name: (self.feed[name] + way * along).astype(self.feed[name].dtype)}
            made = _weighed(self.case, moved, self.weights)
            sums.append(sum(float((made[k].astype(np.float64) * w).sum()) for k, w in self.weights.items()))
        return (sums[0] - sums[1]) / (2 * step)


def _weighed(case: Case, feed: Feed, weights: Mapping[str, Array]) -> Feed:
    names = [output for output in case.node.output if output]
    return {k: a for k, a in zip(names, execute(case.node, feed, case.imports), strict=True) if k in weights}
