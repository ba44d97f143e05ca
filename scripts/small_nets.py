"""Small networks for pictures of 3x32x32, with random weights: to train, and to measure training on."""

from __future__ import annotations

from collections.abc import Callable

from make_fixtures import CLASSES, classify, inverted_residual, packed_attention, relu6, unpack_by_split
from net import Net

PICTURES = ("batch", 3, 32, 32)


def resnet(name: str = "resnet", *, blocks: int = 3, widths: tuple[int, ...] = (16, 32, 64), stride: int = 1) -> Net:
    """As He et al. 2016 for CIFAR: 3x3 convolutions in pairs, three stages; 6 n + 2 layers.

    stride: of the first convolution.
    """
    net = Net(name, PICTURES)
    x = net.conv_bn_relu("input", "conv1", widths[0], stride=stride)
    for stage, width in enumerate(widths):
        for number in range(blocks):
            block, step = f"layer{stage + 1}.{number}", 2 if stage and not number else 1
            y = net.conv_bn_relu(x, f"{block}.conv1", width, stride=step)
            y = net.conv_bn(y, f"{block}.conv2", width)
            if net.width[x] != width or step != 1:
                x = net.conv_bn(x, f"{block}.downsample", width, 1, stride=step)
            x = net.add("Relu", f"{block}.relu", net.add("Add", f"{block}.add", y, x))
    return classify(net, x)


def mobile() -> Net:
    """Inverted residuals, as MobileNetV2."""
    net = Net("mobile", PICTURES)
    x = relu6(net, net.conv_bn("input", "conv1", 16), "clip1")
    for number, (width, stride) in enumerate(((16, 1), (24, 2), (24, 1), (32, 2), (32, 1)), 1):
        x = inverted_residual(net, x, f"block{number}", width, stride=stride)
    return classify(net, relu6(net, net.conv_bn(x, "conv2", 128, 1), "clip2"))


def perceptron() -> Net:
    net = Net("mlp", PICTURES)
    x = net.add("Flatten", "flatten", "input", width=3 * 32 * 32)
    for number, width in enumerate((256, 256), 1):
        x = net.add("Relu", f"relu{number}", net.gemm(x, f"fc{number}", width))
    return net.finish(net.gemm(x, "head", CLASSES), ("batch", CLASSES))


def transformer(*, dim: int = 96, heads: int = 4, depth: int = 2) -> Net:
    """A ViT on patches of 4x4."""
    from make_fixtures import mlp

    net = Net("vit", PICTURES)
    weight, bias = net.he("patch.weight", (dim, 3, 4, 4), fan_in=48), net.normal("patch.bias", (dim,), scale=0.1)
    x = net.add("Conv", "patch", "input", weight, bias, width=dim, kernel_shape=[4, 4], strides=[4, 4])
    x = net.transpose(net.reshape(x, "patch.flatten", [0, dim, -1], width=dim), "patch.transpose", 0, 2, 1)
    x = net.add("Add", "pos.add", x, net.normal("pos.embed", (1, 64, dim), scale=0.02))
    for number in range(depth):
        y = packed_attention(
            net, net.layer_norm(x, f"block{number}.norm1"), f"block{number}.attn", heads, unpack_by_split
        )
        x = net.add("Add", f"block{number}.add1", x, y)
        y = mlp(net, net.layer_norm(x, f"block{number}.norm2"), f"block{number}.mlp", 4 * dim)
        x = net.add("Add", f"block{number}.add2", x, y)
    x = net.add("ReduceMean", "mean", net.layer_norm(x, "norm"), axes=[1], keepdims=0)
    return net.finish(net.gemm(x, "head", CLASSES), ("batch", CLASSES))


NETS: dict[str, Callable[[], Net]] = {
    "resnet": lambda: resnet(blocks=2, widths=(32, 64, 128)), "mobile": mobile, "mlp": perceptron, "vit": transformer,
}  # fmt: skip
