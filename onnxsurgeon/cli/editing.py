"""From operations to a proven file: the options and the steps that all edit commands share."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxsurgeon.cli.answer import Answer
from onnxsurgeon.cli.latency import before_and_after
from onnxsurgeon.cli.options import Given, Spoken, check_output, with_options
from onnxsurgeon.errors import ProofError
from onnxsurgeon.latency.options import Benching
from onnxsurgeon.options.parsing import path
from onnxsurgeon.options.record import OUTPUT, option
from onnxsurgeon.options.shared import SaveOptions

if TYPE_CHECKING:
    from onnxsurgeon.cli.progress import Stages
    from onnxsurgeon.surgery.network import Network
    from onnxsurgeon.surgery.operation import Request


@dataclass(frozen=True, kw_only=True)
class Common(Benching, SaveOptions, Spoken):
    """The options of all edit commands."""

    output: Path | None = option(
        None, "The file to write.", panel=OUTPUT, metavar="FILE", declared="-o --output", shown="MODEL.edited.onnx",
        read=path,
    )  # fmt: skip
    dry_run: bool = option(False, "Do everything except the proof and the output.", panel=OUTPUT)


def with_common(command: Callable[..., None], own: Sequence[inspect.Parameter]) -> Callable[..., None]:
    """The command with its `own` parameters, then the options of `Common`, which it receives as `common`."""

    @functools.wraps(command)
    def with_given(*, given: Given, **rest: Any) -> None:
        command(**rest, common=given)

    vars(with_given)["__signature__"] = inspect.Signature(own)
    return with_options(Common)(with_given)


def edit(command: str, model: Path, given: Given, operations: Callable[[], Sequence[Request]], *files: Path) -> None:
    """Reads and applies the operations, proves the result and writes it. files: other files that the command reads."""
    with given.of(Spoken).answering(command, model) as answer:
        common = given.of(Common)
        target = common.output or model.with_name(model.name.removesuffix(".onnx") + ".edited.onnx")
        answer.save_to(common.report_to, model, target, Path(f"{target}.data"), *files)
        todo = operations()
        if not common.dry_run:
            check_output(target, common)
        from onnxsurgeon.cli.progress import Stages

        with Stages(verbose=common.verbose, quiet=common.quiet) as progress:
            _edit(answer, model, target, common, todo, progress)


def _edit(answer: Answer, model: Path, target: Path, common: Common, todo: Sequence[Request], progress: Stages) -> None:
    from onnxsurgeon.report.edit_tables import edited as tables
    from onnxsurgeon.report.edits import edited
    from onnxsurgeon.surgery.network import load
    from onnxsurgeon.surgery.widths import Resized

    answer.tables = tables
    progress("read", model.name)
    network = load(model)
    if not common.dry_run:
        check_output(target, common, network)
    seconds = {"read": time.perf_counter() - answer.began}
    old = replace(network, steps=[])
    resized: list[Resized] = []
    for request in todo:
        progress("edit", f"{request.where}{request.operation.name}")
        found = request.run(network, seed=common.seed, device=common.device)
        resized += [found] if isinstance(found, Resized) else []
    requested = {
        "operations": [request.record() for request in todo],
        **common.report(SaveOptions),
    }
    answer.found = edited(answer.command, old, network, resized, output=target, requested=requested)
    answer.found["seconds"] = seconds
    seconds["edit"] = time.perf_counter() - answer.began - seconds["read"]
    status = "dry run"
    if not common.dry_run:
        status = _save(answer, network, target, common, progress)
        if common.bench:
            progress("measure", "latency")
            answer.found["latency"] = before_and_after(model, target, shapes={}, device=common.device)
    seconds["total"] = time.perf_counter() - answer.began
    answer.give(status=status, exit_code=0)


def _save(answer: Answer, network: Network, target: Path, common: Common, progress: Stages) -> str:
    """The status for the report, after the network is proven and written."""
    from onnxsurgeon.report.edits import proven

    began = time.perf_counter()
    try:
        found = network.save(target, **replace(common, progress=progress).given(SaveOptions))
    except ProofError as error:
        if error.proof is not None:
            answer.found = proven(answer.found, error.proof, passed=False)
        raise
    finally:
        answer.found["seconds"]["write and prove"] = time.perf_counter() - began
        answer.found["seconds"]["total"] = time.perf_counter() - answer.began
    if found is None:
        return "written" if common.proof else "not proven"  # without steps, it is the model that was read
    answer.found = proven(answer.found, found, passed=True)
    return "written"
