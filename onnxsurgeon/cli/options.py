"""Commands from records of options: each field of a record becomes an option of the command line."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from onnxsurgeon.cli.answer import Answer, answering
from onnxsurgeon.errors import UsageError
from onnxsurgeon.options.parsing import path
from onnxsurgeon.options.record import DATA, OUTPUT, RUN, Option, Options, option, option_of, spelled
from onnxsurgeon.options.shared import OF_DATA, SPEC, SaveOptions

if TYPE_CHECKING:
    from onnxsurgeon.model.model import Model

R = TypeVar("R", bound=Options)

DataPath = Annotated[str, typer.Option("--data", metavar=SPEC, help=OF_DATA, show_default=False, rich_help_panel=DATA)]
ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help="An .onnx file.", show_default=False)]


@dataclass(frozen=True, kw_only=True)
class Spoken(Options):
    """What a command prints, and where."""

    report_to: Path | None = option(
        None, "Also write the report to a JSON file.", panel=OUTPUT, metavar="FILE.json", declared="--report", read=path
    )
    page_to: Path | None = option(
        None, "Also write the report as a page, to look at in a browser: one file that needs no network.", panel=OUTPUT,
        metavar="FILE.html", declared="--html", read=path,
    )  # fmt: skip
    as_json: bool = option(False, "Print the report as JSON on stdout.", panel=OUTPUT, declared="--json")
    quiet: bool = option(False, "Print only errors.", panel=RUN, declared="-q --quiet")
    verbose: bool = option(False, "Print full tables, stages and tracebacks.", panel=RUN, declared="-v --verbose")

    def answering(self, command: str, model: Path | None = None) -> AbstractContextManager[Answer]:
        """The command's answer; errors in the block become a message and an exit code."""
        found = {} if model is None else {"model": str(model)}
        return answering(Answer(command, self.as_json, self.quiet, self.verbose, page_wanted=self.page_to, found=found))


@dataclass(frozen=True)
class Given:
    """The values from the command line, by the names of fields."""

    values: Mapping[str, Any]

    def of(self, record: type[R]) -> R:
        """The record with these values, others by default. Raises UsageError for a bad value."""
        names = {of.name for of in fields(record)}
        return record(**{name: value for name, value in self.values.items() if name in names})


def with_options(
    *records: type[Options], panels: Mapping[str, str] = {}
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command the options of records. It receives their values as its parameter `given`.

    panels: where its help shows options instead, by their own panel.
    """
    found = {of.name: option_of(of) for record in records for of in fields(record) if option_of(of).in_shell}
    shared = {name: replace(about, panel=panels.get(about.panel, about.panel)) for name, about in found.items()}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "given"]

        @functools.wraps(command)
        def merged(**values: Any) -> None:
            given = given_values({name: values.pop(name) for name in shared}, shared)
            command(**values, given=Given(given))

        own = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
        parameters = [*own, *(parameter(name, about) for name, about in shared.items())]
        vars(merged)["__signature__"] = inspect.Signature(parameters)  # read by typer
        merged.__annotations__ = {p.name: p.annotation for p in parameters}
        return merged

    return decorate


def given_values(values: Mapping[str, Any], options: Mapping[str, Option]) -> dict[str, Any]:
    """The values that were given on the command line."""
    given = {name: value for name, value in values.items() if value not in (None, [])}
    return {name: not value if options[name].off else value for name, value in given.items()}


def parameter(name: str, about: Option, *, argument: str = "", needed: bool = False) -> inspect.Parameter:
    """The option for typer, or an argument of that name. Its default None stands for the record's default."""
    words = tuple(about.words()) if about.words else ()
    more: dict[str, Any] = {
        "help": spelled(about.off or about.help) + (spelled(f" [default: {about.default}]") if about.default else ""),
        "show_default": False,
        "rich_help_panel": about.panel,
        "metavar": argument or about.metavar or None,
        "autocompletion": (lambda: list(words)) if words and about.metavar else None,
    }
    info = typer.Argument(**more) if argument else typer.Option(*about.names(name).split(), **more)
    kind: Any = about.kind
    if words and not about.metavar:  # a closed list
        kind = Literal[words]
    elif about.many:
        kind = list[kind]
    place = inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[kind, info])
    return place if needed else place.replace(default=None, annotation=Annotated[kind | None, info])


def read_model(path: Path, stated: Mapping[str, Sequence[int]]) -> Model:
    """The model. Raises UsageError if its inputs can't have the `stated` shapes."""
    from onnxsurgeon.model.model import load

    model = load(path)
    inputs = {v.name: v for v in model.ir.graph.inputs if not v.is_initializer()}
    for name, shape in stated.items():
        own = inputs[name].shape if name in inputs else ()
        if own is not None and (
            len(own) != len(shape) or any(isinstance(a, int) and a != b for a, b in zip(own, shape, strict=True))
        ):
            known = ", ".join(f"{v.name} {v.shape}" for v in inputs.values())
            raise UsageError(
                f"`input_shape={name}:{','.join(map(str, shape))}` does not fit", why=f"inputs: {known}",
                fix="name an input and give all its dimensions; only dynamic ones may change",
            )  # fmt: skip
    return model


def check_output(target: Path, save: SaveOptions, model: Model | None = None) -> None:
    """Raises UsageError if the output can't be written. model: check also its data and the device of the proof."""
    from onnxsurgeon.model.write import check_target

    if model is None:
        check_target(target, overwrite=save.overwrite)
        return
    if save.external or model.data:
        check_target(f"{target}.data", overwrite=save.overwrite)
    if save.device == "cuda" and save.proof:
        from onnxsurgeon.runtime.session import Session

        Session(model.path, "cuda")  # fails now, not after the work
