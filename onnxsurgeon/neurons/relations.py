"""Neurons and the three relations between them: *same*, *frozen* and *product*.

A neuron is one index along one axis of one tensor; an axis carries a vector of neuron ids. Nothing here knows ONNX.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from onnxsurgeon.arrays import Ids, Mask
from onnxsurgeon.errors import ModelError
from onnxsurgeon.options.shared import Attention

MOST_NEURONS = 2**27  # neurons of a model
Axis = Ids | None  # None: an axis that carries no neurons (batch, spatial, unknown) and is never cut
Axes = tuple[Axis, ...]


LAYOUT = "fixed by the operator's layout"
WORKED = "the operator works along this axis"
POSITIONS = "tied to positions, an axis that carries no neurons"
CARRIED = "another factor of the same axis is cut"
INPUT = "an input of the graph"
OUTPUT = "an output of the graph"


class Reason(NamedTuple):
    """Why neurons are frozen: the node that froze them, its operator, and the reason in words."""

    node: str
    operator: str
    text: str


class Edges(NamedTuple):
    """The rule of `node` says that `a[i]` and `b[i]` are the same neuron."""

    a: Ids
    b: Ids
    node: str


@dataclass(frozen=True)
class Product:
    """`flat[i, j, ...]` is kept exactly if `factors[0][i]`, `factors[1][j]`, ... are all kept.

    flat: shape (len(factors[0]), len(factors[1]), ...). There are at least two factors.
    """

    flat: Ids
    factors: tuple[Ids, ...]
    node: str
    operator: str

    def rows(self, factor: int) -> Ids:
        """`flat` with the axis of `factor` first, shape (len(factors[factor]), product of the others)."""
        return np.moveaxis(self.flat, factor, 0).reshape(len(self.factors[factor]), -1)


def components(count: int, a: Ids, b: Ids) -> Ids:
    """The least member of each neuron's connected component, shape (count,).

    a, b: the ends of the edges. Roots hook onto smaller roots and paths are halved: O(log count) vectorised rounds.
    """
    root = np.arange(count, dtype=np.int64)
    while True:
        ra, rb = root[a], root[b]
        differ = ra != rb
        if not differ.any():
            return root
        a, b = np.minimum(ra[differ], rb[differ]), np.maximum(ra[differ], rb[differ])
        np.minimum.at(root, b, a)
        while True:
            jumped = root[root]
            if np.array_equal(jumped, root):
                break
            root = jumped


@dataclass
class Relations:
    """The neurons and relations that rules declare. `node` and `operator` say whose rule is running."""

    count: int = 0
    edges: list[Edges] = field(default_factory=list)
    frozen: list[tuple[Ids, Reason]] = field(default_factory=list)
    products: list[Product] = field(default_factory=list)
    node: str = ""
    operator: str = ""

    def fresh(self, size: int) -> Ids:
        """Ids of `size` new neurons, shape (size,). Raises ModelError for more than any machine holds."""
        if self.count + size > MOST_NEURONS:
            raise ModelError(
                f"{self.node} has an axis of {size:,} elements", why=f"all axes together may have {MOST_NEURONS:,}",
                fix="if the size is assumed for a dynamic dim, give one with `input_shape`",
            )  # fmt: skip
        self.count += size
        return np.arange(self.count - size, self.count, dtype=np.int64)

    def same(self, a: Ids, b: Ids) -> None:
        if a is not b:
            self.edges.append(Edges(np.ravel(a), np.ravel(b), self.node))

    def freeze(self, axis: Axis, why: str) -> None:
        if axis is not None and axis.size:
            self.frozen.append((np.ravel(axis), Reason(self.node, self.operator, why)))

    def product(self, flat: Ids, factors: Sequence[Ids]) -> None:
        """Declare that `flat`, len(f0) * len(f1) * ... neurons in row-major order, is the product of `factors`."""
        shape = tuple(len(f) for f in factors)
        real = tuple(f for f in factors if len(f) > 1)
        for factor in factors:
            if len(factor) == 1:
                self.freeze(factor, "an axis of one neuron")
        if len(real) == 1:
            self.same(flat, real[0])
        elif real:
            squeezed = flat.reshape(tuple(n for n in shape if n > 1))
            self.products.append(Product(squeezed, real, self.node, self.operator))
        else:
            self.freeze(flat, "an axis of one neuron")

    def resolve(self, attention: Attention = "auto") -> Classes:
        """Classes of neurons, with all products resolved; `attention` chooses the factor to cut of an ambiguous one."""
        return _Resolver(self).run(attention)


@dataclass(frozen=True)
class Classes:
    """The classes of neurons that are the same. All arrays have shape (count,).

    root: the least member of each neuron's class. frozen: whether its class must not be cut.
    reasons: an index into `causes`, meaningful if frozen.
    """

    root: Ids
    frozen: Mask
    reasons: Ids
    causes: tuple[Reason, ...]

    def reason(self, neuron: int) -> Reason | None:
        return self.causes[self.reasons[neuron]] if self.frozen[neuron] else None

    def cause(self, axis: Axis) -> Reason | None:
        """The reason of the first frozen neuron on `axis`; None if there is none."""
        if axis is None:
            return None
        hit = np.flatnonzero(self.frozen[axis])
        return self.reason(int(axis[hit[0]])) if hit.size else None


class _Resolver:
    """Resolves products in rounds: without a free factor freeze, with one cut along it, with several cluster."""

    def __init__(self, relations: Relations) -> None:
        self.products = list(relations.products)
        self.causes = [reason for _, reason in relations.frozen]
        count = relations.count
        a = np.concatenate([e.a for e in relations.edges] or [np.empty(0, np.int64)])
        b = np.concatenate([e.b for e in relations.edges] or [np.empty(0, np.int64)])
        self.root = components(count, a, b)
        self.reasons = np.full(count, -1, np.int64)
        for index in range(len(relations.frozen) - 1, -1, -1):
            self.reasons[self.root[relations.frozen[index][0]]] = index

    def run(self, attention: Attention) -> Classes:
        while self.products:
            if not self._resolve_simple():
                self._choose(attention)
        return Classes(self.root, self.reasons[self.root] >= 0, self.reasons[self.root], tuple(self.causes))

    def _resolve_simple(self) -> bool:
        """Resolve the products that have at most one free factor; returns whether there were any."""
        open_: list[Product] = []
        edges: list[tuple[Ids, Ids]] = []
        frozen: list[tuple[Ids, Reason]] = []
        for product in self.products:
            free = [i for i in range(len(product.factors)) if self._is_free(product, i)]
            if len(free) > 1:
                open_.append(product)
            elif free:
                edges.append(self._cut_along(product, free[0], frozen))
            else:
                reason = self._reason_for(product)
                frozen += [(array, reason) for array in (product.flat, *product.factors)]
        progress = len(open_) < len(self.products)
        self.products = open_
        self._merge(edges, frozen)
        return progress

    def _is_free(self, product: Product, factor: int) -> bool:
        rows, atoms = self.root[product.rows(factor)], self.root[product.factors[factor]]
        if (atoms == atoms[0]).all():
            return False
        is_frozen = (self.reasons[rows] >= 0).any(axis=1) | (self.reasons[atoms] >= 0)
        return not bool(is_frozen.all())

    def _cut_along(self, product: Product, factor: int, frozen: list[tuple[Ids, Reason]]) -> tuple[Ids, Ids]:
        """The edges that tie the flat neurons to `factor`; adds the other factors to `frozen`."""
        rows = product.rows(factor)
        reason = Reason(product.node, product.operator, CARRIED)
        frozen += [(f, reason) for i, f in enumerate(product.factors) if i != factor]
        return rows.ravel(), np.repeat(product.factors[factor], rows.shape[1])

    def _reason_for(self, product: Product) -> Reason:
        """The reason that froze the product. One that only says `LAYOUT` explains least, so it comes last."""
        reasons = []
        for array in (product.flat, *product.factors):
            known = self.reasons[self.root[array.ravel()]]
            reasons += [self.causes[int(k)] for k in np.unique(known[known >= 0])[:1]]
        reasons.sort(key=lambda reason: reason.text == LAYOUT)
        return reasons[0] if reasons else Reason(product.node, product.operator, "no factor of the axis can be cut")

    def _merge(self, edges: list[tuple[Ids, Ids]], frozen: Iterable[tuple[Ids, Reason]]) -> None:
        for array, reason in frozen:
            roots = self.root[array.ravel()]
            self.reasons[roots[self.reasons[roots] < 0]] = len(self.causes)
            self.causes.append(reason)
        if not edges:
            return
        a = self.root[np.concatenate([a for a, _ in edges])]
        b = self.root[np.concatenate([b for _, b in edges])]
        merged = components(len(self.root), a, b)
        is_frozen = np.flatnonzero(self.reasons >= 0)
        self.root = merged[self.root]
        np.maximum.at(self.reasons, merged[is_frozen], self.reasons[is_frozen])

    def _choose(self, attention: Attention) -> None:
        """Cluster products that share a factor; in each cluster, cut one product along its best factor."""
        cluster = self._clusters()
        edges: list[tuple[Ids, Ids]] = []
        frozen: list[tuple[Ids, Reason]] = []
        done: set[int] = set()
        for label in np.unique(cluster).tolist():
            members = [self.products[i] for i in np.flatnonzero(cluster == label)]
            product, factor = self._best(members, attention)
            edges.append(self._cut_along(product, factor, frozen))
            done.add(id(product))
        self.products = [p for p in self.products if id(p) not in done]
        self._merge(edges, frozen)

    def _clusters(self) -> Ids:
        keys = [[self.root[f].tobytes() for f in p.factors] for p in self.products]
        first: dict[bytes, int] = {}
        a, b = [], []
        for index, row in enumerate(keys):
            for key in row:
                a.append(first.setdefault(key, index))
                b.append(index)
        return components(len(keys), np.array(a), np.array(b))

    def _best(self, members: Sequence[Product], attention: Attention) -> tuple[Product, int]:
        """The factor that leaves the most units in the cluster; the first one in a tie.

        `heads` prefers the outermost free factor (whole heads or groups), `head-size` the innermost.
        """
        best: tuple[float, Product, int] | None = None
        for product in members:
            options = [i for i in range(len(product.factors)) if self._is_free(product, i)]
            for factor in options:
                units = len(np.unique(self.root[product.factors[factor]]))
                score = {"auto": units, "heads": -factor, "head-size": factor}[attention]
                if best is None or score > best[0]:
                    best = (score, product, factor)
        assert best is not None  # products with fewer than two free factors are resolved already
        return best[1], best[2]
