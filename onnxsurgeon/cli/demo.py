"""The command `demo`: a folder with networks and data, on which every example of the documentation runs."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from onnxsurgeon.cli.options import Given, Spoken, with_options
from onnxsurgeon.errors import InstallError, UsageError
from onnxsurgeon.options.record import OUTPUT, Options, option

EXAMPLES = ("onnxsurgeon demo", "onnxsurgeon demo try-it --overwrite")
PLACE = "fixtures"
NEXT = (
    "onnxsurgeon inspect fixtures/digits.onnx",
    "onnxsurgeon prune fixtures/digits.onnx --ratio 50% --cost macs --data fixtures/digits_test.npz --metric top1"
    " -o small.onnx",
    "onnxsurgeon train small.onnx --data fixtures/digits_train.npz --val fixtures/digits_test.npz --epochs 5"
    " -o tuned.onnx",
    "onnxsurgeon check tuned.onnx --against fixtures/digits.onnx --max-growth 0 --max-drop 1%"
    " --data fixtures/digits_test.npz",
)


@dataclass(frozen=True, kw_only=True)
class Replacing(Options):
    overwrite: bool = option(False, "Overwrite files that exist.", panel=OUTPUT)


def fixtures() -> Path:
    """The folder with the files: in the package, or beside it in a clone. Raises InstallError if there is none."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / PLACE, package.parent / PLACE):
        if (folder / "digits.onnx").is_file():
            return folder
    raise InstallError("the files of the demo are missing", why=f"they belong to {package}", fix="install it again")


def written(folder: Path, *, overwrite: bool) -> list[Path]:
    """The files that were copied to `folder`/fixtures. Raises UsageError if one exists that is another, or can't be."""
    given = sorted(path for path in fixtures().iterdir() if path.suffix in (".onnx", ".npz"))
    made = [folder / PLACE / path.name for path in given]
    for path, old in zip(made, given, strict=True):
        if path.exists() and not overwrite and not (path.is_file() and path.read_bytes() == old.read_bytes()):
            raise UsageError(f"{path} exists", why="it is another file", fix="choose another folder, or `overwrite`")
    try:
        (folder / PLACE).mkdir(parents=True, exist_ok=True)
        for path, old in zip(made, given, strict=True):
            shutil.copyfile(old, path)
    except OSError as problem:
        why = problem.strerror or str(problem)
        raise UsageError(f"can't write {folder / PLACE}", why=why, fix="choose another folder") from problem
    return made


@with_options(Replacing, Spoken)
def demo(
    given: Given,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to write to.")] = Path("onnxsurgeon-demo"),
) -> None:
    """Write small networks with data into a folder, and show what to type next.

    digits.onnx is trained to read 8x8 digits; digits_train.npz and digits_test.npz have samples with labels. Every
    example of the documentation runs in that folder.
    """
    spoken = given.of(Spoken)
    with spoken.answering("demo") as answer:
        answer.save_to(spoken.report_to)
        from onnxsurgeon.report.demo_report import shown, tables

        files = written(folder, overwrite=given.of(Replacing).overwrite)
        answer.found, answer.tables = shown(folder, files, NEXT), tables
        answer.give()
