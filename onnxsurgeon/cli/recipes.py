"""Recipes: operations in a YAML or JSON file, read with their line numbers, all checked before the first one runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxsurgeon.errors import UsageError
from onnxsurgeon.files import require_regular
from onnxsurgeon.options.parsing import placed
from onnxsurgeon.pruning.in_recipes import PRUNE
from onnxsurgeon.surgery.operation import Request, requests
from onnxsurgeon.surgery.part_methods import OPERATIONS

if TYPE_CHECKING:
    import yaml

DEPTH = 6  # of nested lists and mappings; operations need four
LONGEST = 2**20  # characters
MOST = 100_000  # values, those that aliases repeat included
STDIN = Path("/dev/stdin")


def read(path: Path) -> list[Request]:
    """The operations of a recipe. Raises UsageError if it can't be read, or an operation is wrong."""
    try:
        if path != STDIN:
            require_regular(path)
        with path.open(encoding="utf-8") as file:
            text = file.read(LONGEST + 1)
    except FileNotFoundError:
        raise UsageError(f"{path} not found", fix="check the path of the recipe") from None
    except (OSError, UnicodeDecodeError) as problem:
        raise UsageError(f"{path} can't be read", why=str(problem), fix="give a YAML or JSON file") from None
    if len(text) > LONGEST:
        raise UsageError(f"{path} is too long", why=f"it has more than {LONGEST:,} characters", fix="split it")
    entries = _from_json(text, path) if path.suffix == ".json" else _from_yaml(text, path)
    if not isinstance(entries, list) or not entries:
        raise UsageError(
            f"{path} holds no operations" if not entries else f"{path} is not a list",
            why="a recipe is a list of operations",
            fix="write each one with a dash before it: - resize: {conv3: -16}",
        )
    known = {**OPERATIONS, PRUNE.name: PRUNE}
    return [request for entry in entries for request in requests(entry, known)]


def _from_yaml(text: str, path: Path) -> Any:
    """Scalars stay text: +8 is a change, 8 is a width."""
    import yaml

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise UsageError(
            f"{path.name}{where}: this is not YAML",
            why=getattr(problem, "problem", None) or str(problem),
            fix="see the examples in onnxsurgeon edit --help",
        ) from None
    except RecursionError:
        _require_shallow(DEPTH + 1, f"{path.name}: ")
    return [] if node is None else _of_node(node, path, 0, count(1))


def _of_node(node: yaml.Node, path: Path, depth: int, numbers: Iterator[int]) -> Any:
    """numbers: counts the values."""
    where = f"{path.name}, line {node.start_mark.line + 1}: "
    _require_shallow(depth, where)
    if next(numbers) > MOST:
        raise UsageError(
            f"{where}the recipe has more than {MOST:,} values", why="aliases count each time", fix="split it"
        )
    if isinstance(node.value, str):
        return placed(node.value, where, path.parent)
    if node.id == "sequence":
        return placed([_of_node(entry, path, depth + 1, numbers) for entry in node.value], where, path.parent)
    found: dict[str, Any] = {}
    for key, entry in node.value:
        name, place = key.value, f"{path.name}, line {key.start_mark.line + 1}: "
        _require_key(name, found, place)
        found[name] = _of_node(entry, path, depth + 1, numbers)
    return placed(found, where, path.parent)


def _from_json(text: str, path: Path) -> Any:
    def mapping(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in pairs:
            _require_key(name, found, f"{path.name}: ")
            found[name] = value
        return found

    try:
        entries = json.loads(text, object_pairs_hook=mapping, parse_int=str, parse_float=str, parse_constant=str)
    except json.JSONDecodeError as problem:
        plus = text[problem.pos : problem.pos + 1] == "+"
        raise UsageError(
            f"{path.name}, line {problem.lineno}: this is not JSON",
            why="a number can't begin with +" if plus else problem.msg,
            fix='put it in quotes: "+8"' if plus else "see onnxsurgeon edit --help",
        ) from None
    except RecursionError:
        _require_shallow(DEPTH + 1, f"{path.name}: ")
    if not isinstance(entries, list):
        return entries
    return [_of_value(e, path, f"{path.name}, operation {n}: ", 0) for n, e in enumerate(entries, 1)]


def _of_value(value: Any, path: Path, where: str, depth: int) -> Any:
    _require_shallow(depth, where)
    if isinstance(value, list):
        return placed([_of_value(entry, path, where, depth + 1) for entry in value], where, path.parent)
    if isinstance(value, dict):
        return placed({k: _of_value(v, path, where, depth + 1) for k, v in value.items()}, where, path.parent)
    return placed("" if value is None else str(value).lower() if isinstance(value, bool) else value, where, path.parent)


def _require_shallow(depth: int, where: str) -> None:
    if depth > DEPTH:
        raise UsageError(f"{where}the recipe is nested too deeply", fix="see the examples in onnxsurgeon edit --help")


def _require_key(name: Any, known: dict[str, Any], where: str) -> None:
    if not isinstance(name, str) or not name:
        raise UsageError(f"{where}a key is not a name", fix="write it like resize: {conv3: -16}")
    if name in known:
        raise UsageError(f"{where}the key {name!r} appears twice", fix="remove one of them")
