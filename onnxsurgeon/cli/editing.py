"""From operations to a proven file: the options that all edits share, and what every edit does."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from onnxsurgeon.cli.answer import Answer, answering
from onnxsurgeon.cli.options import AsJson, Atol, OnDevice, Quiet, ReportTo, Rtol, Seed, Verbose
from onnxsurgeon.cli.panels import OUTPUT, PROOF
from onnxsurgeon.errors import ProofError, UsageError

if TYPE_CHECKING:
    from onnxsurgeon.cli.progress import Stages
    from onnxsurgeon.surgery.network import Network
    from onnxsurgeon.surgery.operation import Request


@dataclass(frozen=True)
class Common:
    """The options of every edit."""

    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Where to write. [default: MODEL.edited.onnx]",
            rich_help_panel=OUTPUT,
        ),
    ] = None
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing output.", rich_help_panel=OUTPUT)
    ] = False
    save_as_external_data: Annotated[
        bool,
        typer.Option(
            "--save-as-external-data", help="Write the weights to FILE.data beside the model.", rich_help_panel=OUTPUT
        ),
    ] = False
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Do everything but write and prove.", rich_help_panel=OUTPUT)
    ] = False
    no_proof: Annotated[bool, typer.Option("--no-proof", help="Write without proving.", rich_help_panel=PROOF)] = False
    device: OnDevice = "auto"
    atol: Atol = None
    rtol: Rtol = None
    seed: Seed = 0
    report_to: ReportTo = None
    as_json: AsJson = False
    quiet: Quiet = False
    verbose: Verbose = False


def with_common(command: Callable[..., None], own: Sequence[inspect.Parameter]) -> Callable[..., None]:
    """The command with its `own` parameters, and behind them the options of `Common`, which it gets as `common`."""
    hints = get_type_hints(Common, include_extras=True)
    shared = [
        inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=hints[f.name])
        for f in fields(Common)
    ]

    @functools.wraps(command)
    def merged(**given: Any) -> None:
        common = Common(**{f.name: given.pop(f.name) for f in fields(Common)})
        command(**given, common=common)

    parameters = [*own, *shared]
    vars(merged)["__signature__"] = inspect.Signature(parameters)  # what typer looks at
    merged.__annotations__ = {p.name: p.annotation for p in parameters}
    return merged


def edit(command: str, model: Path, common: Common, operations: Callable[[], Sequence[Request]], *files: Path) -> None:
    """Reads the operations, does them all, and writes the result once it is proven. files: others that are read."""
    answer = Answer(command, common.as_json, common.quiet, common.verbose, found={"model": str(model)})
    with answering(answer):
        target = common.output or model.with_name(model.name.removesuffix(".onnx") + ".edited.onnx")
        if common.report_to is not None:
            answer.save_to(common.report_to, model, target, target.with_name(f"{target.name}.data"), *files)
        todo = operations()
        if not common.dry_run:
            _check_target(target, common)
        from onnxsurgeon.cli.progress import Stages

        with Stages(verbose=common.verbose, quiet=common.quiet) as progress:
            _edit(answer, model, target, common, todo, progress)


def _check_target(target: Path, common: Common, suffix: str = "") -> None:
    from onnxsurgeon.model.write import check_target

    path = target.with_name(target.name + suffix)
    if path.is_file() and not common.overwrite:
        raise UsageError(f"{path} exists", fix="choose another name with -o, or give --overwrite")
    check_target(path, overwrite=common.overwrite)


def _edit(answer: Answer, model: Path, target: Path, common: Common, todo: Sequence[Request], progress: Stages) -> None:
    from onnxsurgeon.report.edit_tables import edited as tables
    from onnxsurgeon.report.edits import edited
    from onnxsurgeon.runtime.session import Session
    from onnxsurgeon.surgery.network import load
    from onnxsurgeon.surgery.widths import Resized

    answer.tables = tables
    progress("read", model.name)
    network = load(model)
    proves = not (common.no_proof or common.dry_run)
    if not common.dry_run and (common.save_as_external_data or network.data):
        _check_target(target, common, ".data")
    if common.device == "cuda" and proves:
        Session(model, "cuda")  # refused now, not after the work
    seconds = {"read": time.perf_counter() - answer.began}
    old = replace(network, steps=[])
    resized: list[Resized] = []
    for request in todo:
        progress("edit", f"{request.where}{request.operation.name}")
        found = request.run(network, seed=common.seed)
        resized += [found] if isinstance(found, Resized) else []
    requested = {
        "operations": [request.record() for request in todo],
        **{name: getattr(common, name) for name in ("device", "atol", "rtol", "seed")},
        "external": common.save_as_external_data or None,
        "proof": not common.no_proof,
    }
    answer.found = edited(answer.command, old, network, resized, output=target, requested=requested)
    answer.found["seconds"] = seconds
    seconds["edit"] = time.perf_counter() - answer.began - seconds["read"]
    status = "dry run"
    if not common.dry_run:
        status = _save(answer, network, target, common, progress)
    seconds["total"] = time.perf_counter() - answer.began
    answer.give(status=status, exit_code=0)


def _save(answer: Answer, network: Network, target: Path, common: Common, progress: Stages) -> str:
    """Proves and writes; the report's status."""
    from onnxsurgeon.report.edits import proven

    began = time.perf_counter()
    try:
        found = network.save(
            target, overwrite=common.overwrite, external=common.save_as_external_data or None,
            proof=not common.no_proof, device=common.device, atol=common.atol, rtol=common.rtol, seed=common.seed,
            progress=progress,
        )  # fmt: skip
    except ProofError as error:
        if error.proof is not None:
            answer.found = proven(answer.found, error.proof, passed=False)
        raise
    finally:
        answer.found["seconds"]["write and prove"] = time.perf_counter() - began
        answer.found["seconds"]["total"] = time.perf_counter() - answer.began
    if found is None:
        return "not proven"
    answer.found = proven(answer.found, found, passed=True)
    return "passed"
