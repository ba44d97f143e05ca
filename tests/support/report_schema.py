"""The JSON Schema of reports, as the package ships it."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

from jsonschema import Draft202012Validator


@cache
def validator() -> Draft202012Validator:
    text = (resources.files("onnxsurgeon.report") / "report.schema.json").read_text(encoding="utf-8")
    Draft202012Validator.check_schema(json.loads(text))
    return Draft202012Validator(json.loads(text))


def require_schema(report: Any) -> None:
    """Raises ValidationError if a report is not as the schema says."""
    validator().validate(report)
