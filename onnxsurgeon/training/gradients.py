"""Gradients of a model's outputs with respect to its weights, for given inputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx_ir as ir

from onnxsurgeon.arrays import Arrays
from onnxsurgeon.errors import ModelError, UsageError
from onnxsurgeon.model.editor import copied
from onnxsurgeon.model.model import Source, as_model
from onnxsurgeon.model.widening import widen
from onnxsurgeon.options.parsing import near, texts
from onnxsurgeon.options.shared import Device
from onnxsurgeon.runtime.partial_runs import nodes_for
from onnxsurgeon.runtime.session import Session
from onnxsurgeon.training.differentiate import Tape
from onnxsurgeon.training.targets import wide
from onnxsurgeon.training.trainable import trainable


def gradients(
    model: Source, feed: Arrays, *, outputs: Sequence[str] | str = (), weights: Sequence[str] | str = (),
    device: Device = "auto",
) -> Arrays:  # fmt: skip
    """The gradient of the sum of all numbers in `outputs` with respect to each weight, by its name.

    feed: an array for each input. outputs: all by default. weights: those that `train` would train by default.
    Raises UsageError for a name that the model does not have, ModelError if no gradient reaches a weight that is named.
    """
    found = copied(as_model(model).ir)
    widen(found, ir.DataType.FLOAT16)
    known = {value.name or "": value for value in found.graph.outputs}
    chosen = texts(outputs, "`outputs`") if outputs else tuple(known)
    _require(chosen, known, "`outputs`")
    ends = [known[name] for name in chosen]
    names = [value.name or "" for value in trainable(nodes_for(found, ends)[0]).weights]
    wanted = texts(weights, "`weights`") if weights else ()
    _require(wanted, found.graph.initializers, "`weights`")
    tape = Tape(found, ends, list(wanted) or names, wide(feed), device=device)
    made, lost = tape.gradients({name: tape.emit.filled(tape.emit.shapes[name], 1.0) for name in chosen})
    missing = [name for name in wanted if name not in made]
    if missing:
        ends_at = f"it ends at {lost[missing[0]]}" if missing[0] in lost else "the outputs don't depend on it"
        raise ModelError(f"no gradient reaches {missing[0]}", why=ends_at, fix="choose other `weights`")
    found_by = {name: made[name] for name in wanted or names if name in made}
    proto = tape.proto([], list(dict.fromkeys(found_by.values())))
    arrays = Session(bytes(proto.SerializeToString()), device).run(wide(feed))
    return {name: arrays[value] for name, value in found_by.items()}


def _require(names: Sequence[str], known: Iterable[str], option: str) -> None:
    """Raises UsageError for the first name that is not known."""
    listed = list(known)
    for name in names:
        if name not in listed:
            raise UsageError(
                f"{option}: the model has no {name}", why=f"known: {', '.join(listed[:20])}", fix=near(name, listed)
            )
