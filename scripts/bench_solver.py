#!/usr/bin/env python3
"""Solves the same problems by our branch and bound, and by HiGHS as one mixed-integer program, and prints a table.

    scripts/bench_solver.py ZOO [--ratio 0.5] [--cost macs] [--time-limit 30] [--only GLOB]

ZOO holds skeletons of networks, which its fill.py fills with weights. Budgets are sums of products of widths (MACs,
parameters): branch and bound may choose each width. The program has a binary column for each of at most 32 sizes of a
space, and starts from the best selection that local search finds among them. Both end at a gap of 0.1 %.
"""

from __future__ import annotations

import argparse
import fnmatch
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

import onnxsurgeon as osg
from bench_latency import copied
from onnxsurgeon.solver.problem import Problem
from onnxsurgeon.solver.solve import solve
from onnxsurgeon.solver.tabled import solve_tabled

NETWORKS = (
    "tv_resnet18_script", "tv_resnet50_script", "tv_mobilenet_v2_script", "tv_mobilenet_v3_small_script",
    "tv_squeezenet1_1_script", "tv_efficientnet_b0_script", "tv_densenet121_script", "tv_googlenet_script",
    "timm_hrnet_w18_small_script", "timm_deit_tiny_patch16_224_script",
)  # fmt: skip
GAP = 1e-3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("zoo", type=Path)
    parser.add_argument("--ratio", type=float, default=0.5)
    parser.add_argument("--cost", default="macs")
    parser.add_argument("--time-limit", type=float, default=30.0)
    parser.add_argument("--only", default="*")
    options = parser.parse_args()
    ways = "branch and bound", "HiGHS"
    heads = [f"{way}: importance kept | gap | seconds" for way in ways]
    print(f"| network | spaces | {' | '.join(heads)} |")
    print("|---|---|---|---|---|---|---|---|")
    for name in fnmatch.filter(NETWORKS, options.only):
        problem = problem_of(options.zoo / "skeletons" / f"{name}.onnx", options)
        most = problem.importance(np.array([len(table) - 1 for table in problem.tables]))
        cells = [cell for way in (branched, programmed) for cell in row(*way(problem, options.time_limit), most)]
        print(f"| {name} | {len(problem.tables)} | {' | '.join(cells)} |", flush=True)


def problem_of(skeleton: Path, options: argparse.Namespace) -> Problem:
    """The problem of a share of a cost, without a lower bound: neither way has to come near to it."""
    with tempfile.TemporaryDirectory() as folder:
        model = copied(skeleton, Path(folder))
        result = osg.prune(model, ratio=options.ratio, cost=options.cost, data="none")
        problem = result.spaces.problem
        return replace(problem, costs=tuple(replace(cost, lower=-np.inf) for cost in problem.costs))


def branched(problem: Problem, limit: float) -> tuple[float, float, float]:
    """(importance, bound, seconds)"""
    found = solve(problem, time_limit=limit, gap=GAP)
    return found.objective, found.bound, found.seconds


def programmed(problem: Problem, limit: float) -> tuple[float, float, float]:
    """(importance, bound, seconds); the bound holds for the sizes that the program has."""
    began = time.perf_counter()
    counts, bound, _ = solve_tabled(problem, gap=GAP, deadline=began + limit)
    return problem.importance(counts), bound, time.perf_counter() - began


def row(importance: float, bound: float, seconds: float, most: float) -> list[str]:
    return [f"{importance / most:.2%}", f"{max(bound / importance - 1, 0):.2%}", f"{seconds:.1f}"]


if __name__ == "__main__":
    main()
