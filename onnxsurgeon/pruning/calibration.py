"""What a pruning computes from calibration data: importance of units, and compensation."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from onnxsurgeon.arrays import FloatArray, Mask
from onnxsurgeon.calibration.linear_layers import Consumer
from onnxsurgeon.calibration.statistics import Statistics, fingerprint, load_statistics
from onnxsurgeon.compensation.evidence import Evidence
from onnxsurgeon.compensation.layerwise import Change
from onnxsurgeon.compensation.rotation import components, rotate, streams
from onnxsurgeon.data import Samples, image_inputs, inputs_of, mirrored
from onnxsurgeon.dependency.labels import Labels
from onnxsurgeon.dependency.spaces import Judge
from onnxsurgeon.errors import UsageError
from onnxsurgeon.model.editor import copied
from onnxsurgeon.model.model import Model, on_disk
from onnxsurgeon.ops.nodes import constant
from onnxsurgeon.options.parsing import resolved
from onnxsurgeon.pruning.options import PruneOptions

SPELLING = 256  # bytes for the names and the node of a new bias


def statistics_of(model: Model, options: PruneOptions) -> Statistics:
    """The statistics that an earlier run saved for this model; empty if there are none."""
    if options.stats_file is None:
        return Statistics("")
    with on_disk(model) as path:
        found = Statistics(fingerprint([path, *(model.data if model.written else ())]))
    return load_statistics(options.stats_file, found.fingerprint) if options.knows_statistics else found


def calibrated(
    options: PruneOptions, model: Model, labels: Labels, data: Samples | None, statistics: Statistics,
    relabel: Callable[[ir.Model], Labels],
) -> Evidence:  # fmt: skip
    """The evidence that the options need about a labelled model. Adds what is missing to `statistics`.

    relabel: labels the rotated model, which computes the same function.
    """
    samples, notes = data, list[str]()
    if options.mirror and data is not None:
        inputs = inputs_of(model.ir)
        if image_inputs(inputs):
            samples = mirrored(data, inputs)
        else:
            notes.append(f"`mirror` was left out: no input holds images ({'; '.join(map(str, inputs))})")
    found = Evidence(
        labels, options.seed, samples, data, statistics, float(options.memory), options.device, options.announce, notes,
        options, options.output_name,
    )  # fmt: skip
    _rotate(found, options, relabel)
    from_statistics = data is not None and options.compensation.from_statistics
    if samples is not None and (options.criterion.needs in ("data", "samples") or from_statistics):
        missing = [layer for layer in found.layers if layer.key not in statistics.moments]
        if missing:
            options.announce("calibrate", f"{len(samples)} samples")
            observer = found.targets if options.compensation.runs_samples else None
            statistics.moments |= found.moments(missing, observer)
    return found


def _rotate(found: Evidence, options: PruneOptions, relabel: Callable[[ir.Model], Labels]) -> None:
    """Rotates the streams if wanted: not before a training unless asked, because rotation merges normalisations into
    weights, and training is less stable without them. Raises UsageError if the statistics belong to other rotations."""
    known = found.statistics
    wanted = options.rotate
    if wanted is None:
        alone = options.compensation.runs_samples and options.fine_tune is None
        wanted = bool(known.rotations) if known.moments else alone
    chosen = streams(found.labels) if wanted else []
    if known.moments and known.rotations.keys() != {stream.key for stream in chosen}:
        raise UsageError(
            f"`stats` {options.stats} belongs to other rotations of this model",
            why=f"{len(known.rotations)} streams were rotated then; {len(chosen)} would be now",
            fix="name another file, or use `rotate` as in that run",
        )
    if chosen and not known.rotations:
        options.announce("rotate", f"{len(chosen)} linear streams")
        seen = found.moments([stream.linear[node] for stream in chosen for node in stream.readers])
        known.rotations = {stream.key: components(found.labels, stream, seen) for stream in chosen}
    if chosen:
        found.labels = relabel(rotate(found.labels, known.rotations, chosen))


def weighed(evidence: Evidence, options: PruneOptions) -> tuple[FloatArray, Judge | None]:
    """Importance of every neuron, shape (neurons,); and the judge that adds tables of spaces, or None."""
    found = resolved(options.criterion.function)(evidence, options.word)
    return found if options.criterion.gives == "space" else (found, None)


def reserve(evidence: Evidence, options: PruneOptions) -> dict[str, float]:
    """Upper bounds on what compensation adds to each cost: biases of layers without one."""
    if not options.compensation.function:
        return {}
    extra = sum(layer.outputs.size for layer in evidence.layers if not _has_bias(layer))
    return {"params": extra, "size": 4 * extra + SPELLING * len(evidence.layers)}


def _has_bias(layer: Consumer) -> bool:
    index, inputs = layer.linear.bias, layer.node.inputs
    return index is not None and index < len(inputs) and constant(inputs[index]) is not None


def compensated(
    evidence: Evidence, options: PruneOptions, graph: ir.Model, keep: Mask
) -> tuple[ir.Model, tuple[Change, ...]]:
    """`graph`, a model that was cut to `keep`, after compensation; and the changes."""
    if keep.all() or not options.compensation.function:
        return graph, ()
    graph = copied(graph)
    return graph, tuple(resolved(options.compensation.function)(evidence, keep, graph))
