"""The commands that edit a network: one per operation, made from its record; `edit` reads several from a file."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from onnxsurgeon.cli.editing import edit, with_common
from onnxsurgeon.cli.group import EDIT, add
from onnxsurgeon.cli.options import Given, ModelPath
from onnxsurgeon.options.record import CHANGE
from onnxsurgeon.surgery import readers
from onnxsurgeon.surgery.methods import OPERATIONS
from onnxsurgeon.surgery.operation import Field, Operation, Request
from onnxsurgeon.surgery.readers import Written, written


def _spelled(field: Field) -> str:
    """What errors call a field."""
    return _metavar(field) if field.argument else f"--{field.word}"


def _metavar(field: Field) -> str:
    form, own = field.takes.form, field.takes.metavar
    return own or (field.word.upper() if field.argument and not field.several else form.metavar)


def _parameter(field: Field) -> inspect.Parameter:
    """The parameter for typer. A missing value is None; a given one stays text."""
    form = field.takes.form
    kind: Any = str
    if form.gather:
        kind = list[str]
    elif form is readers.flag:
        kind = bool
    metavar = _metavar(field)
    more: dict[str, Any] = {"help": field.help, "show_default": False, "rich_help_panel": CHANGE}
    if field.argument:
        about = typer.Argument(metavar=metavar, **more)
    elif field.takes.off:
        about = typer.Option(f"--no-{field.word}", **{**more, "help": field.takes.off})
    elif kind is bool:
        about = typer.Option(f"--{field.word}", **more)
    else:
        about = typer.Option(f"--{field.word}", metavar=metavar, **more)
    needed = field.needed
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if needed else False if kind is bool else None,
        annotation=Annotated[kind if needed or kind is bool else kind | None, about],
    )


def _given(field: Field, value: Any) -> Written:
    """The text that was given for a field."""
    form = field.takes.form
    if form is readers.flag:
        return written(not field.takes.off)
    return written(form.gather(value, _spelled(field)) if form.gather else value)


def _command(operation: Operation) -> Callable[..., None]:
    """The function of a command."""

    def run(*, model: Path, common: Given, **given: Any) -> None:
        words = {word: given[field.name] for word, field in operation.fields.items() if given[field.name]}

        def requests() -> list[Request]:
            texts = {word: _given(operation.fields[word], value) for word, value in words.items()}
            return [operation.request(texts, "", _spelled)]

        named = [text.removeprefix("file:") for text in words.values() if isinstance(text, str)]
        edit(operation.name, model, common, requests, *map(Path, named))

    run.__doc__ = _help(operation)
    own = [_parameter(field) for field in operation.fields.values()]
    place = inspect.Parameter("model", inspect.Parameter.KEYWORD_ONLY, annotation=ModelPath)
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
