"""Makes fixtures/*.onnx: a small seeded network for each structure that a pruner must handle.

    python scripts/make_fixtures.py [--only NAME ...] [--out FOLDER]

A second run gives the same bytes. Only `digits` needs scikit-learn, for its images. In the drawings `>` is data flow,
`(a, b)` are parallel paths, and `+` adds.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, numpy_helper

import onnxsurgeon as osg
from net import Array, Net

Split = dict[str, Array]
CLASSES = 10
HALVE: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2]}
IMAGE = ("batch", 3, 16, 16)
FOLDER = Path(__file__).resolve().parent.parent / "fixtures"


# Convolutional networks


def classify(net: Net, x: str) -> Net:
    """The finished net: x > global average pool > Flatten > Gemm."""
    x = net.add("Flatten", "flatten", net.add("GlobalAveragePool", "pool", x))
    return net.finish(net.gemm(x, "fc", CLASSES), ("batch", CLASSES))


def plain() -> Net:
    """(conv > bn > relu) x 3 > pool > gemm."""
    net = Net("plain", IMAGE)
    x = "input"
    for i, width in enumerate((16, 24, 32), start=1):
        x = net.conv_bn_relu(x, f"conv{i}", width, stride=min(i, 2))
    return classify(net, x)


def basic_block(net: Net, x: str, name: str, out: int, *, stride: int = 1) -> str:
    """x > conv > conv + x, where the last x is a 1x1 conv of it if the size changes."""
    y = net.conv_bn_relu(x, f"{name}.conv1", out, stride=stride)
    y = net.conv_bn(y, f"{name}.conv2", out)
    if stride > 1 or net.width[x] != out:
        x = net.conv_bn(x, f"{name}.downsample", out, 1, stride=stride)
    return net.add("Relu", f"{name}.relu", net.add("Add", f"{name}.add", y, x))


def resnet(name: str, shape: tuple[int | str, ...], blocks: dict[str, int], channels: int = 3) -> Net:
    """stem > basic blocks; a block that widens halves the image."""
    net = Net(name, shape, width=channels)
    x = net.conv_bn_relu("input", "conv1", next(iter(blocks.values())))
    for block, width in blocks.items():
        x = basic_block(net, x, block, width, stride=1 if width == net.width[x] else 2)
    return classify(net, x)


def residual() -> Net:
    """stem > two blocks of 32 > a block that goes to 64."""
    return resnet("residual", IMAGE, {"layer1.0": 32, "layer1.1": 32, "layer2.0": 64})


def inception(net: Net, x: str, name: str, width: int) -> str:
    """x > (1x1, 1x1 > 3x3, 1x1 > 3x3 > 3x3, pool > 1x1) > concat."""
    one = net.conv_bn_relu(x, f"{name}.one", width, 1)
    three = net.conv_bn_relu(net.conv_bn_relu(x, f"{name}.three1", width, 1), f"{name}.three2", width + 4)
    five = net.conv_bn_relu(net.conv_bn_relu(x, f"{name}.five1", width, 1), f"{name}.five2", width)
    five = net.conv_bn_relu(five, f"{name}.five3", width + 4)
    pool = net.add("MaxPool", f"{name}.pool", x, kernel_shape=[3, 3], pads=[1] * 4)
    return net.concat(f"{name}.concat", one, three, five, net.conv_bn_relu(pool, f"{name}.project", width, 1))


def concat() -> Net:
    """stem > two inception modules."""
    net = Net("concat", IMAGE)
    x = inception(net, net.conv_bn_relu("input", "conv1", 16, stride=2), "mixed1", 8)
    return classify(net, inception(net, x, "mixed2", 12))


def nested() -> Net:
    """stem > (((a, b) > concat + stem), c) > concat > conv; the batch is fixed."""
    net = Net("nested", (1, *IMAGE[1:]))
    stem = net.conv_bn_relu("input", "conv1", 24)
    inner = net.concat("inner.concat", net.conv(stem, "inner.a", 10, bias=True), net.conv(stem, "inner.b", 14, 1))
    x = net.add("Relu", "inner.relu", net.add("Add", "inner.add", inner, stem))
    x = net.concat("outer.concat", x, net.conv_bn_relu(stem, "outer.c", 12))
    return classify(net, net.conv_bn_relu(x, "conv2", 32, stride=2))


def inverted_residual(net: Net, x: str, name: str, out: int, *, stride: int = 1) -> str:
    """x > 1x1 widens by 4 > depthwise 3x3 > 1x1, + x if the size stays."""
    wide = 4 * net.width[x]
    y = relu6(net, net.conv_bn(x, f"{name}.expand", wide, 1), f"{name}.clip1")
    y = relu6(net, net.conv_bn(y, f"{name}.depthwise", wide, stride=stride, groups=wide), f"{name}.clip2")
    y = net.conv_bn(y, f"{name}.project", out, 1)
    return net.add("Add", f"{name}.add", y, x) if stride == 1 and out == net.width[x] else y


def relu6(net: Net, x: str, name: str) -> str:
    low, high = (net.constant(f"relu6.{bound}", bound, np.float32) for bound in (0, 6))
    return net.add("Clip", name, x, low, high)


def depthwise() -> Net:
    """A small MobileNetV2; every Clip shares its two bounds."""
    net = Net("depthwise", IMAGE)
    x = relu6(net, net.conv_bn("input", "conv1", 16, stride=2), "clip1")
    x = inverted_residual(net, x, "block1", 16)
    x = inverted_residual(net, x, "block2", 24, stride=2)
    x = inverted_residual(net, x, "block3", 24)
    return classify(net, relu6(net, net.conv_bn(x, "conv2", 48, 1), "clip2"))


def grouped() -> Net:
    """stem > two ResNeXt blocks: 1x1 > 3x3 in 4 groups > 1x1 + x."""
    net = Net("grouped", IMAGE)
    x = net.conv_bn_relu("input", "conv1", 32, stride=2)
    for name in ("layer1.0", "layer1.1"):
        y = net.conv_bn_relu(x, f"{name}.conv1", 32, 1)
        y = net.conv_bn_relu(y, f"{name}.conv2", 32, groups=4)
        y = net.conv_bn(y, f"{name}.conv3", 32, 1)
        x = net.add("Relu", f"{name}.relu", net.add("Add", f"{name}.add", y, x))
    return classify(net, x)


def se() -> Net:
    """stem > block + stem, the block scaled per channel: pool > 1x1 > 1x1 > sigmoid > mul."""
    net = Net("se", IMAGE)
    stem = net.conv_bn_relu("input", "conv1", 24)
    y = net.conv_bn(net.conv_bn_relu(stem, "block.conv1", 32), "block.conv2", 24)
    gate = net.conv(net.add("GlobalAveragePool", "se.pool", y), "se.reduce", 8, 1, bias=True)
    gate = net.conv(net.add("Relu", "se.relu", gate), "se.expand", 24, 1, bias=True)
    y = net.add("Mul", "se.mul", y, net.add("Sigmoid", "se.sigmoid", gate))
    return classify(net, net.add("Relu", "block.relu", net.add("Add", "block.add", y, stem)))


def flatten() -> Net:
    """conv > ((Flatten > gemm > gemm) + (conv > Reshape to [-1, size] > gemm))."""
    net = Net("flatten", IMAGE)
    x = net.add("MaxPool", "pool1", net.conv_bn_relu("input", "conv1", 12, stride=2), **HALVE)
    deep = net.gemm(net.add("Flatten", "flatten", x, width=12 * 4 * 4), "fc1", 32)
    deep = net.gemm(net.add("Relu", "fc1.relu", deep), "fc2", CLASSES)
    y = net.add("AveragePool", "pool2", net.conv_bn_relu(x, "conv2", 16), **HALVE)
    y = net.gemm(net.reshape(y, "reshape", [-1, 16 * 2 * 2], width=16 * 2 * 2), "fc3", CLASSES)
    return net.finish(net.add("Add", "add", deep, y), ("batch", CLASSES))


def channel_shuffle(net: Net, x: str, name: str, *, groups: int, side: int) -> str:
    width = net.width[x]
    x = net.reshape(x, f"{name}.split", [-1, groups, width // groups, side, side])
    x = net.transpose(x, f"{name}.transpose", 0, 2, 1, 3, 4)
    return net.reshape(x, f"{name}.merge", [-1, width, side, side])


def shuffle() -> Net:
    """stem > a ShuffleNet v1 unit (4 groups, add) > a v2 unit (split in halves, concat, shuffle)."""
    net = Net("shuffle", IMAGE)
    x = net.conv_bn_relu("input", "conv1", 32, stride=2)
    y = channel_shuffle(net, net.conv_bn_relu(x, "unit1.conv1", 32, 1, groups=4), "unit1.shuffle", groups=4, side=8)
    y = net.conv_bn(y, "unit1.depthwise", 32, groups=32)
    y = net.conv_bn(y, "unit1.conv2", 32, 1, groups=4)
    x = net.add("Relu", "unit1.relu", net.add("Add", "unit1.add", y, x))
    sizes = net.constant("unit2.split.sizes", [16, 16])
    halves = ["unit2.split.left", "unit2.split.right"]
    left, right = net.add_many("Split", "unit2.split", x, sizes, outputs=halves, axis=1, width=16)
    y = net.conv_bn_relu(right, "unit2.conv1", 16, 1)
    y = net.conv_bn_relu(net.conv_bn(y, "unit2.depthwise", 16, groups=16), "unit2.conv2", 16, 1)
    x = channel_shuffle(net, net.concat("unit2.concat", left, y), "unit2.shuffle", groups=2, side=8)
    return classify(net, net.conv_bn_relu(x, "conv2", 48, 1))


def deconv() -> Net:
    """A small U-Net for one image: up by ConvTranspose, then by Resize; a concat with the way down after each.

    enc1 > enc2 > mid > ConvTranspose, enc2 > concat > dec2 > Resize, enc1 > concat > dec1 > head
    """
    net = Net("deconv", (1, *IMAGE[1:]))
    enc1 = net.conv_bn_relu("input", "enc1", 12)
    enc2 = net.conv_bn_relu(net.add("MaxPool", "pool1", enc1, **HALVE), "enc2", 16)
    mid = net.conv_bn_relu(net.add("MaxPool", "pool2", enc2, **HALVE), "mid", 24)
    weight = net.he("up2.weight", (24, 16, 2, 2), fan_in=24)
    up2 = net.add("ConvTranspose", "up2", mid, weight, net.normal("up2.bias", (16,), scale=0.1), width=16, **HALVE)
    dec2 = net.conv_bn_relu(net.concat("concat2", up2, enc2), "dec2", 16)
    scales = net.constant("up1.scales", [1, 1, 2, 2], np.float32)
    up1 = net.add("Resize", "up1", dec2, "", scales, mode="linear", coordinate_transformation_mode="half_pixel")
    dec1 = net.conv_bn_relu(net.concat("concat1", up1, enc1), "dec1", 12)
    head = net.add("Sigmoid", "sigmoid", net.conv(dec1, "head", 2, 1, bias=True))
    return net.finish(head, ("batch", 2, 16, 16))


# Sequences


def mlp(net: Net, x: str, name: str, hidden: int) -> str:
    """linear > GELU, spelled out with Erf > linear."""
    out = net.width[x]
    x = net.linear(x, f"{name}.fc1", hidden)
    root, one, half = (net.constant(f"{name}.{v:.3g}", v, np.float32) for v in (math.sqrt(2), 1.0, 0.5))
    erf = net.add("Erf", f"{name}.erf", net.add("Div", f"{name}.div", x, root))
    y = net.add("Mul", f"{name}.mul", x, net.add("Add", f"{name}.plus_one", erf, one))
    return net.linear(net.add("Mul", f"{name}.half", y, half), f"{name}.fc2", out)


def softmax_attention(net: Net, q: str, k: str, v: str, name: str, head_dim: int) -> str:
    """softmax(q k / sqrt(d)) v, moved to (batch, token, head, d); k is (batch, head, d, token)."""
    scale = net.constant(f"{name}.scale", math.sqrt(head_dim), np.float32)
    scores = net.add("Div", f"{name}.scaled", net.add("MatMul", f"{name}.scores", q, k), scale)
    x = net.add("MatMul", f"{name}.mix", net.add("Softmax", f"{name}.softmax", scores, axis=-1), v)
    return net.transpose(x, f"{name}.merge_heads", 0, 2, 1, 3)


def attention() -> Net:
    """embed > x + attention(norm x) > x + mlp(norm x) > norm > mean > gemm; reshapes spell 0 and -1."""
    heads, head_dim, dim = 4, 8, 32
    net = Net("attention", ("batch", "sequence", 20), width=20)
    x = net.linear("input", "embed", dim)
    y = net.layer_norm(x, "block.norm1")
    q, k, v = (
        net.transpose(
            net.reshape(net.linear(y, f"attn.{p}", dim), f"attn.{p}.heads", [0, -1, heads, head_dim]), p, *perm
        )
        for p, perm in (("q", (0, 2, 1, 3)), ("k", (0, 2, 3, 1)), ("v", (0, 2, 1, 3)))
    )
    y = net.reshape(softmax_attention(net, q, k, v, "attn", head_dim), "attn.reshape", [0, 0, -1], width=dim)
    x = net.add("Add", "block.add1", x, net.linear(y, "attn.proj", dim))
    x = net.add("Add", "block.add2", x, mlp(net, net.layer_norm(x, "block.norm2"), "mlp", 64))
    x = net.add("ReduceMean", "mean", net.layer_norm(x, "norm"), axes=[1], keepdims=0)
    return net.finish(net.gemm(x, "fc", CLASSES), ("batch", CLASSES))


def sizes_of(net: Net, x: str, name: str, axes: list[int], *rest: int) -> str:
    """Shape of a view as tracing spells it: Shape > Gather > Unsqueeze for each axis of x, then literals > Concat."""
    parts = []
    for axis in axes:
        shape = net.add("Shape", f"{name}.shape{axis}", x)
        index = net.add("Constant", f"{name}.index{axis}", value=numpy_helper.from_array(np.array(axis)))
        size = net.add("Gather", f"{name}.size{axis}", shape, index, axis=0)
        parts.append(net.add("Unsqueeze", f"{name}.unsqueeze{axis}", size, net.constant(f"{name}.axis{axis}", [0])))
    for i, literal in enumerate(rest):
        parts.append(net.add("Constant", f"{name}.literal{i}", value=numpy_helper.from_array(np.array([literal]))))
    return net.add("Concat", f"{name}.concat", *parts, axis=0)


def packed_attention(net: Net, x: str, name: str, heads: int, unpack: Callable[[Net, str, str], list[str]]) -> str:
    """linear to 3 (heads d) > view [B, N, 3, heads, d] > (3, B, heads, N, d) > unpack > attention > linear."""
    dim, head_dim = net.width[x], net.width[x] // heads
    qkv = net.linear(x, f"{name}.qkv", 3 * dim)
    view = sizes_of(net, x, f"{name}.view", [0, 1], 3, heads, head_dim)
    qkv = net.add("Reshape", f"{name}.reshape_qkv", qkv, view)
    q, k, v = unpack(net, net.transpose(qkv, f"{name}.permute", 2, 0, 3, 1, 4), name)
    y = softmax_attention(net, q, net.transpose(k, f"{name}.k_t", 0, 1, 3, 2), v, name, head_dim)
    view = sizes_of(net, x, f"{name}.flat", [0, 1, 2])
    return net.linear(net.add("Reshape", f"{name}.reshape", y, view, width=dim), f"{name}.proj", dim)


def unpack_by_gather(net: Net, qkv: str, name: str) -> list[str]:
    indices = {p: net.constant(f"{name}.{p}.index", i) for i, p in enumerate("qkv")}
    return [net.add("Gather", f"{name}.{p}", qkv, index, axis=0) for p, index in indices.items()]


def unpack_by_split(net: Net, qkv: str, name: str) -> list[str]:
    parts = net.add_many(
        "Split", f"{name}.split", qkv, net.constant(f"{name}.split.sizes", [1] * 3), axis=0,
        outputs=[f"{name}.split.{p}" for p in "qkv"],
    )  # fmt: skip
    axis = net.constant(f"{name}.squeeze.axes", [0])
    return [net.add("Squeeze", f"{name}.{p}", part, axis) for p, part in zip("qkv", parts, strict=True)]


def fused_qkv() -> Net:
    """A ViT of two blocks with packed q, k, v as tracing exports it: unpacked by Gather in one, by Split in the other.

    The view after attention takes its width from the Shape of the block's input, though it is heads x d.
    """
    dim, heads = 32, 4
    net = Net("fused_qkv", IMAGE)
    weight = net.he("patch.weight", (dim, 3, 4, 4), fan_in=48)
    bias = net.normal("patch.bias", (dim,), scale=0.1)
    x = net.add("Conv", "patch", "input", weight, bias, width=dim, kernel_shape=[4, 4], strides=[4, 4])
    x = net.add("Reshape", "patch.flatten", x, sizes_of(net, x, "patch.view", [0, 1], -1))
    x = net.transpose(x, "patch.transpose", 0, 2, 1)
    x = net.add("Add", "pos.add", x, net.normal("pos.embed", (1, 16, dim), scale=0.2))
    for i, unpack in enumerate((unpack_by_gather, unpack_by_split)):
        name = f"blocks.{i}"
        y = packed_attention(net, net.layer_norm(x, f"{name}.norm1"), f"{name}.attn", heads, unpack)
        x = net.add("Add", f"{name}.add1", x, y)
        y = mlp(net, net.layer_norm(x, f"{name}.norm2"), f"{name}.mlp", 48)
        x = net.add("Add", f"{name}.add2", x, y)
    x = net.add("ReduceMean", "mean", net.layer_norm(x, "norm"), axes=[1], keepdims=0)
    return net.finish(net.gemm(x, "fc", CLASSES), ("batch", CLASSES))


def recurrent_params(net: Net, x: str, name: str, *, gates: int, hidden: int, directions: int) -> list[str]:
    """W, R and B of a recurrent operator."""
    shapes = {"W": (gates * hidden, net.width[x]), "R": (gates * hidden, hidden), "B": (2 * gates * hidden,)}
    scale = 1 / math.sqrt(hidden)
    return [net.normal(f"{name}.{key}", (directions, *shape), scale=scale) for key, shape in shapes.items()]


def lstm() -> Net:
    """tokens > embedding > two-way LSTM > GRU > its last state > gemm."""
    net = Net("lstm", ("batch", "sequence"), dtype=TensorProto.INT64)
    table = net.normal("embed.weight", (50, 24), scale=1)
    x = net.transpose(net.add("Gather", "embed", table, "input", width=24), "time_first", 1, 0, 2)
    params = recurrent_params(net, x, "lstm", gates=4, hidden=24, directions=2)
    x = net.add("LSTM", "lstm", x, *params, hidden_size=24, direction="bidirectional")
    x = net.reshape(net.transpose(x, "lstm.transpose", 0, 2, 1, 3), "lstm.reshape", [0, 0, -1], width=48)
    params = recurrent_params(net, x, "gru", gates=3, hidden=32, directions=1)
    _, x = net.add_many(
        "GRU", "gru", x, *params, outputs=["", "gru.last"], width=32, hidden_size=32, linear_before_reset=1
    )
    x = net.add("Squeeze", "gru.squeeze", x, net.constant("gru.squeeze.axes", [0]))
    return net.finish(net.gemm(x, "fc", CLASSES), ("batch", CLASSES))


# Trained networks


def xor() -> Net:
    """gemm > relu > gemm, 2-32-1, fitted to exclusive or."""
    net = Net("xor", ("batch", 2), width=2)
    x = net.gemm(net.add("Relu", "relu", net.gemm("input", "fc1", 32)), "fc2", 1)
    weights = [net.params[name].astype(np.float64) for name in ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias")]
    for _ in range(600):
        weights = [weight - 0.05 * slope for weight, slope in zip(weights, xor_slopes(*weights), strict=True)]
    for name, weight in zip(net.params, weights, strict=True):
        net.constant(name, weight, np.float32)
    return net.finish(x, ("batch", 1))


def xor_slopes(w1: Array, b1: Array, w2: Array, b2: Array) -> tuple[Array, ...]:
    """Gradient of the squared error; products are summed by hand because BLAS rounds differently on each machine."""
    x = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    hidden = np.maximum((x[:, None] * w1).sum(-1) + b1, 0)
    error = ((hidden * w2).sum(-1) + b2 - [0, 1, 1, 0])[:, None]
    back = error * w2 * (hidden > 0)
    return (back[..., None] * x[:, None]).sum(0), back.sum(0), (error * hidden).sum(0)[None], error.sum(0)


def digits() -> Net:
    """A residual network trained on scikit-learn's 8x8 digits, pixels in 0 to 1."""
    return resnet("digits", ("batch", 1, 8, 8), {"layer1.0": 24, "layer1.1": 24, "layer2.0": 48}, channels=1)


def train_digits(net: Net, *, epochs: int = 12, test: int = 450) -> tuple[onnx.ModelProto, Split, Split]:
    """The trained net, and images in 0 to 1, shape (samples, 1, 8, 8), with labels: to train on, and held out."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    x, y = (images[order] / 16).astype(np.float32).reshape(-1, 1, 8, 8), labels[order]
    seen, held = {"input": x[test:], "labels": y[test:]}, {"input": x[:test], "labels": y[:test]}
    return trained_digits(net.model(), seen, epochs=epochs), seen, held


def trained_digits(model: onnx.ModelProto, seen: Split, *, epochs: int) -> onnx.ModelProto:
    """The net of `digits`, trained from random weights."""
    batches = [({"input": seen["input"]}, seen["labels"])]
    found = osg.train(
        model, batches, epochs=epochs, batch=64, lr=5e-3, weight_decay=0.02, schedule="one-cycle", threads=1,
        device="cpu",
    )  # fmt: skip
    proto: onnx.ModelProto = ir.to_proto(found.ir)
    return proto


UNTRAINED = (
    plain, residual, concat, nested, depthwise, grouped, se, flatten, shuffle, attention, fused_qkv, lstm, deconv, xor,
)  # fmt: skip
FIXTURES: dict[str, Callable[[], Net]] = {build.__name__: build for build in (*UNTRAINED, digits)}


def make(name: str, folder: Path) -> Path:
    """Path of the fixture that was written; for `digits` its samples are written beside it."""
    net = FIXTURES[name]()
    if name == "digits":
        model, seen, held = train_digits(net)
        for split, arrays in (("train", seen), ("test", held)):
            np.savez_compressed(folder / f"digits_{split}.npz", input=arrays["input"], labels=arrays["labels"])
    else:
        model = net.model()
    path = folder / f"{name}.onnx"
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=FIXTURES, metavar="NAME", help="make only these")
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="FOLDER", help="output folder (default: fixtures/)")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.only or FIXTURES:
        path = make(name, args.out)
        print(f"{path.name:18} {path.stat().st_size / 1000:7.1f} kB")


if __name__ == "__main__":
    main()
