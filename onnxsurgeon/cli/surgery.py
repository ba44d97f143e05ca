"""The commands that edit a network: each makes its operation of what it was given; `edit` reads several from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from onnxsurgeon.cli.editing import Aligned, Common, Importance, NewStart, edit, name, scores_file, with_common
from onnxsurgeon.cli.group import add
from onnxsurgeon.cli.operations import asked
from onnxsurgeon.cli.options import ModelPath
from onnxsurgeon.cli.panels import EDIT
from onnxsurgeon.cli.resizing import resize

Start = Literal["identity", "zeros", "he"]  # as in the package
FreshStart = Literal["identity", "zeros", "he", "closest"]
OPS = "Conv, Linear, BatchNorm, MaxPool, AveragePool, or an activation like Relu, Silu, Gelu"
Op = Annotated[str, typer.Option(metavar="OP", help=f"{OPS}.", show_default=False)]
Kernel = Annotated[
    str | None, typer.Option(metavar="N|NxM", help="Of a Conv or pooling. [default: 3]", show_default=False)
]
Groups = Annotated[int | None, typer.Option(metavar="N", help="Of a Conv. [default: 1]", show_default=False)]
NoBias = Annotated[bool, typer.Option("--no-bias", help="A Conv or Linear without a bias.")]


@with_common
def remove(
    model: ModelPath,
    node: Annotated[str, name("NAME", "The node to take out.")],
    through: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which of several nodes that feed it takes its place.")
    ] = None,
    align: Aligned = None,
    importance: Importance = None,
    init: NewStart = None,
    *,
    common: Common,
) -> None:
    """Take a node out: what fed it feeds its readers, made equally wide first where that is needed."""
    given = {"name": node, "through": through, "align": align, "importance": importance, "init": init}
    edit("remove", model, common, lambda: [asked("remove", **given)], *scores_file(importance))


@with_common
def insert(
    model: ModelPath,
    after: Annotated[
        str, typer.Option(metavar="NAME", help="The node, or input, to stand behind.", show_default=False)
    ],
    op: Op,
    kernel: Kernel = None,
    groups: Groups = None,
    no_bias: NoBias = False,
    init: Annotated[
        Start | None,
        typer.Option(help="What its weights are. [default: identity, changes nothing]", show_default=False),
    ] = None,
    readers: Annotated[
        list[str] | None,
        typer.Option("--for", metavar="READER", help="Only in front of this node. Repeatable. [default: all]"),
    ] = None,
    called: Annotated[str | None, typer.Option("--name", metavar="NAME", help="What it is called.")] = None,
    *,
    common: Common,
) -> None:
    """Put a fresh node behind another; as wide as that."""
    given: dict[str, Any] = {
        "after": after,
        "op": op,
        "kernel": kernel,
        "groups": groups,
        "bias": False if no_bias else None,
    }
    given |= {"init": init, "for_": readers or None, "name": called}
    edit("insert", model, common, lambda: [asked("insert", **given)])


@with_common
def connect(
    model: ModelPath,
    source: Annotated[str, name("FROM", "The node, or input, that is to feed the other.")],
    target: Annotated[str, name("TO", "A node that adds or concatenates.")],
    position: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Which of its inputs, from 0. [default: the last]")
    ] = None,
    align: Aligned = None,
    importance: Importance = None,
    init: NewStart = None,
    *,
    common: Common,
) -> None:
    """Feed a node into one that adds or concatenates.

    What reads a longer concatenation multiplies what is new by zero: the function stays.
    """
    given: dict[str, Any] = {
        "from_": source,
        "to": target,
        "position": position,
        "align": align,
        "importance": importance,
        "init": init,
    }
    edit("connect", model, common, lambda: [asked("connect", **given)], *scores_file(importance))


@with_common
def disconnect(
    model: ModelPath,
    source: Annotated[str, name("FROM", "The node, or input, that feeds the other.")],
    target: Annotated[str, name("TO", "The node that adds or concatenates.")],
    *,
    common: Common,
) -> None:
    """Take an input from a node that adds or concatenates; what nothing reads any more goes, too."""
    edit("disconnect", model, common, lambda: [asked("disconnect", from_=source, to=target)])


@with_common
def kernel(
    model: ModelPath,
    node: Annotated[str, name("NAME", "A Conv or ConvTranspose.")],
    size: Annotated[str, name("N|NxM", "The new size of its kernel.")],
    *,
    common: Common,
) -> None:
    """Change the kernel of a convolution; pads follow, so that the output's size stays.

    What is new is zero: the function stays. What goes is farthest from the centre, on the side that weighs less.
    """
    edit("kernel", model, common, lambda: [asked("kernel", kernel={node: size})])


@with_common
def activation(
    model: ModelPath,
    node: Annotated[str, name("NAME", "An activation.")],
    kind: Annotated[str, name("KIND", "Relu, Relu6, LeakyRelu, Silu, Gelu, HardSwish, Mish, Tanh, ...")],
    *,
    common: Common,
) -> None:
    """Put another activation in the place of one."""
    edit("activation", model, common, lambda: [asked("activation", activation={node: kind})])


@with_common
def replace(
    model: ModelPath,
    node: Annotated[str, name("NAME", "The node whose place it takes.")],
    op: Annotated[
        str,
        typer.Option(
            metavar="OP",
            help=f"{OPS}; or Separable: a Conv becomes a depthwise and a pointwise one.",
            show_default=False,
        ),
    ],
    kernel: Kernel = None,
    groups: Groups = None,
    no_bias: NoBias = False,
    init: Annotated[
        FreshStart | None,
        typer.Option(
            help="What its weights are. [default: he; of Separable closest, near to the old ones]", show_default=False
        ),
    ] = None,
    *,
    common: Common,
) -> None:
    """Put a fresh node in the place of one; its output must have the same shape."""
    given = {"name": node, "op": op, "kernel": kernel, "groups": groups, "bias": False if no_bias else None}
    edit("replace", model, common, lambda: [asked("replace", **given, init=init)])


@with_common
def splice(
    model: ModelPath,
    other: Annotated[Path, name("OTHER", "The .onnx file that the sub-graph is from.")],
    after: Annotated[
        str, typer.Option(metavar="NAME", help="The node, or input, to stand behind.", show_default=False)
    ],
    entry: Annotated[
        str | None, typer.Option(metavar="VALUE", help="Where it begins in OTHER. [default: its only input]")
    ] = None,
    exit_: Annotated[
        str | None, typer.Option("--exit", metavar="VALUE", help="Where it ends in OTHER. [default: its only output]")
    ] = None,
    prefix: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What its nodes' names begin with. [default: spliced.]")
    ] = None,
    align: Aligned = None,
    importance: Importance = None,
    init: NewStart = None,
    *,
    common: Common,
) -> None:
    """Put a sub-graph of another file between a node and all that reads it."""
    given = {"file": other, "after": after, "entry": entry, "exit": exit_, "prefix": prefix}
    given |= {"align": align, "importance": importance, "init": init}
    edit("splice", model, common, lambda: [asked("splice", **given)], other, *scores_file(importance))


@with_common
def recipe(
    model: ModelPath,
    path: Annotated[Path, name("RECIPE", "A .yaml or .json file with a list of operations.")],
    *,
    common: Common,
) -> None:
    """Do a list of operations: one load, one save, all or nothing.

    \b
    - resize: {conv3: -16, conv7: +8}      - connect: [conv1, add4]
      importance: l1                          - disconnect: [conv1, concat2]
    - remove: layer3.conv2                 - kernel: {conv1: 3x3}
    - insert: {after: conv2, op: Conv}     - activation: {relu3: Silu}

    Options of the commands are keys beside or under the operation's name.
    """
    from onnxsurgeon.cli.recipes import read

    edit("edit", model, common, lambda: read(path), path)


COMMANDS = {
    resize: (
        "Change widths; what is tied to them follows.",
        "onnxsurgeon resize model.onnx conv3=-16 conv7=+8 -o out.onnx",
        "onnxsurgeon resize model.onnx fc=3 --keep fc:0,217,482",
    ),
    remove: (
        "Take a node out; its neighbours are joined.",
        "onnxsurgeon remove model.onnx layer3.conv2",
        "onnxsurgeon remove model.onnx add4 --through conv7 --align grow",
    ),
    insert: (
        "Put a fresh node behind another.",
        "onnxsurgeon insert model.onnx --after conv2 --op Conv --kernel 3 --init identity",
        "onnxsurgeon insert model.onnx --after relu1 --op BatchNorm --for conv2 --name bn2",
    ),
    connect: (
        "Feed a node into an addition or a concatenation.",
        "onnxsurgeon connect model.onnx conv1 add4",
        "onnxsurgeon connect model.onnx conv1 concat2 --position 0",
    ),
    disconnect: (
        "Take an input from an addition or a concatenation.",
        "onnxsurgeon disconnect model.onnx conv1 concat2",
        "onnxsurgeon disconnect model.onnx conv1 add4 -o out.onnx",
    ),
    kernel: (
        "Change the kernel of a convolution.",
        "onnxsurgeon kernel model.onnx conv1 3x3",
        "onnxsurgeon kernel model.onnx conv1 7 -o wide.onnx",
    ),
    activation: (
        "Put another activation in the place of one.",
        "onnxsurgeon activation model.onnx relu3 Silu",
        "onnxsurgeon activation model.onnx relu3 HardSwish -o out.onnx",
    ),
    replace: (
        "Put a fresh node in the place of one.",
        "onnxsurgeon replace model.onnx pool2 --op AveragePool --kernel 3",
        "onnxsurgeon replace model.onnx conv3 --op Separable",
    ),
    splice: (
        "Put a sub-graph of another file into a model.",
        "onnxsurgeon splice model.onnx other.onnx --after relu3",
        "onnxsurgeon splice model.onnx other.onnx --after relu3 --entry x --exit conv2_out --align shrink",
    ),
    recipe: (
        "Do a list of operations: all or nothing.",
        "onnxsurgeon edit model.onnx recipe.yaml -o out.onnx",
        "onnxsurgeon edit model.onnx recipe.json --dry-run --json",
    ),
}


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for command, (short, *lines) in COMMANDS.items():
        called = "edit" if command is recipe else command.__name__
        add(app, command, short, *lines, panel=EDIT, name=called)
