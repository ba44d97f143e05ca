"""A connection to a Ray cluster, for commands that spread their work over machines."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from onnxsurgeon.errors import UsageError
from onnxsurgeon.install import install_hint

ADDRESS = "RAY_ADDRESS"  # the variable that names a cluster
CLIENT = "ray[client]"  # the package that Ray names where it can't connect to an address like ray://head:10001


@contextmanager
def connected(workers: int, address: str | None = None) -> Iterator[Any]:
    """The library, connected to the cluster at `address`, else at RAY_ADDRESS, else to a new one on this machine.

    workers: tasks at once on a new one. A connection that is there already is used, and stays. Raises UsageError if Ray
    is not installed, or the cluster does not answer.
    """
    try:
        import ray
    except ImportError:
        raise UsageError("Ray is not installed", why="`executor=ray` needs it", fix=install_hint("ray")) from None
    own = not ray.is_initialized()
    if own:
        named = address or os.environ.get(ADDRESS)
        size: dict[str, Any] = {"address": named} if named else {"num_cpus": workers, "include_dashboard": False}
        try:
            ray.init(log_to_driver=False, logging_level="ERROR", **size)
        except (ConnectionError, ValueError, RuntimeError) as problem:
            why = str(problem).strip().splitlines()[0]
            bare = CLIENT in why  # Ray without what it needs to speak to a ray:// address
            raise UsageError(
                f"the Ray cluster {named or 'of this machine'} can't be used", why=why,
                fix=install_hint("ray") if bare else "start one with `ray start --head`, and give its address",
            ) from None  # fmt: skip
    try:
        with redirect_stdout(_WithoutRay(sys.stdout)):
            yield ray
    finally:
        if own:
            ray.shutdown()


class _WithoutRay:
    """A stream without what threads of Ray print there, whatever its logging is set to: that a worker died."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        ours = not threading.current_thread().name.startswith("ray_")
        return int(self.stream.write(text)) if ours else len(text)
