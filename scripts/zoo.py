#!/usr/bin/env python3
"""Prunes all models of a folder and prints a table of the results.

    scripts/zoo.py DIR --ratio 0.3 [--cost params] [--only GLOB] [--jobs 2] [--markdown docs/coverage.md]

DIR holds .onnx files, in subfolders too. A file whose metadata has `weight_statistics` is a skeleton without weights:
it is first filled by the folder's fill.py. Each model runs in its own process, whose peak memory is reported.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from onnxsurgeon.report.tables import OUTCOMES, outcome, reason

Row = dict[str, Any]  # the JSON report of `onnxsurgeon prune`, with `name`, `skeleton`, `wall` (seconds) and `peak`
COLUMNS = {"status": 12, "free": 6, "params": 7, "MACs": 7, "error": 8, "gap": 7, "seconds": 7, "peak MB": 7, "why": 0}
MARKS = "<!-- zoo -->", "<!-- /zoo -->"
HEAD = """# Coverage

Results of `onnxsurgeon prune --ratio {ratio} --cost {cost} --data none` on a folder of networks.

{totals}.

- status: `written`, after its proof; `infeasible`: the graph can't be cut that far; `refused`: not supported, and why.
- free: share of the parameters that some selection can cut. params, MACs: share that was cut.
- error: of the pruned model against its reference, relative to the output's scale. gap: proven bound on the distance
  from the best selection.
- \\* a skeleton: a published graph with random weights that have the statistics of the original ones.

Made by `scripts/zoo.py DIR --ratio {ratio} --cost {cost} --markdown docs/coverage.md --readme README.md`.

"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--ratio", default="0.3")
    parser.add_argument("--cost", default="params")
    parser.add_argument("--only", default="*", help="glob over file names")
    parser.add_argument("--jobs", type=int, default=1, help="number of models to run in parallel")
    parser.add_argument("--markdown", type=Path, help="write the table here")
    parser.add_argument("--readme", type=Path, help="write the totals here, between its <!-- zoo --> marks")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds per model")
    options = parser.parse_args()
    paths = [p for p in sorted(options.folder.rglob("*.onnx")) if fnmatch.fnmatch(p.name, options.only)]
    width = max((len(path.stem) for path in paths), default=0) + 1
    print(line("model", list(COLUMNS), width))
    rows = []
    with ThreadPoolExecutor(options.jobs) as pool:
        for row in pool.map(lambda path: run(path, options), paths):
            rows.append(row)
            print(line(row["name"], cells(row), width), flush=True)
    said = totals(rows, float(options.ratio))
    print(said)
    if options.markdown:
        head = HEAD.format(ratio=options.ratio, cost=options.cost, totals=said)
        options.markdown.write_text(head + table(rows), encoding="utf-8")
    if options.readme:
        where = os.path.relpath(options.markdown, options.readme.parent) if options.markdown else "docs/coverage.md"
        publish(options.readme, f"`--ratio {options.ratio} --cost {options.cost}`: {said}. [All of them]({where})")
    return max((row["exit_code"] for row in rows if row["exit_code"] in (1, 5)), default=0)


def run(path: Path, options: argparse.Namespace) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        source, skeleton = path, False
        filler = next((p / "fill.py" for p in path.parents if (p / "fill.py").exists()), None)
        if filler is not None and b"weight_statistics" in path.read_bytes():
            source, skeleton = Path(folder) / path.name, True
            subprocess.run([sys.executable, filler, path, source], check=True)
        request = ["--ratio", options.ratio, "--cost", options.cost, "--data", "none", "-o", f"{folder}/pruned.onnx"]
        found = command("prune", source, request, options.timeout)
        if "free" not in found and found["exit_code"] == 3:
            found["free"] = command("inspect", source, [], options.timeout).get("free", {}).get("share")
        return {**found, "name": path.stem + "*" * skeleton, "skeleton": skeleton}


def command(name: str, source: Path, rest: list[str], timeout: float) -> Row:
    """The report of a command on one model, with its time and memory."""
    start = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-m", "onnxsurgeon", name, str(source), *rest, "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    timer = threading.Timer(timeout, child.kill)
    timer.start()
    assert child.stdout is not None
    with child.stdout as stream:
        text = stream.read()
    _, status, usage = os.wait4(child.pid, 0)
    timer.cancel()
    code = child.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - start
    died = {"what": f"exit code {code}" if code >= 0 else signal.Signals(-code).name, "why": f"after {wall:.0f} s"}
    found = json.loads(text) if text.strip() else {"status": "error", **died}
    return {"model": str(source), **found, "exit_code": 1 if code < 0 else code, "wall": wall, "peak": usage.ru_maxrss}


def cells(row: Row) -> list[str]:
    """The cells of a row, one for each of COLUMNS."""
    passed, proof = row["exit_code"] == 0, row.get("proof") or {}
    return [
        outcome(row),
        number(row.get("free"), ".1%"),
        number(row["ratio"]["params"] if passed else None, ".1%"),
        number(row["ratio"]["macs"] if passed else None, ".1%"),
        number(proof.get("error"), ".1e"),
        number(row["solver"]["gap"] if passed else None, ".2%"),
        f"{row['wall']:.1f}",
        f"{row['peak'] / 1000:.0f}",
        "" if passed else reason(row).replace(str(Path.cwd()), ".")[:160],
    ]


def number(value: float | None, form: str) -> str:
    """The formatted number; empty if it is missing or infinite (null in the report)."""
    return "" if value is None else format(value, form)


def line(name: str, texts: list[str], width: int) -> str:
    parts = [
        text.ljust(size) if key in ("status", "why") else text.rjust(size)
        for (key, size), text in zip(COLUMNS.items(), texts, strict=True)
    ]
    return "  ".join((name.ljust(width), *parts)).rstrip()


def table(rows: list[Row]) -> str:
    columns = ["model", *COLUMNS]
    rule = ["---" if name in ("model", "status", "why") else "--:" for name in columns]
    body = [[row["name"].replace("*", "\\*"), *(cell.replace("|", "/") for cell in cells(row))] for row in rows]
    return "".join(f"| {' | '.join(texts)} |\n" for texts in (columns, rule, *body))


def totals(rows: list[Row], ratio: float) -> str:
    words = [outcome(row) for row in rows]
    order = dict.fromkeys(["written", *OUTCOMES.values()])
    said = ", ".join(f"{words.count(word)} {word}" for word in order if word in words)
    cuts = [row["ratio"][row["requested"]["cost"]] for row in rows if row["exit_code"] == 0]
    near = sum(ratio <= cut <= ratio + 0.01 for cut in cuts)
    free = [row["free"] for row in rows if row.get("free") is not None]
    share = f"; free: median {statistics.median(free):.1%}, minimum {min(free):.1%}" if free else ""
    seconds = sum(row["wall"] for row in rows)
    return (
        f"{len(rows)} models: {said}; {near} of {len(cuts)} within a percentage point of the ratio{share}; "
        f"{seconds:.0f} s in all"
    )


def publish(path: Path, text: str) -> None:
    head, start, rest = path.read_text(encoding="utf-8").partition(MARKS[0])
    _, end, tail = rest.partition(MARKS[1])
    if not (start and end):
        raise SystemExit(f"{path} has no {' ... '.join(MARKS)}")
    path.write_text(f"{head}{start}\n{text}\n{end}{tail}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
