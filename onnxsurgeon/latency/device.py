"""The device of a pruning by latency: its profile, and measurements of cut models beside the original."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from onnxsurgeon.dependency.interface import Positions, taken
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.files import drafts
from onnxsurgeon.latency.bench import inputs_for
from onnxsurgeon.latency.measure_profile import profile_of
from onnxsurgeon.latency.options import ProfileOptions
from onnxsurgeon.latency.profile import Profile, load_profile
from onnxsurgeon.latency.timing import Ratio, in_turn, ratio
from onnxsurgeon.model.model import Model, on_disk
from onnxsurgeon.model.write import write
from onnxsurgeon.runtime.session import Session

SECONDS = 2.0  # to measure a cut model beside the original


@dataclass(frozen=True)
class DeviceAtHand:
    """profile: measured here, or of another device. here: whether cut models can be measured, too."""

    profile: Profile
    model: Model
    labels: Labels
    options: ProfileOptions
    here: bool

    def relative(self, cut: ir.Model, places: Mapping[str, Positions]) -> Ratio:
        """The latency of a cut model, relative to the original's. places: the positions that stay of its states."""
        feed = inputs_for(self.labels, self.options)
        with on_disk(self.model) as original, drafts() as folder:
            path = Path(folder) / "model.onnx"
            write(cut, path)
            pairs = ((original, feed), (path, taken(feed, places)))
            runs = [Session(p, self.options.device, threads=self.options.threads).bound(fed) for p, fed in pairs]
            before, after = in_turn(runs, seconds=SECONDS)
        return ratio(before, after)


def device_at_hand(model: Model, labels: Labels, options: ProfileOptions, profile: Path | None) -> DeviceAtHand:
    """The device at hand, measured now, or another one by its profile in a file. Raises UsageError if it is none."""
    found = profile_of(labels, options) if profile is None else load_profile(profile)
    return DeviceAtHand(found, model, labels, options, profile is None)
