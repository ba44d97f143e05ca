"""Which layers a model is most sensitive to, from the report of a sensitivity."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from math import inf
from statistics import median

from onnxsurgeon.report.json_report import Report

MIDDLE = 0.5  # the share of a width by which layers are ranked: the nearest that was measured
FACTOR = 3.0  # errors that are larger than the median by this factor stand out
MOST = 8  # layers that stand out


def error_at(layer: Report, share: float) -> float:
    """The change of the outputs where a layer has this share of its width; infinite if it is beyond measure, 0 if this
    width was not tried."""
    return next((inf if p["error"] is None else p["error"] for p in layer["points"] if p["share"] == share), 0.0)


def ranked(layers: Sequence[Report], share: float) -> list[Report]:
    """The layers, the most sensitive first."""
    return sorted(layers, key=lambda layer: -error_at(layer, share))


def ranking(layers: Sequence[Report], shares: Sequence[float], model: str, data: str) -> Report:
    """`ranked_by`, the share by which layers are ranked; `sensitive`, the layers that stand out; `next`, the command
    that prunes the others."""
    share = min(shares, key=lambda share: abs(share - MIDDLE))
    usual = median(error_at(layer, share) for layer in layers)
    order = ranked(layers, share)[: min(MOST, len(layers) // 3)]
    names = [layer["nodes"][0] for layer in order if error_at(layer, share) > FACTOR * usual]
    words = ["onnxsurgeon", "prune", model, "--ratio", "0.3", "--data", data]
    words += [word for name in names for word in ("--exclude", name)]
    return {"ranked_by": share, "sensitive": names, "next": " ".join(map(shlex.quote, words))}


def percent(error: float) -> str:
    """A relative error in percent."""
    return f"{100 * error:.2g} %" if error < 0.095 else f"{100 * error:.0f} %"
