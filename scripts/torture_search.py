#!/usr/bin/env python3
"""Random mutations of networks, one after another, each checked: `torture_search.py --mutations 1000 --seed 0`.

After each one the network must load, run, and give as many outputs; where the function must stay, it must. A mutation
that does nothing must return the very same network. Ends with exit code 1 at the first failure, and says where.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime

from onnxsurgeon import search
from onnxsurgeon.dependency.measure import count_params
from onnxsurgeon.search.mutation import Mutation
from onnxsurgeon.surgery.network import Network, load
from small_nets import NETS

FIXTURES: Path = Path(__file__).resolve().parent.parent / "fixtures"
CONV = search.ConvSpace(range(4, 25), kernels=(1, 3, 5), batch_norm=True)
LINEAR = search.ConvSpace(range(4, 25), kernels=(1, 3), activations=(), batch_norm=True)
DENSE = search.DenseSpace(range(4, 25))
PICTURES = search.Chain(
    [
        search.ConvSpace(8),
        search.Repeat(
            search.OneOf(
                [CONV, search.Residual(search.Chain([CONV, CONV])), search.Fork(CONV, 3, widths=range(9, 25))]
            ),
            5,
        ),
        search.PoolSpace(),
        search.Repeat(CONV, 2),
        search.GlobalPoolSpace(),
        search.DenseSpace(10, activations=()),
    ]
)
VECTORS = search.Chain([search.Repeat(search.OneOf([DENSE, search.Residual(DENSE), search.Fork(DENSE)]), 6), DENSE])
SOURCES: dict[str, Callable[[], Network]] = {
    "pictures": lambda: search.draw(PICTURES, (3, 16, 16), np.random.default_rng(0)),
    "vectors": lambda: search.draw(VECTORS, (20,), np.random.default_rng(0)),
    "digits": lambda: load(FIXTURES / "digits.onnx"),
    "mobile": lambda: load(NETS["mobile"]().model()),
    "se": lambda: load(FIXTURES / "se.onnx"),
}
GROWS: dict[str, tuple[Mutation[search.Vertices], bool]] = {  # and whether the function must stay
    "wider": (search.new_width(0.01, 0.3), True),
    "larger kernel": (search.new_kernel((1, 2), most=5), True),
    "add linear": (search.add_vertex(LINEAR, suits=search.is_convolution), True),
    "add conv": (search.add_vertex(CONV, suits=search.is_convolution), False),
    "add dense": (search.add_vertex(DENSE, suits=search.is_dense), False),
    "add edge": (search.add_edge(), True),
}
OTHERS: dict[str, tuple[Mutation[search.Vertices], bool]] = {
    "narrower": (search.new_width(-0.3, -0.01), False),
    "smaller kernel": (search.new_kernel((-1, -2)), False),
    "activation": (search.new_activation(), False),
    "global pool": (search.new_global_pool(), False),
    "remove vertex": (search.remove_vertex(), False),
    "remove edge": (search.remove_edge(), False),
    "remove empty": (search.remove_empty(), True),
}
OPTIONS = onnxruntime.SessionOptions()
OPTIONS.intra_op_num_threads, OPTIONS.log_severity_level = 1, 3
LARGE, MANY = 100_000, 80  # parameters, above which nothing grows, and nodes, above which none is added


def outputs(network: Network, array: np.ndarray) -> np.ndarray:
    proto = ir.to_proto(network.ir)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), OPTIONS, providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(None, {session.get_inputs()[0].name: array})[0]
    return found


def torture(name: str, mutations: int, seed: int) -> bool:
    """Whether all went well."""
    network, rng = SOURCES[name](), np.random.default_rng(seed)
    shape = [n if isinstance(n, int) else 2 for n in network.ir.graph.inputs[0].shape or ()]
    array = rng.standard_normal(shape).astype(np.float32)
    before, done, kept, refused, began = outputs(network, array), Counter[str](), 0, Counter[str](), time.perf_counter()
    while sum(done.values()) < mutations:
        many = {kind: GROWS[kind] for kind in ("wider", "larger kernel")} | OTHERS
        kinds = OTHERS if count_params(network.ir) > LARGE else many if len(network) > MANY else {**GROWS, **OTHERS}
        kind = list(kinds)[int(rng.integers(len(kinds)))]
        names = tuple(node.name for node in network)
        vertices = search.Vertices(network, (names[int(rng.integers(len(names)))],))
        mutate, stays = kinds[kind]
        found = mutate(vertices, rng)
        changed = any(note.done for note in found.notes)
        refused.update(f"{kind}: {note.why[:70]}" for note in found.notes if not note.done)
        if changed == (found.subject.network is network):
            return failed(name, done, f"{kind}: notes say {changed}")
        if not changed:
            continue
        network = found.subject.network
        after = outputs(network, array)
        if after.shape != before.shape or network.steps:
            return failed(name, done, f"{kind}: {before.shape} to {after.shape}")
        scale = float(np.abs(before[np.isfinite(before)]).max(initial=1e-6))
        if stays and np.isfinite(before).all() and float(np.abs(after - before).max()) > 1e-3 * scale:
            return failed(name, done, f"{kind} {found.notes}: outputs moved by {np.abs(after - before).max() / scale}")
        kept, before = kept + stays, after
        done[kind] += 1
        if sum(done.values()) % 50 == 0:
            onnx.checker.check_model(ir.to_proto(network.ir), full_check=True)
    kinds_done = ", ".join(f"{count} {kind}" for kind, count in done.most_common())
    print(
        f"{name}: {sum(done.values())} mutations, {kept} of them left the function as it was, {len(network)} nodes and "
        f"{count_params(network.ir)} parameters at the end, {time.perf_counter() - began:.0f} s: {kinds_done}"
    )
    for why, count in refused.most_common(12):
        print(f"    {count} x {why}")
    sys.stdout.flush()
    return True


def failed(name: str, done: Counter[str], why: str) -> bool:
    print(f"{name}: FAILED after {sum(done.values())}: {why}", flush=True)
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=list(SOURCES), help=", ".join(SOURCES))
    parser.add_argument("--mutations", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    results = [torture(name, given.mutations, given.seed) for name in given.networks]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
