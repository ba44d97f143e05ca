"""Comparison of a pruned file with its reference at many sizes of the dynamic dims, without the tool's proof."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime as ort

from onnxsurgeon.dependency.dynamic_dims import dynamic_dims, sized
from onnxsurgeon.model.write import write
from onnxsurgeon.proof.reference import fixed_size, reference
from onnxsurgeon.pruning.prune import prune
from onnxsurgeon.pruning.result import Result
from onnxsurgeon.runtime.random_inputs import random_inputs

SIZES = (1, 2, 3, 7, 31, 63, 64, 65, 100, 128, 200, 300)
Feed = dict[str, np.ndarray]


def session(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC  # int4 weights round what they meet
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def outputs(run: ort.InferenceSession, feed: Feed) -> list[np.ndarray] | None:
    """None where the model does not accept the sizes."""
    try:
        return list(run.run(None, feed))
    except Exception:  # noqa: BLE001 - onnxruntime raises many types
        return None


def compare_at_all_sizes(path: Path, folder: Path, ratio: float = 0.3, sizes: tuple[int, ...] = SIZES) -> int:
    """Prunes a file and compares it with its reference, and the reference of no cut with the file. The number of sizes
    at which all ran and agreed; where the file itself fails, the pruned one must fail, too."""
    result = prune(path, ratio=ratio, data="none")
    labels = result.labels
    written, expected, whole = folder / "pruned.onnx", folder / "reference.onnx", folder / "whole.onnx"
    result.save(written, proof=False)
    write(reference(labels, result.keep), expected)
    write(reference(labels, np.ones_like(result.keep)), whole)
    runs = [session(file) for file in (path, whole, expected, written)]
    agreed = 0
    for k, size in enumerate(sizes):
        for apart in (0, 5):  # all dims alike, then each of another size
            feed = fed(result, size, sizes, k, apart)
            if outputs(runs[0], feed) is None:
                feed = fed(result, size, sizes, k, apart, agreeing=True)
            original, uncut, silenced = (outputs(run, feed) for run in runs[:3])
            inputs = [v for v in labels.model.graph.inputs if v.name in feed]
            pruned = outputs(runs[3], dict(zip(feed, kept(result, inputs, feed.values()), strict=True)))
            if original is None:
                assert pruned is None, f"the file fails at {size}, the pruned one does not"
                continue
            same(original, uncut, f"without a cut, at {size}")
            if not fixed_size(labels, result.keep):
                assert silenced is not None, f"the reference fails at {size}"
                same(kept(result, labels.model.graph.outputs, silenced), pruned, f"pruned, at {size}")
            agreed += not apart
    return agreed


def kept(result: Result, values: Iterable[ir.Value], arrays: Iterable[np.ndarray]) -> list[np.ndarray]:
    """What is left of inputs or outputs of the graph whose neurons are cut: states are."""
    cut = []
    for value, array in zip(values, arrays, strict=True):
        for axis, ids in enumerate(result.labels.axes.get(value, ())):
            if ids is not None and not result.keep[ids].all():
                array = np.compress(result.keep[ids], array, axis)
        cut.append(array)
    return cut


def fed(result: Result, size: int, sizes: tuple[int, ...], k: int, apart: int, *, agreeing: bool = False) -> Feed:
    """Inputs of the original whose dims all have one size, or (apart) each symbol another one of `sizes`. agreeing:
    changed to sizes that nodes ask to be equal."""
    dims = list(dynamic_dims(result.source.ir))
    symbols = list(dict.fromkeys(symbol for _, _, symbol, kind in dims if kind != "batch"))
    chosen = {symbol: sizes[(k + apart * i) % len(sizes)] for i, symbol in enumerate(symbols)}
    batch = {symbol: min(size, 3) if symbols else size for _, _, symbol, kind in dims if kind == "batch"}
    free = sized(dims, {**batch, **chosen})
    return random_inputs(result.labels, result.labels.fitting.at(result.labels, free) if agreeing else free, seed=k)


def same(expected: list[np.ndarray] | None, found: list[np.ndarray] | None, where: str) -> None:
    assert expected is not None, f"the reference fails {where}"
    assert found is not None, f"the pruned file fails {where}"
    for a, b in zip(expected, found, strict=True):
        assert type(a) is type(b), where
        if not isinstance(a, np.ndarray):
            continue
        assert a.shape == b.shape, f"{a.shape} and {b.shape} {where}"
        if a.dtype.kind != "f":
            assert np.array_equal(a, b), where
            continue
        scale: Any = max(1e-3, float(np.abs(a).max(initial=0.0, where=np.isfinite(a))))
        np.testing.assert_allclose(b, a, rtol=2e-3, atol=2e-4 * scale, equal_nan=True, err_msg=where)
