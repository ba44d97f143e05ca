"""Paths in the repository and beside it."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "fixtures"
MODELS = sorted(FIXTURES.glob("*.onnx"))
ZOO = ROOT.parent / "shared" / "zoo"  # real models, which are not part of the repository: their tests skip without them
