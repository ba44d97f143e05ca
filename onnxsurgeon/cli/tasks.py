"""What a call of `prune` is about: which models, where each output goes, and what an earlier call has done already."""

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

OF_ALL = {
    "models",
    "output",
    "output_dir",
    "jobs",
    "resume",
    "report_to",
    "as_json",
    "quiet",
    "log_file",
}  # no option of one model


@dataclass(frozen=True)
class Task:
    """A model and where its output goes. The record beside that is the report of the run that made it."""

    model: Path
    target: Path

    @property
    def record(self) -> Path:
        return self.target.with_name(f"{self.target.name}.json")

    @property
    def files(self) -> tuple[Path, ...]:
        return self.model, self.target, self.target.with_name(f"{self.target.name}.data"), self.record


def tasks(given: Sequence[Path], output: Path | None, folder: Path | None) -> list[Task]:
    """The tasks of a call: one, or with `folder` any number. Raises UsageError where the three don't fit together."""
    models = _matched(given, folder)
    if folder is None:
        if len(models) > 1:
            raise UsageError(
                f"{len(models)} models and no --output-dir", why=f"the first two: {models[0]}, {models[1]}",
                fix="give a folder for the outputs: --output-dir pruned/",
            )  # fmt: skip
        name = models[0].name.removesuffix(".onnx") + ".pruned.onnx"
        return [Task(models[0], output or models[0].with_name(name))]
    if output is not None:
        raise UsageError("-o and --output-dir exclude each other", fix="give one of them")
    return _plan(models, folder)


def _matched(given: Iterable[Path], folder: Path | None) -> list[Path]:
    """The files that paths and globs mean, each once. Raises UsageError for a glob that matches none.

    folder: of the outputs; a glob does not reach into it from outside.
    """
    found: dict[Path, Path] = {}
    for path in given:
        hits = [path]
        if glob.has_magic(str(path)) and not path.exists():
            hits = _hits(path.expanduser(), folder)
            if not hits:
                raise UsageError(
                    f"{str(path)!r} matches no file", fix="check the pattern; ** stands for any subfolders"
                )
        for hit in hits:
            found.setdefault(_place(hit), hit)
    return list(found.values())


def _hits(pattern: Path, folder: Path | None) -> list[Path]:
    start = Path(*takewhile(lambda part: not glob.has_magic(part), pattern.parts))
    files = [Path(hit) for hit in sorted(glob.glob(str(pattern), recursive=True))]  # noqa: PTH207  Path's takes .hidden
    if folder is None or start.resolve().is_relative_to(folder.resolve()):
        return [file for file in files if file.is_file()]
    return [file for file in files if file.is_file() and not _place(file).is_relative_to(folder.resolve())]


def _place(path: Path) -> Path:
    """Absolute; a link is itself, not what it leads to."""
    return path.parent.resolve() / path.name


def _plan(models: Sequence[Path], folder: Path) -> list[Task]:
    """Where each output goes: into `folder` under its model's name.

    Where two have one name, all keep their folders below the deepest one that they share. Raises UsageError where an
    output would take the place of a model.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--output-dir {folder} is no folder", fix="choose another name")
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
                f"{task.target} is a model of this command",
                why=f"the output of {task.model} would go there",
                fix="choose another --output-dir",
            )
    return tasks


def arguments(context: typer.Context) -> list[str]:
    """The options that were given and that are about each model, as on the command line."""
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


def recorded(task: Task, requested: Mapping[str, Any]) -> report.Report | None:
    """The record of an output that is newer than its model and was made from it with the same options."""
    try:
        times = [path.stat().st_mtime_ns for path in (task.model, task.target, task.record)]
        found = json.loads(task.record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    same = isinstance(found, dict) and found.get("exit_code") == 0 and found.get("model") == str(task.model)
    return found if same and times == sorted(times) and found.get("requested") == requested else None
