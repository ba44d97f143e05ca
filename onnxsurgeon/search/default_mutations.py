"""How candidates change by default, with the probabilities of each kind of mutation for each vertex."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from onnxsurgeon.search.candidate import Candidate, of_network
from onnxsurgeon.search.graph_mutations import add_edge, add_vertex, remove_edge, remove_vertex
from onnxsurgeon.search.layer_mutations import (
    new_activation,
    new_global_pool,
    new_kernel,
    new_width,
)
from onnxsurgeon.search.layer_spaces import ConvSpace, DenseSpace
from onnxsurgeon.search.mutation import Mutated, Mutation
from onnxsurgeon.search.separable_parts import crossover
from onnxsurgeon.search.training_settings import Pair, another_optimiser, batch_size, learning_rate, swap_settings
from onnxsurgeon.search.vertices import Vertices, is_convolution, is_dense, is_layer
from onnxsurgeon.search.wrappers import one_of, only_if, per_vertex, probability, sequence
from onnxsurgeon.surgery.network import Network

PARTS = 0.5  # the probability that two networks that are crossed exchange parts
FEWEST = 5  # layers of a network from which none is removed
CONV, DENSE = ConvSpace(kernels=(1, 3), batch_norm=True), DenseSpace()


def network_mutation() -> Mutation[Network]:
    """Widths, vertices, edges, kernels, activations and global pools, each with a probability for each vertex."""
    return per_vertex(
        sequence(
            probability(new_width(), 0.05),
            probability(_while_many(remove_vertex()), 0.01),
            probability(add_vertex(CONV, suits=is_convolution), 0.005),
            probability(add_vertex(DENSE, suits=is_dense), 0.01),
            probability(new_kernel((2,)), 0.02),
            probability(new_kernel((-2,)), 0.02),
            probability(new_activation(), 0.005),
            probability(add_edge(), 0.02),
            probability(remove_edge(), 0.02),
            probability(new_global_pool(), 0.1),
        )
    )


def shrinking() -> Mutation[Network]:
    """What makes a network smaller."""
    return per_vertex(
        sequence(
            probability(new_width(-0.2, 0.0), 0.15),
            probability(_while_many(remove_vertex()), 0.03),
            probability(new_kernel((-2,)), 0.05),
            probability(remove_edge(), 0.05),
        )
    )


def _while_many(mutation: Mutation[Vertices]) -> Mutation[Vertices]:
    """`mutation` of a network that has more than a few layers."""
    return only_if(mutation, lambda found: sum(is_layer(node) for node in found.network.ir.graph) > FEWEST)


def candidate_mutation(too_large: Callable[[Candidate], bool]) -> Mutation[Candidate]:
    """Of the network and of how it is trained. too_large: whether a candidate may only shrink."""
    grown, shrunk = of_network(network_mutation()), of_network(shrinking())

    def mutate(candidate: Candidate, rng: np.random.Generator) -> Mutated[Candidate]:
        return (shrunk if too_large(candidate) else grown)(candidate, rng)

    settings = one_of([learning_rate(), another_optimiser(), batch_size()], weights=(0.8, 0.1, 0.1))
    return sequence(mutate, probability(settings, 0.5))


def candidate_crossover(a: Candidate, b: Candidate, rng: np.random.Generator) -> Pair:
    """Both with parts of their networks exchanged, or with settings of how they are trained, or with both."""
    first, second = Mutated(a), Mutated(b)
    if rng.random() < PARTS:
        mine, its = crossover(a.network, b.network, rng)
        first, second = _given(a, mine), _given(b, its)
    x, y = swap_settings(first.subject, second.subject, rng)
    return Mutated(x.subject, first.notes + x.notes), Mutated(y.subject, second.notes + y.notes)


def _given(candidate: Candidate, network: Mutated[Network]) -> Mutated[Candidate]:
    return of_network(lambda before, rng: network)(candidate, np.random.default_rng(0))
