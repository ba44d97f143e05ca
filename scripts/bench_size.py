"""Memory and time of `prune` on large models, beside copying the file.

The models are chains of square MatMuls with a residual stream and external data; they are written block by block into a
temporary folder, and removed. Peak memory is that of the process beyond its imports. With `--model`, a file is measured
as it is.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

ROWS = 256  # of a weight that are written at a time

CHILD = """
import json, resource, sys, time
import onnxruntime, onnxsurgeon.cli.prune, onnxsurgeon.proof.of_a_cut
from onnxsurgeon.cli import main
sys.argv = ["onnxsurgeon", "prune", *sys.argv[1:]]
def peak():
    line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
before, start = peak(), time.perf_counter()
try:
    main()
finally:
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps([peak() - before, time.perf_counter() - start, used.ru_utime + used.ru_stime]))
"""


def make(path: Path, layers: int, width: int) -> None:
    """x -> (MatMul -> Relu -> MatMul -> Add) x layers / 2: a residual stream."""
    rng, nodes, stream = np.random.default_rng(0), [], "x"
    block = (rng.standard_normal((ROWS, width)) / np.sqrt(width)).astype(np.float32)
    tensors, offset = [], 0
    with path.with_name(path.name + ".data").open("wb") as file:
        for i in range(layers):
            tensor = TensorProto(name=f"w{i}", data_type=TensorProto.FLOAT, dims=[width, width])
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", path.name + ".data"), ("offset", offset), ("length", 4 * width * width)):
                tensor.external_data.add(key=key, value=str(value))
            tensors.append(tensor)
            for start in range(0, width, ROWS):
                rows = min(ROWS, width - start)
                scale = rng.uniform(0.5, 1.5, (rows, 1)).astype(np.float32)
                file.write((np.roll(block[:rows], int(rng.integers(width)), 1) * scale).tobytes())
            offset += 4 * width * width
    for i in range(0, layers - 1, 2):
        nodes += [
            helper.make_node("MatMul", [stream, f"w{i}"], [f"h{i}"], f"up{i}"),
            helper.make_node("Relu", [f"h{i}"], [f"r{i}"], f"relu{i}"),
            helper.make_node("MatMul", [f"r{i}", f"w{i + 1}"], [f"d{i}"], f"down{i}"),
            helper.make_node("Add", [stream, f"d{i}"], [f"s{i}"], f"add{i}"),
        ]
        stream = f"s{i}"
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", width]) for name in ("x", stream)]
    graph = helper.make_graph(nodes, "large", ends[:1], ends[1:], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def measured(model: Path, folder: Path, *options: str) -> tuple[float, float, float]:
    """(bytes, seconds, processor seconds) of one `prune` in a process of its own, imports apart."""
    target = folder / "pruned.onnx"
    command = [
        sys.executable,
        "-c",
        CHILD,
        str(model),
        "--ratio",
        "0.3",
        "--data",
        "none",
        "-o",
        str(target),
        "--overwrite",
        *options,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    for made in folder.glob("pruned.onnx*"):
        made.unlink()
    try:
        memory, seconds, processor = json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        sys.exit(f"prune failed:\n{done.stdout}\n{done.stderr}")
    if done.returncode:
        sys.exit(f"prune failed:\n{done.stdout}\n{done.stderr}")
    return memory, seconds, processor


def copied(files: list[Path], folder: Path) -> float:
    """Seconds of copying the files."""
    start = time.perf_counter()
    for file in files:
        shutil.copyfile(file, folder / "copy")
    seconds = time.perf_counter() - start
    (folder / "copy").unlink()
    return seconds


def rows(args: argparse.Namespace, folder: Path) -> Iterator[tuple[str, ...]]:
    model = args.model or folder / "large.onnx"
    if args.model is None:
        make(model, args.layers, args.width)
    files = [f for f in (model, model.with_name(model.name + ".data")) if f.exists()]
    size = sum(f.stat().st_size for f in files)
    copying = copied(files, folder)
    yield "", "peak, MB", "wall, s", "times copying", "processor, s"
    yield f"copying {size / 1e6:,.0f} MB", "", f"{copying:.1f}", "1.0", ""
    for options in args.runs.split(";"):
        memory, seconds, processor = measured(model, folder, *options.split())
        name = f"prune {options}".strip()
        yield name, f"{memory / 1e6:,.0f}", f"{seconds:.1f}", f"{seconds / copying:.1f}", f"{processor:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=60)
    parser.add_argument("--width", type=int, default=6600)
    parser.add_argument("--model", type=Path, help="measure this file instead of one that is made")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    parser.add_argument("--runs", default="--no-proof;", help="options of each run, separated by semicolons")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        need = 3 * (4 * args.width**2 * args.layers if args.model is None else args.model.stat().st_size)
        if shutil.disk_usage(folder).free < need:
            sys.exit(f"{need / 1e9:.1f} GB of disk are needed in {folder}")
        for row in rows(args, folder):
            print("{:32} {:>9} {:>8} {:>14} {:>13}".format(*row), flush=True)


if __name__ == "__main__":
    main()
