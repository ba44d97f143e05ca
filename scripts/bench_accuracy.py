#!/usr/bin/env python3
"""Prunes trained models without training, and scores them on samples that no method has seen.

    scripts/bench_accuracy.py ZOO/real [--models NAME ...] [--ratios 0.35 ...] [--methods WORD ...] [--results FILE]
                              [--stats FOLDER] [--data synthetic|none]
    scripts/bench_accuracy.py ZOO/real --write docs/accuracy.md

A method is IMPORTANCE+COMPENSATION (see `onnxsurgeon prune`), optionally with +mirror, or +channels for --no-rotate;
`uniform` (L2 norm, the same share of every space, no compensation); or `tp:CRITERION` (Torch-Pruning through
onnx2torch, which needs the extra `accuracy`). Half of each labelled set is for calibration, at most 512 samples without
their labels; the other half is for scoring.
With --data synthetic, methods fit to synthetic samples instead, and with --data none to none: their rows have
+synthetic or +none. Rows in FILE and statistics in FOLDER are reused; --write makes the page from FILE, by
default docs/accuracy.json, and from docs/fine-tuning.json, the rows of scripts/bench_fine_tuning.py.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

import onnxsurgeon as osg
from accuracy_page import page
from onnxsurgeon.data import Data, inputs_of, open_data
from onnxsurgeon.dependency.labels import label
from onnxsurgeon.dependency.spaces import spaces
from onnxsurgeon.edit.apply import cut
from onnxsurgeon.evaluation.score import evaluate
from onnxsurgeon.importance.from_weights import scores
from onnxsurgeon.model.write import write

ROOT = Path(__file__).resolve().parent.parent
RATIOS = (0.2, 0.35, 0.5, 0.65)
SAMPLES = 512
RESIDUAL = ("vnn_cifar10_resnet2b", "tinyml_cifar_fp32")
MODELS = (
    "digits", *RESIDUAL, "vnn_cifar_biasfield_base", "vnn_oval_cifar_deep", "vnn_marabou_cifar_medium",
    "vnn_cifar10_vit_pgd", "vnn_mnist_avgpool", "vnn_mnist_fc_256x2", "mnist_cntk", "squeezenet_fp32_derived",
    "mobilenetv2_zoo_fp32_derived",
)  # fmt: skip
LARGE = MODELS[-2:]  # images of 224x224
OURS = ("output-error+sequential", "reconstruction+sequential")
FINE_TUNING = ROOT / "docs" / "fine-tuning.json"
CRITERIA = ("tp:l1", "tp:l2", "tp:lamp", "tp:l2-global", "tp:lamp-global")
Row = dict[str, Any]


class Bench:
    """One model, its two halves of the data, and a folder for outputs."""

    def __init__(self, name: str, zoo: Path, folder: Path, stats: Path) -> None:
        self.name, self.folder, self.stats = name, folder, stats / f"{name}.stats.npz"
        self.path = ROOT / "fixtures" / "digits.onnx" if name == "digits" else zoo / "models" / f"{name}.onnx"
        self.model = osg.load(self.path)
        self.calibration, self.score = self._half("calibration"), self._half("score")

    def _half(self, half: str) -> Data:
        spec = f"zoo_data:{self.name}_{half}"
        if self.name == "digits":
            spec = str(self.folder / f"digits_{half}.npz")
            with np.load(ROOT / "fixtures" / "digits_test.npz") as archive:
                chosen = slice(0, None, 2) if half == "calibration" else slice(1, None, 2)
                np.savez(spec, **{key: archive[key][chosen] for key in archive.files})
        samples = SAMPLES if half == "calibration" else None
        return open_data(spec, inputs_of(self.model.ir), samples=samples)

    def top1(self, path: Path) -> float:
        return evaluate(path, self.score, metric="top1").value

    def run(self, method: str, ratio: float) -> Row:
        began, passes = time.perf_counter(), 0.0
        if method == "original":
            left, top1 = 1.0, self.top1(self.path)
        elif method.startswith("tp:"):
            left, model = torch_pruning(self, method.removeprefix("tp:"), ratio)
            top1 = torch_top1(model, self.score)
        else:
            left, graph, passes = self._uniform(ratio) if method == "uniform" else self._pruned(method, ratio)
            path = self.folder / "pruned.onnx"
            write(graph, path, overwrite=True)
            top1 = self.top1(path)
        seconds = time.perf_counter() - began
        row = {"model": self.name, "method": method, "ratio": ratio, "left": left, "top1": top1, "seconds": seconds}
        return {**row, "passes": passes}

    def _pruned(self, method: str, ratio: float) -> tuple[float, Any, float]:
        """The remaining share of MACs, the pruned model, and the passes over the samples that it took."""
        importance, compensate, *more = method.split("+")
        made = next((word for word in ("synthetic", "none") if word in more), None)
        if made is not None:
            result = osg.prune(
                self.model, ratio=ratio, cost="macs", data=made, importance=importance, compensate=compensate
            )
            return result.after.macs / result.before.macs, result.ir, sum(result.passes.values())
        result = osg.prune(
            self.model, ratio=ratio, cost="macs", data=self.calibration, importance=importance, compensate=compensate,
            stats=self.stats, mirror="mirror" in more, rotate=False if "channels" in more else None,
        )  # fmt: skip
        return result.after.macs / result.before.macs, result.ir, sum(result.passes.values())

    def _uniform(self, ratio: float) -> tuple[float, Any, float]:
        """Cuts each space to the same share by the L2 norm."""
        labels = label(self.model.ir)
        built = spaces(labels, scores(labels, "l2"))
        problem = built.problem
        cost = next(c for c in problem.costs if c.name == "macs")
        full = np.array([sizes[-1] for sizes in problem.sizes])
        whole = cost.evaluate(problem.lengths(full))
        for share in np.linspace(1, 0, 1001):
            counts = np.maximum(1, np.round(full * share)).astype(np.int64)
            left = cost.evaluate(problem.lengths(counts)) / whole
            if left <= 1 - ratio:
                break
        return left, cut(labels, built.keep(counts, labels.classes.root)), 0.0


def torch_pruning(bench: Bench, criterion: str, ratio: float) -> tuple[float, Any]:
    """The remaining share of MACs, as Torch-Pruning counts them, and the pruned module."""
    import onnx2torch
    import torch
    import torch_pruning as tp

    word, _, scope = criterion.partition("-")
    importance: Any = {
        "l1": lambda: tp.importance.GroupMagnitudeImportance(p=1),
        "l2": lambda: tp.importance.GroupMagnitudeImportance(p=2),
        "lamp": lambda: tp.importance.LAMPImportance(p=2),
    }[word]
    whole = onnx2torch.convert(str(bench.path)).eval()
    size = [n or 1 for n in bench.score.expected.inputs[0].shape]
    example = torch.zeros(size)
    layers = [m for m in whole.modules() if isinstance(m, (torch.nn.Linear, torch.nn.Conv2d))]
    macs = tp.utils.count_ops_and_params(whole, example)[0]

    def pruned(share: float) -> tuple[float, Any]:
        model = copy.deepcopy(whole)
        last = [m for m in model.modules() if isinstance(m, (torch.nn.Linear, torch.nn.Conv2d))][len(layers) - 1]
        tp.pruner.MetaPruner(
            model, example, importance=importance(), pruning_ratio=share, ignored_layers=[last],
            global_pruning=scope == "global",
        ).step()  # fmt: skip
        return tp.utils.count_ops_and_params(model, example)[0] / macs, model

    low, high = 0.0, 1.0
    for _ in range(9):  # bisects for the smallest ratio whose MACs fit
        middle = (low + high) / 2
        if pruned(middle)[0] <= 1 - ratio:
            high = middle
        else:
            low = middle
    return pruned(high)


def torch_top1(module: Any, data: Data) -> float:
    import torch

    right = 0
    with torch.no_grad():
        for batch in data.batches():
            found: Any = module(torch.from_numpy(np.ascontiguousarray(next(iter(batch.feed.values()))))).numpy()
            right += int((found.reshape(len(found), -1).argmax(axis=1)[: batch.count] == batch.labels).sum())
    return right / len(data)


def measured(rows: Iterable[Row], bench: Callable[[], Bench], methods: list[str], ratios: list[float]) -> Iterable[Row]:
    """The missing rows. If a method fails on a model, its row has the error."""
    done = {(row["method"], row["ratio"]) for row in rows}
    failed = {row["method"] for row in rows if "failed" in row}
    for ratio in (0.0, *ratios):
        for method in methods if ratio else ["original"]:
            if (method, ratio) in done or method in failed:
                continue
            try:
                yield bench().run(method, ratio)
            except Exception as problem:  # noqa: BLE001 - converters raise many types
                failed.add(method)
                why = f"{type(problem).__name__}: {problem}".splitlines()[0][:200]
                yield {"model": bench().name, "method": method, "ratio": ratio, "failed": why}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("zoo", type=Path)
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--methods", nargs="+", default=["uniform", *OURS, *CRITERIA])
    parser.add_argument("--ratios", nargs="+", type=float, default=RATIOS)
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "accuracy.json")
    parser.add_argument("--stats", type=Path)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--data", choices=["synthetic", "none"])
    options = parser.parse_args()
    if options.data is not None:
        methods = {"synthetic": ["output-error+sequential+synthetic"], "none": ["l2-norm+none+none"]}
        options.methods = methods[options.data]
    os.environ["ZOO"] = str(options.zoo.resolve())
    rows: list[Row] = json.loads(options.results.read_text()) if options.results.exists() else []
    if options.write:
        tuned = json.loads(FINE_TUNING.read_text())
        options.write.write_text(page(rows, tuned, MODELS, RESIDUAL), encoding="utf-8")
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in options.models:
            made: list[Bench] = []

            def bench(name: str = name, made: list[Bench] = made) -> Bench:
                if not made:
                    made.append(Bench(name, options.zoo, Path(folder), options.stats or Path(folder)))
                return made[0]

            own = [row for row in rows if row["model"] == name]
            for row in measured(own, bench, options.methods, list(options.ratios)):
                rows.append(row)
                options.results.write_text(json.dumps(rows, indent=1))
                print(*row.values(), flush=True)


if __name__ == "__main__":
    main()
