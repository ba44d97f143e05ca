#!/usr/bin/env python3
"""Prunes the CIFAR-10 networks of a zoo, trains what is left for three epochs, and scores it on the test pictures.

    scripts/bench_fine_tuning.py ZOO/real CIFAR [--models NAME ...] [--methods WORD ...] [--ratios 0.5 ...]
                                 [--rate X] [--torch-rate X] [--results FILE]

CIFAR holds train.npz and test.npz: `images`, uint8 of shape (N, 32, 32, 3), and `labels`. A method is a criterion of
`onnxsurgeon prune`, compensated by `sequential`; with +steps behind it, half of the way is cut first and trained for
the first epoch, as `onnxsurgeon compress` does. Or it is tp:CRITERION, Torch-Pruning trained by PyTorch alike,
which needs the extra `accuracy`. Rows in FILE are kept; `scripts/bench_accuracy.py --write` makes the page from them.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import onnxsurgeon as osg
import zoo_data
from accuracy_page import CHOSEN, STEPS
from bench_accuracy import ROOT, Bench, torch_pruning, torch_top1
from onnxsurgeon.data import inputs_of, open_data
from onnxsurgeon.training import augmentations
from onnxsurgeon.training.learning_rate import RELATIVE
from onnxsurgeon.training.schedules import rate

MODELS = (
    "vnn_cifar10_resnet2b", "tinyml_cifar_fp32", "vnn_oval_cifar_deep", "vnn_marabou_cifar_medium",
    "vnn_cifar10_vit_pgd",
)  # fmt: skip
METHODS = (CHOSEN, CHOSEN + STEPS, "taylor", "tp:l1")
EPOCHS, BATCH, AUGMENT, WARM_UP, SAMPLES = 3, 32, ("flip",), 0.1, 512  # epochs of warm-up; samples that choose a cut
Row = dict[str, Any]


class Trial:
    """One network, and the pictures as it takes them."""

    def __init__(self, name: str, zoo: Path, cifar: Path, folder: Path) -> None:
        self.bench, self.folder = Bench(name, zoo, folder, folder), folder
        self.path = self.bench.path
        self.train, self.test = (self._pictures(cifar / f"{part}.npz", part) for part in ("train", "test"))
        self.whole = self.top1(self.path)

    def _pictures(self, file: Path, part: str) -> Path:
        with np.load(file) as archive:
            images, labels = archive["images"], archive["labels"]
        name, path = self.bench.name, self.folder / f"{self.bench.name}_{part}.npz"
        parts = [zoo_data.THINGS[name](images[n : n + 1000].astype(np.float32)) for n in range(0, len(images), 1000)]
        of = self.bench.score.expected.inputs[0].name
        np.savez(path, **{of: np.concatenate(parts).astype(np.float32), "labels": labels})
        return path

    def top1(self, path: Path) -> float:
        return osg.evaluate(path, self.test, metric="top1", device="cpu").value

    def row(self, method: str, ratio: float, peak: float | str) -> Row:
        began = time.perf_counter()
        torch = is_torch(method)
        left, cut, top1 = self._torch(method, ratio, float(peak)) if torch else self._ours(method, ratio, peak)
        return {
            "model": self.bench.name, "method": method, "ratio": ratio, "rate": peak, "left": left, "whole": self.whole,
            "cut": cut, "top1": top1, "seconds": time.perf_counter() - began,
        }  # fmt: skip

    def _ours(self, method: str, ratio: float, peak: float | str) -> tuple[float, float, float]:
        """The share of MACs that is left, and top-1 after the last cut and after training."""
        path, left, cut = self.path, 1.0, self.whole
        plan = [(1 - (1 - ratio) ** 0.5, 1), (ratio, EPOCHS - 1)] if method.endswith(STEPS) else [(ratio, EPOCHS)]
        for number, (gone, epochs) in enumerate(plan):
            found = osg.prune(
                path, ratio=1 - (1 - gone) / left, cost="macs", data=self.train, samples=SAMPLES, rotate=False,
                importance=method.removesuffix(STEPS), compensate="sequential", device="cpu",
            )  # fmt: skip
            left *= found.after.macs / found.before.macs
            path = self.folder / f"cut{number}.onnx"
            found.save(path, overwrite=True, device="cpu")
            cut = self.top1(path)
            tuned = osg.train(
                path, self.train, epochs=epochs, lr=peak, batch=BATCH, augment=AUGMENT, warmup=WARM_UP,
                only_better=True, device="cpu",
            )  # fmt: skip
            tuned.save(path, overwrite=True)
        return left, cut, self.top1(path)

    def _torch(self, method: str, ratio: float, peak: float) -> tuple[float, float, float]:
        left, module = torch_pruning(self.bench, method.removeprefix("tp:"), ratio)
        data = open_data(str(self.test), inputs_of(self.bench.model.ir))
        cut = torch_top1(module, data)
        tune(module, self.train, peak)
        return left, cut, torch_top1(module, data)


def is_torch(method: str) -> bool:
    return method.startswith("tp:")


def tune(module: Any, pictures: Path, peak: float) -> None:
    """Trains a module of PyTorch as `train` does."""
    import torch

    with np.load(pictures) as archive:
        (name,) = set(archive.files) - {"labels"}
        images, labels = archive[name], archive["labels"].astype(np.int64)
    rng, steps = np.random.default_rng(0), EPOCHS * -(-len(images) // BATCH)
    warm = round(WARM_UP * steps / EPOCHS)
    optimiser = torch.optim.AdamW(module.parameters(), lr=peak, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: rate("cosine", 1.0, step, steps, warm))
    chosen, widths = augmentations.read(AUGMENT, "augment"), {name: 3 if images.shape[1] == 3 else 2}
    module.train()
    for _ in range(EPOCHS):
        order = rng.permutation(len(images))
        for start in range(0, len(images), BATCH):
            part = order[start : start + BATCH]
            feed, _ = augmentations.augmented({name: images[part]}, {}, chosen, widths, rng)
            scores = module(torch.from_numpy(feed[name]))
            loss = torch.nn.functional.cross_entropy(scores.reshape(len(part), -1), torch.from_numpy(labels[part]))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    module.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("zoo", type=Path)
    parser.add_argument("cifar", type=Path)
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--ratios", nargs="+", type=float, default=[0.5, 0.75])
    parser.add_argument("--rate", default=RELATIVE, help="our highest learning rate")
    parser.add_argument("--torch-rate", type=float, default=2e-3, help="PyTorch's")
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "fine-tuning.json")
    options = parser.parse_args()
    os.environ["ZOO"] = str(options.zoo.resolve())
    rows: list[Row] = json.loads(options.results.read_text()) if options.results.exists() else []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.models:
            trial = Trial(name, options.zoo, options.cifar, Path(folder))
            for ratio in options.ratios:
                for method in options.methods:
                    known = {"model": name, "method": method, "ratio": ratio}
                    if any(known.items() <= row.items() for row in rows):
                        continue
                    try:
                        row = trial.row(method, ratio, options.torch_rate if is_torch(method) else options.rate)
                    except Exception as problem:  # noqa: BLE001 - converters raise many types
                        row = {**known, "failed": f"{type(problem).__name__}: {problem}".splitlines()[0][:200]}
                    rows.append(row)
                    options.results.write_text(json.dumps(rows, indent=1) + "\n")
                    print(*row.values(), flush=True)


if __name__ == "__main__":
    main()
