#!/usr/bin/env python3
"""Times onnxsurgeon against lower bounds and against its own goals.

    scripts/bench.py [--runs 5]

Runs processes alternately, A B A B ..., so that ratios hold even if the machine's speed drifts, and prints medians
beside the goals. Asserts nothing.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx

from net import Net

BASELINE = "import onnx, sys; onnx.save(onnx.load(sys.argv[1]), sys.argv[2])"
IMPORTS = "import onnx, onnx_ir, highspy, typer, rich.table, numpy"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--width", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        onnx.save(deep(options.width).model(check=False) if options.width else resnet50(), options.make)
        return
    runs = options.runs
    with tempfile.TemporaryDirectory() as folder:
        whole_process(Path(folder), runs)
        stages(Path(folder), runs)
        large(Path(folder))
        proof(Path(folder))


def say(what: str, figure: str, goal: str) -> None:
    print(f"{what:62s} {figure:>26s}   goal {goal}", flush=True)


def whole_process(folder: Path, runs: int) -> None:
    """Times `prune --ratio 0.3 --data none --no-proof` of ResNet-50 against loading and saving the same file."""
    source, target = folder / "resnet50.onnx", folder / "out.onnx"
    # Another process makes the model: a child's peak memory is at least its parent's at the start.
    subprocess.run([sys.executable, __file__, "--make", str(source)], check=True)
    prune = [
        sys.executable,
        "-m",
        "onnxsurgeon",
        "prune",
        str(source),
        "--ratio",
        "0.3",
        "--data",
        "none",
        "--no-proof",
        "-q",
    ]
    prune += ["-o", str(target), "--overwrite"]
    plain = [sys.executable, "-c", BASELINE, str(source), str(folder / "copy.onnx")]
    timed([*prune]), timed(plain)
    pairs = [(timed(prune), timed(plain)) for _ in range(runs)]
    ratio = statistics.median(a[0] / b[0] for a, b in pairs)
    seconds = [statistics.median(p[k][0] for p in pairs) for k in range(2)]
    say(
        "prune ResNet-50 / onnx.load + onnx.save, whole processes",
        f"{ratio:.2f} ({seconds[0]:.2f} s / {seconds[1]:.2f} s)",
        "2.5",
    )
    imports = statistics.median(timed([sys.executable, "-c", IMPORTS])[1] for _ in range(3))
    extra = statistics.median(a[1] for a, _ in pairs) - imports
    size = source.stat().st_size
    say("its peak memory over bare imports", f"{extra / 1e6:.0f} MB (file {size / 1e6:.0f} MB)", "file + 200 MB")
    command = [sys.executable, "-m", "onnxsurgeon", "--help"]
    say("onnxsurgeon --help", f"{statistics.median(timed(command)[0] for _ in range(runs)):.3f} s", "0.2 s")


def timed(command: list[str]) -> tuple[float, float]:
    """Wall time in seconds and peak memory in bytes of a process."""
    start = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert child.stderr is not None
    errors = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} failed: {errors.decode()}")
    return time.perf_counter() - start, usage.ru_maxrss * 1024.0


def stages(folder: Path, runs: int) -> None:
    """Times labelling and selecting within one process."""
    import onnxsurgeon as osg
    from onnxsurgeon.dependency.labels import label

    model = osg.load(folder / "resnet50.onnx")
    say("labelling ResNet-50", f"{median(lambda: label(model.ir), runs):.3f} s", "0.3 s")
    for cost, ratio in (("params", 0.3), ("params", 0.5), ("macs", 0.3), ("macs", 0.5)):
        results = [osg.prune(model, ratio=ratio, cost=cost) for _ in range(runs)]
        seconds = statistics.median(r.seconds["solve"] for r in results)
        say(
            f"selecting ResNet-50, {ratio:.0%} of {cost}",
            f"{seconds:.2f} s, gap {results[0].solution.gap:.3%}",
            "1 s, 0.1 %",
        )


def large(folder: Path) -> None:
    import onnxsurgeon as osg

    for name, net, ratio in (
        ("a chain of 12,500 residual layers (50,000 nodes)", chain(12_500), 0.3),
        ("a layer of 1,000,000 neurons", wide(), 0.3),
    ):
        path = folder / "large.onnx"
        onnx.save(net.model(check=False), path)
        result = osg.prune(osg.load(path), ratio=ratio)
        solve, rest = result.seconds["solve"], result.seconds["label"]
        say(f"selecting {name}", f"{solve:.2f} s, gap {result.solution.gap:.3%}", "2 s")
        say("  labelling it", f"{rest:.2f} s", "10 s for 50,000 nodes")


def proof(folder: Path) -> None:
    """Measures the peak memory of `prune` with its proof, beside the goal for a file of this size."""
    for hidden in (1024, 2048):
        source = folder / "deep.onnx"
        subprocess.run([sys.executable, __file__, "--make", str(source), "--width", str(hidden)], check=True)
        command = [sys.executable, "-m", "onnxsurgeon", "prune", str(source), "--ratio", "0.3", "-q", "--overwrite"]
        peak, size = timed([*command, "-o", str(folder / "out.onnx")])[1] / 1e6, source.stat().st_size / 1e6
        say("peak memory of prune with its proof", f"{peak:.0f} MB (file {size:.0f} MB)", f"{1.5 * size + 300:.0f} MB")


def median(run: Callable[[], object], runs: int) -> float:
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def resnet50() -> onnx.ModelProto:
    """stem > (3, 4, 6, 3) bottlenecks > pool > fc, as in torchvision."""
    net = Net("resnet50", ("batch", 3, 224, 224))
    x = net.conv_bn_relu("input", "conv1", 64, 7, stride=2)
    x = net.add("MaxPool", "maxpool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    for stage, (blocks, width) in enumerate(zip((3, 4, 6, 3), (64, 128, 256, 512), strict=True), start=1):
        for block in range(blocks):
            x = bottleneck(net, x, f"layer{stage}.{block}", width, stride=2 if stage > 1 and block == 0 else 1)
    x = net.add("Flatten", "flatten", net.add("GlobalAveragePool", "pool", x))
    return net.finish(net.gemm(x, "fc", 1000), ("batch", 1000)).model()


def bottleneck(net: Net, x: str, name: str, width: int, *, stride: int) -> str:
    y = net.conv_bn_relu(x, f"{name}.conv1", width, 1)
    y = net.conv_bn_relu(y, f"{name}.conv2", width, 3, stride=stride)
    y = net.conv_bn(y, f"{name}.conv3", 4 * width, 1)
    if net.width[x] != 4 * width:
        x = net.conv_bn(x, f"{name}.downsample", 4 * width, 1, stride=stride)
    return net.add("Relu", f"{name}.relu", net.add("Add", f"{name}.add", y, x))


def chain(layers: int = 10_000, width: int = 16) -> Net:
    """x > matmul > relu > matmul + x, repeated."""
    net = Net("chain", ("batch", width), width=width)
    weights = net.rng.standard_normal((2 * layers, width, width)).astype(np.float32) / width
    x = net.add("MatMul", "stem", "input", net.constant("stem.weight", weights[0], np.float32))
    for i in range(layers):
        y = net.add("MatMul", f"a{i}", x, net.constant(f"a{i}.weight", weights[2 * i], np.float32))
        y = net.add(
            "MatMul", f"b{i}", net.add("Relu", f"r{i}", y), net.constant(f"b{i}.weight", weights[2 * i + 1], np.float32)
        )
        x = net.add("Add", f"s{i}", x, y)
    return net.finish(net.gemm(x, "head", 10), ("batch", 10))


def deep(width: int, layers: int = 24) -> Net:
    """gemm > relu, repeated."""
    net = Net("deep", ("batch", width), width=width)
    x = "input"
    for i in range(layers):
        x = net.add("Relu", f"relu{i}", net.gemm(x, f"gemm{i}", width))
    return net.finish(net.gemm(x, "head", 10), ("batch", 10))


def wide(neurons: int = 1_000_000) -> Net:
    """gemm > relu > gemm, through one very wide layer."""
    net = Net("wide", ("batch", 16), width=16)
    x = net.add("Relu", "relu", net.gemm("input", "wide", neurons))
    return net.finish(net.gemm(x, "head", 4), ("batch", 4))


if __name__ == "__main__":
    main()
