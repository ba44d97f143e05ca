"""Steps: the changes of an edit to a network, which proofs check one by one."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.edit.growth import NORMAL, Growth
from onnxsurgeon.neurons.selection import Selection


@dataclass(frozen=True)
class Step:
    """One change, from `before` to `after`.

    selection: of the neurons of `labels`; None if the structure changed. same: whether the function must stay the same.
    part: whether `after` is a part of `before`, whose inputs are values there.
    """

    what: str
    before: ir.Model
    after: ir.Model
    labels: Labels | None = None
    selection: Selection | None = None
    growth: Growth = NORMAL
    same: bool = False
    part: bool = False
