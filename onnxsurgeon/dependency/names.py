"""Nodes and values by the names that users give them."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from difflib import get_close_matches

import onnx_ir as ir

from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.dependency.rewrites.packed import MOST
from onnxsurgeon.errors import UsageError


def matching(labels: Labels, patterns: Sequence[str], option: str) -> list[ir.Node]:
    """Nodes whose names match `patterns`, exactly or as globs. Raises UsageError where one of these matches none."""
    names = {node: call.name for node, call in labels.calls.items()}
    found: list[ir.Node] = []
    for pattern in patterns:
        exact = {pattern, *(f"{pattern}.{part}" for part in range(MOST))}  # a node that a rewrite took apart
        hits = [n for n, name in names.items() if name in exact or fnmatch.fnmatchcase(name, pattern)]
        if not hits:
            near = get_close_matches(pattern, names.values(), n=3)
            raise UsageError(
                f"{option} {pattern!r} matches no node",
                why=f"nearest names: {', '.join(near)}" if near else f"{len(names)} nodes, none like it",
                fix="see the names with onnxsurgeon inspect -v",
            )
        found += hits
    return found


def name_of(node: ir.Node) -> str:
    """A node's name; one without has that of its first output."""
    return node.name or (node.outputs[0].name if node.outputs else "") or ""


def result_of(node: ir.Node) -> ir.Value:
    """What a node gives: its first output that is used."""
    return next((v for v in node.outputs if v.uses() or v.is_graph_output()), node.outputs[0])
