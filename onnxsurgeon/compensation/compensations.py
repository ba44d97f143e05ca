"""The compensations: one record each, from which help, checks, errors and the documentation are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnxsurgeon.options.shared import Needs

WITH_DATA, WITHOUT_DATA = "sequential", "none"  # the defaults


@dataclass(frozen=True)
class Compensation:
    """A way to refit the weights behind a cut.

    function: `module:function` that takes the evidence (`compensation.evidence`), the mask of neurons that stay and the
    cut model, refits the model in place and returns the changes; empty for none. from_statistics: whether it fits to
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
    "none": Compensation("no refit", ""),
    "bias": Compensation(
        "adds the mean of the lost contributions to the biases; without data, means from batch normalisations",
        "compensation.layerwise:bias", from_statistics=True,
    ),
    "linear": Compensation(
        "each layer reproduces its original output from the remaining original inputs",
        "compensation.layerwise:linear", "data", from_statistics=True,
    ),
    "sequential": Compensation(
        "the same layer by layer, from the inputs that the cut model computes",
        "compensation.layerwise:in_sequence", "samples",
    ),
    "distillation": Compensation(
        "sequential, then gradient steps towards the outputs of the original; needs no labels, but minutes",
        "compensation.distillation:distillation", "gradients",
    ),
}  # fmt: skip
