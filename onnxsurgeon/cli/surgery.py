"""The commands that edit a network: one per operation, made from its record; `edit` reads several from a file."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any

import typer

from onnxsurgeon.cli.editing import edit, with_common
from onnxsurgeon.cli.group import EDIT, add
from onnxsurgeon.cli.options import Given, ModelPath, given_values, parameter
from onnxsurgeon.surgery.operation import Operation
from onnxsurgeon.surgery.part_methods import OPERATIONS


def _command(operation: Operation) -> Callable[..., None]:
    """The function of a command."""
    options = {field.name: field.about for field in operation.fields.values()}

    def run(*, model: Path, common: Given, **values: Any) -> None:
        found = given_values(values, options)
        given = {word: found[field.name] for word, field in operation.fields.items() if field.name in found}
        named = [text.removeprefix("file:") for text in given.values() if isinstance(text, str)]
        requests = functools.partial(operation.request, given, "", attrgetter("spelled"))
        edit(operation.name, model, common, lambda: [requests()], *map(Path, named))

    run.__doc__ = _help(operation)
    place = inspect.Parameter("model", inspect.Parameter.KEYWORD_ONLY, annotation=ModelPath)
    own = [
        parameter(field.name, field.about, argument=field.spelled if field.argument else "", needed=field.needed)
        for field in operation.fields.values()
    ]
    return with_common(run, [place, *own])


def _help(operation: Operation) -> str:
    """The operation's documentation; typer keeps the line breaks of indented parts."""
    parts = operation.help.split("\n\n")
    return "\n\n".join(f"\b\n{part}" if part.startswith("  ") else part for part in parts)


def recipe(
    *,
    model: ModelPath,
    path: Annotated[
        Path,
        typer.Argument(metavar="RECIPE", help="A .yaml or .json file with operations.", show_default=False),
    ],
    common: Given,
) -> None:
    """Apply the operations of a recipe: load once, save once, all or nothing.

    \b
    - resize: {conv3: -16, conv7: +8}      - connect: [conv1, add4]
      importance: l1                       - disconnect: [conv1, concat2]
    - remove: layer3.conv2                 - kernel: {conv1: 3x3}
    - insert: {after: conv2, op: Conv}     - activation: {relu3: Silu}
    - prune: {ratio: 30%, cost: macs}      - fuse

    The options of a command are keys beside the operation's name, or under it.
    """
    from onnxsurgeon.cli.recipes import read

    edit("edit", model, common, lambda: read(path), path)


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for operation in OPERATIONS.values():
        add(app, _command(operation), operation.summary, *operation.examples, panel=EDIT, name=operation.name)
    own = inspect.signature(recipe, eval_str=True).parameters
    add(
        app, with_common(recipe, [own["model"], own["path"]]), "Apply the operations of a recipe: all or nothing.",
        "onnxsurgeon edit model.onnx recipe.yaml -o out.onnx",
        "onnxsurgeon edit model.onnx recipe.json --dry-run --json",
        panel=EDIT, name="edit",
    )  # fmt: skip
