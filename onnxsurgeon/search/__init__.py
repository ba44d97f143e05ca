"""Search for architectures: candidates are mutated by edits, trained for a while and selected, again and again.

`mutation` says what a change of a network or of a candidate is. `candidate` is one of a population; `fitness` and
`pareto` say how good it is, `survival` who goes on. `partitions` chooses samples, `population` keeps all of it in a
folder. Networks are drawn from `layer_spaces` and `architectures`.

Everything composes from plain callables and frozen dataclasses, and takes its random numbers from a generator that is
handed in: the same seed gives the same result.
"""

from __future__ import annotations

from typing import Any

_HOMES = {
    name: f"onnxsurgeon.search.{module}"
    for module, names in (
        ("architectures", "Chain Conditional Fork LargerThan Named OneOf Repeat Residual"),
        ("candidate", "Candidate of_network"),
        ("default_mutations", "candidate_crossover candidate_mutation network_mutation shrinking"),
        ("evolution", "Goals Rules"),
        ("fitting", "Found fit"),
        ("fitness", "Measured aggregate cheap ewma low_loss mapped quick rounded_then_size score train_score valid"),
        ("pareto", "crowding dominates fronts ranks"),
        ("partitions", "Partitions Stream batch_within for_seconds held_out in_batches"),
        ("population", "Population"),
        ("separable_parts", "crossover"),
        ("drawing", "draw"),
        ("graph_mutations", "add_edge add_vertex remove_edge remove_empty remove_vertex"),
        ("layer_mutations", "new_activation new_global_pool new_kernel new_width"),
        (
            "layer_spaces",
            "ActivationSpace BatchNormSpace ConvSpace DenseSpace FlattenSpace GlobalPoolSpace NoOp PoolSpace",
        ),
        ("mutation", "Mutated Mutation Note"),
        ("survival", "chain combined each elite pairs reset shuffle then tournament universal_sampling"),
        ("training_settings", "another_optimiser batch_size learning_rate swap_settings"),
        ("vertices", "Shield Vertices is_convolution is_dense is_layer"),
        ("wrappers", "by_importance log one_of only_if per_vertex probability record sequence"),
    )
    for name in names.split()
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """What is public is imported when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return globals().setdefault(name, getattr(importlib.import_module(_HOMES[name]), name))


def __dir__() -> list[str]:
    return list(__all__)
