"""The device of a pruning by latency: its profile, and measurements of cut models beside the original."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from onnxsurgeon.arrays import Mask
from onnxsurgeon.dependency.interface import positions, taken
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.errors import UsageError
from onnxsurgeon.files import drafts
from onnxsurgeon.latency.bench import inputs_for
from onnxsurgeon.latency.kernel_times import KernelTimes, Reference, Timeable, kernel_times
from onnxsurgeon.latency.kernels import Kernels, by_output
from onnxsurgeon.latency.measure_profile import profile_of
from onnxsurgeon.latency.options import ProfileOptions
from onnxsurgeon.latency.profile import Profile, load_profile
from onnxsurgeon.latency.time_tables import NEAR, Lengths, TimeTable
from onnxsurgeon.model.editor import copied
from onnxsurgeon.model.model import Model, on_disk
from onnxsurgeon.model.write import write
from onnxsurgeon.runtime.session import Session, version

SECONDS, MOST = 3.0, 20.0  # to measure a cut model beside the original; more than the first where it isn't known then
NOISE = 0.03  # the share by which a measured latency may miss its prediction: the machine's noise


@dataclass(frozen=True)
class DeviceAtHand:
    """profile: measured here, or of another device. here: whether cut models can be measured, too.

    notes: why a profile that was not measured here may be wrong, in words.
    """

    profile: Profile
    model: Model
    labels: Labels
    options: ProfileOptions
    here: bool
    notes: tuple[str, ...] = ()

    def measured(self, cut: ir.Model, keep: Mask) -> KernelTimes:
        """The times of a cut model, as they would be while the profile was made: it runs beside the original."""
        feed, kernels = inputs_for(self.labels, self.options), Kernels(self.labels)
        with drafts() as folder:
            models = list[Timeable]()
            for name, graph, stays in (("before", self.labels.original, np.ones_like(keep)), ("after", cut, keep)):
                path, one = Path(folder) / f"{name}.onnx", by_output(copied(graph))
                write(one, path)
                models.append(Timeable(one, path, taken(feed, positions(self.labels, stays))))
            reference = Reference(models[0], self.options, self.profile.seconds)
            return kernel_times(
                models[1], kernels, self.options, seconds=MOST, until_known=SECONDS, reference=reference
            )

    def corrected(self, keep: Mask, found: KernelTimes) -> DeviceAtHand:
        """The device with tables that predict what was measured of the neurons in a mask, and around that."""
        kernels, tables = Kernels(self.labels), dict(self.profile.tables)
        lengths: dict[str, tuple[str, Lengths]] = {}
        for name, table in self.profile.kernels.items():
            kernel = kernels.find(name)
            if kernel is not None and len(kernel.axes) == len(tables[table].lengths):
                lengths[kernel.name] = table, tuple(int(keep[axis].sum()) for axis in kernel.axes)
        for name, (table, at) in lengths.items():
            if (seconds := found.times.get(name, 0.0)) > 0:
                tables[table] = _passing(tables[table], at, seconds)
        total = self.profile.fixed + sum(tables[table].at(at) for table, at in lengths.values())
        fixed = self.profile.fixed + found.seconds - total
        return replace(self, profile=replace(self.profile, fixed=fixed, tables=tables))


def _passing(table: TimeTable, at: Lengths, seconds: float) -> TimeTable:
    """A table that says `seconds` at these lengths, and changes nearby in proportion."""
    logs = [np.log(np.array(known)) for known in table.lengths]
    away = [(of - of[place]) ** 2 for of, place in zip(logs, table.places(at), strict=True)]
    distance = np.sum(np.meshgrid(*away, indexing="ij"), axis=0)
    factor = np.log(seconds / max(table.at(at), 1e-12))
    return table.scaled(np.exp(factor * np.exp(-0.5 * distance / NEAR**2)))


def device_at_hand(model: Model, labels: Labels, options: ProfileOptions, profile: Path | None) -> DeviceAtHand:
    """The device at hand, measured now, or another one by its profile in a file.

    Raises UsageError if the file is no profile, or that of another model.
    """
    if profile is None:
        return DeviceAtHand(profile_of(labels, options), model, labels, options, here=True)
    found = load_profile(profile)
    known = sum(1 for _ in found.parts(labels))
    if not known:
        raise UsageError(
            f"{profile} is the profile of another model", why="it has no kernel of this one",
            fix=f"make it with onnxsurgeon profile {model.path}",
        )  # fmt: skip
    return DeviceAtHand(found, model, labels, options, here=False, notes=tuple(_doubts(found, known, model, options)))


def _doubts(found: Profile, known: int, model: Model, options: ProfileOptions) -> Iterator[str]:
    """Why the times of a profile may not hold, in words."""
    then = found.conditions
    with on_disk(model) as path:
        here = Session(path, options.device, optimise=False, lean=True).provider
    if then.onnxruntime != version():
        yield f"the profile was measured with onnxruntime {then.onnxruntime}; here it is {version()}"
    if then.provider != here:
        yield f"the profile was measured on {then.provider}; here models run on {here}"
    if options.threads not in (None, then.threads):
        yield f"the profile was measured with {then.threads} threads; `threads` is {options.threads}"
    if known < len(found.kernels):
        yield f"{len(found.kernels) - known} of the {len(found.kernels)} kernels of the profile are not in this model"
