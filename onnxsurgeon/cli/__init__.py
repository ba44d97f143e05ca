"""The command line: options in, exit code out. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import atexit
import gc
import sys
from typing import Annotated, NoReturn

import typer

import onnxsurgeon
from onnxsurgeon.cli import (
    bench,
    check,
    compress,
    demo,
    doctor,
    evaluate,
    inspect,
    interrupts,
    prune,
    report,
    search,
    sensitivity,
    surgery,
    train,
    validate,
)  # fmt: skip
from onnxsurgeon.cli.group import EXIT_CODES, LOOK, PRUNE, SETTINGS, Group, add, examples
from onnxsurgeon.cli.streams import SafeStream
from onnxsurgeon.errors import UsageError

app = typer.Typer(cls=Group, context_settings=SETTINGS, rich_markup_mode=None, pretty_exceptions_enable=False)


def main() -> NoReturn:
    """The console script."""
    stdout = SafeStream(sys.stdout)
    sys.stdout, sys.stderr = stdout, SafeStream(sys.stderr)
    gc.disable()  # a short process: the collector would visit all imported objects again and again
    atexit.register(gc.freeze)  # or once more at the end
    try:
        interrupts.catch()
        app()
    except KeyboardInterrupt:  # between two steps of the group
        interrupts.ignore()
        print(f"error: interrupted\n  {interrupts.left_behind()}", file=sys.stderr)
        interrupts.leave()
    except SystemExit as end:
        if end.code == interrupts.INTERRUPTED:
            interrupts.leave()
        stdout.flush()
        if stdout.problem:
            print(f"error: stdout can't be written: {stdout.problem}\nfix: send it to another place", file=sys.stderr)
            sys.exit(end.code or UsageError.exit_code)
        raise
    raise AssertionError("the group exits")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"onnxsurgeon {onnxsurgeon.__version__}")
        raise typer.Exit


@app.callback(
    epilog=EXIT_CODES + "\n" + examples("onnxsurgeon prune model.onnx --ratio 0.2", "onnxsurgeon inspect model.onnx"),
)
def top(
    version: Annotated[
        bool, typer.Option("-V", "--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Prunes and edits trained networks as .onnx files. Proves each result before writing it.

    onnxsurgeon COMMAND -h shows the options of a command.
    """


add(app, prune.prune, "Make a model smaller, down to a budget, and prove the result.", *prune.EXAMPLES, panel=PRUNE)
add(
    app, compress.compress, "Cut, train and score a model in steps, while it stays good enough.", *compress.EXAMPLES,
    panel=PRUNE,
)  # fmt: skip
add(app, train.train, "Train a model's weights on data: its graph stays.", *train.EXAMPLES, panel=PRUNE)
add(
    app, search.search, "Search for an architecture: candidates are mutated, trained and selected.", *search.EXAMPLES,
    panel=PRUNE,
)  # fmt: skip
add(
    app,
    inspect.inspect,
    "Show what is in a model, what can be cut, and why the rest can't.",
    *inspect.EXAMPLES,
    panel=LOOK,
)
add(
    app,
    sensitivity.sensitivity,
    "Show how much the outputs change when one layer gets narrower.",
    *sensitivity.EXAMPLES,
    panel=LOOK,
)
add(app, evaluate.evaluate, "Score a model on data.", *evaluate.EXAMPLES, panel=LOOK)
add(app, validate.validate, "Run two models on the same inputs and compare them.", *validate.EXAMPLES, panel=LOOK)
add(app, bench.bench, "Measure how fast models run, side by side.", *bench.EXAMPLES, panel=LOOK)
add(
    app,
    bench.profile,
    "Measure how latency follows the widths of layers, for prune elsewhere.",
    *bench.PROFILE_EXAMPLES,
    panel=LOOK,
)
add(
    app,
    bench.compare,
    "Compare two models: size, latency, and the weights that differ.",
    *bench.COMPARE_EXAMPLES,
    panel=LOOK,
)
add(app, check.check, "Check a model against limits or another model: a gate for CI.", *check.EXAMPLES, panel=LOOK)
add(app, bench.diff, "Show how the graphs of two models differ, node by node.", *bench.DIFF_EXAMPLES, panel=LOOK)
add(app, demo.demo, "Write small networks with data into a folder, to try things on.", *demo.EXAMPLES, panel=LOOK)
add(app, doctor.doctor, "Check the install, and name what mends it.", *doctor.EXAMPLES, panel=LOOK)
add(app, report.report, "Show a report of an earlier run again: as tables, or as a page.", *report.EXAMPLES, panel=LOOK)
surgery.register(app)
