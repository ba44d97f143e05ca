"""The labelled data sets of the zoo's trained models, for --data: zoo_data:MODEL_HALF.

    ZOO=.../zoo/real PYTHONPATH=scripts onnxsurgeon evaluate $ZOO/models/NAME.onnx --data zoo_data:NAME_score

NAME: a model in $ZOO/models. HALF: `calibration` and `score`, which share no samples (a fixed draw), or `all`. Images
are preprocessed as in each model's training. As a program it scores all models on `all`:

    scripts/zoo_data.py $ZOO
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import numpy as np

Array = np.ndarray
Samples = Iterator[tuple[dict[str, Array], Array]]
STEP = 50
ONE_BY_ONE = ("tinyml_cifar_int8_dynamic", "mobilenetv2_int8_edgebench")  # ranges are taken from a batch

IMAGENET = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
CIFAR_MEAN = np.array([0.4914, 0.4822, 0.4465], np.float32)
CIFAR_STD = np.array([0.2471, 0.2435, 0.2616], np.float32)
CIFAR_STD_OF_BATCHES = np.array([0.2023, 0.1994, 0.2010], np.float32)  # a common variant in training code
BGR_MEAN = np.array([104, 117, 123], np.float32)


def first(pixels: Array) -> Array:
    """Images with colours before height and width."""
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)).astype(np.float32)


def normal(mean: Array, std: Array) -> Callable[[Array], Array]:
    return lambda pixels: first((pixels / 255 - mean) / std)


def rows(*shape: int) -> Callable[[Array], Array]:
    return lambda pixels: (pixels / 255).reshape(-1, *shape)


DIGITS: dict[str, Callable[[Array], Array]] = {
    **dict.fromkeys(("mnist_cntk", "winml_mnist_cppcx"), lambda pixels: pixels[:, None]),
    "mnist_pytorch_onnx2c": rows(784),
    **dict.fromkeys(("vnn_mnist_fc_256x2", "vnn_mnist_fc_256x4"), rows(784, 1)),
    **dict.fromkeys(
        ("vnn_mnist_avgpool", "vnn_mnist_maxpool", "vnn_mnist_sigmoid_6x200", "vnn_mnist_relu_9_200"), rows(1, 28, 28)
    ),
}
THINGS: dict[str, Callable[[Array], Array]] = {
    **dict.fromkeys(("vnn_cifar10_resnet2b", "vnn_cifar10_resnet4b"), normal(CIFAR_MEAN, CIFAR_STD)),
    **dict.fromkeys(
        "vnn_oval_cifar_deep vnn_oval_cifar_wide vnn_oval_cifar_base vnn_cifar10_vit_pgd vnn_cifar10_vit_ibp "
        "vnn_cifar_biasfield_base tinyml_cifar_fp32 tinyml_cifar_qdq_static tinyml_cifar_int8_dynamic".split(),
        normal(CIFAR_MEAN, CIFAR_STD_OF_BATCHES),
    ),
    "winml_cifar_cnn": lambda pixels: first(pixels / 127.5 - 1),
    **dict.fromkeys(
        ("vnn_marabou_cifar_small", "vnn_marabou_cifar_medium", "vnn_marabou_cifar_large"), rows(32, 32, 3)
    ),
}
PHOTOS: dict[str, Callable[[Array], Array]] = {
    **dict.fromkeys(
        "mobilenetv2_zoo_fp32_derived mobilenetv2_tv_fp32_derived mobilenetv2_int8_edgebench "
        "nnstreamer_mobilenetv2_quant".split(),
        normal(*IMAGENET),
    ),
    "squeezenet_fp32_derived": lambda pixels: first(pixels[..., ::-1] - BGR_MEAN),
    "squeezenet_fp16": lambda pixels: first(pixels[..., ::-1] - BGR_MEAN).astype(np.float16),
}
SETS = {"mnist_t10k_half.npz": DIGITS, "cifar10_jpegtest_half.npz": THINGS, "imagenet_short256": PHOTOS}
HALVES = ("calibration", "score", "all")


def __getattr__(name: str) -> Callable[[], Samples]:
    model, _, half = name.rpartition("_")
    for place, models in SETS.items():
        if model in models and half in HALVES:
            return partial(samples, Path(os.environ["ZOO"]) / "data" / place, models[model], half)
    raise AttributeError(name)


def samples(place: Path, preprocess: Callable[[Array], Array], half: str) -> Samples:
    """Yields (inputs, labels) in batches."""
    chosen = positions(len(labels(place)), half)
    for start in range(0, len(chosen), STEP):
        part = chosen[start : start + STEP]
        yield {"pictures": preprocess(pixels(place, part))}, labels(place)[part]


def positions(count: int, half: str) -> Array:
    """The sample indices of a half, ascending."""
    order = np.random.default_rng(0).permutation(count)
    return np.sort({"calibration": order[: count // 2], "score": order[count // 2 :], "all": order}[half])


@cache
def members(place: Path) -> dict[str, Array]:
    with np.load(place) as archive:
        return dict(archive)


def files(place: Path) -> list[Path]:
    return sorted(place.glob("*.jpg"))


def labels(place: Path) -> Array:
    if place.is_dir():
        return np.array([int(path.name[:4]) for path in files(place)])
    return np.asarray(members(place)["labels"])


def pixels(place: Path, chosen: Array) -> Array:
    """Pixels from 0 to 255, shape (samples, height, width[, colours])."""
    if not place.is_dir():
        return np.asarray(members(place)["images"][chosen], np.float32)
    from PIL import Image

    found = []
    for path in np.array(files(place))[chosen]:
        with Image.open(path) as image:
            left, top = (image.width - 224) // 2, (image.height - 224) // 2
            found.append(np.asarray(image.convert("RGB").crop((left, top, left + 224, top + 224))))
    return np.stack(found).astype(np.float32)


def main() -> None:
    import onnxsurgeon as osg

    zoo = Path(sys.argv[1])
    os.environ["ZOO"] = str(zoo)
    for name, known in json.loads((zoo / "BASELINES.json").read_text()).items():
        try:
            shape = osg.load(zoo / "models" / f"{name}.onnx").ir.graph.inputs[0].shape
            size = None if shape and isinstance(shape[0], int) else 1 if name in ONE_BY_ONE else STEP
            found = osg.evaluate(zoo / "models" / f"{name}.onnx", f"zoo_data:{name}_all", batch=size).value
        except osg.ModelError as problem:
            print(f"{name:32s} refused: {problem.what} {problem.why}")
            continue
        print(
            f"{name:32s} {found:.4f}  {known['top1']:.4f}  {'same' if found == known['top1'] else 'other'}", flush=True
        )


if __name__ == "__main__":
    main()
