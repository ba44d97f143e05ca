"""Who prunes the models of one call: processes of this machine, or the workers of a Ray cluster.

Each model is pruned by a process of its own, so that a crash stops no other. The record beside the output is written
where the model was pruned, and what a lost worker had finished is not done again.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from onnxsurgeon.cli.tasks import Task, recorded
from onnxsurgeon.errors import SurgeonError
from onnxsurgeon.files import drafts
from onnxsurgeon.report import json_report as report

EXIT_CODES = (1, 5, 4, 3, 2, 0)  # of a model; the first one that occurs is that of the call
HEAVY = ("graph", "curves", "changes")  # keys of a report that grow with its model
GRACE = 10.0  # seconds for a stopped process to clean up
TRIES = 3  # workers of a cluster that a model may lose
ROOM, TIMES = 512 * 2**20, 3  # bytes that pruning takes: so many, and so many times the model's files
Run = tuple[report.Report, str]  # what became of a model, and the stderr of its process


@dataclass(frozen=True)
class Assignment:
    """A model to prune. options: as on the command line. folder: what relative paths start from.

    writes: whether there is an output. requested: what the record of the output has of the options. stamp: that of the
    record when the call began; None without one. new: whether there was no output then.
    """

    task: Task
    options: Sequence[str]
    folder: Path
    writes: bool
    requested: Mapping[str, Any]
    stamp: int | None
    new: bool

    @property
    def here(self) -> Task:
        """The task, whose paths hold in any folder."""
        task = self.task
        return replace(task, model=self.folder / task.model, target=self.folder / task.target)

    @property
    def command(self) -> list[str]:
        # same module path as the driver's: a script does not search the current folder, python -m does
        safe = () if {"", str(self.folder)} & set(sys.path) else ("-P",)
        task = self.task
        return [
            sys.executable, *safe, "-m", "onnxsurgeon.cli.child", str(os.getpid()), "prune", "--json", "--no-bench",
            *self.options, *[f"--ratio={task.ratio}"] * bool(task.ratio), f"--output={task.target}", "--",
            str(task.model),
        ]  # fmt: skip


def assignment(task: Task, options: Sequence[str], requested: Mapping[str, Any], *, writes: bool) -> Assignment:
    """The assignment as the call begins."""
    return Assignment(task, tuple(options), Path.cwd(), writes, requested, stamp(task.record), not task.target.exists())


def stamp(file: Path) -> int | None:
    """What changes when a file does; None without it."""
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return None


class Crew(Protocol):
    """Many threads call `run`, at most `size` at once; `stop` ends all that runs."""

    size: int

    def run(self, assigned: Assignment) -> Run: ...
    def stop(self) -> None: ...


@dataclass
class Local:
    """Processes of this machine."""

    size: int
    children: set[subprocess.Popen[str]] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)
    stopped: bool = False

    def run(self, assigned: Assignment) -> Run:
        """What became of one model, even if its process crashes."""
        began, task = time.perf_counter(), assigned.here
        if assigned.writes:
            task.target.parent.mkdir(parents=True, exist_ok=True)
            report.check_report(task.record, task.model, task.target)
        with drafts() as temporary:  # removed even if the process can't clean up
            with self.lock:
                if self.stopped:
                    raise InterruptedError
                child = subprocess.Popen(
                    assigned.command, cwd=assigned.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE, encoding="utf-8", errors="replace", env={**os.environ, "TMPDIR": temporary},
                    process_group=0,  # only the parent gets Ctrl-C, and stops each child once
                )  # fmt: skip
                self.children.add(child)
            said, errors = child.communicate()
            with self.lock:
                self.children.discard(child)
        found = parsed(said)
        if child.returncode not in EXIT_CODES or found.get("exit_code") != child.returncode:
            found = failed(assigned.task, _death(child.returncode, errors))
            for draft in task.target.parent.glob(f".onnxsurgeon-{child.pid}-*"):
                shutil.rmtree(draft, ignore_errors=True)
        spent = found.get("seconds") or {"total": time.perf_counter() - began}
        found = {**row(assigned.task), **found, "seconds": spent}  # a request that was refused names no model
        if assigned.writes and found["exit_code"] == 0:
            report.save(found, task.record)
        return light(found), errors

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


def attempt(assigned: Assignment) -> Run:
    """On a worker of a cluster: what became of one model. What a worker that was lost has written is not done again."""
    task = assigned.here
    done = (
        recorded(task, assigned.requested, str(assigned.task.model)) if stamp(task.record) != assigned.stamp else None
    )
    if done is not None:
        return light(done), ""
    again = replace(assigned, options=[*assigned.options, "--overwrite"]) if assigned.new else assigned
    return Local(1).run(again)


@dataclass
class OnRay:
    """The workers of a cluster, which see the same files at the same paths. library: Ray. gpus: of each model."""

    library: Any
    gpus: int
    size: int
    running: set[Any] = field(default_factory=set)
    stopped: bool = False

    def run(self, assigned: Assignment) -> Run:
        ray, began = self.library, time.perf_counter()
        if self.stopped:
            raise InterruptedError
        needs = {"num_cpus": 1, "memory": min(_memory(assigned.here.model), self._largest()), "num_gpus": self.gpus}
        remote = ray.remote(max_retries=TRIES - 1, **needs)(attempt).remote(assigned)
        self.running.add(remote)
        try:
            found: Run = ray.get(remote)
        except ray.exceptions.TaskCancelledError:
            raise InterruptedError from None
        except ray.exceptions.RayTaskError as problem:
            raise problem.cause from None
        except ray.exceptions.RayError as problem:
            lost = SurgeonError(
                f"its worker was lost {TRIES} times", why=str(problem).strip().splitlines()[0],
                fix="prune this model alone with -v, or on a machine with more memory",
            )  # fmt: skip
            return {**failed(assigned.task, lost), "seconds": {"total": time.perf_counter() - began}}, ""
        finally:
            self.running.discard(remote)
        return found

    def _largest(self) -> int:
        """Bytes of memory of the machine that has most: more can't be asked for."""
        return int(max((node["Resources"].get("memory", 0) for node in self.library.nodes()), default=0))

    def stop(self) -> None:
        self.stopped = True
        for remote in list(self.running):
            self.library.cancel(remote, force=True)


def _memory(model: Path) -> int:
    """Bytes that pruning a file takes at most, by its size."""
    files = (model, model.with_name(f"{model.name}.data"))
    return ROOM + TIMES * sum(file.stat().st_size for file in files if file.is_file())


@contextmanager
def local(jobs: int | None, address: str | None, device: str) -> Iterator[Crew]:
    yield Local(jobs or max(1, (os.cpu_count() or 1) // 2))


@contextmanager
def on_ray(jobs: int | None, address: str | None, device: str) -> Iterator[Crew]:
    from onnxsurgeon.runtime.ray_cluster import connected

    with connected(jobs or os.cpu_count() or 1, address) as library:
        resources = library.cluster_resources()
        gpus = int(device == "cuda" or (device == "auto" and resources.get("GPU", 0) > 0))
        yield OnRay(library, gpus, jobs or max(1, int(resources.get("CPU", 1))))


@dataclass(frozen=True)
class BatchExecutor:
    """A way to prune several models. open: with the models at once, the address of a cluster, and the device."""

    help: str
    open: Callable[[int | None, str | None, str], AbstractContextManager[Crew]]


EXECUTORS: Mapping[str, BatchExecutor] = {
    "local": BatchExecutor("processes of this machine", local),
    "ray": BatchExecutor("the Ray cluster at --address or RAY_ADDRESS, or a new one here", on_ray),
}


# --- rows -------------------------------------------------------------------------------------------------------------


def parsed(text: str) -> report.Report:
    """A report as it was printed; empty if it is none."""
    with suppress(ValueError):
        found = json.loads(text)
        if isinstance(found, dict):
            return found
    return {}


def row(task: Task) -> report.Report:
    return {**report.head("prune"), "model": str(task.model), "output": str(task.target)}


def light(found: report.Report) -> report.Report:
    """A report without what is large: models may be many, and the record of each has all of it."""
    return {key: value for key, value in found.items() if key not in HEAVY}


def failed(task: Task, error: SurgeonError) -> report.Report:
    return {**row(task), **report.failure(error, error.exit_code)}


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
