"""Several models in one call: the same command for each, in its own process, so that a crash stops no other."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onnxsurgeon.cli.answer import Answer, explained
from onnxsurgeon.cli.log import LOG
from onnxsurgeon.cli.progress import Count
from onnxsurgeon.cli.tasks import Task, recorded
from onnxsurgeon.errors import SurgeonError
from onnxsurgeon.files import drafts
from onnxsurgeon.report import json_report as report

WORST = (1, 5, 4, 3, 2, 0)  # exit codes; the first one that occurs is the exit code of the call
HEAVY = ("graph", "curves")  # keys of a report
GRACE = 10.0  # seconds for a stopped process to clean up


@dataclass
class Crew:
    """The running processes. Many threads call `run`; `stop` ends all processes."""

    options: Sequence[str]
    children: set[subprocess.Popen[str]] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)
    stopped: bool = False

    def run(self, task: Task) -> tuple[report.Report, str]:
        """The report of one model, even if its process crashes, and the stderr of the process."""
        began = time.perf_counter()
        # same module path as the parent's: a script does not search the current folder, python -m does
        safe = () if {"", str(Path.cwd())} & set(sys.path) else ("-P",)
        command = [sys.executable, *safe, "-m", "onnxsurgeon", "prune", "--json", "--no-bench", *self.options]
        with drafts() as folder:  # removed even if the process can't clean up
            with self.lock:
                if self.stopped:
                    raise InterruptedError
                child = subprocess.Popen(
                    [*command, *[f"--ratio={task.ratio}"] * bool(task.ratio), f"--output={task.target}", "--",
                     str(task.model)],
                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
                    errors="replace", env={**os.environ, "TMPDIR": folder},
                    process_group=0,  # only the parent gets Ctrl-C, and stops each child once
                )  # fmt: skip
                self.children.add(child)
            said, errors = child.communicate()
            with self.lock:
                self.children.discard(child)
        found = _parsed(said)
        if child.returncode not in WORST or found.get("exit_code") != child.returncode:
            found = _failed(task, _death(child.returncode, errors))
            for draft in task.target.parent.glob(f".onnxsurgeon-{child.pid}-*"):
                shutil.rmtree(draft, ignore_errors=True)
        spent = found.get("seconds") or {"total": time.perf_counter() - began}
        return {**_row(task), **found, "seconds": spent}, errors  # a request that was refused names no model

    def stop(self) -> None:
        with self.lock:
            self.stopped, left = True, list(self.children)
        for child in left:
            child.terminate()
        for child in left:
            try:
                child.wait(GRACE)
            except subprocess.TimeoutExpired:
                child.kill()


def _parsed(text: str) -> report.Report:
    with suppress(ValueError):
        found = json.loads(text)
        if isinstance(found, dict):
            return found
    return {}


def _row(task: Task) -> report.Report:
    return {**report.head("prune"), "model": str(task.model), "output": str(task.target)}


def _light(found: report.Report) -> report.Report:
    """A report without what is large: all models may be many, and the record of each has it."""
    return {key: value for key, value in found.items() if key not in HEAVY}


def _failed(task: Task, error: SurgeonError) -> report.Report:
    return {**_row(task), **report.failure(error, error.exit_code)}


def _death(code: int, errors: str) -> SurgeonError:
    """The error for a process that ended without a report."""
    last = (errors.strip().splitlines() or [""])[-1].strip()
    how = f"ended early, with exit code {code}"
    if code < 0:
        with suppress(ValueError):
            how = f"was killed by {signal.Signals(-code).name}"
        if how.endswith("SIGKILL"):
            last = "the system may have run out of memory"
    return SurgeonError(f"its process {how}", why=last, fix="prune this model alone with -v, or use fewer --jobs")


def prune_all(
    answer: Answer, tasks: Sequence[Task], options: Sequence[str], requested: Callable[[Task], Mapping[str, Any]], *,
    at_once: int, resume: bool, writes: bool, latencies: Callable[[Sequence[Task]], Sequence[report.Report | None]],
) -> None:  # fmt: skip
    """Prunes all models and answers with a row for each. Raises SurgeonError with the worst of their exit codes.

    requested: the options of a task, as its report has them. latencies: measures what was written, once all is done.
    """
    from onnxsurgeon.report.tables import reason, several

    wanted = {task: _parsed(report.to_json(dict(requested(task)))) for task in tasks if resume}
    known = {task: row for task in wanted if (row := recorded(task, wanted[task]))}
    rows = {task: {**_light(row), "status": "skipped"} for task, row in known.items()}
    answer.tables = several
    crew, began = Crew([*options, *["--verbose"] * LOG.on]), time.perf_counter()
    with Count(len(tasks), len(rows), verbose=answer.verbose, quiet=answer.quiet) as count:

        def work(task: Task) -> tuple[report.Report, str]:
            count.begin(str(task))
            try:
                if writes:
                    task.target.parent.mkdir(parents=True, exist_ok=True)
                    report.check_report(task.record, task.model, task.target)
                found, said = crew.run(task)
                if writes and found["exit_code"] == 0:
                    report.save(found, task.record)
            except (OSError, SurgeonError) as problem:
                return {**_failed(task, explained(problem)), "seconds": {"total": 0.0}}, ""
            return _light(found), said

        with ThreadPoolExecutor(at_once) as pool:
            try:
                futures = {pool.submit(work, task): task for task in tasks if task not in rows}
                for future in as_completed(futures):
                    task = futures[future]
                    rows[task], said = future.result()
                    count.end(str(task), rows[task], said)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                crew.stop()
                raise
            finally:
                answer.found = {**report.head("prune"), "models": [rows[task] for task in tasks if task in rows]}
                answer.found["seconds"] = {"total": time.perf_counter() - began}
                if rows:
                    answer.interrupted = f"{len(rows)} of {len(tasks)} models were done; --resume continues from there"
    written = [task for task in tasks if rows[task]["exit_code"] == 0 and task not in known] if writes else []
    for task, latency in zip(written, latencies(written), strict=True):
        rows[task]["latency"] = latency
        report.save({**_parsed(task.record.read_text(encoding="utf-8")), "latency": latency}, task.record)
    failed = [row for row in answer.found["models"] if row["exit_code"]]
    if not failed:
        answer.give(status="done", exit_code=0)
        return
    error = SurgeonError(
        f"{len(failed)} of {len(tasks)} models failed",
        why="\n".join(f"{row['model']}: {reason(row)}" for row in failed),
        fix="see the details with onnxsurgeon prune MODEL" + ("; --resume skips what passed" if writes else ""),
    )
    error.exit_code = next(code for code in WORST if any(row["exit_code"] == code for row in failed))
    answer.show()
    raise error
