"""What each channel contributes to the loss of each sample: activation times gradient, where nodes sum over channels.

To first order, that is how much the loss falls when the channel becomes zero there (Molchanov et al. 2017, arXiv
1611.06440).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnxsurgeon.arrays import FloatArray, Ids
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.ops.nodes import constant
from onnxsurgeon.training.differentiate import Tape


@dataclass(frozen=True, eq=False)
class ChannelEnd:
    """An input of a node where channels end: the node sums over them.

    output: the name of the node's first output. index: of the input; value: its name. ids: the neurons on its `axis`.
    """

    output: str
    index: int
    value: str
    axis: int
    ids: Ids

    @property
    def key(self) -> str:
        return f"{self.output} {self.index} {self.axis}"


def channel_ends(labels: Labels) -> list[ChannelEnd]:
    """All places where channels that may be cut end, in the order of the graph."""
    ties, found = _ties(labels), list[ChannelEnd]()
    for node in labels.model.graph:
        call = labels.calls.get(node)
        results = [axis for axes in call.results for axis in axes or () if axis is not None] if call else []
        for index, value in enumerate(node.inputs) if call else ():
            axes = None if value is None or constant(value) is not None else labels.known(node, index)
            for number, ids in enumerate(axes or ()):
                assert value is not None
                assert call is not None
                if ids is None or labels.classes.frozen[ids].all() or _passes(ids, results, ties[call.name]):
                    continue
                found.append(ChannelEnd(node.outputs[0].name or "", index, value.name or "", number, ids))
    return found


def _ties(labels: Labels) -> Mapping[str, list[tuple[Ids, Ids]]]:
    """The pairs of neurons that are the same by the rule of a node, by its name."""
    root, found = labels.classes.root, defaultdict[str, list[tuple[Ids, Ids]]](list)
    for edge in labels.relations.edges:
        found[edge.node].append((edge.a, edge.b))
    for product in labels.relations.products:
        for number, factor in enumerate(product.factors):
            rows = product.rows(number)
            one, other = rows.ravel(), np.repeat(factor, rows.shape[1])
            same = root[one] == root[other]  # of several factors, one is cut
            found[product.node].append((one[same], other[same]))
    return found


def _passes(ids: Ids, results: Sequence[Ids], ties: Sequence[tuple[Ids, Ids]]) -> bool:
    """Whether neurons on an input are those of a result."""
    ends = np.concatenate([np.ravel(axis) for axis in results] or [np.empty(0, np.int64)])
    found, before = np.unique(ids), 0
    while not np.isin(ends, found).any():
        if len(found) == before:
            return False
        before = len(found)
        for one, other in ties:
            found = np.union1d(found, np.concatenate([other[np.isin(one, found)], one[np.isin(other, found)]]))
    return True


def emitted(tape: Tape, found: Sequence[ChannelEnd], size: int) -> dict[str, str]:
    """The contribution of each channel to the loss of each sample, summed over positions, as far as gradients reach it:
    by the key of a place, the name of a value of shape (samples, channels). Samples lie on the first axis; where they
    can't, there is one row."""
    made, nodes = dict[str, str](), {node.outputs[0].name: node for node in tape.nodes}
    for place in found:
        gradient = tape.uses.get((place.output, place.index))
        if gradient is None:
            continue
        value = nodes[place.output].inputs[place.index]
        assert value is not None
        emit, shape = tape.emit, tape.emit.shapes[value.name or ""]
        apart = place.axis > 0 and shape[0] % size == 0
        split = (size, shape[0] // size, *shape[1:]) if apart else (1, *shape)
        whole = emit.reshaped(emit("Mul", value.name or "", gradient), split)
        axes = [axis for axis in range(1, len(split)) if axis != place.axis + 1 and split[axis] != 1]
        made[place.key] = emit.reshaped(emit.total(whole, axes), (split[0], shape[place.axis]))
    return made


def of_samples(array: FloatArray, size: int) -> FloatArray:
    """A row for each of `size` samples, 0 for those that the loss doesn't count; one for all is divided among them."""
    rows = np.asarray(array, np.float64)
    return rows if len(rows) == size else np.repeat(rows / size, size, axis=0)


class Average:
    """The mean of what batches say, by key. keep: the share of it that stays when a batch comes, so that the last ones
    count most; None: all samples count alike."""

    def __init__(self, keep: float | None) -> None:
        self.keep, self.values, self.counts = keep, dict[str, FloatArray](), dict[str, int]()

    def add(self, found: Mapping[str, FloatArray], count: int) -> None:
        """found: means over `count` samples."""
        for key, new in found.items():
            before = self.counts.get(key, 0)
            self.counts[key] = before + count
            if not before:
                self.values[key] = new
                continue
            stays = before / (before + count) if self.keep is None else self.keep
            self.values[key] = stays * self.values[key] + (1 - stays) * new


def summed(labels: Labels, found: Sequence[ChannelEnd], values: Mapping[str, FloatArray]) -> FloatArray:
    """The sum over places, shape (neurons,)."""
    result = np.zeros(labels.relations.count)
    for place in found:
        if place.key in values:
            np.add.at(result, place.ids, values[place.key])
    return result


def completed(labels: Labels, worth: FloatArray, reached: Sequence[Ids]) -> tuple[FloatArray, int]:
    """(`worth`, shape (neurons,), in which units that no gradient reached are worth as much as all others, how many
    these are): what isn't known stays. reached: the neurons that a gradient reached."""
    root, frozen = labels.classes.root, labels.classes.frozen
    worth = np.nan_to_num(worth, nan=0.0, posinf=1e30)
    axes = [ids for weight in labels.weights() if weight.counts for ids in weight.axes if ids is not None]
    unknown = np.setdiff1d(root[joined(axes)], root[joined(reached)])
    unknown = unknown[~frozen[unknown]]
    if len(unknown):
        worth[unknown] += max(float(worth.sum()), 1.0)
    return worth, len(unknown)


def joined(ids: Sequence[Ids]) -> Ids:
    return np.concatenate([np.ravel(axis) for axis in ids] or [np.empty(0, np.int64)])


def by_node(labels: Labels, worth: FloatArray) -> dict[str, FloatArray]:
    """What units are worth, as a file with scores has it: by node, a number per channel of its first output. Each unit
    stands once."""
    root = labels.classes.root
    total = np.where(labels.classes.frozen, 0.0, np.bincount(root, worth, minlength=len(root)))
    found = dict[str, FloatArray]()
    for call in labels.calls.values():
        axes = [axis for axis in (call.results[0] if call.results else None) or () if axis is not None]
        lengths = [len(axis) for axis in axes]
        meant = [axis for k, axis in enumerate(axes) if lengths.index(len(axis)) == k]  # by a number of scores
        ids = max(meant, key=lambda axis: len(np.unique(root[axis[total[root[axis]] > 0]])), default=None)
        if ids is None or call.name in found or not (total[root[ids]] > 0).any():
            continue
        here, first = np.unique(root[ids], return_index=True)
        found[call.name] = np.zeros(len(ids))
        found[call.name][first] = total[here]
        total[here] = 0
    return found
