"""Who trains the candidates: this process, processes of this machine, or the workers of a Ray cluster.

A crew takes shares and yields them trained, in the order in which they are done. A worker that is lost (killed, out of
memory) is replaced, and its share is done again; a share that loses `TRIES` workers is given up.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from onnxsurgeon.errors import SurgeonError
from onnxsurgeon.runtime.ray_cluster import connected
from onnxsurgeon.runtime.session import trim
from onnxsurgeon.search.fitness import Measured
from onnxsurgeon.search.training_share import Share, Taught, train_share

TRIES = 5  # workers that a share may lose
Crew = Callable[[Sequence[Share]], Iterator[Taught]]


def cores() -> int:
    """How many this process may use."""
    found = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return len(found)


@contextmanager
def here(jobs: int) -> Iterator[Crew]:
    """In this process, one after the other."""
    yield lambda shares: map(train_share, shares)


@contextmanager
def processes(jobs: int) -> Iterator[Crew]:
    """In `jobs` processes of this machine. They end with the block, and with this process, however that ends."""
    staff = _Staff()
    pool = ThreadPoolExecutor(jobs)

    def run(shares: Sequence[Share]) -> Iterator[Taught]:
        for future in as_completed([pool.submit(staff.do, share) for share in shares]):
            yield future.result()

    try:
        yield run
    finally:
        staff.end()
        pool.shutdown(cancel_futures=True)


class _Staff:
    """The processes of a crew: each thread that calls `do` has one."""

    def __init__(self) -> None:
        self.own, self.lock, self.ended = threading.local(), threading.Lock(), False
        self.workers, self.proven = set[_Worker](), False

    def do(self, share: Share) -> Taught:
        """Trains a share. Raises SurgeonError if no worker ever starts, or a fault of ours ends one."""
        for _ in range(TRIES):
            worker = self._worker()
            with suppress(EOFError, OSError):  # the worker is lost
                found = worker.do(share)
                self.proven = True
                return found
            self._lose(worker)
        if not self.proven:
            raise SurgeonError(
                "worker processes can't start", why="each one ended at once",
                fix="in a script, call this below `if __name__ == '__main__':`, or use `executor=here`",
            )  # fmt: skip
        return given_up(share)

    def _worker(self) -> _Worker:
        with self.lock:
            if self.ended:
                raise InterruptedError
            found: _Worker | None = getattr(self.own, "worker", None)
            if found is None:
                found = self.own.worker = _Worker()
                self.workers.add(found)
            return found

    def _lose(self, worker: _Worker) -> None:
        with self.lock:
            worker.end()
            self.workers.discard(worker)
            self.own.worker = None
            if self.ended:
                raise InterruptedError

    def end(self) -> None:
        with self.lock:
            self.ended = True
            for worker in self.workers:
                worker.end()


class _Worker:
    """A process that trains shares; `do` raises EOFError or OSError once it is lost."""

    def __init__(self) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.line, its_end = spawn.Pipe()
        self.process = spawn.Process(target=_serve, args=(its_end,), daemon=True)
        self.process.start()
        its_end.close()  # so that a read ends when the process does

    def do(self, share: Share) -> Taught:
        self.line.send(share)
        found = self.line.recv()
        if isinstance(found, Taught):
            return found
        raise SurgeonError("internal error in a worker", why=str(found), fix="report it, if you can with the model")

    def end(self) -> None:
        self.process.kill()
        self.process.join()


def _serve(line: Connection) -> None:
    """What a worker does, until the other side is gone."""
    for number in (signal.SIGINT, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])):
        signal.signal(number, signal.SIG_IGN)  # the driver decides what an interrupt means
    threading.Thread(target=_end_with_driver, daemon=True).start()
    with suppress(EOFError, OSError):
        while True:
            share = line.recv()
            try:
                answer: Taught | str = train_share(share)
            except Exception:  # noqa: BLE001 - the driver raises it
                answer = traceback.format_exc()
            line.send(answer)
            trim()


def _end_with_driver() -> None:
    """Ends this process as soon as the one that started it is gone, also in the middle of a share."""
    driver = multiprocessing.parent_process()
    if driver is not None:
        driver.join()
        os._exit(1)


def given_up(share: Share) -> Taught:
    """A share whose workers are lost again and again."""
    return Taught(share.id, share.model, Measured(before=share.before, problem=f"it ended {TRIES} worker processes"))


@contextmanager
def ray(jobs: int) -> Iterator[Crew]:
    """On the Ray cluster that RAY_ADDRESS names, else on a new one with `jobs` workers.

    Raises UsageError if Ray is not installed.
    """
    with connected(jobs) as library:
        remote: Any = library.remote(num_cpus=1, max_retries=TRIES - 1)(train_share)

        def run(shares: Sequence[Share]) -> Iterator[Taught]:
            waiting: dict[Future[Taught], Share] = {remote.remote(share).future(): share for share in shares}
            for future in as_completed(waiting):
                lost = isinstance(future.exception(), library.exceptions.WorkerCrashedError)
                yield given_up(waiting[future]) if lost else future.result()

        yield run


@dataclass(frozen=True)
class Executor:
    """A way to run shares. open: with a number of jobs."""

    help: str
    open: Callable[[int], AbstractContextManager[Crew]]


EXECUTORS: Mapping[str, Executor] = {
    "local": Executor("in `jobs` processes of this machine", processes),
    "here": Executor("in this process, one after the other", here),
    "ray": Executor("on the Ray cluster at RAY_ADDRESS, or a new one of `jobs` workers", ray),
}
