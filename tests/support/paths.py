"""Paths in the repository and beside it."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "fixtures"
MODELS = sorted(FIXTURES.glob("*.onnx"))
SHARED = next((p / "shared" for p in ROOT.parents if (p / "shared").is_dir()), Path("none"))
CASES, ZOO = SHARED / "cases", SHARED / "zoo"  # not part of the repository: tests of these skip without them
