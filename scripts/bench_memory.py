#!/usr/bin/env python3
"""Sets the predicted peak memory of activations beside what onnxruntime takes for a run, and prints a table.

    scripts/bench_memory.py ZOO [--only GLOB]

Each network runs once in a process of its own, with one thread. *measured* is by how much that run raised the peak of
the process' memory: activations, and what kernels take for themselves. Linux only.
"""

from __future__ import annotations

import argparse
import fnmatch
import gc
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import onnxsurgeon as osg
from bench_latency import copied
from onnxsurgeon import units
from onnxsurgeon.dependency.labels import label
from onnxsurgeon.latency.bench import inputs_for
from onnxsurgeon.latency.options import Timed
from onnxsurgeon.model.model import as_model
from onnxsurgeon.runtime.session import Session, trim

NETWORKS = (
    "skeletons/tv_resnet50_script.onnx", "skeletons/tv_mobilenet_v2_script.onnx",
    "skeletons/tv_efficientnet_b0_script.onnx", "skeletons/tv_squeezenet1_1_script.onnx",
    "skeletons/tv_densenet121_script.onnx", "skeletons/timm_deit_tiny_patch16_224_script.onnx",
    "real/models/yolox_nano.onnx", "real/models/ultraface_slim320.onnx", "real/models/fns_candy.onnx",
    "real/models/tinyml_cifar_fp32.onnx",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("zoo", type=Path)
    parser.add_argument("--only", default="*")
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run is not None:
        print(json.dumps(grown(options.run)))
        return
    print("| network | predicted | measured | ratio |")
    print("|---|---|---|---|")
    for name in fnmatch.filter(NETWORKS, options.only):
        with tempfile.TemporaryDirectory() as folder:
            model = copied(options.zoo / name, Path(folder))
            predicted = osg.inspect(model).whole.of("memory")
            again = [sys.executable, __file__, str(options.zoo), "--run", str(model)]
            measured = json.loads(subprocess.run(again, check=True, capture_output=True, text=True).stdout)
        print(f"| {Path(name).stem} | {units.size(predicted)} | {units.size(measured)} | {measured / predicted:.2f} |")


def grown(model: Path) -> int:
    """Bytes by which the first run raises the peak memory of this process."""
    session = Session(model, "cpu", threads=1)
    feed = inputs_for(label(as_model(model).ir), Timed())
    gc.collect()
    trim()  # what loading has freed would be used again, unseen
    Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is in use
    before = peak()
    session.run(feed)
    return peak() - before


def peak() -> int:
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return 1024 * int(line.split()[1])


if __name__ == "__main__":
    main()
