"""How many examples a test draws that samples from many."""

from __future__ import annotations

import os


def examples(few: int, many: int) -> int:
    """`few`, or `many` where ONNXSURGEON_EXHAUSTIVE is set: by hand, or on a schedule."""
    return many if os.environ.get("ONNXSURGEON_EXHAUSTIVE") else few
