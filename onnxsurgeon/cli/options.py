"""Options that several commands share, and what their texts mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from onnxsurgeon.cli.panels import DATA as DATA_PANEL
from onnxsurgeon.cli.panels import OUTPUT, PROOF
from onnxsurgeon.errors import UsageError

if TYPE_CHECKING:
    from onnxsurgeon.data import Data
    from onnxsurgeon.model.model import Model

# As in the package, which is not imported for them: --help is to be quick.
Metric = Literal["params", "macs", "size"]
Free = Literal["auto", "heads", "head-size"]
Device = Literal["auto", "cuda", "cpu"]
Preset = Literal["imagenet", "cifar", "unit"]
Compensation = Literal["none", "bias", "linear", "sequential", "joint"]


def shapes(texts: Sequence[str] | None) -> dict[str, tuple[int, ...]]:
    """Input shapes from `name:1,3,224,224`."""
    found = {}
    for text in texts or ():
        name, colon, dims = text.rpartition(":")
        if not (name and colon and all(n.strip().isdecimal() for n in dims.split(","))):
            raise UsageError(
                f"--input-shape {text!r} is no shape",
                why="wanted: name:dim,dim,...",
                fix="write it like input:1,3,224,224",
            )
        found[name] = tuple(int(n) for n in dims.split(","))
    return found


def read_model(path: Path, stated: Mapping[str, tuple[int, ...]]) -> Model:
    """The model, whose inputs have the `stated` shapes; raises UsageError where they can't."""
    from onnxsurgeon.model.model import load

    model = load(path)
    inputs = {v.name: v for v in model.ir.graph.inputs if not v.is_initializer()}
    for name, shape in stated.items():
        own = inputs[name].shape if name in inputs else None
        if (
            own is None
            or len(own) != len(shape)
            or any(isinstance(a, int) and a != b for a, b in zip(own, shape, strict=True))
        ):
            known = ", ".join(f"{v.name} {v.shape}" for v in inputs.values())
            raise UsageError(
                f"--input-shape {name}:{','.join(map(str, shape))} does not fit", why=f"inputs: {known}",
                fix="name an input and give all its dims; only dynamic ones can be chosen",
            )  # fmt: skip
    return model


def read_data(
    spec: str, model: Model, stated: Mapping[str, tuple[int, ...]], *,
    preprocess: Preset | None, samples: int | None, batch: int | None, seed: int,
) -> Data:  # fmt: skip
    """Data for `model`, whose inputs have the `stated` shapes; raises UsageError or ModelError where they are bad."""
    from onnxsurgeon.data import inputs_of, open_data

    wanted = inputs_of(model.ir, stated)
    return open_data(spec, wanted, preprocess=preprocess, samples=samples, batch=batch, seed=seed)


Models = Annotated[
    list[Path],
    typer.Argument(metavar="MODEL", help="An .onnx file; with --output-dir several, or globs.", show_default=False),
]
OutputDir = Annotated[
    Path | None,
    typer.Option(
        "--output-dir",
        metavar="DIR",
        help="Prune several models, each in a process of its own, to DIR/MODEL.onnx.",
        show_default=False,
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        metavar="N",
        min=1,
        help="With --output-dir: models at once. [default: half of the cores]",
        show_default=False,
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="With --output-dir: skip what an earlier run has done with the same options.")
]
ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help="An .onnx file.", show_default=False)]
Shapes = Annotated[
    list[str] | None,
    typer.Option(
        "--input-shape",
        metavar="NAME:1,3,224,224",
        help="Shape of a dynamic input. Repeatable.",
        rich_help_panel=DATA_PANEL,
    ),
]
OnDevice = Annotated[Device, typer.Option(help="What onnxruntime runs on; auto: CUDA where it really works.")]
Atol = Annotated[
    float | None,
    typer.Option(metavar="X", min=0, help="Accepted absolute difference. [default: 1e-5]", rich_help_panel=PROOF),
]
Rtol = Annotated[
    float | None,
    typer.Option(
        metavar="X",
        min=0,
        help="Accepted difference, relative to the largest output. [default: by type, 1e-3 for float32]",
        rich_help_panel=PROOF,
    ),
]
Seed = Annotated[int, typer.Option(metavar="N", min=0, help="Seed of whatever is random.")]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print the report as one JSON object on stdout.", rich_help_panel=OUTPUT)
]
ReportTo = Annotated[
    Path | None,
    typer.Option(
        "--report",
        metavar="FILE.json",
        help="Write the report as JSON to a file.",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print nothing unless it fails.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Whole tables, progress as lines, tracebacks.")]
DATA = "An .npz or .npy file, a folder of images, or a function that yields batches."
DataSpec = Annotated[str, typer.Option("--data", metavar="FILE|DIR|MODULE:FUNCTION", help=DATA, show_default=False)]
SomeData = Annotated[
    str | None, typer.Option("--data", metavar="FILE|DIR|MODULE:FUNCTION", help=DATA, show_default=False)
]
Preprocess = Annotated[Preset | None, typer.Option(help="How a folder of images becomes numbers.")]
Samples = Annotated[int | None, typer.Option(metavar="N", min=1, help="At most so many, drawn by --seed.")]
BatchSize = Annotated[
    int | None, typer.Option("--batch", metavar="N", min=1, help="Samples at a time. [default: 32, or the model's own]")
]
OutputName = Annotated[
    str | None, typer.Option("--output-name", metavar="NAME", help="The output to score, where there are several.")
]
METRICS = "top1, top5, mse, cosine, psnr, or MODULE:FUNCTION"
CRITERIA = (
    "What neurons are worth: l1, l2, l2-norm, bn-scale, random, uniform, or file:scores.npz; with --data also"
    " activation, variance, wanda, reconstruction, output-error."
)
Compensate = Annotated[
    Compensation | None,
    typer.Option(
        help="Fit the weights behind a cut anew: in closed form, and by joint also with gradient steps towards the"
        " original's outputs, which need no labels but minutes. [default: sequential with --data, else none]",
        show_default=False,
    ),
]
Stats = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Where to keep what --data tells of this model: the next ratio costs no pass."),
]
Mirror = Annotated[
    bool, typer.Option("--mirror", help="--data are images: fit to their mirror images, too; joint also moves them.")
]
Rotate = Annotated[
    bool | None,
    typer.Option(
        "--rotate/--no-rotate",
        help="Cut components of linear streams (residual bottlenecks), not their channels. [default: with sequential or"
        " joint]",
        show_default=False,
    ),
]
Memory = Annotated[str, typer.Option(metavar="SIZE", help="About so much for what --data makes, like 2GB.")]
