"""Finds nodes by name, and names of nodes."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Sequence
from difflib import get_close_matches

import onnx_ir as ir

from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.dependency.rewrites.packed import MOST_PARTS
from onnxsurgeon.errors import UsageError


def matching(labels: Labels, patterns: Sequence[str], option: str) -> list[ir.Node]:
    """The nodes whose names match `patterns`, exactly or as globs. Raises UsageError if a pattern matches none."""
    names = {node: call.name for node, call in labels.calls.items()}
    matches: list[ir.Node] = []
    for pattern in patterns:
        exact = {pattern, *(f"{pattern}.{part}" for part in range(MOST_PARTS))}  # parts of a node that a rewrite split
        hits = [n for n, name in names.items() if name in exact or fnmatch.fnmatchcase(name, pattern)]
        if not hits:
            raise unknown(f"{option} {pattern!r} matches no node", pattern, names.values())
        matches += hits
    return matches


def unknown(what: str, name: str, known: Collection[str]) -> UsageError:
    """The error for a name that nothing has."""
    near = get_close_matches(str(name), known, n=3)
    return UsageError(
        what,
        why=f"nearest names: {', '.join(near)}" if near else f"none of {len(known)} names is similar",
        fix="see the names with onnxsurgeon inspect -v",
    )


def name_of(node: ir.Node) -> str:
    """The name of a node, or that of its first output if it has none."""
    return node.name or (node.outputs[0].name if node.outputs else "") or ""


def result_of(node: ir.Node) -> ir.Value:
    """The first output of a node that is used, else the first one."""
    return next((v for v in node.outputs if v.uses() or v.is_graph_output()), node.outputs[0])
