#!/usr/bin/env python3
"""Prunes every model of a folder and prints what became of each.

    scripts/zoo.py DIR --ratio 0.3 [--metric params] [--only GLOB] [--markdown FILE]

DIR holds .onnx files, in subfolders too. A file whose metadata has `weight_statistics` is a skeleton without weights: it is filled with
the folder's own fill.py first. Every model runs in a process of its own; its peak memory is that process'.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

STATUS = {0: "passed", 1: "CRASH", 2: "usage", 3: "infeasible", 4: "refused", 5: "PROOF FAILED"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--ratio", default="0.3")
    parser.add_argument("--metric", default="params")
    parser.add_argument("--only", default="*", help="glob over file names")
    parser.add_argument("--markdown", type=Path, help="write the table here, between its <!-- zoo --> marks if it has them")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds per model")
    options = parser.parse_args()
    rows = []
    print(HEADER.replace("|", " ").rstrip())
    for path in sorted(options.folder.rglob("*.onnx")):
        if fnmatch.fnmatch(path.name, options.only):
            rows.append(run(path, options))
            print(line(rows[-1]), flush=True)
    print(totals(rows, float(options.ratio)))
    if options.markdown:
        publish(options.markdown, rows, options)
    return max((row["code"] for row in rows if row["code"] in (1, 5)), default=0)


def run(path: Path, options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        source, skeleton = path, False
        filler = next((p / "fill.py" for p in path.parents if (p / "fill.py").exists()), None)
        if filler is not None and b"weight_statistics" in path.read_bytes():
            source, skeleton = Path(folder) / path.name, True
            subprocess.run([sys.executable, filler, path, source], check=True)
        target, report = Path(folder) / "pruned.onnx", Path(folder) / "report.json"
        command = [sys.executable, "-m", "onnxsurgeon", "prune", str(source), "--ratio", options.ratio, "-o", str(target)]
        command += ["--metric", options.metric, "-q", "--report", str(report)]
        start = time.perf_counter()
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        assert child.stderr is not None
        errors = child.stderr.read()
        _, status, usage = os.wait4(child.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        found = json.loads(report.read_text()) if report.exists() else {}
        return {
            "name": path.stem,
            "skeleton": skeleton,
            "code": 1 if code < 0 else code,
            "seconds": time.perf_counter() - start,
            "memory": usage.ru_maxrss * 1024,
            "error": errors.strip(),
            "report": found,
        }


HEADER = "| model | status | params cut | MACs cut | error | gap | seconds | peak MB |"


def cells(row: dict[str, Any]) -> list[str]:
    report = row["report"]
    passed = row["code"] == 0
    proof = report.get("proof") or {}
    cut = report.get("ratio", {})
    return [
        row["name"],
        STATUS.get(row["code"], str(row["code"])),
        f"{cut['params']:.1%}" if passed else "",
        f"{cut['macs']:.1%}" if passed else "",
        f"{proof.get('error', 0):.1e}" if passed else reason(row),
        f"{report['solver']['gap']:.2%}" if passed else "",
        f"{row['seconds']:.1f}",
        f"{row['memory'] / 1e6:.0f}",
    ]


def reason(row: dict[str, Any]) -> str:
    first = next((text for text in row["error"].splitlines() if text.strip()), "")
    return first.removeprefix("error: ").replace(str(Path.cwd()), ".").replace("|", "/")[:110]


def line(row: dict[str, Any]) -> str:
    name, status, *rest = cells(row)
    return f"{name:45s} {status:12s} " + "  ".join(f"{cell:>8s}" for cell in rest)


def totals(rows: list[dict[str, Any]], ratio: float) -> str:
    counts = {name: sum(STATUS.get(row["code"]) == name for row in rows) for name in STATUS.values()}
    passed = [row for row in rows if row["code"] == 0]
    near = sum(ratio <= next(iter([r["report"]["ratio"][r["report"]["requested"]["metric"]]])) <= ratio + 0.01 for r in passed)
    said = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    seconds = sum(row["seconds"] for row in rows)
    return f"{len(rows)} models: {said}; {near} of {len(passed)} within a percentage point of the ratio; {seconds:.0f} s in all"


def publish(path: Path, rows: list[dict[str, Any]], options: argparse.Namespace) -> None:
    table = [f"`scripts/zoo.py DIR --ratio {options.ratio} --metric {options.metric}`: {totals(rows, float(options.ratio))}.", ""]
    table += [HEADER, "|" + " --- |" * HEADER.count(" | ") + " --- |"]
    table += ["| " + " | ".join(cells(row)) + " |" for row in rows]
    text = "\n".join(table)
    start, end = "<!-- zoo -->", "<!-- /zoo -->"
    if path.exists() and start in (old := path.read_text()):
        head, _, rest = old.partition(start)
        text = f"{head}{start}\n{text}\n{end}{rest.partition(end)[2]}"
    path.write_text(text if text.endswith("\n") else text + "\n")


if __name__ == "__main__":
    sys.exit(main())
