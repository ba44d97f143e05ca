"""The data about a labelled model that criteria and compensations use: statistics, samples and fit targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from onnxsurgeon.calibration.linear_layers import Consumer, consumers
from onnxsurgeon.calibration.statistics import Moments, Statistics, moments
from onnxsurgeon.compensation.layerwise import Targets
from onnxsurgeon.data import Samples
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.options.shared import Counted, Device, OfGradients

MEMORY = 2e9


@dataclass
class Evidence:
    """labels: of the model or its rotated version. samples: the data to fit to, with mirror images; data: as the user
    gave them; both None without data. statistics: of layer inputs. memory: approximate limit in bytes. announce: called
    with each stage. notes: what the user should know of how options were understood. averaging: of gradients over
    batches. output: the name of the one that labels are about, if that was said."""

    labels: Labels
    seed: int = 0
    samples: Samples | None = None
    data: Samples | None = None
    statistics: Statistics = field(default_factory=lambda: Statistics(""))
    memory: float = MEMORY
    device: Device = "auto"
    announce: Callable[[str, str], None] = lambda stage, detail: None
    notes: list[str] = field(default_factory=list)
    averaging: OfGradients = field(default_factory=OfGradients)
    output: str | None = None

    @cached_property
    def layers(self) -> list[Consumer]:
        return consumers(self.labels)

    @cached_property
    def targets(self) -> Targets:
        """The activations that layers are fitted to."""
        assert self.samples is not None  # a compensation says that it needs them
        return Targets(self.labels, self.samples, memory=self.memory, device=self.device, seed=self.seed)

    def moments(self, of: Sequence[Consumer], observer: Targets | None = None) -> Mapping[str, Moments]:
        """Moments of the inputs of these layers, from a pass over the samples, which `observer` sees, too."""
        assert self.samples is not None  # a criterion says that it needs them
        return moments(
            self.labels, of, self.samples, memory=self.memory, device=self.device, seed=self.seed, observer=observer,
            progress=lambda done, total: self.announce("calibrate", Counted(done, total, "samples")),
        )  # fmt: skip
