#!/usr/bin/env python3
"""Prunes networks to shares of their latency, measures what came out, and writes the table of docs/latency.md.

    scripts/bench_latency.py ZOO --rows FILE.json [--only GLOB] [--ratio 0.5] [--markdown docs/latency.md]

ZOO holds the networks; skeletons among them are filled by its fill.py. Each network is pruned by latency, and then by
MACs and by parameters until it is as fast, at widths that are multiples of 8. Labelled networks are pruned with half of
their samples, and scored on the other. Each network is also pruned to half of its MACs. A row that FILE.json has is not
run again. Without --only all that is missing runs; --markdown writes the tables of what is there.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

import onnxsurgeon as osg
from onnxsurgeon.dependency.labels import label
from onnxsurgeon.latency.kernels import Kernels, by_output
from onnxsurgeon.model.editor import copied as copied_graph
from onnxsurgeon.model.model import as_model

NETWORKS = {
    "ResNet-50": "skeletons/tv_resnet50_script.onnx",
    "MobileNetV2": "skeletons/tv_mobilenet_v2_script.onnx",
    "EfficientNet-B0": "skeletons/tv_efficientnet_b0_script.onnx",
    "DeiT-tiny": "skeletons/timm_deit_tiny_patch16_224_script.onnx",
    "SqueezeNet 1.1": "skeletons/tv_squeezenet1_1_script.onnx",
    "YOLOX-nano": "real/models/yolox_nano.onnx",
    "UltraFace slim": "real/models/ultraface_slim320.onnx",
}
LABELLED = {  # the names of their samples in zoo_data
    "MobileNetV2, trained": "mobilenetv2_zoo_fp32_derived",
    "SqueezeNet 1.1, trained": "squeezenet_fp32_derived",
    "ResNet-8 (tinyml), trained": "tinyml_cifar_fp32",
    "resnet2b, trained": "vnn_cifar10_resnet2b",
}
HALF = "half of the MACs"
RATIOS = (0.3, 0.5)
OTHERS = ("macs", "params")  # costs by which the same network is pruned until it is as fast
TRIES, CLOSE = 6, 0.03  # bisections of their ratio; latencies that are near enough to interpolate
SECONDS, QUICK = 20.0, 6.0  # for the runs of both models; in a bisection
SAMPLES = 256
MARK = "<!-- {} -->", "<!-- /{} -->"
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
    parser.add_argument("--markdown", type=Path, help="write the tables here, between their marks")
    options = parser.parse_args()
    rows: dict[str, Row] = json.loads(options.rows.read_text()) if options.rows.exists() else {}
    os.environ["ZOO"] = str(options.zoo / "real")
    files = {name: (options.zoo / file, "") for name, file in NETWORKS.items()}
    files |= {name: (options.zoo / "real" / "models" / f"{data}.onnx", data) for name, data in LABELLED.items()}
    for name, (file, data) in files.items():
        for asked in [*(options.ratio or RATIOS), *([] if data else [HALF])]:
            key = f"{name} {asked} {options.device} {options.threads}"
            if options.none or key in rows or not fnmatch.fnmatch(name, options.only):
                continue
            with tempfile.TemporaryDirectory() as folder:
                bench = Bench(copied(file, Path(folder)), data, options)
                found = bench.halved() if asked == HALF else bench.compared(asked)
            rows[key] = {"name": name, "asked": asked, **found}
            print(key, rows[key], flush=True)
            options.rows.write_text(json.dumps(rows, indent=1))
    if options.markdown:
        publish(options.markdown, list(rows.values()))


def copied(file: Path, folder: Path) -> Path:
    """A copy of a network in a folder; a skeleton with weights."""
    model = folder / "model.onnx"
    if file.parent.name == "skeletons":
        subprocess.run([sys.executable, str(file.parents[1] / "fill.py"), str(file), str(model)], check=True)
    else:
        model.write_bytes(file.read_bytes())
    return model


class Bench:
    """One network. data: the name of its labelled samples; empty if there are none."""

    def __init__(self, model: Path, data: str, options: argparse.Namespace) -> None:
        self.model, self.data, self.threads, self.device = model, data, options.threads, options.device

    def pruned(self, **budget: Any) -> osg.Result:
        data = f"zoo_data:{self.data}_calibration" if self.data else "none"
        return osg.prune(
            self.model, data=data, samples=SAMPLES if self.data else None, device=self.device, threads=self.threads,
            stats=self.model.with_suffix(".npz") if self.data else None, **budget,
        )  # fmt: skip

    def compared(self, ratio: float) -> Row:
        """What latency, MACs and parameters keep at the same latency."""
        try:
            result = self.pruned(ratio=ratio, cost="latency")
        except osg.InfeasibleError as problem:
            return {"refused": str(problem.what), "why": problem.why.splitlines()[0]}
        found = self.kept(result)
        row: Row = {
            "latency": found["latency"], "seconds": result.seconds, "gap": result.solution.gap,
            "before": result.before.latency, "by_latency": found,
        }  # fmt: skip
        if self.data:
            row["top1"] = self.top1(self.model)
        for cost in OTHERS[:1] if self.data else OTHERS:
            row[f"by_{cost}"] = self.as_fast(found["latency"], cost)
        return row

    def halved(self) -> Row:
        """How fast half of the MACs is; and the share of the time that products take, which alone follows the MACs."""
        result = self.pruned(ratio=0.5, cost="macs", round_to=8)
        labels = label(as_model(self.model).ir)
        graph = by_output(copied_graph(labels.model))  # nodes may have no names
        (row,) = osg.bench(ir.to_proto(graph), layers=True, threads=self.threads, device=self.device).models
        kernels, inside, total = Kernels(labels), 0.0, 0.0
        for node in row.nodes:
            kernel = kernels.find(node.name)
            operators = [labels.operator(n) for n in kernel.nodes] if kernel is not None else []
            inside += node.seconds * any(o is not None and o.macs is not None for o in operators)
            total += node.seconds
        return {**self.kept(result), "products": inside / total}

    def as_fast(self, latency: float, cost: str) -> Row:
        """What stays if it is pruned by a cost until it is as fast: between the nearest slower and faster one."""
        low, high = 0.0, 0.98
        slower: Row = {}
        faster: Row = {}
        for _ in range(TRIES):
            middle = (low + high) / 2
            try:
                found = self.kept(self.pruned(ratio=middle, cost=cost, round_to=8), QUICK)
            except osg.InfeasibleError:
                high = middle
                continue
            if found["latency"] <= latency:
                faster, high = found, middle
            else:
                slower, low = found, middle
            if slower and faster and slower["latency"] - faster["latency"] <= CLOSE:
                break
        if not faster:
            return dict.fromkeys(("latency", "importance", "channels", "top1"))
        slower = slower or faster
        share = (latency - faster["latency"]) / max(slower["latency"] - faster["latency"], 1e-9)
        return {what: value + min(max(share, 0.0), 1.0) * (slower[what] - value) for what, value in faster.items()}

    def kept(self, result: osg.Result, seconds: float = SECONDS) -> Row:
        """The shares of importance, channels, MACs, parameters and latency that stay; and the accuracy."""
        problem = result.spaces.problem
        most = np.array([len(table) - 1 for table in problem.tables])
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "pruned.onnx"
            result.save(path, proof=False)
            return {
                "importance": problem.importance(result.counts) / problem.importance(most),
                "channels": float(result.counts.sum() / most.sum()),
                "macs": result.after.macs / result.before.macs,
                "params": result.after.params / result.before.params,
                "latency": self.relative(path, seconds),
                **({"top1": self.top1(path)} if self.data else {}),
            }

    def relative(self, pruned: Path, seconds: float) -> float:
        """The latency of a pruned model relative to the original's, which takes turns with it: the median of pairs."""
        found = osg.bench([self.model, pruned], threads=self.threads, device=self.device, time_limit=seconds)
        return found.ratios[1].value

    def top1(self, model: Path) -> float:
        """The accuracy on the other half of the samples."""
        score = osg.evaluate(model, f"zoo_data:{self.data}_score", metric="top1", device=self.device)
        return float(score.value)


def publish(page: Path, rows: list[Row]) -> None:
    text = page.read_text(encoding="utf-8")
    for name, made in (("bench", table), ("scores", scores), ("half", halves)):
        begin, end = (mark.format(name) for mark in MARK)
        if begin not in text:
            continue
        head, _, rest = text.partition(begin)
        _, _, tail = rest.partition(end)
        text = f"{head}{begin}\n{made(rows)}{end}{tail}"
    page.write_text(text, encoding="utf-8")


def table(rows: list[Row]) -> str:
    lines = [
        "| network | asked | measured | importance kept: by latency | by MACs | by params | channels kept: by latency"
        " | by MACs | by params | solver: gap | seconds |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row["asked"] == HALF or row["name"] in LABELLED:
            continue
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


def scores(rows: list[Row]) -> str:
    lines = [
        "| network | top-1 before | asked | measured | top-1: by latency | by MACs | importance kept: by latency"
        " | by MACs |",
        "|---" * 8 + "|",
    ]
    for row in rows:
        if "refused" in row and row["name"] in LABELLED:
            lines.append(
                f"| {row['name'].removesuffix(', trained')} | | -{row['asked']:.0%} | {row['refused']} |" + " |" * 4
            )
        if "top1" in row:
            found = [share(row[f"by_{cost}"][what]) for what in ("top1", "importance") for cost in ("latency", "macs")]
            start = f"{row['name'].removesuffix(', trained')} | {share(row['top1'])} | -{row['asked']:.0%}"
            lines.append(f"| {start} | {row['latency'] - 1:+.1%} | {' | '.join(found)} |")
    return "\n".join(lines) + "\n"


def halves(rows: list[Row]) -> str:
    lines = ["| network | times as fast | if only products took half as long | time in products |", "|---" * 4 + "|"]
    for row in rows:
        if row["asked"] == HALF:
            limit = 1 / (1 - row["products"] / 2)
            lines.append(f"| {row['name']} | {1 / row['latency']:.2f} | {limit:.2f} | {row['products']:.0%} |")
    return "\n".join(lines) + "\n"


def share(value: float | None) -> str:
    return "not reached" if value is None else f"{value:.1%}"


if __name__ == "__main__":
    main()
