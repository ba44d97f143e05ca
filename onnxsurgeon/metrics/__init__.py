"""The metrics of scores: one record each, from which help, checks, errors and the documentation are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from onnxsurgeon.options.parsing import OWN, record_of

DEFAULT = "top1"


@dataclass(frozen=True)
class Metric:
    """A metric. function: `module:function` that takes pairs of outputs and targets (`formulas.Pairs`).

    targets: the kind of labels: class numbers or outputs. higher: whether higher is better.
    """

    help: str
    function: str
    targets: Literal["classes", "outputs", "any"] = "outputs"
    higher: bool = True


METRICS: Mapping[str, Metric] = {
    "top1": Metric("share of samples whose most likely class is right", "metrics.formulas:top1", "classes"),
    "top5": Metric("share of samples whose class is among the five most likely", "metrics.formulas:top5", "classes"),
    "mse": Metric("mean squared error; lower is better", "metrics.formulas:mse", higher=False),
    "cosine": Metric("mean cosine of outputs and targets", "metrics.formulas:cosine"),
    "psnr": Metric("peak signal-to-noise ratio in dB, with the targets' range as peak", "metrics.formulas:psnr"),
    OWN: Metric("your own function of all outputs and the labels", "", "any"),
}
HELP = f"{', '.join(METRICS)}"


def metric(word: str, name: str = "`metric`") -> Metric:
    """The record of a word. Raises UsageError for an unknown one."""
    return record_of(word, METRICS, name)
