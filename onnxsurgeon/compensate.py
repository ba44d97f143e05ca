"""Compensation: the weights behind a cut fitted anew, in closed form, to what the original computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir

from onnxsurgeon.consumers import Consumer, consumers, kept
from onnxsurgeon.data import Data
from onnxsurgeon.facts import constant
from onnxsurgeon.graph import Labels
from onnxsurgeon.neurons import Mask
from onnxsurgeon.segments import Walk, piece, serialised
from onnxsurgeon.session import Device, Session
from onnxsurgeon.statistics import LEAST, ROWS, batches, picked

OPT = dict(iterations=8, join=True, ridges=(1e-4, 1e-3, 1e-2, 1e-1, 1.0), bounds=True, least=LEAST, prior=True, scale=False)


@dataclass
class Sampled:
    consumer: Consumer
    index: int
    target: ir.Value  # what of the original is to be met
    other: ir.Value | None  # what is added to the consumer's output to get there
    bounds: tuple[float, float] | None
    rows: list


def compensate(labels: Labels, keep: Mask, model: ir.Model, data: Data, *, memory=2e9, device: Device = "auto", seed=0, log=None):
    found = consumers(labels)
    by_name = {v.name: v for node in model.graph for v in node.outputs}
    feeds = list(batches(data))
    tasks = [plan(labels, c, i) for i, c in enumerate(found)]
    originals(labels, tasks, feeds, device, seed, keep)
    walk = Walk(model, (f for f, _ in feeds), limit=memory, device=device)
    report = []
    for task in tasks:
        c = task.consumer
        out = by_name[c.output]
        node = out.producer()
        keep_in, keep_out = kept(keep, c.inputs), kept(keep, c.outputs)
        groups = keep_out.any(axis=1)
        value = node.inputs[c.linear.data]
        X = []
        call = shadow(c, node, model)
        for b, x in enumerate(walk.to(value)):
            X.append(c.linear.rows(call, x, task.picks[b]))
        X = np.concatenate(X).transpose(1, 0, 2)  # g n f
        Y = np.concatenate(task.rows)[:, groups]
        Y = Y.transpose(1, 0, 2)  # g n o
        Y = Y[:, :, keep_out[groups][0]] if keep_out[groups].all(1).all() is False else np.stack([y[:, k] for y, k in zip(Y, keep_out[groups])])
        if task.other is not None and OPT["join"]:
            twin = by_name[task.other.name] if task.other.name in by_name else None
            O = [c.linear.outputs(call, o, p) for o, p in zip(walk.to(twin), task.picks)]
            Y = Y - np.concatenate(O).transpose(1, 0, 2)
        task.rows = []
        tensor = constant(node.inputs[c.linear.weight])
        W0 = c.linear.matrix(call, tensor.numpy()).astype(np.float64)
        b0 = np.zeros(Y.shape[::2])
        if c.linear.bias is not None and len(node.inputs) > c.linear.bias and node.inputs[c.linear.bias] is not None:
            b0 = constant(node.inputs[c.linear.bias]).numpy().astype(np.float64).reshape(b0.shape) * c.linear.scale(call)
        before = error(X, Y, W0, b0)
        if before > 1e-9:
            W, b, lam = fit(X, Y, W0, b0, task.bounds, task.halves, cap=labels)
            put(model, node, c.linear.weight, c.linear.weight_of(call, W, tuple(tensor.shape.numpy())))
            if c.linear.bias is not None:
                put(model, node, c.linear.bias, (b / c.linear.scale(call)).ravel())
            else:
                shift(model, node, (b - b0).ravel())
            after = error(X, Y, W, b)
            if log: print(f"  {c.name:50s} {X.shape} before {before:.4f} after {after:.4f} ridge {lam} join {task.other is not None} {task.bounds}", file=log)
            report.append((c.name, before, after))
        del X, Y
    return report


def error(X, Y, W, b):
    Y = Y.astype(np.float64)
    p = np.matmul(X, W) + b[:, None]
    return float(((Y - p) ** 2).sum() / max(1e-30, ((Y - Y.mean(axis=1, keepdims=True)) ** 2).sum()))


def fit(X, Y, W0, b0, bounds, half, cap=None):
    X, Y = X.astype(np.float32), Y.astype(np.float32)
    n = X.shape[1]
    a, z = slice(0, half), slice(half, n)

    def moments(rows):
        x, y = X[:, rows], Y[:, rows]
        mx, my = x.mean(1, dtype=np.float64), y.mean(1, dtype=np.float64)
        xc, yc = x - mx[:, None].astype(np.float32), y - my[:, None].astype(np.float32)
        k = x.shape[1]
        return mx, my, (xc.transpose(0, 2, 1) @ xc).astype(np.float64) / k, (xc.transpose(0, 2, 1) @ yc).astype(np.float64) / k, xc

    def solve(C, R, lam, W0):
        d = np.trace(C, axis1=1, axis2=2) / C.shape[1] + 1e-12
        A = C + (lam * d)[:, None, None] * np.eye(C.shape[1])
        prior = W0 if OPT["prior"] else 0 * W0
        return prior + np.linalg.solve(A, R - C @ prior)

    best = (np.inf, OPT["ridges"][0])
    if len(OPT["ridges"]) > 1 and 0 < half < n:
        mx, my, C, R, _ = moments(a)
        vx, vy = X[:, z] - mx[:, None].astype(np.float32), Y[:, z] - my[:, None].astype(np.float32)
        k = vx.shape[1]
        VC, VR = (vx.transpose(0, 2, 1) @ vx).astype(np.float64) / k, (vx.transpose(0, 2, 1) @ vy).astype(np.float64) / k
        for lam in OPT["ridges"]:
            W = solve(C, R, lam, W0)
            e = float((W * (VC @ W)).sum() - 2 * (W * VR).sum())
            best = min(best, (e, lam))
    lam = best[1]
    mx, my, C, R, xc = moments(slice(0, n))
    W = solve(C, R, lam, W0)
    b = my - np.einsum("gf,gfo->go", mx, W)
    if bounds is not None and OPT["bounds"]:
        lo, hi = bounds
        d = np.trace(C, axis1=1, axis2=2) / C.shape[1] + 1e-12
        inv = np.linalg.inv(C + (lam * d)[:, None, None] * np.eye(C.shape[1]))
        prior = W0 if OPT["prior"] else 0 * W0
        low, high = Y <= lo, Y >= hi
        for _ in range(OPT["iterations"]):
            P = X @ W.astype(np.float32) + b[:, None].astype(np.float32)
            T = np.where(low, np.minimum(P, lo), np.where(high, np.maximum(P, hi), Y))
            my = T.mean(1, dtype=np.float64)
            R = (xc.transpose(0, 2, 1) @ (T - my[:, None].astype(np.float32))).astype(np.float64) / n
            W = prior + inv @ (R - C @ prior)
            b = my - np.einsum("gf,gfo->go", mx, W)
    return W, b, lam


def shadow(c, node, model):
    """The call as the cut vertex has it."""
    from dataclasses import replace
    attrs = dict(c.call.attributes)
    if "group" in node.attributes: attrs["group"] = node.attributes["group"].value
    tensors = list(c.call.inputs)
    w = constant(node.inputs[c.linear.weight])
    tensors[c.linear.weight] = replace(tensors[c.linear.weight], shape=tuple(w.shape.numpy()))
    return replace(c.call, attributes=attrs, inputs=tensors)


def put(model, node, index, array):
    old = node.inputs[index] if index < len(node.inputs) else None
    name = (old.name if old is not None and old.name else f"{node.outputs[0].name}_{index}") + "_fitted"
    t = ir.Tensor(np.ascontiguousarray(array.astype(np.float32)), name=name)
    v = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(t.dtype), const_value=t)
    model.graph.initializers[name] = v
    if index >= len(node.inputs): node.resize_inputs(index + 1)
    node.replace_input_with(index, v)
    if old is not None and old.is_initializer() and not old.uses() and old.name in model.graph.initializers and not old.is_graph_input():
        del model.graph.initializers[old.name]


def shift(model, node, array):
    out = node.outputs[0]
    uses = out.uses()
    if len(uses) == 1:
        u = uses[0].node
        if u.op_type == "Add":
            i = 1 - uses[0].idx
            t = constant(u.inputs[i])
            if t is not None and t.shape.numpy() and t.shape.numpy()[-1] == len(array) and np.prod(t.shape.numpy()) == len(array):
                put(model, u, i, (t.numpy() + array.reshape(t.shape.numpy())).astype(np.float32))
                return
    name = out.name + "_shift"
    t = ir.Tensor(array.astype(np.float32), name=name)
    v = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(t.dtype), const_value=t)
    model.graph.initializers[name] = v
    old = out.name
    add = ir.Node("", "Add", [out, v], name=name)
    for u in list(uses): u.node.replace_input_with(u.idx, add.outputs[0])
    out.name = old + "_unshifted"; add.outputs[0].name = old
    node.append(add)


def plan(labels, c, index):
    """What the consumer is fitted to: its own output, or the sum that it goes into."""
    out = c.node.outputs[0]
    target, other = out, None
    uses = out.uses()
    if len(uses) == 1 and uses[0].node.op_type == "Add" and not out.is_graph_output():
        add = uses[0].node
        o = add.inputs[1 - uses[0].idx]
        if constant(o) is None and before(labels, o, c.node) and o is not out:
            shp = c.call.outputs[0].shape; ot = labels.calls.get(add)
            if ot is not None and ot.inputs[1 - uses[0].idx].shape == shp:
                target, other = add.outputs[0], o
    bounds = None
    users = target.uses()
    if len(users) == 1 and not target.is_graph_output():
        bounds = activation(labels, users[0].node)
    return Sampled(c, index, target, other, bounds, [])


def activation(labels, node):
    if node.op_type == "Relu": return (0.0, np.inf)
    if node.op_type == "Clip":
        call = labels.calls[node]
        lo, hi = call.parameter("min", 1), call.parameter("max", 2)
        g = lambda i, d: d if len(node.inputs) <= i or node.inputs[i] is None else float(constant(node.inputs[i]).numpy())
        if call.version < 11: return float(call.attributes.get("min", -np.inf)), float(call.attributes.get("max", np.inf))
        return g(1, -np.inf), g(2, np.inf)
    return None


def before(labels, value, node):
    """Whether `value` doesn't depend on `node`, and comes earlier."""
    order = {n: i for i, n in enumerate(labels.model.graph)}
    p = value.producer()
    return p is None or order[p] < order[node]


def originals(labels, tasks, feeds, device, seed, keep):
    model = labels.model
    wanted = list(dict.fromkeys(t.target for t in tasks))
    nodes, fed = piece(model, wanted)
    infos = [onnx.helper.make_tensor_value_info(v.name, onnx.helper.np_dtype_to_tensor_dtype(feeds[0][0][v.name].dtype), [None] * feeds[0][0][v.name].ndim) for v in fed]
    session = Session(serialised(model, nodes, infos, wanted), device)
    for t in tasks: t.picks = []; t.halves = 0
    for b, (feed, real) in enumerate(feeds):
        arrays = session.run(feed)
        for t in tasks:
            c = t.consumer
            y = arrays[t.target.name]
            total = c.linear.count(y)
            enough = max(OPT["least"], ROWS * c.features)
            p = picked(total, enough / (total * len(feeds)), (seed, t.index, b))
            p = p[p < total * real]
            t.picks.append(p)
            t.rows.append(c.linear.outputs(c.call, y, p))
            if b < len(feeds) * 0.7: t.halves += len(p)
