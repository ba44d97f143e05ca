"""The result of a pruning: a cut model, not yet written."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import onnx_ir as ir

from onnxsurgeon.arrays import IntArray, Mask, Shape
from onnxsurgeon.compensation.layerwise import Change
from onnxsurgeon.data.made_samples import Made
from onnxsurgeon.dependency.interface import Reshaped, reshaped
from onnxsurgeon.dependency.labels import Labels, kept_shape
from onnxsurgeon.dependency.measure import Measure
from onnxsurgeon.dependency.spaces import Spaces
from onnxsurgeon.evaluation.movement import Movement
from onnxsurgeon.evaluation.score import Score
from onnxsurgeon.model.model import Model
from onnxsurgeon.notebook import Shown
from onnxsurgeon.options.record import takes
from onnxsurgeon.options.shared import SaveOptions
from onnxsurgeon.proof.saving import Pending, pending
from onnxsurgeon.pruning.options import PruneOptions
from onnxsurgeon.solver.solve import Solution
from onnxsurgeon.units import change

if TYPE_CHECKING:
    from onnxsurgeon.data import Samples
    from onnxsurgeon.proof.of_a_cut import Proof
    from onnxsurgeon.pruning.verdict import Verdict
    from onnxsurgeon.training.trained import Trained


@dataclass(frozen=True)
class Trial:
    """A candidate. drop: how much worse it scores than the original; infinite if no selection has that ratio."""

    ratio: float
    drop: float


@dataclass(frozen=True)
class Scored:
    """The scores before and after. trials: the candidates of the search."""

    before: Score
    after: Score
    trials: tuple[Trial, ...] = ()


@dataclass(frozen=True, repr=False)
class Result(Shown):
    """A pruned model, not yet written.

    bare: the cut model before compensation, which the proof covers. ir: the model after compensation. fitted: the
    changes of compensation. rewritten: whether weights that the file computed are now constants, and that was enough
    to meet the budgets, so that nothing was cut. tuned: the training after it, if one was asked for. rotated: number
    of linear streams whose components were cut. notes: options that were understood in another way. score: before and
    after, if requested. moved: how far the outputs moved; None if nothing was cut, or they can't be compared.
    seconds: by stage. passes: by stage; one runs the whole network on all samples. saved: the files that it was
    written to, with the proof of each. samples: those that it was fitted to; None without any, and `unfit` says why
    if synthetic ones did not serve.
    """

    source: Model
    labels: Labels
    spaces: Spaces
    counts: IntArray
    keep: Mask
    bare: ir.Model
    ir: ir.Model
    solution: Solution
    before: Measure
    after: Measure
    options: PruneOptions
    fitted: tuple[Change, ...] = ()
    rewritten: bool = False
    rotated: int = 0
    notes: tuple[str, ...] = ()
    score: Scored | None = None
    moved: Movement | None = None
    tuned: Trained | None = None
    samples: Samples | None = None
    unfit: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    passes: Mapping[str, float] = field(default_factory=dict)
    saved: list[tuple[str, Proof | None]] = field(default_factory=list)

    @property
    def fitted_to(self) -> str:
        """The samples that chose and fitted the cut, in words."""
        if self.samples is None:
            return "none: norms alone" + (f" ({self.unfit})" if self.unfit else "")
        source = getattr(self.samples, "source", None)
        if isinstance(source, Made):
            return f"{len(self.samples)} synthetic: {source.kinds}"
        return f"{len(self.samples)} of {getattr(self.samples, 'spec', 'data')}"

    @property
    def unchanged(self) -> bool:
        """Whether it is the original."""
        return bool(self.keep.all()) and self.ir is self.bare and not self.rewritten

    @property
    def verdict(self) -> Verdict:
        """What is known about the model: that the cut is right, how far the outputs moved, the accuracy."""
        from onnxsurgeon.pruning.verdict import verdict

        path, proof = self.saved[-1] if self.saved else ("PRUNED.onnx", None)
        return verdict(self, proof, "written without a proof" if self.saved else "not saved yet", path)

    @property
    def model(self) -> Model:
        """The pruned model, as it would be written."""
        return Model(self.source.path, self.ir, in_file=False)

    def line(self) -> str:
        cuts = (change(self.before.of(cost), self.after.of(cost)) + f" {cost}" for cost in ("params", "macs", "size"))
        return f"{self.source.path}: {', '.join(cuts)}"

    def table(self) -> Iterator[Sequence[object]]:
        yield "node", "operator", "weight", "before", "after"
        yield from self.changes()

    @property
    def interface(self) -> list[Reshaped]:
        """The inputs and outputs whose shapes changed: states, with their new shapes."""
        return reshaped(self.labels, self.keep)

    def changes(self) -> list[tuple[str, str, str, Shape, Shape]]:
        """(node, operator, weight, shape before, shape after) of every matrix that changed."""
        rows = []
        for weight in self.labels.weights():
            after = kept_shape(weight.axes, self.keep, weight.shape)
            if after != weight.shape and sum(n > 1 for n in weight.shape) > 1 and weight.counts:
                call = self.labels.calls[weight.uses[0][0]]
                rows.append((call.name, call.operator, weight.value.name or "", weight.shape, after))
        return rows

    @takes(SaveOptions)
    def save(self, path: str | os.PathLike[str], options: SaveOptions) -> Proof | None:
        """The proof, after the pruned model is proven and written to `path`; None without `proof`.

        The cut model is written beside `path` and proven there; a compensated model then replaces it and is run
        again. Raises ProofError if the proof fails, and then does not write `path`; UsageError if `path` exists and may
        not be overwritten.
        """
        with pending(path, options) as file:
            file.write(self.bare if options.proof else self.ir)
            proof = self._proven(file, options) if options.proof else None
        self.saved.append((os.fspath(path), proof))
        return proof

    def _proven(self, file: Pending, options: SaveOptions) -> Proof:
        from onnxsurgeon.model.model import on_disk
        from onnxsurgeon.proof.comparison import require, tolerance
        from onnxsurgeon.proof.of_a_cut import prove, require_sound

        options.announce("prove", "")
        allowed = tolerance(self.labels, options.atol, options.rtol)
        with on_disk(self.source) as original:
            result = prove(
                self.labels, self.keep, original, file.path, allowed=allowed, device=options.device, seed=options.seed,
                memory=float(self.options.memory),
                samples=options.inputs,
            )  # fmt: skip
        fix = "report this model; `exclude` nodes to narrow it down, or raise `rtol` if the model is this sensitive"
        require(result, "the pruned model does not compute what it should", allowed, fix)
        if self.ir is not self.bare:
            file.write(self.ir)
            require_sound(self.labels, self.keep, self.bare, file.path, device=options.device, seed=options.seed)
        return result
