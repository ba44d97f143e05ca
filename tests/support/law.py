"""The law of all rules: cutting commutes with the operator, `cut(op(x)) == op'(cut(x))`.

A case is one node with inputs. Label its axes by the operator's rule and draw random selections that satisfy the
relations. For each, compare the cut output of the operator on silenced inputs with the resized operator on cut inputs.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any, Literal, get_args

import numpy as np
import onnx
import onnx_ir as ir
from onnx import numpy_helper

from onnxsurgeon.arrays import Ids, Mask
from onnxsurgeon.dependency.facts import Evaluator, tensor
from onnxsurgeon.neurons.relations import Axes, Classes, Relations
from onnxsurgeon.neurons.selection import Selection, cutting
from onnxsurgeon.ops import OPERATORS, Call, Operator
from onnxsurgeon.ops.registry import run_rule
from onnxsurgeon.options.shared import Attention
from operator_case import Array, Case, Feed, NotRunnable, changed, execute, model_of

Role = Literal["constants", "data", "weight first"]
Verdict = Literal["verified", "shapes", "frozen"]
ROLES: tuple[Role, ...] = ("constants", "data", "weight first")
DRAWS = ("few", "most", "soft")
RANDOM = frozenset("Bernoulli RandomNormalLike RandomUniformLike".split())


@dataclass
class Found:
    """The results of one operator's cases. checks: numeric comparisons in which something was cut."""

    checks: int = 0
    shapes: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        return "verified" if self.checks else "shapes" if self.shapes else "frozen"


# --- labelling and cutting it ----------------------------------------------------------------------------------------


def weights(case: Case, role: Role) -> frozenset[str]:
    """The names of the inputs that are constants in the graph."""
    names = [name for name in case.node.input if name]
    return frozenset({"constants": names[1:], "data": [], "weight first": names[:1]}[role])


def labelled(case: Case, role: Role) -> tuple[Call, dict[str, Axes]] | None:
    """The node after its rule ran, with the axes of its inputs; None if it is size arithmetic, which rules don't see.

    Data always have neurons; a constant gets them only if the rule reads it.
    """
    constants = weights(case, role)
    model = ir.from_proto(model_of(case.node, case.inputs, case.imports, constants))
    node, evaluator = next(iter(model.graph)), Evaluator(model)
    facts = evaluator.run({})
    if all((fact := facts.get(v)) is not None and fact.value is not None for v in node.outputs):
        return None
    relations = Relations(node="node", operator=case.node.op_type)
    axes: dict[str, Axes] = {}

    def give(name: str) -> Axes:
        if name not in axes:
            shape = case.inputs[name].shape
            axes[name] = tuple(relations.fresh(n) if n > 1 and 0 not in shape else None for n in shape)
        return axes[name]

    for name in case.inputs:
        if name not in constants:
            give(name)
    call = Call(
        case.name,
        case.node.op_type,
        case.version,
        evaluator.attributes(node),
        [None if v is None else tensor(v, facts, facts, facts) for v in node.inputs],
        [replace(tensor(v, facts, facts, facts), used=bool(v.name)) for v in node.outputs],
        relations,
        lambda index: give(case.node.input[index]),
        lambda name: [],
        lambda why: None,
    )
    call.results = run_rule(OPERATORS.get(case.key), call)
    return call, axes


def _fits(case: Case, call: Call, outputs: Sequence[Array]) -> str:
    """What is wrong with the rule's shapes and neurons, in words; empty if they are right."""
    operator = OPERATORS.get(case.key)
    picks = operator is not None and operator.counts  # then the size depends on data, and stands for any
    shapes = [None if picks else t.shape for t, name in zip(call.outputs, case.node.output, strict=True) if name]
    for array, known, axes in zip(outputs, shapes, _produced(case, call), strict=True):
        if known not in (None, array.shape):
            return f"the output is {array.shape}, not {known}"
        neurons = None if axes is None else [n if a is None else len(a) for a, n in zip_longest(axes, array.shape)]
        if neurons not in (None, list(array.shape)):
            return f"an output of {array.shape} has as many neurons: {neurons}"
    return ""


def _produced(case: Case, call: Call) -> list[Axes | None]:
    """The neurons of the node's outputs, without absent ones."""
    return [axes for axes, name in zip(call.results, case.node.output, strict=True) if name]


def selection(classes: Classes, axes: Sequence[Ids], rng: np.random.Generator, drop: float) -> Mask:
    """A mask of the neurons that stay, shape (neurons,): drops whole classes, and each axis keeps a neuron."""
    kept = classes.frozen[classes.root] | (rng.random(len(classes.root)) >= drop)
    for _ in range(len(axes) + 1):
        empty = [axis for axis in axes if not kept[classes.root[axis]].any()]
        if not empty:
            break
        kept[classes.root[rng.choice(empty[0])]] = True
    return np.asarray(kept[classes.root])


def take(array: Array, axes: Axes | None, keep: Mask) -> Array:
    for index, axis in enumerate(axes or ()):
        if axis is not None and not keep[axis].all():
            array = np.take(array, np.flatnonzero(keep[axis]), index)
    return array


def silenced(case: Case, call: Call, operator: Operator, axes: Mapping[str, Axes], keep: Mask) -> Feed:
    """The inputs with dropped neurons set to zero, as the operator's `silence` says."""
    feed = dict(case.inputs)
    everything = operator.silence == "all" or all(t is None or t.weight for t in call.inputs)
    for index, given in enumerate(call.inputs):
        if operator.silence == "none" or given is None or (given.weight and not everything):
            continue
        point = case.node.input[operator.zeros[index]] if operator.zeros.get(index, 99) < len(case.node.input) else ""
        for axis, labels in enumerate(axes.get(given.name) or ()):
            if labels is not None and not keep[labels].all():
                array = feed[given.name]
                mask = keep[labels].reshape([-1 if a == axis else 1 for a in range(array.ndim)])
                zero = case.inputs[point] if point else np.zeros((), array.dtype)
                feed[given.name] = np.where(mask, array, zero).astype(array.dtype)
    return feed


# --- the law ---------------------------------------------------------------------------------------------------------


def check(case: Case, found: Found) -> None:
    """Add the results of one case to `found`."""
    operator = OPERATORS[case.key]
    try:
        outputs = execute(case.node, dict(case.inputs), case.imports)
    except NotRunnable as problem:
        found.reasons[f"not run: {problem}"] = 1
        return
    seed = zlib.crc32(case.name.encode())
    for role in ROLES[1:] if len(case.node.input) < 2 else ROLES:
        for number, draw in enumerate(DRAWS):
            rng = np.random.default_rng([seed, number])
            attention: Attention = ("auto", "heads", "head-size")[int(rng.integers(3))] if draw != "soft" else "auto"
            made = labelled(case, role)
            if made is None:
                found.reasons["arithmetic on sizes"] = 1
                continue
            call, axes = made
            if wrong := _fits(case, call, outputs):
                found.broken.append(f"{case.name} [{role}]: {wrong}")
                return
            soft = [labels for i, a in call.soft if (labels := axes[call.inputs[i].name][a]) is not None]
            if draw == "soft" and not soft:
                continue
            if draw != "soft":
                for labels in soft:
                    call.relations.freeze(labels, "normalised along")
            classes = call.relations.resolve(attention)
            for text in {r.text for r in classes.causes}:
                found.reasons[text] = found.reasons.get(text, 0) + 1
            every = [a for known in (*axes.values(), *call.results) for a in known or () if a is not None and a.size]
            every += [a for fs in (operator.macs(call) if operator.macs else []) for _, a in fs if a is not None]
            keep = selection(classes, every, rng, 0.9 if draw == "most" else 0.4)
            if not every:
                found.reasons["no axis is longer than 1"] = 1
            elif not all(keep[a].all() for a in every):
                where = f"{case.name} [{role}, {draw}, {attention}]"
                _compare(case, found, call, operator, axes, cutting(classes, keep), outputs, where, draw)


def _compare(
    case: Case,
    found: Found,
    call: Call,
    operator: Operator,
    axes: Mapping[str, Axes],
    chosen: Selection,
    outputs: Sequence[Array],
    where: str,
    draw: str,
) -> None:
    keep = chosen.keep
    changes = operator.resize(call, chosen) if operator.resize else {}
    cut = {name: take(array, axes.get(name), keep) for name, array in case.inputs.items()}
    node, feed = changed(case, changes, cut)
    try:
        after = execute(node, feed, case.imports)
        before = (
            outputs if draw == "soft" else execute(case.node, silenced(case, call, operator, axes, keep), case.imports)
        )
    except NotRunnable as problem:
        found.broken.append(f"{where}: {problem}")
        return
    exact = draw != "soft" and not is_random(case)
    for index, (a, b, known) in enumerate(zip(before, after, _produced(case, call), strict=True)):
        a = take(a, known, keep)
        if a.shape != b.shape:
            found.broken.append(f"{where}: output {index} is {list(b.shape)}, not {list(a.shape)}")
            return
        if exact and not equal(a, b):
            found.broken.append(f"{where}: output {index} differs")
            return
    found.shapes += not exact
    found.checks += exact


def is_random(case: Case) -> bool:
    trains = case.node.op_type == "Dropout" and len(case.node.input) > 2 and bool(case.inputs[case.node.input[2]])
    return trains or case.node.op_type in RANDOM


def equal(a: Array, b: Array) -> bool:
    if a.dtype.kind in "OUS":
        return bool((a == b).all())
    coarse = a.dtype.itemsize < 4 and a.dtype.kind not in "iub"
    x, y = np.asarray(a, np.complex128 if a.dtype.kind == "c" else np.float64), np.asarray(b, np.float64)
    unequal = ~((x == y) | (np.isnan(x) & np.isnan(y)))
    scale = float(np.abs(x[np.isfinite(x)]).max(initial=0.0))
    return not unequal.any() or float(np.abs(x - y)[unequal].max()) <= 1e-6 + (2e-2 if coarse else 1e-4) * scale


def shipped() -> Iterator[Case]:
    """The cases of the onnx package that have one node on tensors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        found = collect_testcases(None)
    for case in found:
        graph = case.model.graph
        if case.name.startswith("test_stft"):  # onnx infers wrong shapes where `onesided` is left to its default
            continue
        if len(graph.node) != 1 or any(a.type in (5, 10) for a in graph.node[0].attribute) or graph.initializer:
            continue
        arrays = [_array(x) for x in case.data_sets[0][0]]
        kinds = [*graph.input, *graph.output]
        if any(a is None or a.dtype.kind in "OUS" for a in arrays) or any(
            not v.type.HasField("tensor_type") for v in kinds
        ):
            yield Case(case.name, graph.node[0], {}, _imports(case.model))
        else:
            names = [v.name for v in graph.input]
            yield Case(case.name, graph.node[0], dict(zip(names, arrays, strict=True)), _imports(case.model))  # type: ignore[arg-type]


def _array(value: Any) -> Array | None:
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, (np.ndarray, np.generic, int, float, bool)) else None


def _imports(model: onnx.ModelProto) -> dict[str, int]:
    return {"" if o.domain == "ai.onnx" else o.domain: o.version for o in model.opset_import}


def examine(cases: Iterator[Case]) -> dict[tuple[str, str], Found]:
    """The results of all cases, by operator."""
    results: dict[tuple[str, str], Found] = {}
    for case in cases:
        found = results.setdefault(case.key, Found())
        if case.key not in OPERATORS:
            found.reasons["an operator without a rule"] = 1
        elif not case.inputs and case.node.input:
            found.reasons["inputs that are no tensors of numbers"] = 1
        else:
            check(case, found)
    return results


def table(found: Mapping[tuple[str, str], Found]) -> str:
    """The operators by verdict, with the number of comparisons or the reasons."""
    lines = []
    for verdict in get_args(Verdict):
        members = sorted((key, f) for key, f in found.items() if f.verdict == verdict)
        lines.append(f"\n{verdict}: {len(members)}")
        for (domain, name), f in members:
            why = f"{f.checks} comparisons" if f.checks else "; ".join(sorted(f.reasons)) or "its values are random"
            lines.append(f"  {domain and domain + '::'}{name}: {why}")
    return "\n".join(lines) + "\n"
