"""States that the caller carries round: an output of one run is an input of the next. Both ends shrink together.

A model does not say which outputs become inputs. It is stated by the user, or found: an input that does nothing but
begin a recurrent layer, with an output that is the end of that layer; or two names that differ only in words that say
before and after (past_key, present_key; h0, hn; cache, cache_out). The shapes must agree, and some other input and
output must be left: a picture in and a picture out are no state.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import onnx_ir as ir

from onnxsurgeon.dependency.facts import FLOATS, UNKNOWN
from onnxsurgeon.dependency.size_facts import AllFacts
from onnxsurgeon.errors import UsageError
from onnxsurgeon.neurons.relations import OUTPUT, Axes, Relations
from onnxsurgeon.ops.nodes import operator_of

Values = Mapping[str, ir.Value]
Key = tuple[str, ...]
States = Mapping[str, str]  # the output that becomes the input of the next run, by input

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_BEFORE = frozenset("past prev previous old last init initial".split())
_AFTER = frozenset("present next new updated cur current final".split())
_GIVEN, _MADE = frozenset("in input i".split()), frozenset("out output o".split())  # said of data, too
_STATE = frozenset("state states cache caches hidden h c s mem memory buffer rnn gru lstm kv key value k v".split())
_CACHE = ("key", "values")  # past_key_values.0.key becomes present.0.key
_DATA = {"hidden", "states"}  # what layers of transformers call their activations


@dataclass(frozen=True)
class Pair:
    """An input and an output that may be a state. sure: whether more than the words in and out speak for it."""

    begin: str
    end: str
    sure: bool


def states(model: ir.Model, facts: AllFacts, given: States) -> dict[str, str]:
    """The states of a model: those in `given`, and what is found besides.

    Raises UsageError if `given` names something else than an input and an output of one type and shape, or one twice.
    """
    inputs = {v.name or "": v for v in model.graph.inputs if not v.is_initializer()}
    outputs = {v.name or "": v for v in model.graph.outputs}
    for begin, end in given.items():
        _check(begin, end, inputs, outputs, facts, list(given.values()))
    found = dict(given)
    fits = [
        pair for pair in (*_recurrent(inputs), *_named(inputs, outputs))
        if _agree(inputs[pair.begin], outputs[pair.end], facts)
    ]  # fmt: skip
    for sure in (True, False):
        more = {p.begin: p.end for p in fits if p.sure is sure and p.begin not in found and p.end not in found.values()}
        if sure or min(len(inputs), len(outputs)) > len(found | more):
            found |= more
    return found if len(inputs) > len(found) and len(outputs) > len(found) else dict(given)


def _check(begin: str, end: str, inputs: Values, outputs: Values, facts: AllFacts, ends: Sequence[str]) -> None:
    if begin not in inputs or end not in outputs or ends.count(end) > 1:
        raise UsageError(
            f"`states` {begin}={end} is not an input and an output of its own",
            why=f"the inputs are {', '.join(inputs)}; the outputs are {', '.join(outputs)}",
            fix="write it as INPUT=OUTPUT, like h0=hn",
        )
    if not _agree(inputs[begin], outputs[end], facts):
        first, second = (facts[0].get(value, UNKNOWN).shape for value in (inputs[begin], outputs[end]))
        raise UsageError(
            f"`states` {begin}={end}: their types or shapes differ", why=f"the shapes are {first} and {second}",
            fix="pair each input with the output that takes its place in the next run",
        )  # fmt: skip


def _agree(begin: ir.Value, end: ir.Value, facts: AllFacts) -> bool:
    """Whether an output can take the place of an input: they are the same where both sizes are static."""
    one, other = (facts[0].get(value, UNKNOWN) for value in (begin, end))
    if not one.shape or other.shape is None or one.dtype != other.dtype or len(one.shape) != len(other.shape):
        return False
    if ir.DataType(one.dtype) not in FLOATS:
        return False
    sizes = [facts[2].get(value, UNKNOWN).shape or (None,) * len(one.shape) for value in (begin, end)]
    return all(a == b for a, b in zip(*sizes, strict=True) if isinstance(a, int) and isinstance(b, int))


def _recurrent(inputs: Values) -> Iterator[Pair]:
    """Inputs that do nothing but begin recurrent layers, and the outputs that hold the ends of these layers."""
    for name, value in inputs.items():
        ends: set[str] | None = None
        for node, index in _reached(value):
            operator = operator_of(node)
            if operator is not None and operator.from_shape is not None:
                continue  # it reads the shape
            carried = None if operator is None else operator.carries.get(index)
            if carried is None or carried >= len(node.outputs):
                ends = None
                break
            made = node.outputs[carried]
            here = {v.name or "" for v in _moved(made) if v.is_graph_output()}
            ends = here if ends is None else ends & here
        if ends and len(ends) == 1:
            yield Pair(name, ends.pop(), sure=True)


def _moved(value: ir.Value) -> Iterator[ir.Value]:
    """A value and what is made of it by moving its elements alone."""
    open_, seen = [value], {value}
    while open_:
        value = open_.pop()
        yield value
        for node, index in value.uses():
            operator = operator_of(node)
            if operator is not None and (operator.moves == "joined" or (operator.moves != "no" and index == 0)):
                open_ += [made for made in node.outputs if made not in seen]
                seen |= set(node.outputs)


def _reached(value: ir.Value) -> Iterator[tuple[ir.Node, int]]:
    """The uses of a value, behind all that only moves its elements."""
    for moved in _moved(value):
        for node, index in moved.uses():
            operator = operator_of(node)
            if operator is None or operator.moves == "no":
                yield node, index


def _named(inputs: Values, outputs: Values) -> list[Pair]:
    """Pairs of names that differ only in words that say before and after, sure ones first."""
    ends: dict[Key, list[tuple[str, bool]]] = {}
    for name in outputs:
        for key, strong in _keys(name, _AFTER, _MADE, "n"):
            ends.setdefault(key, []).append((name, strong))
    found = []
    for name in inputs:
        for key, strong in _keys(name, _BEFORE, _GIVEN, "0"):
            if len(ends.get(key, ())) == 1 and not set(key) >= _DATA:
                end, also = ends[key][0]
                words = [word for word in key if not word.isdecimal()]
                sure = strong or also or bool(_STATE.intersection(words))
                if words or (strong and also):
                    found.append(Pair(name, end, sure))
                    break
    return sorted(found, key=lambda pair: not pair.sure)


def _keys(name: str, strong: Collection[str], weak: Collection[str], last: str) -> Iterator[tuple[Key, bool]]:
    """(what a name says besides before or after, whether it says that) in every reading. last: h0 or hn, for one."""
    words = [word.lower() for word in _WORD.findall(name)]
    said = bool(set(words) & set(strong))
    rest = [word for word in words if word not in strong and word not in weak]
    if said and tuple(rest[:2]) == _CACHE:
        del rest[:2]
    yield tuple(rest), said
    if len(rest) > 1 and rest[-1] == last:
        yield tuple(rest[:-1]), said
    elif rest and rest[-1][-1] == last and rest[-1][:-1] in _STATE:
        yield (*rest[:-1], rest[-1][:-1]), said


def tie(relations: Relations, begin: Axes | None, end: Axes | None) -> None:
    """The neurons of both ends are the same; what the other end lacks is frozen."""
    for one, other in zip_longest(begin or (), end or ()):
        if one is not None and other is not None and len(one) == len(other):
            relations.same(one, other)
        else:
            relations.freeze(one, OUTPUT)
            relations.freeze(other, OUTPUT)
