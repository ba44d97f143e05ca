"""The compensations: one record each, from which help, checks, errors and the documentation are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnxsurgeon.options.readers import markdown
from onnxsurgeon.options.shared import Needs

WITH_DATA, WITHOUT_DATA = "sequential", "none"  # the defaults


@dataclass(frozen=True)
class Compensation:
    """A way to fit the weights behind a cut anew.

    function: `module:function` that takes the evidence (`compensation.evidence`), the mask of neurons that stay and the
    cut model, fits that and returns what it changed; empty if nothing is done. from_statistics: it is fitted to
    statistics of the original.
    """

    help: str
    function: str
    needs: Needs = "nothing"
    from_statistics: bool = False

    @property
    def runs_samples(self) -> bool:
        """Whether samples run through the cut model."""
        return self.needs in ("samples", "gradients")


COMPENSATIONS: Mapping[str, Compensation] = {
    "none": Compensation("nothing is fitted", ""),
    "bias": Compensation(
        "the mean of what is lost goes into the biases; without data, as far as normalisations tell it",
        "compensation.layerwise:bias", from_statistics=True,
    ),
    "linear": Compensation(
        "each layer reproduces its output from the inputs that are left, both of the original",
        "compensation.layerwise:linear", "data", from_statistics=True,
    ),
    "sequential": Compensation(
        "the same in the graph's order, from the inputs that the cut model really has",
        "compensation.layerwise:in_sequence", "samples",
    ),
    "distillation": Compensation(
        "sequential, then gradient steps towards the outputs of the original: no labels, but minutes",
        "compensation.distillation:distillation", "gradients",
    ),
}  # fmt: skip


def documented() -> str:
    """The table of the documentation."""
    rows = [(f"`{word}`", record.needs, record.help) for word, record in COMPENSATIONS.items()]
    return markdown(("compensation", "needs", "what it does"), rows)
