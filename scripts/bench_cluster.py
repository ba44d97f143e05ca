#!/usr/bin/env python3
"""Many small models on a Ray cluster of this machine, beside the local executor: `bench_cluster.py --models 200`.

The cluster has two nodes of one core each; one worker is killed on the way. Needs Ray (`pip install '.[ray]'`). Prints
the seconds of both, and whether the outputs are equal to the byte.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
NAMES = ("plain", "residual", "se", "xor", "grouped", "depthwise", "concat", "shuffle")
MARK = "ONNXSURGEON_BENCH_CLUSTER"


def make(folder: Path, count: int) -> None:
    """Small networks, each with weights of its own."""
    folder.mkdir()
    for number in range(count):
        model = onnx.load(FIXTURES / f"{NAMES[number % len(NAMES)]}.onnx")
        rng = np.random.default_rng(number)
        for tensor in model.graph.initializer:
            if tensor.data_type == onnx.TensorProto.FLOAT:
                array = numpy_helper.to_array(tensor)
                noisy = array * rng.uniform(0.9, 1.1, array.shape).astype(np.float32)
                tensor.CopyFrom(numpy_helper.from_array(noisy, tensor.name))
        onnx.save(model, folder / f"net{number:03}.onnx")


def started(folder: Path, out: str, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "onnxsurgeon", "prune", "zoo/*.onnx", "--ratio", "0.2", "--data", "none"]
    command += ["--no-bench", "--output-dir", out, "--json", "-q", *more]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str], count: int) -> None:
    output, _ = process.communicate()
    rows = json.loads(output)["models"]
    assert process.returncode == 0, rows
    assert len(rows) == count


def workers(mark: str) -> list[int]:
    """The processes that prune at this moment on the cluster that began with this value of `MARK`."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if b"ray::attempt" in (place / "cmdline").read_bytes():
                found += [int(place.name)] * (f"{MARK}={mark}".encode() in (place / "environ").read_bytes())
        except OSError:
            continue
    return found


def two_nodes() -> Any:
    """A new cluster of two nodes of one core each."""
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    found.add_node(num_cpus=1)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=200)
    count = parser.parse_args().models
    os.environ[MARK] = "bench"

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder / "zoo", count)
        began = time.perf_counter()
        ended(started(folder, "local", "--jobs", "2"), count)
        local = time.perf_counter() - began
        print(f"local, 2 jobs      {local:7.1f} s", flush=True)
        cluster = two_nodes()
        began = time.perf_counter()
        process = started(folder, "ray", "--executor", "ray", "--address", cluster.address)
        while len(list((folder / "ray").glob("*.onnx.json"))) < count // 2 or not (busy := workers("bench")):
            time.sleep(0.05)
        os.kill(busy[0], signal.SIGKILL)
        ended(process, count)
        ray = time.perf_counter() - began
        cluster.shutdown()
        print(f"Ray, 2 nodes       {ray:7.1f} s, {ray / local:.2f} times as long, one worker killed", flush=True)
        made = [{p.name: p.read_bytes() for p in (folder / out).glob("*.onnx")} for out in ("local", "ray")]
        print("outputs", "equal" if made[0] == made[1] and len(made[0]) == count else "DIFFER")


if __name__ == "__main__":
    main()
