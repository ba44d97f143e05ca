"""Operators that lengthen or fill axes: added elements are new neurons, or the axis is frozen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import floor

import numpy as np

from onnxsurgeon.arrays import Array, Shape
from onnxsurgeon.neurons.relations import Axes, Axis
from onnxsurgeon.ops.call import Call, Changes, Keep, Parameters, SizeCall, ValueCall
from onnxsurgeon.ops.gradient import GradientCall, added
from onnxsurgeon.ops.registry import MICROSOFT, Operator, Resize, Rule, add
from onnxsurgeon.ops.resampling import resampled_back
from onnxsurgeon.ops.shape_inference import Attributes, ShapeRule, Shapes
from onnxsurgeon.ops.signatures import signature
from onnxsurgeon.ops.size_arrays import Sizes, broadcast_sizes
from onnxsurgeon.ops.size_expressions import whole

FILL = 2  # the input of Pad with the number that is filled in


def padding(call: Parameters, rank: int) -> dict[int, tuple[int, int]] | None:
    """The padding before and after each axis; None if it depends on data or a dynamic dim."""
    pads, axes = call.parameter("pads", 1), call.static(3)
    if pads is None:
        return None
    where = range(len(pads) // 2) if axes is None else [a % rank for a in axes.tolist()]
    amounts = pads.tolist()
    return {a: (amounts[k], amounts[k + len(where)]) for k, a in enumerate(where)}


def pad_amounts(call: Call, keep: Keep) -> Changes:
    amounts, result = padding(call, call.rank()), call.result(0)
    if amounts is None:
        return {}
    new = dict(amounts)
    for axis, (before, after) in amounts.items():
        labels = result.axes[axis]
        if labels is not None:
            new[axis] = int(keep(labels[:before]).sum()), int(keep(labels[len(labels) - after :]).sum())
    return {} if new == amounts else call.spelled("pads", 1, np.transpose(list(new.values())).ravel())


def pad(call: Call) -> Sequence[Axes | None]:
    axes, amounts = call.known(0), padding(call, len(call.made(0)))
    if amounts is None:
        same = same_length(call)
        for axis, equal in zip(axes, same, strict=True):
            call.relations.freeze(None if equal else axis, "padded by amounts that depend on a dynamic dim")
        return [tuple(axis if equal else None for axis, equal in zip(axes, same, strict=True))]
    result = list(axes)
    for a, (before, after) in amounts.items():
        labels = axes[a]
        if labels is None or (before == 0 and after == 0):
            continue
        if min(before, after) < 0 or call.attributes.get("mode", "constant") != "constant":
            call.relations.freeze(labels, "padded by its own values")
            result[a] = None
        else:
            result[a] = np.r_[call.relations.fresh(before), labels, call.relations.fresh(after)]
    return [tuple(result)]


def _pad(call: ValueCall) -> Array:
    amounts = padding(call, call.inputs[0].ndim)
    if call.attributes.get("mode", "constant") != "constant" or call.has(3) or amounts is None:
        raise ValueError("an unusual pad")
    fill = call.inputs[2] if call.has(2) else call.attributes.get("value") or 0
    return np.pad(call.inputs[0], list(amounts.values()), constant_values=fill)


def pad_gradient(call: GradientCall, index: int) -> str | None:
    """What each element became, summed; and all that was filled in."""
    emit, shape, mode = call.emit, call.shape(0), call.attributes.get("mode", "constant")
    amounts = padding(call, len(shape))
    if amounts is None or index not in (0, FILL):
        return None
    inside = result = call.gradient
    for axis, (before, after) in amounts.items():
        kept = np.arange(max(0, -before), shape[axis] + min(0, after))  # what is not cropped
        inside = emit.selected(inside, axis, np.arange(len(kept)) + max(0, before))
        if mode != "constant":
            ends = max(0, before), max(0, after)
            result = emit.scattered(result, axis, np.pad(kept, ends, mode), shape[axis])
    if index == FILL:
        filled = emit("Sub", emit.total(result, range(len(shape))), emit.total(inside, range(len(shape))))
        return emit.reshaped(filled, call.shape(FILL))
    crops = {axis: (max(0, -before), max(0, -after)) for axis, (before, after) in amounts.items()}
    return emit.widened(inside, crops) if mode == "constant" else result


def _padded_sizes(call: SizeCall) -> Sizes | None:
    data = call.shapes[0]
    amounts = padding(call, len(data))
    return None if amounts is None else tuple(n + sum(amounts.get(a, (0, 0))) for a, n in enumerate(data))


PAD = Operator(pad, silence="none", resize=pad_amounts, sizes=_padded_sizes)

add("Pad", PAD, value=_pad, gradient=pad_gradient)
add("Pad", PAD, gradient=pad_gradient, stands_for=("Pad", 13), domain=MICROSOFT)


def cropped(attributes: Attributes, shapes: Shapes) -> Sequence[Shape]:
    left, top, right, bottom = attributes["border"]
    n, c, height, width = shapes[0]
    size = attributes.get("scale") or (height - top - bottom, width - left - right)
    return [(n, c, int(size[0]), int(size[1]))]


def crop_gradient(call: GradientCall, index: int) -> str:
    left, top, *_ = call.attributes["border"]
    (_, _, height, width), (_, _, h, w) = call.shape(0), call.result()
    return call.emit.widened(call.gradient, {2: (top, height - top - h), 3: (left, width - left - w)})


add(
    "Crop",
    signature("n c * -> n c *"),
    silence="none",
    shape=ShapeRule(cropped),
    gradient=(crop_gradient,),
)


def expand_target(call: Call, keep: Keep) -> Changes:
    """The shape to expand to after a cut: sizes of 1 and of uncut axes stay."""
    target, result = call.inputs[1], call.result(0)
    if target is None or target.value is None or not result.axes:
        return {}
    new = target.value.copy()
    for k in range(1, min(len(new), len(result.axes)) + 1):
        axis = result.axes[-k]
        if axis is not None and new[-k] != 1:
            new[-k] = int(keep(axis).sum())
    return {1: new}


def expand(call: Call) -> Sequence[Axes | None]:
    axes, target, made = call.known(0), call.outputs[0], call.made(0)
    source = call.shape(0) or ()
    lead = len(made) - len(source)
    result: list[Axis] = []
    for k, n in enumerate(made):
        old = source[k - lead] if k >= lead else 1
        if old == n:
            result.append(axes[k - lead] if k >= lead else None)
        else:
            result.append(None if target.dynamic[k] or n <= 1 else call.relations.fresh(n))
    return [tuple(result)]


def _expand(call: ValueCall) -> Array:
    data, target = call.inputs
    return np.broadcast_to(data, np.broadcast_shapes(data.shape, tuple(target.tolist())))


add(
    "Expand",
    expand,
    silence="none",
    resize=expand_target,
    value=_expand,
    sizes=lambda call: broadcast_sizes(call.shapes[0], call.inputs[1].tolist()),
    linear_in="first",
    gradient=(added,),
)


def sizes_of(call: Call, keep: Keep) -> Changes:
    """The shape of the filled tensor."""
    given, result = call.inputs[0], call.result(0)
    if given is None or given.value is None:
        return {}
    return {
        0: np.array([n if a is None else int(keep(a).sum()) for n, a in zip(given.value, result.axes, strict=True)])
    }


def constant_of_shape(call: Call) -> Sequence[Axes | None]:
    """Each static axis may have any length."""
    target = call.outputs[0]
    sizes = zip(target.shape or (), target.dynamic, strict=True)
    return [tuple(None if d or n < 2 else call.relations.fresh(n) for n, d in sizes)]


def _filled(call: ValueCall) -> Array:
    value = call.attributes.get("value")
    fill = np.zeros(1, np.float32) if value is None else np.asarray(value)
    return np.full(tuple(call.inputs[0].tolist()), fill.ravel()[0], fill.dtype)


add(
    "ConstantOfShape",
    constant_of_shape,
    silence="none",
    resize=sizes_of,
    value=_filled,
    sizes=lambda call: tuple(call.inputs[0].tolist()),
    fills="value",
)


def tile(call: Call) -> Sequence[Axes | None]:
    axes, repeats, made = call.known(0), call.static(1), call.made(0)
    result: list[Axis] = []
    for k, (axis, n, m) in enumerate(zip(axes, call.shape(0) or (), made, strict=True)):
        if axis is not None and n != m and repeats is None:
            call.relations.freeze(axis, "repeated a dynamic number of times")
            axis = None
        result.append(axis if axis is None or n == m else np.tile(axis, made[k] // n))
    return [tuple(result)]


def tile_gradient(call: GradientCall, index: int) -> str:
    """All copies of an element, summed."""
    emit, shape = call.emit, call.shape(0)
    times = [m // n if n else 1 for n, m in zip(shape, call.result(), strict=True)]
    copies = emit.reshaped(call.gradient, [k for pair in zip(times, shape, strict=True) for k in pair])
    return emit.reshaped(emit.total(copies, range(0, 2 * len(shape), 2)), shape)


add(
    "Tile",
    tile,
    silence="none",
    value=lambda call: np.tile(*call.inputs),
    sizes=lambda call: tuple(n * times for n, times in zip(call.shapes[0], call.inputs[1].tolist(), strict=True)),
    linear_in="first",
    gradient=(tile_gradient,),
)


def same_length(call: Call) -> list[bool]:
    """Per axis, whether it is as long as before, at all sizes of the dynamic dims."""
    lengths = zip(call.sizes(0), call.made(0), call.outputs[0].dynamic, strict=True)
    return [n == m and not dynamic for n, m, dynamic in lengths]


def unscaled(place: int) -> Callable[[Call], list[bool]]:
    """Per axis, whether it is copied unchanged, for any lengths of the others. place: the input with the scales."""

    def passing(call: Call) -> list[bool]:
        same, where = same_length(call), resampled(call)
        if call.attributes.get("keep_aspect_ratio_policy", "stretch") != "stretch" or (
            call.attributes.get("coordinate_transformation_mode") == "tf_crop_and_resize"
        ):
            return [s and a not in where for a, s in enumerate(same)]
        index = place if call.version > 10 else 1
        given = call.inputs[index] if call.has(index) else None
        scales = call.attributes.get("scales") if given is None else given.value
        if scales is not None and len(scales):
            by = dict(zip(where, np.asarray(scales).tolist(), strict=True))
            return [s and by.get(a, 1.0) == 1.0 for a, s in enumerate(same)]
        sized = index == 2 and call.has(3)
        return [s and (sized or a not in where) for a, s in enumerate(same)]

    return passing


def resampled(call: Call) -> list[int]:
    """The axes of the scales and sizes, in their order."""
    rank = call.rank()
    return [int(a) % rank for a in call.attributes.get("axes") or range(rank)]


def sizes_at(index: int) -> Resize:
    """Input `index` holds the lengths of the unchanged axes."""

    def resize(call: Call, keep: Keep) -> Changes:
        sizes, result = (call.inputs[index] if call.has(index) else None), call.result(0)
        if sizes is None or sizes.value is None or len(sizes.value) == 0:
            return {}
        new = sizes.value.copy()
        for k, a in enumerate(resampled(call)):
            axis = result.axes[a]
            if axis is not None:
                new[k] = int(keep(axis).sum())
        return {index: new}

    return resize


def resample(passing: Callable[[Call], list[bool]]) -> Rule:
    def rule(call: Call) -> Sequence[Axes | None]:
        axes, copied = call.known(0), passing(call)
        for axis, same in zip(axes, copied, strict=True):
            call.relations.freeze(None if same else axis, "resampled along this axis")
        return [tuple(axis if same else None for axis, same in zip(axes, copied, strict=True))]

    return rule


def _resampled_sizes(scales: int, sizes: int) -> Callable[[SizeCall], Sizes | None]:
    """scales, sizes: the inputs that hold the factors and the new sizes; -1 if there is none."""

    def rule(call: SizeCall) -> Sizes | None:
        data, options = call.shapes[0], call.attributes
        cropped = options.get("coordinate_transformation_mode") == "tf_crop_and_resize"
        if cropped or options.get("keep_aspect_ratio_policy", "stretch") != "stretch":
            return None
        factors, lengths = call.parameter("scales", scales), call.static(sizes) if sizes >= 0 else None
        where = [int(a) % len(data) for a in options.get("axes") or range(len(data))]
        if lengths is not None and lengths.size:
            wanted = dict(zip(where, lengths.tolist(), strict=True))
        elif factors is not None:
            wanted = {a: whole(data[a] * f, floor) for a, f in zip(where, np.ravel(factors).tolist(), strict=True)}
        else:
            return None
        return tuple(wanted.get(a, n) for a, n in enumerate(data))

    return rule


add(
    "Resize",
    resample(unscaled(2)),
    silence="none",
    resize=sizes_at(3),
    sizes=_resampled_sizes(2, 3),
    gradient=(resampled_back,),
)
add("Upsample", resample(unscaled(1)), silence="none", sizes=_resampled_sizes(1, -1), gradient=(resampled_back,))
add("CenterCropPad", resample(same_length), silence="none", resize=sizes_at(1))
