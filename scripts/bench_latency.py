#!/usr/bin/env python3
"""Prunes networks to shares of their latency, measures what came out, and writes the table of docs/latency.md.

    scripts/bench_latency.py ZOO --rows FILE.json [--only GLOB] [--ratio 0.5] [--markdown docs/latency.md]

ZOO holds the networks; skeletons among them are filled by its fill.py. Each network is pruned by latency, and then by
MACs and by parameters until it is as fast, at widths that are multiples of 8. A row that FILE.json has is not run
again. Without --only all that is missing runs; --markdown writes the table of what is there.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import onnxsurgeon as osg
from onnxsurgeon.dependency.labels import label
from onnxsurgeon.latency.bench import inputs_for
from onnxsurgeon.latency.options import Timed
from onnxsurgeon.latency.timing import in_turn, ratio
from onnxsurgeon.model.model import as_model
from onnxsurgeon.runtime.session import Session

NETWORKS = {
    "ResNet-50": "skeletons/tv_resnet50_script.onnx",
    "MobileNetV2": "skeletons/tv_mobilenet_v2_script.onnx",
    "EfficientNet-B0": "skeletons/tv_efficientnet_b0_script.onnx",
    "DeiT-tiny": "skeletons/timm_deit_tiny_patch16_224_script.onnx",
    "SqueezeNet 1.1": "skeletons/tv_squeezenet1_1_script.onnx",
    "YOLOX-nano": "real/models/yolox_nano.onnx",
    "UltraFace slim": "real/models/ultraface_slim320.onnx",
}
RATIOS = (0.3, 0.5)
OTHERS = ("macs", "params")  # costs by which the same network is pruned until it is as fast
TRIES, CLOSE = 7, 0.03  # bisections of their ratio; latencies that are near enough to interpolate
SECONDS = 4.0  # for the runs of both models
MARKS = "<!-- bench -->", "<!-- /bench -->"
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("zoo", type=Path)
    parser.add_argument("--rows", type=Path, required=True, help="measured rows, which are kept")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--only", default="*", help="glob over the names of networks")
    parser.add_argument("--ratio", type=float, action="append", help="instead of 0.3 and 0.5")
    parser.add_argument("--none", action="store_true", help="run nothing")
    parser.add_argument("--markdown", type=Path, help="write the table here, between its <!-- bench --> marks")
    options = parser.parse_args()
    rows: dict[str, Row] = json.loads(options.rows.read_text()) if options.rows.exists() else {}
    for name, file in NETWORKS.items():
        for asked in options.ratio or RATIOS:
            key = f"{name} {asked} {options.device} {options.threads}"
            if options.none or key in rows or not fnmatch.fnmatch(name, options.only):
                continue
            rows[key] = {"name": name, "asked": asked, **measured(options.zoo / file, asked, options)}
            print(key, rows[key], flush=True)
            options.rows.write_text(json.dumps(rows, indent=1))
    if options.markdown:
        publish(options.markdown, list(rows.values()))


def measured(file: Path, ratio: float, options: argparse.Namespace) -> Row:
    """One network at one ratio: what latency, MACs and parameters keep at the same latency."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.onnx"
        fill = file.parents[1] / "fill.py"
        if file.parent.name == "skeletons":
            subprocess.run([sys.executable, str(fill), str(file), str(model)], check=True)
        else:
            model.write_bytes(file.read_bytes())
        return compared(model, ratio, options)


def compared(model: Path, ratio: float, options: argparse.Namespace) -> Row:
    common = {"data": "none", "device": options.device}
    try:
        result = osg.prune(model, ratio=ratio, cost="latency", threads=options.threads, **common)
    except osg.InfeasibleError as problem:
        return {"refused": str(problem.what), "why": problem.why.splitlines()[0]}
    latency = relative(model, result, options)
    row: Row = {
        "latency": latency, "seconds": result.seconds, "gap": result.solution.gap,
        "before": result.before.latency, "by_latency": kept(result),
    }  # fmt: skip
    for cost in OTHERS:
        row[f"by_{cost}"] = as_fast(model, latency, cost, options)
    return row


def as_fast(model: Path, latency: float, cost: str, options: argparse.Namespace) -> Row:
    """What a network keeps that is pruned by a cost until it is as fast: between the nearest slower and faster one."""
    low, high = 0.0, 0.98
    slower: Row = {"latency": 1.0, "importance": 1.0, "channels": 1.0, "macs": 1.0, "params": 1.0}
    faster: Row | None = None
    for _ in range(TRIES):
        middle = (low + high) / 2
        try:
            result = osg.prune(model, ratio=middle, cost=cost, round_to=8, data="none", device=options.device)
        except osg.InfeasibleError:
            high = middle
            continue
        found = {**kept(result), "latency": relative(model, result, options)}
        if found["latency"] <= latency:
            faster, high = found, middle
        else:
            slower, low = found, middle
        if faster is not None and slower["latency"] - faster["latency"] <= CLOSE:
            break
    if faster is None:
        return {"latency": None, "importance": None, "channels": None}
    share = (latency - faster["latency"]) / max(slower["latency"] - faster["latency"], 1e-9)
    return {what: value + min(max(share, 0.0), 1.0) * (slower[what] - value) for what, value in faster.items()}


def kept(result: osg.Result) -> Row:
    """The shares of importance, of channels, of MACs and of parameters that stay."""
    problem = result.spaces.problem
    most = np.array([len(table) - 1 for table in problem.tables])
    return {
        "importance": problem.importance(result.counts) / problem.importance(most),
        "channels": float(result.counts.sum() / most.sum()),
        "macs": result.after.macs / result.before.macs,
        "params": result.after.params / result.before.params,
    }


def relative(model: Path, result: osg.Result, options: argparse.Namespace) -> float:
    """The latency of a pruned model relative to the original's, which takes turns with it: the median of the pairs."""
    how = Timed(threads=options.threads, device=options.device)
    feed = inputs_for(label(as_model(model).ir), how)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pruned.onnx"
        result.save(path, proof=False)
        runs = [Session(p, how.device, threads=how.threads).bound(feed) for p in (model, path)]
        return ratio(*in_turn(runs, seconds=SECONDS)).value


def publish(page: Path, rows: list[Row]) -> None:
    text = page.read_text(encoding="utf-8")
    head, _, rest = text.partition(MARKS[0])
    _, _, tail = rest.partition(MARKS[1])
    page.write_text(f"{head}{MARKS[0]}\n{table(rows)}{MARKS[1]}{tail}", encoding="utf-8")


def table(rows: list[Row]) -> str:
    lines = [
        "| network | asked | measured | importance kept: by latency | by MACs | by params | channels kept: by latency"
        " | by MACs | by params | solver: gap | seconds |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if "refused" in row:
            lines.append(f"| {row['name']} | -{row['asked']:.0%} | {row['refused']} |" + " |" * 8)
            continue
        found = [row["by_latency"], *(row[f"by_{cost}"] for cost in OTHERS)]
        shares = [share(of[what]) for what in ("importance", "channels") for of in found]
        lines.append(
            f"| {row['name']} | -{row['asked']:.0%} | {row['latency'] - 1:+.1%} | {' | '.join(shares)} "
            f"| {row['gap']:.2%} | {row['seconds']['solve']:.1f} |"
        )
    return "\n".join(lines) + "\n"


def share(value: float | None) -> str:
    return "not reached" if value is None else f"{value:.1%}"


if __name__ == "__main__":
    main()
