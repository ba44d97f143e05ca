"""Rewrites of a graph into an equivalent one that ties fewer neurons.

An axis of a tensor has only one length, so projections that are packed into one tensor could only be cut alike. Each
module here recognises one such pattern and replaces it, before a graph is labelled.
"""

from __future__ import annotations

from onnxsurgeon.dependency.rewrites import branches, computed_weights, packed, shared_constants, shuffled, strided
from onnxsurgeon.dependency.rewrites.known_model import FactEditor, KnownModel
from onnxsurgeon.dependency.rewrites.unrolled import unrolled

__all__ = ["KnownModel", "rewrite", "unrolled"]


def rewrite(known: KnownModel) -> KnownModel:
    """`known` itself if no rewrite applies, else a rewritten copy of its model with the facts about it."""
    graph = known.model.graph
    if not any(branches.find(known, node) for node in graph.all_nodes()) and not any(
        form.find(known, node)
        for node in graph
        for form in (computed_weights, packed, strided, shuffled, shared_constants)
    ):
        return known
    editor = FactEditor(known)
    for node in list(editor.model.graph.all_nodes()):
        if node.graph is not None:
            branches.inline(editor, node)
    for node in list(editor.model.graph):
        if node.graph is not None:
            computed_weights.fold(editor, node)
    for node in list(editor.model.graph):
        if node.graph is not None:  # still there: no earlier rewrite has replaced it
            packed.unpack(editor, node)
        if node.graph is not None:
            strided.restride(editor, node)
        if node.graph is not None:
            shuffled.reorder(editor, node)
        if node.graph is not None:
            shared_constants.unshare(editor, node)
    return editor.known
