"""Random edits of all kinds, one after another: each is proven, and none makes an invalid graph or a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples import examples
from paths import MODELS
from torture import torture

EDITS = examples(few=8, many=20)
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)
def test_random_edits_are_proven(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    proven = torture(path, edits=EDITS, seed=3)
    said = capsys.readouterr().out
    assert proven == EDITS, said
    assert " resize" in said or path.stem == "xor"  # which has no layer to narrow by then
