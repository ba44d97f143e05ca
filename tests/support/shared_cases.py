"""Graphs and models beside the repository: small cases of kinds that real files showed, and skeletons of exporters."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx

from paths import CASES, ZOO

MADE = """
minus-one no-shape all-dynamic kv-cache gru-state integer-weights chaotic paired-dims data-dependent random-inside
sequence plugin-head
""".split()
ALONE = """
clamped-length if-on-length if-on-clamped-length mixed-scale-output unsorted ml-front attention-over-pixels
coarse-experts silu-pair int4-blocked stale-constant-info
""".split()
WEIGHTS = "spectral weightnorm lora cosine".split()
FIRST = {"stale-constant-info": ["constant"]}


def make_case(name: str, folder: Path) -> Path:
    """The file of a case, written into `folder`."""
    path = folder / f"{name}.onnx"
    if name in MADE or name == "relu-only":
        command = [CASES / "make.py", folder]
    elif name in WEIGHTS:
        command = [CASES / "weight-in-graph.py", name, path]
    else:
        command = [CASES / f"{name}.py", *FIRST.get(name, []), path]
    subprocess.run([sys.executable, *command], check=True)
    return path


def make_skeleton(name: str, folder: Path, *, open_dims: bool) -> Path:
    """A skeleton with weights. open_dims: sizes that the exporter's graph states for its inputs are dynamic instead,
    channels apart."""
    path = folder / f"{name}.onnx"
    subprocess.run([sys.executable, ZOO / "fill.py", ZOO / "skeletons" / f"{name}.onnx", path], check=True)
    if open_dims:
        model = onnx.load(path)
        del model.graph.value_info[:]
        for value in model.graph.input:
            dims = value.type.tensor_type.shape.dim
            for k in (2, 3) if len(dims) == 4 else (1,):
                dims[k].dim_param = f"size{k}"
        for value in model.graph.output:
            for dim in value.type.tensor_type.shape.dim[1:]:
                dim.Clear()
        onnx.save(model, path)
    return path
