#!/usr/bin/env python3
"""Measures training steps: CPU time, set-up time of the session, and peak memory; beside PyTorch where it is installed.

scripts/bench_train.py [NET ...] [--batch N ...] [--steps N] [--threads N] [--device cuda] [--torch PYTHON] [--profile]

Each network runs in processes of its own; ours and PyTorch's take turns. `--torch` names the interpreter of an
environment that has torch, onnx and numpy, if this one has no torch. `--profile` shows the operators that take most of
a step.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from net import Net
from small_nets import NETS

ROUNDS = 5  # of which the median counts
TURNS = 3  # processes of each, of which the median counts
SGD = ("resnet", "mobile")  # the others train with adam
RATES = (1e-3, 0.01)


def sample(batch: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((batch, 3, 32, 32)).astype(np.float32), rng.integers(0, 10, batch)


def ours(name: str, batch: int, threads: int, device: Any, profile: str = "") -> tuple[Callable[[], float], float]:
    """(a step, seconds of set-up)."""
    import onnx_ir as ir

    from onnxsurgeon.runtime.partial_runs import nodes_for
    from onnxsurgeon.training.losses import LOSSES
    from onnxsurgeon.training.optimisers import OPTIMISERS
    from onnxsurgeon.training.step_graph import Recipe
    from onnxsurgeon.training.trainable import trainable
    from onnxsurgeon.training.trainer import Part, Trainer

    x, labels = sample(batch)
    model = ir.from_proto(NETS[name]().model())
    part = Part({"input": x}, {"output": np.eye(10, dtype=np.float32)[labels]}, np.full(batch, 1 / batch, np.float32))
    began = time.perf_counter()
    ends = list(model.graph.outputs)
    chosen, optimiser = trainable(nodes_for(model, ends)[0]), OPTIMISERS["sgd" if name in SGD else "adam"]
    emit = LOSSES["cross-entropy"].emit
    assert emit is not None
    recipe = Recipe(
        model, ends, chosen.weights, lambda call: emit(call, {"class_axis": 1}), optimiser, optimiser.settings,
        trains=chosen.trains, threads=threads, profile=profile, device=device,
    )  # fmt: skip
    trainer = Trainer(recipe, part)
    return lambda: trainer.step([part], RATES[name in SGD]).loss, time.perf_counter() - began


def theirs(name: str, batch: int, threads: int, device: str) -> tuple[Callable[[], float], float]:
    """The same network and step in PyTorch, eagerly."""
    import torch

    torch.set_num_threads(threads)
    net, (x, labels) = NETS[name](), sample(batch)
    began = time.perf_counter()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # as ours
    weights = {key: torch.tensor(array, device=device) for key, array in net.params.items()}
    learned = [w.requires_grad_() for key, w in weights.items() if w.is_floating_point() and "running" not in key]
    rate = RATES[name in SGD]
    optimiser = torch.optim.SGD(learned, rate, momentum=0.9) if name in SGD else torch.optim.Adam(learned, rate)
    given, right = torch.tensor(x, device=device), torch.tensor(labels, device=device)

    def step() -> float:
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(in_torch(net, weights, given), right)
        loss.backward()
        optimiser.step()
        return float(loss.item())

    return step, time.perf_counter() - began


def in_torch(net: Net, weights: dict[str, Any], x: Any) -> Any:
    """The output of the net in training mode."""
    import torch
    from onnx import helper

    f = torch.nn.functional
    run: dict[str, Callable[..., Any]] = {
        "Conv": lambda x, w, b=None, *, strides, pads=(0, 0), group=1, **_: f.conv2d(
            x, w, b, strides, tuple(pads[:2]), 1, group
        ),
        "BatchNormalization": lambda x, w, b, m, v, **_: f.batch_norm(x, m, v, w, b, training=True),
        "LayerNormalization": lambda x, w, b, **_: f.layer_norm(x, w.shape, w, b),
        "Relu": f.relu,
        "Clip": lambda x, low, high: torch.clamp(x, low, high),
        "Add": lambda a, b: a + b,
        "Mul": lambda a, b: a * b,
        "Div": lambda a, b: a / b,
        "Erf": torch.erf,
        "MatMul": torch.matmul,
        "Softmax": lambda x, *, axis: f.softmax(x, axis),
        "ReduceMean": lambda x, *, axes, keepdims: x.mean(axes, keepdim=bool(keepdims)),
        "GlobalAveragePool": lambda x: x.mean((2, 3), keepdim=True),
        "Flatten": lambda x: x.flatten(1),
        "Transpose": lambda x, *, perm: x.permute(*perm),
        "Reshape": lambda x, shape: x.reshape([x.shape[k] if n == 0 else int(n) for k, n in enumerate(shape)]),
        "Shape": lambda x: torch.tensor(x.shape),
        "Constant": lambda *, value: torch.tensor(onnx_array(value)),
        "Gather": lambda x, index, *, axis: x.select(axis, int(index)),
        "Unsqueeze": lambda x, axes: x.unsqueeze(int(axes[0])),
        "Squeeze": lambda x, axes: x.squeeze(int(axes[0])),
        "Concat": lambda *xs, axis: torch.cat(xs, axis),
        "Split": lambda x, sizes, *, axis: x.split([int(n) for n in sizes], axis),
        "Gemm": lambda x, w, b, **_: f.linear(x, w, b),
    }
    values = {**weights, "input": x}
    for node in net.nodes:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        found = run[node.op_type](*(values[i] for i in node.input), **attributes)
        values |= dict(zip(node.output, found if isinstance(found, tuple) else (found,), strict=True))
    return values["output"]


def onnx_array(tensor: Any) -> Any:
    from onnx import numpy_helper

    return numpy_helper.to_array(tensor)


def measured(make: Callable[..., tuple[Callable[[], float], float]], arguments: argparse.Namespace) -> dict[str, float]:
    """Medians of CPU and wall milliseconds of a step, of set-up, the peak memory in MB that it added, and the last
    loss."""
    importlib.import_module("torch" if make is theirs else "onnxsurgeon.training.trainer")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step, set_up = make(arguments.only, arguments.size, arguments.threads, arguments.device)
    for _ in range(3):
        step()
    rows = []
    for _ in range(ROUNDS):
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(arguments.steps):
            loss = step()
        rows.append((time.process_time() - cpu, time.perf_counter() - wall))
    cpu, wall = (1000 * statistics.median(row[k] for row in rows) / arguments.steps for k in (0, 1))
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {"cpu": cpu, "wall": wall, "set-up": 1000 * set_up, "MB": peak, "loss": loss}


def profiled(name: str, batch: int, threads: int, device: str) -> None:
    """Prints the operators that take most of a step, and their largest nodes."""
    import gc
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        step, _ = ours(name, batch, threads, device, profile=f"{folder}/step")
        for _ in range(12):
            step()
        del step
        gc.collect()
        (file,) = Path(folder).glob("step*.json")
        events = json.loads(file.read_text())
    spent, nodes = defaultdict[str, float](float), defaultdict[str, float](float)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("kernel_time"):
            shapes = [next(iter(s.values())) for s in event["args"].get("input_type_shape", [])]
            operator = event["args"]["op_name"]
            spent[operator] += event["dur"] / 12000
            nodes[f"{operator} {shapes}"] += event["dur"] / 12000
    print(f"{name}, batch {batch}: {sum(spent.values()):.1f} ms a step")
    for table, most in ((spent, 14), (nodes, 24)):
        for key, ms in sorted(table.items(), key=lambda item: -item[1])[:most]:
            print(f"{ms:9.2f}  {key[:150]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nets", nargs="*", choices=[*NETS, []], metavar="NET", help=", ".join(NETS))
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 128], metavar="N")
    parser.add_argument("--steps", type=int, default=5, metavar="N")
    parser.add_argument("--threads", type=int, default=1, metavar="N")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--torch", metavar="PYTHON")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--theirs", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(measured(theirs if arguments.theirs else ours, arguments)))
        return
    pythons = {"ours": sys.executable}
    if arguments.torch or importlib.util.find_spec("torch") is not None:
        pythons["torch"] = arguments.torch or sys.executable
    print(f"{'net':8} {'batch':>5}  {'':8} {'cpu ms':>8} {'wall ms':>8} {'set-up ms':>9} {'MB':>6} {'loss':>9}")
    for name in arguments.nets or NETS:
        for batch in arguments.batch:
            if arguments.profile:
                profiled(name, batch, arguments.threads, arguments.device)
            else:
                compared(name, batch, pythons, arguments)


def compared(name: str, batch: int, pythons: Mapping[str, str], arguments: argparse.Namespace) -> None:
    """Prints the medians of each, and ours relative to PyTorch's."""
    rows: dict[str, list[dict[str, float]]] = {whose: [] for whose in pythons}
    for _ in range(TURNS if len(pythons) > 1 else 1):
        for whose, python in pythons.items():
            command = [python, __file__, "--only", name, "--size", str(batch), "--device", arguments.device]
            command += ["--steps", str(arguments.steps), "--threads", str(arguments.threads)]
            command += ["--theirs"] if whose == "torch" else []
            run = subprocess.run(command, capture_output=True, text=True, check=False)
            if run.returncode:
                raise SystemExit(run.stderr)
            rows[whose].append(json.loads(run.stdout))
    found = {whose: {k: statistics.median(r[k] for r in given) for k in given[0]} for whose, given in rows.items()}
    for whose, row in found.items():
        cells = f"{row['cpu']:8.1f} {row['wall']:8.1f} {row['set-up']:9.0f} {row['MB']:6.0f} {row['loss']:9.5f}"
        print(f"{name:8} {batch:5}  {whose:8} {cells}", flush=True)
    if len(found) > 1:
        ratios = {key: found["ours"][key] / max(found["torch"][key], 1e-9) for key in ("cpu", "wall", "MB")}
        cells = f"{ratios['cpu']:8.2f} {ratios['wall']:8.2f} {'':9} {ratios['MB']:6.2f}"
        print(f"{name:8} {batch:5}  {'ratio':8} {cells}", flush=True)


if __name__ == "__main__":
    main()
