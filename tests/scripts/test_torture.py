"""A minute of random edits of all kinds, shared out over the fixtures: none makes an invalid graph or a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from paths import MODELS
from torture import torture

SECONDS = 60 / len(MODELS)


@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)
def test_random_edits_are_proven_or_refused(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    well = torture(path, edits=1000, seed=3, seconds=SECONDS)
    assert well, capsys.readouterr().out
