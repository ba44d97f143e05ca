"""The command `search`: architectures that evolve, from samples alone or from a model."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from onnxsurgeon.cli.interrupts import INTERRUPTED
from onnxsurgeon.cli.options import Given, Spoken, check_output, with_options
from onnxsurgeon.errors import UsageError
from onnxsurgeon.options.parsing import path
from onnxsurgeon.options.record import DATA, OUTPUT, option
from onnxsurgeon.options.shared import OF_DATA, SPEC, SaveOptions, Writing
from onnxsurgeon.search.options import SearchOptions

EXAMPLES = (
    "onnxsurgeon search --data train.npz --val val.npz --minutes 30 --dir run/ -o best.onnx",
    "onnxsurgeon search model.onnx --data train.npz --cost latency --max-latency 5ms",
)
FILE = "best.onnx"
Begin = Annotated[
    Path | None, typer.Argument(metavar="MODEL", help="An .onnx file to begin with.", show_default=False)
]  # fmt: skip
Samples = Annotated[
    str | None, typer.Option("--data", metavar=SPEC, help=OF_DATA, show_default=False, rich_help_panel=DATA)
]


@dataclass(frozen=True, kw_only=True)
class FoundFile(Writing):
    """Where the best model goes."""

    output: Path | None = option(
        None, "The file to write.", panel=OUTPUT, metavar="FILE", declared="-o --output",
        shown="best.onnx, in `dir` if that is given", read=path,
    )  # fmt: skip


@with_options(SearchOptions, FoundFile, Spoken)
def search(given: Given, model: Begin = None, data: Samples = None) -> None:
    """Search for a network that is accurate, and small or fast: candidates are mutated, trained and selected.

    Without MODEL networks are drawn. A part of the samples judges candidates; --val scores the result. With --dir the
    search can go on after an interruption (--resume), and ends with the same numbers. Ctrl-C ends it and writes the
    best so far.
    """
    spoken = given.of(Spoken)
    with spoken.answering("search", model) as answer:
        options, wanted = given.of(SearchOptions), given.of(FoundFile)
        if (data is None) == (options.resume is None):
            raise UsageError(
                "there are no samples" if data is None else "`resume` brings its samples",
                why="`data` is not given" if data is None else "`data` is given, too",
                fix="give `data`, or `resume` with the folder of a search",
            )  # fmt: skip
        folder = options.resume or options.dir
        target = wanted.output or (Path(FILE) if folder is None else Path(folder) / FILE)
        own = folder is not None and wanted.output is None  # the file of a run that goes on
        save = SaveOptions(overwrite=wanted.overwrite or own, external=wanted.external)
        answer.save_to(spoken.report_to, target, *[Path(str(file)) for file in (data, options.val, model) if file])
        from onnxsurgeon.cli.search_screen import SearchScreen
        from onnxsurgeon.report.searches import searched, searching
        from onnxsurgeon.search.fitting import fit

        if not own:
            check_output(target, save)
        with SearchScreen(verbose=spoken.verbose, quiet=spoken.quiet) as screen:
            asked = replace(options, model=model, progress=screen, on_generation=screen.generation)
            found = fit(data, None, **asked.given())
            interrupted = found.stopped == "interrupted"
            if found.front or not interrupted:
                screen("write", str(target))
                found.save(target, **replace(save, progress=screen).given())
            score = found.score() if found.front else None
        answer.found, answer.tables = searched(found, score, target), searching
        answer.found["seconds"] = {"total": time.perf_counter() - answer.began}
        if interrupted:
            answer.give(status="interrupted", exit_code=INTERRUPTED)
            raise SystemExit(INTERRUPTED)
        answer.give(status="written", exit_code=0)
