"""Cutting commutes with every operator that has a rule; what can't be cut is frozen for a reason that is known.

With `-s` the operators are printed by verdict.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import chain

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

import law_cases
import microsoft_cases
from law import Found, examine, shipped, table
from onnxsurgeon.arrays import Mask
from onnxsurgeon.dependency.labels import Labels, label
from onnxsurgeon.edit.apply import cut
from onnxsurgeon.neurons.relations import Relations
from onnxsurgeon.ops import MICROSOFT, OPERATORS, Call, Operator, Tensor
from onnxsurgeon.ops.classic import CLASSIC, REGRESSIONS
from onnxsurgeon.ops.registry import run_rule
from onnxsurgeon.ops.whole import WHOLE
from onnxsurgeon.proof.reference import reference

# What can only be compared in shape: its values are random, or it normalises along the only axis that can be cut.
SHAPES = frozenset("Bernoulli RandomNormalLike RandomUniformLike".split())
SHAPES_MICROSOFT = frozenset(["EmbedLayerNormalization"])
# Made from numbers and sizes: nothing to cut goes in.
NUMBERS = frozenset(
    """
    BlackmanWindow Constant HammingWindow HannWindow MelWeightMatrix RandomNormal RandomUniform Range Shape Size
    """.split()
)
BODIES = frozenset("If Loop Scan".split())
# Sequences have no axes: these are rewritten where positions are static.
SEQUENCES = frozenset(
    """
    ConcatFromSequence SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SplitToSequence
    """.split()
)
# Optionals and strings have no axes either.
WITHOUT_A_RULE = frozenset(
    """
    Optional OptionalGetElement OptionalHasElement RegexFullMatch SequenceLength SequenceMap StringConcat
    StringNormalizer StringSplit
    """.split()
)
# What has a rule, and none of these reasons not to, must be verified.
VERIFIED = {name for domain, name in OPERATORS if not domain} - SHAPES - NUMBERS - BODIES - SEQUENCES - set(WHOLE)
VERIFIED_MICROSOFT = {name for domain, name in OPERATORS if domain == MICROSOFT} - SHAPES_MICROSOFT

VERIFIED_CLASSIC = {name for domain, name in OPERATORS if domain == CLASSIC} - set(REGRESSIONS)
FEWEST = 205  # of both; a record that is lost would not be missed otherwise
NEWEST = 28  # the opset version that these sets are about


@pytest.fixture(scope="module")
def found() -> dict[tuple[str, str], Found]:
    result = examine(chain(shipped(), law_cases.cases(), microsoft_cases.cases()))
    sys.stdout.write(table(result))
    return result


@pytest.mark.slow
def test_cutting_commutes_with_the_operator(found: dict[tuple[str, str], Found]) -> None:
    broken = [line for f in found.values() for line in f.broken]
    assert not broken, "\n".join(broken)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("domain", "verdict", "expected"),
    [
        ("", "verified", VERIFIED),
        ("", "shapes", SHAPES),
        (MICROSOFT, "verified", VERIFIED_MICROSOFT),
        (MICROSOFT, "shapes", SHAPES_MICROSOFT),
        (CLASSIC, "verified", VERIFIED_CLASSIC),
    ],
)
def test_no_operator_is_verified_less(
    found: dict[tuple[str, str], Found], domain: str, verdict: str, expected: set[str]
) -> None:
    assert {name for (d, name), f in found.items() if d == domain and f.verdict == verdict} == expected


def test_no_record_is_lost() -> None:
    assert len(VERIFIED) + len(VERIFIED_MICROSOFT) >= FEWEST


def in_scope(schema: onnx.defs.OpSchema) -> bool:
    """Whether it takes and gives tensors of numbers: no control flow, sequence, string or optional."""
    bodies = any(a.type == onnx.defs.OpSchema.AttrType.GRAPH for a in schema.attributes.values())
    takes = all(any(is_tensor(kind) for kind in given.types) for given in schema.inputs)
    gives = any(is_tensor(kind) for made in schema.outputs for kind in made.types)
    return takes and gives and not bodies and not schema.name.startswith("Optional")


def is_tensor(kind: str) -> bool:
    return kind.startswith("tensor(") and kind != "tensor(string)"


@pytest.mark.slow
def test_every_operator_is_verified_or_frozen_for_a_reason(found: dict[tuple[str, str], Found]) -> None:
    """All that the installed onnx knows: what is in none of these tables would be missed."""
    schemas = [s for s in onnx.defs.get_all_schemas() if not s.domain and s.since_version <= NEWEST]
    scope = {s.name for s in schemas if in_scope(s)}
    assert len(scope) > 150
    assert not scope - (VERIFIED | SHAPES | NUMBERS | set(WHOLE))
    assert {s.name for s in schemas} - scope == BODIES | SEQUENCES | WITHOUT_A_RULE
    assert {name for domain, name in OPERATORS if not domain}.isdisjoint(WITHOUT_A_RULE)
    assert all(WHOLE.values())
    for name in set(WHOLE) & {name for domain, name in found if not domain}:
        assert found["", name].verdict == "frozen"
        assert found["", name].reasons


@pytest.mark.slow
def test_an_operator_without_a_rule_is_frozen_and_says_so(found: dict[tuple[str, str], Found]) -> None:
    without = {key: f for key, f in found.items() if key not in OPERATORS}
    assert {name for _, name in without} & WITHOUT_A_RULE
    for f in without.values():
        assert f.verdict == "frozen"
        assert list(f.reasons) == ["an operator without a rule"]


def frozen(call: Call, operator: Operator) -> list[bool]:
    """Per input, whether all of its neurons are frozen after the rule."""
    axes = [tuple(call.relations.fresh(n) for n in t.shape or ()) for t in call.inputs if t is not None]
    call.label = lambda index: axes[index]
    call.results = run_rule(operator, call)
    classes = call.relations.resolve()
    return [all(classes.frozen[a].all() for a in known) for known in axes]


def node(*, result: tuple[int, ...] | None) -> Call:
    inputs, output = [Tensor("a", (3, 4)), Tensor("b", (5,))], Tensor("y", result, (False,) * len(result or ()))
    return Call(
        "v", "Fake", 20, {}, inputs, [output], Relations(), lambda index: None, lambda name: [], lambda why: None
    )


def test_what_a_rule_does_not_look_at_stays_whole() -> None:
    passing = Operator(lambda call: [call.axes(0)])
    assert frozen(node(result=(3, 4)), passing) == [False, True]
    assert frozen(node(result=(3, 4)), replace(passing, ignores=(1,))) == [False, False]


def test_what_goes_into_an_output_of_unknown_shape_stays_whole() -> None:
    lost = Operator(lambda call: [call.axes(0) and call.axes(1) and None])
    assert frozen(node(result=None), lost) == [True, True]


# --- operators with graphs inside ------------------------------------------------------------------------------------


def branch(operator: str) -> onnx.GraphProto:
    out = helper.make_tensor_value_info(f"{operator}_out", 1, None)
    return helper.make_graph([helper.make_node(operator, ["h"], [out.name], name=operator)], operator, [], [out])


def conditional(then: str, other: str) -> onnx.ModelProto:
    """x -> MatMul -> If(c) { then | other } -> MatMul -> y"""
    rng = np.random.default_rng(0)
    weights = {"a": rng.standard_normal((4, 6)), "b": rng.standard_normal((6, 3))}
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h"], name="first"),
        helper.make_node("If", ["c"], ["g"], name="if", then_branch=branch(then), else_branch=branch(other)),
        helper.make_node("MatMul", ["g", "b"], ["y"], name="second"),
    ]
    inputs = [helper.make_tensor_value_info("x", 1, [2, 4]), helper.make_tensor_value_info("c", 9, [])]
    outputs = [helper.make_tensor_value_info("y", 1, [2, 3])]
    held = [numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items()]
    graph = helper.make_graph(nodes, "conditional", inputs, outputs, held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def middle(labels: Labels) -> Mask:
    """A selection without two neurons of the axis between the products."""
    (axis,) = (labels.axes[v][1] for v in labels.axes if v.name == "h")
    assert axis is not None
    root = labels.classes.root
    return ~np.isin(root, root[axis[[1, 4]]])


def run(model: ir.Model, feed: dict[str, np.ndarray]) -> np.ndarray:
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["y"], feed)[0]


def test_cutting_commutes_with_if() -> None:
    labels = label(ir.from_proto(conditional("Relu", "Neg")))
    keep = middle(labels)
    small, silent = cut(labels, keep), reference(labels, keep)
    x = np.random.default_rng(1).standard_normal((2, 4)).astype(np.float32)
    for condition in (True, False):
        feed = {"x": x, "c": np.array(condition)}
        np.testing.assert_allclose(run(small, feed), run(silent, feed), rtol=1e-5, atol=1e-6)
    assert small.graph.initializers["a"].shape == (4, 4)


def test_branches_that_do_not_agree_stay_whole() -> None:
    labels = label(ir.from_proto(conditional("Relu", "EyeLike")))
    (axis,) = (labels.axes[v][1] for v in labels.axes if v.name == "h")
    assert labels.classes.frozen[axis].all()
