"""The tasks of a call of `prune`: its models, their outputs, and what an earlier call has finished."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import typer

from onnxsurgeon.errors import UsageError
from onnxsurgeon.report import json_report as report

# options of the call, not of a model
OF_ALL = {
    "models", "output", "output_dir", "jobs", "resume", "executor", "address", "report_to", "page_to", "as_json",
    "quiet", "log_file",
}  # fmt: skip


@dataclass(frozen=True)
class Task:
    """A model and its output file. The record beside the output is the report of the run that made it.

    ratio: that of this task, if the call has several.
    """

    model: Path
    target: Path
    ratio: str = ""

    def at(self, ratio: str) -> Task:
        """The task for one of several ratios, whose output is called after it."""
        name = self.target.name.removesuffix(".onnx")
        return Task(self.model, self.target.with_name(f"{name}-{ratio}.onnx"), ratio)

    def __str__(self) -> str:
        return str(self.model) + f" at {self.ratio}" * bool(self.ratio)

    @property
    def record(self) -> Path:
        return Path(f"{self.target}.json")

    @property
    def files(self) -> tuple[Path, ...]:
        return self.model, self.target, Path(f"{self.target}.data"), self.record


def tasks(given: Sequence[Path], output: Path | None, folder: Path | None) -> list[Task]:
    """The tasks of a call: one, or any number with `folder`. Raises UsageError if these contradict each other."""
    models = _matched(given, folder)
    if folder is None:
        if len(models) > 1:
            raise UsageError(
                f"{len(models)} models need --output-dir", why=f"the first two: {models[0]}, {models[1]}",
                fix="give a folder for the outputs: --output-dir pruned/",
            )  # fmt: skip
        name = models[0].name.removesuffix(".onnx") + ".pruned.onnx"
        return [Task(models[0], output or models[0].with_name(name))]
    if output is not None:
        raise UsageError("-o and --output-dir exclude each other", fix="give one of them")
    return _plan(models, folder)


def _matched(given: Iterable[Path], folder: Path | None) -> list[Path]:
    """The files that the paths and globs name, without duplicates."""
    found: dict[Path, Path] = {}
    for path in given:
        for hit in matches(path, folder):
            found.setdefault(_place(hit), hit)
    return list(found.values())


def matches(path: Path, folder: Path | None = None) -> list[Path]:
    """The files that a path or a glob names. Raises UsageError for a glob without a match.

    folder: the output folder; globs from outside ignore its files.
    """
    if not glob.has_magic(str(path)) or path.exists():
        return [path]
    if hits := _hits(path.expanduser(), folder):
        return hits
    raise UsageError(f"{str(path)!r} matches no file", fix="check the pattern; ** matches any number of folders")


def _hits(pattern: Path, folder: Path | None) -> list[Path]:
    start = Path(*takewhile(lambda part: not glob.has_magic(part), pattern.parts))
    files = [Path(hit) for hit in sorted(glob.glob(str(pattern), recursive=True))]  # noqa: PTH207  Path's takes .hidden
    if folder is None or start.resolve().is_relative_to(folder.resolve()):
        return [file for file in files if file.is_file()]
    return [file for file in files if file.is_file() and not _place(file).is_relative_to(folder.resolve())]


def _place(path: Path) -> Path:
    """The absolute path; a link is not followed."""
    return path.parent.resolve() / path.name


def _plan(models: Sequence[Path], folder: Path) -> list[Task]:
    """The tasks, with outputs in `folder` under the names of their models.

    If two models have the same name, all keep their folders below the deepest common one. Raises UsageError if an
    output would replace a model.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--output-dir {folder} is not a folder", fix="choose another name")
    parents = [model.parent.resolve() for model in models]
    if len({model.name.casefold() for model in models}) < len(models):
        shared = os.path.commonpath(parents)
        tasks = [Task(m, folder / p.relative_to(shared) / m.name) for m, p in zip(models, parents, strict=True)]
    else:
        tasks = [Task(model, folder / model.name) for model in models]
    taken = {model.resolve() for model in models}
    for task in tasks:
        if task.target.resolve() in taken:
            raise UsageError(
                f"{task.target} would be replaced, but it is one of the models",
                why=f"it is also the output of {task.model}",
                fix="choose another --output-dir",
            )
    return tasks


def arguments(context: typer.Context) -> list[str]:
    """The given options that apply to each model, as on the command line."""
    given: list[str] = []
    for option in context.command.params:
        source, value = context.get_parameter_source(option.name or ""), context.params.get(option.name or "")
        if option.name not in OF_ALL and source is not None and source.name != "DEFAULT" and value is not None:
            name = option.opts[-1]
            if isinstance(value, bool):
                given += [name] if value else option.secondary_opts[-1:]
            else:
                given += [f"{name}={v}" for v in (value if isinstance(value, (list, tuple)) else [value])]
    return given


def recorded(task: Task, requested: Mapping[str, Any], model: str = "") -> report.Report | None:
    """The record of the output, if that is newer than its model and was made with the same options; else None.

    model: as the record names it, if not as the task does.
    """
    try:
        times = [path.stat().st_mtime_ns for path in (task.model, task.target, task.record)]
        found = json.loads(task.record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    same = isinstance(found, dict) and found.get("exit_code") == 0 and found.get("model") == (model or str(task.model))
    return found if same and times == sorted(times) and found.get("requested") == requested else None
