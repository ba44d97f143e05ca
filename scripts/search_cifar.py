#!/usr/bin/env python3
"""Searches for a network on CIFAR-10, from nothing.

scripts/search_cifar.py FOLDER [--dir DIR] [--population N] [--generations N] [--batches N] [--seed N] [--random] ...

FOLDER holds train.npz and test.npz: `images`, uint8 of shape (N, 32, 32, 3), and `labels`. The search is kept in
DIR, and goes on there if it was ended. `--random` draws and trains as many networks for as long, but does not evolve
them: what a search has to beat. DIR/curve.csv has a row for each generation, with the score of its best candidate on
the test pictures, which the search itself does not use.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path
from typing import Any

import onnxsurgeon as osg
from train_cifar import scaled


def scaled_files(folder: Path, place: Path) -> tuple[Path, Path]:
    """The training and the test pictures as networks take them, written once."""
    place.mkdir(parents=True, exist_ok=True)
    found = []
    for part in ("train", "test"):
        target = place / f"{part}.npz"
        if not target.exists():
            scaled(folder / f"{part}.npz", draft := place / f"{part}.new.npz")
            draft.rename(target)
        found.append(target)
    return found[0], found[1]


class Curve:
    """Scores the best candidate of each generation on the test pictures, for the record alone."""

    def __init__(self, file: Path, test: Path, every: int) -> None:
        self.file, self.test, self.every = file, test, every

    def __call__(self, population: Any) -> bool:
        row = dict(population.history[-1])
        best = population.candidates[0]
        tested = ""
        if population.generation % self.every == 0:
            tested = f"{osg.evaluate(best.network, self.test, metric='top1', device='cpu').value:.4f}"
        minutes = population.seconds / 60
        new = not self.file.exists()
        with self.file.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(["generation", "minutes", "best", "median", "test", "params", "failed"])
            shown = f"{row['best_score']:.4f}", f"{row['median_score']:.4f}"
            writer.writerow([row["generation"], f"{minutes:.2f}", *shown, tested, row["best_params"], row["failed"]])
        said = f"{minutes:6.1f} min  generation {row['generation']}: best {shown[0]}, median {shown[1]}"
        print(f"{said}, test {tested or '-'}, {row['best_params']:,.0f} parameters", flush=True)
        return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dir", type=Path, default=Path("cifar-search"))
    parser.add_argument("--population", type=int, default=50)
    parser.add_argument("--elites", type=int, default=2)
    parser.add_argument("--generations", type=int, default=100)
    parser.add_argument("--batches", type=int, default=400)
    parser.add_argument("--held-out", type=float, default=0.1)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--random", action="store_true")
    parser.add_argument("--schedule", default="cosine")
    parser.add_argument("--augment", nargs="*", default=[])
    parser.add_argument("--cost")
    parser.add_argument("--max-params")
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--executor", default="local")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--every", type=int, default=1, help="generations between two scores on the test pictures")
    parser.add_argument("--out", type=Path)
    given = vars(parser.parse_args())
    folder, directory, out = given.pop("folder"), given.pop("dir"), given.pop("out")
    train, test = scaled_files(folder, directory / "pictures")
    began = time.monotonic()
    heard = Curve(directory / "curve.csv", test, given.pop("every"))
    if (directory / "search.json").exists():
        kept = {name: given[name] for name in ("generations", "minutes", "jobs", "executor", "device")}
        found = osg.search.fit(None, None, resume=directory, on_generation=heard, **kept)
    else:
        found = osg.search.fit(str(train), None, dir=directory, val=str(test), on_generation=heard, **given)
    score = found.score()
    print(f"{found.verdict}; test {'' if score is None else f'{score.value:.4f}'}; {time.monotonic() - began:.0f} s")
    found.save(out or directory / "best.onnx", overwrite=True)


if __name__ == "__main__":
    main()
