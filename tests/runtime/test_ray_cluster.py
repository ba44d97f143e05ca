"""A cluster that can't be reached: the error says what mends it."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from onnxsurgeon.errors import UsageError
from onnxsurgeon.runtime.ray_cluster import connected


@pytest.mark.parametrize(
    ("problem", "fix"),
    [
        (ValueError("Ray Client requires pip package `ray[client]`."), "onnxsurgeon[ray]"),
        (ConnectionError("nobody answers"), "ray start --head"),
    ],
)
def test_what_is_missing_is_named(problem: Exception, fix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**_: object) -> None:
        raise problem

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False, init=init))
    monkeypatch.setattr("onnxsurgeon.runtime.ray_cluster.install_hint", lambda extra: f"onnxsurgeon[{extra}]")
    with pytest.raises(UsageError) as caught, connected(1, "ray://head:10001"):
        pass
    assert fix in caught.value.fix
    assert str(problem) in caught.value.why
