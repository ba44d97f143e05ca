"""Several models in one call: the same command for each, and a row of the answer."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from onnxsurgeon.cli.answer import Answer, explained
from onnxsurgeon.cli.batch_crews import EXIT_CODES, Assignment, Crew, Run, failed, light, parsed
from onnxsurgeon.cli.batch_crews import assignment as assignment_of
from onnxsurgeon.cli.log import LOG
from onnxsurgeon.cli.progress import Count
from onnxsurgeon.cli.tasks import Task, recorded
from onnxsurgeon.errors import SurgeonError, UsageError
from onnxsurgeon.report import json_report as report


def prune_all(
    answer: Answer, tasks: Sequence[Task], options: Sequence[str], requested: Callable[[Task], Mapping[str, Any]], *,
    crew: Crew, resume: bool, writes: bool, latencies: Callable[[Sequence[Task]], Sequence[report.Report | None]],
) -> None:  # fmt: skip
    """Prunes all models and answers with a row for each. Raises SurgeonError with the worst of their exit codes.

    requested: the options of a task, as its report has them. latencies: measures what was written, once all is done.
    """
    from onnxsurgeon.report.tables import reason, several

    wanted = {task: parsed(report.to_json(dict(requested(task)))) for task in tasks}
    known = {task: row for task in tasks if resume and (row := recorded(task, wanted[task]))}
    rows = {task: {**light(row), "status": "skipped"} for task, row in known.items()}
    answer.tables, began = several, time.perf_counter()
    words = [*options, *["--verbose"] * LOG.on]
    left = [assignment_of(task, words, wanted[task], writes=writes) for task in tasks if task not in rows]
    with Count(len(tasks), len(rows), verbose=answer.verbose, quiet=answer.quiet) as count:

        def work(assigned: Assignment) -> Run:
            count.begin(str(assigned.task))
            try:
                return crew.run(assigned)
            except (OSError, SurgeonError) as problem:
                if isinstance(problem, InterruptedError):
                    raise
                return {**failed(assigned.task, explained(problem)), "seconds": {"total": 0.0}}, ""

        with ThreadPoolExecutor(crew.size) as pool:
            try:
                futures = {pool.submit(work, assigned): assigned.task for assigned in left}
                for future in as_completed(futures):
                    task = futures.pop(future)
                    row, said = future.result()
                    rows[task] = {"requested": wanted[task], **row}  # that of a failed run has none
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
        if latency is not None:
            report.save({**parsed(task.record.read_text(encoding="utf-8")), "latency": latency}, task.record)
    failing = [task for task in tasks if rows[task]["exit_code"]]
    if not failing:
        answer.give(status="done", exit_code=0)
        return
    ratio = [f"--ratio={failing[0].ratio}"] * bool(failing[0].ratio)
    alone = shlex.join(["onnxsurgeon", "prune", str(failing[0].model), *options, *ratio])
    fixes = {rows[task]["fix"] if rows[task]["exit_code"] == UsageError.exit_code else "" for task in failing}
    details = f"see all of it with {alone}" + ("; --resume skips what passed" if writes else "")
    error = SurgeonError(
        f"{len(failing)} of {len(tasks)} {'runs' if failing[0].ratio else 'models'} failed",
        why="\n".join(f"{task}: {reason(rows[task])}" for task in failing),
        fix=(fixes.pop() if len(fixes) == 1 else "") or details,
    )
    error.exit_code = next(code for code in EXIT_CODES if any(rows[task]["exit_code"] == code for task in failing))
    answer.show()
    raise error
