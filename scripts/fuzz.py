#!/usr/bin/env python3
"""Feeds broken models to the command line: `fuzz.py --mutants 500 --seed 0`.

Each mutant is one of the fixtures with a few changes of its structure or of its bytes. A command must end with an exit
code of its own (2 to 5, or 0 where the model is sound after all): 1 is a fault of ours. It must take no more than
`--seconds` of a processor and 2 GiB, and say little. Prints a line a fault, then a count by exit code; exits with 1
after a fault.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import random
import resource
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from functools import partial
from pathlib import Path

import numpy as np
import onnx

from mutations import MUTATIONS

FIXTURES = sorted((Path(__file__).resolve().parent.parent / "fixtures").glob("*.onnx"))
OUT = ("-o", "out.onnx", "--overwrite")
FAST = (*OUT, "--no-bench", "--no-proof")
PRUNE = ("prune", "m.onnx", "--ratio", "0.3")
QUICK = (  # LAYER stands for a layer of the fixture
    ("inspect", "m.onnx", "-v"),
    (*PRUNE, "--data", "none", *FAST),
    ("validate", "source.onnx", "m.onnx"),
    ("resize", "m.onnx", "LAYER=-1", *FAST),
    ("remove", "m.onnx", "LAYER", *FAST),
    ("edit", "m.onnx", "recipe.yaml", "--no-proof", *OUT),
)
COMMANDS = (
    *QUICK,
    (*PRUNE, "--data", "none", "--importance", "l1", *OUT),
    (*PRUNE, "--effort", "fast", *OUT),
    (*PRUNE, "--data", "data.npz", "--effort", "fast", *OUT),
    ("inspect", "m.onnx", "--json"),
    ("resize", "m.onnx", "LAYER=-1", *OUT),
    ("remove", "m.onnx", "LAYER", *OUT),
    ("edit", "m.onnx", "recipe.yaml", *OUT),
    ("sensitivity", "m.onnx", "--data", "data.npz"),
    ("evaluate", "m.onnx", "--data", "data.npz", "--metric", "mse"),
    ("compare", "source.onnx", "m.onnx"),
    ("prune", "source.onnx", "--ratio", "0.3", "--data", "none", "--importance", "file:m.onnx", *OUT),
)
RECIPE = "- insert: {after: LAYER, op: Relu}\n- resize: {LAYER: +3}\n- insert: {after: LAYER, op: Conv}\n"
WAITS = 120.0  # seconds that a command may take on a busy machine
SAID = 300_000  # characters that a command may print
OURS = ("0", "2", "3", "4", "5")


def source(seed: int, sources: Sequence[Path] = FIXTURES) -> Path:
    """The model that a mutant is made from."""
    return random.Random(seed).choice(sources)


def mutant(seed: int, sources: Sequence[Path] = FIXTURES) -> bytes:
    """A model, changed in one to three places; one in six in its bytes, one in twenty in a name's."""
    rng = random.Random(seed)
    data = rng.choice(sources).read_bytes()
    if rng.random() < 0.17:
        return _other_bytes(rng, data)
    model = onnx.load_from_string(data)
    for _ in range(rng.choice([1, 1, 2, 3])):
        rng.choice(MUTATIONS)(rng, model)
    changed_model: bytes = model.SerializeToString()
    names = [name for node in model.graph.node for name in (node.name, *node.output) if name]
    if names and rng.random() < 0.05:
        name = rng.choice(names).encode()
        return changed_model.replace(name, b"\xff\xfe" * (len(name) // 2) + name[len(name) // 2 * 2 :])
    return changed_model


def _other_bytes(rng: random.Random, data: bytes) -> bytes:
    changed, kind = bytearray(data), rng.randrange(4)
    begin = rng.randrange(min(len(changed), 4000))
    if kind < 2:
        for _ in range(rng.randint(1, 8)):
            changed[rng.randrange(min(len(changed), 4000) if kind else len(changed))] = rng.randrange(256)
    elif kind == 2:
        length = rng.randrange(1, 40)
        changed[begin : begin + length] = changed[begin : begin + length] * rng.choice([0, 2, 3])
    return bytes(changed[: rng.choice([len(changed), len(changed), rng.randrange(1, len(changed))])])


def _run(arguments: Sequence[str], folder: Path, seconds: float, memory: int) -> int:
    """The exit code of a command that runs in this process; what it says is in a file."""
    from onnxsurgeon.cli import main

    os.chdir(folder)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    for timer, number, most in (
        (signal.ITIMER_PROF, signal.SIGPROF, seconds),
        (signal.ITIMER_REAL, signal.SIGALRM, WAITS),
    ):
        signal.signal(number, signal.SIG_DFL)
        signal.setitimer(timer, most)
    said, code = io.StringIO(), 1
    try:
        with redirect_stdout(said), redirect_stderr(said):
            sys.argv = ["onnxsurgeon", *arguments]
            main()
            code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException as error:  # noqa: BLE001 - a traceback is what this looks for
        said.write(repr(error))
    Path("said").write_text(said.getvalue(), encoding="utf-8", errors="backslashreplace")
    return code


def _prepare(folder: Path, number: int, sources: Sequence[Path], commands: Sequence[tuple[str, ...]]) -> list[str]:
    """The command for a mutant, once all that it reads is in the folder."""
    original = source(number, sources)
    model = onnx.load(original)
    (folder / "m.onnx").write_bytes(mutant(number, sources))
    (folder / "source.onnx").symlink_to(original)
    (folder / "loop").symlink_to("loop")
    (folder / "zero").symlink_to("/dev/zero")
    (folder / "some.bin").write_bytes(bytes(100))
    os.mkfifo(folder / "pipe")
    layer = next((node.name for node in model.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")), "conv1")
    (folder / "recipe.yaml").write_text(RECIPE.replace("LAYER", layer))
    data = {}
    for info in model.graph.input:
        kind = info.type.tensor_type
        shape = [dim.dim_value if dim.dim_value > 0 else 4 for dim in kind.shape.dim]
        data[info.name] = np.ones(shape, onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
    np.savez(folder / "data.npz", allow_pickle=False, **data)
    return [word.replace("LAYER", layer) for word in commands[number % len(commands)]]


def _in_child(work: Callable[[], int]) -> tuple[int, int]:
    """How a forked process ended that does some work: its exit code, or minus a signal's number; its bytes at most."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(work())
        finally:
            os._exit(1)
    _, status, used = os.wait4(child, 0)
    return os.waitstatus_to_exitcode(status), used.ru_maxrss * 1024


def _warm_up(commands: Sequence[tuple[str, ...]]) -> None:
    """Imports what the commands import on a sound model, so that the processes that fork from here need not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _prepare(folder, 0, FIXTURES[:1], commands)
        (folder / "m.onnx").write_bytes(FIXTURES[0].read_bytes())

        def work() -> int:
            for command in commands:
                _run([word.replace("LAYER", "fc") for word in command], folder, 60.0, resource.RLIM_INFINITY)
            return Path("modules").write_text("\n".join(sys.modules))

        _in_child(work)
        for module in (folder / "modules").read_text().splitlines():
            with suppress(ImportError):
                importlib.import_module(module)


def fuzz(
    mutants: int, seed: int, *, seconds: float = 10.0, memory: int = 2 * 2**30,
    commands: Sequence[tuple[str, ...]] = COMMANDS, sources: Sequence[Path] = FIXTURES,
    tell: Callable[[str], object] = lambda fault: None,
) -> tuple[Counter[str], list[str]]:  # fmt: skip
    """How often each exit code came, and a line a fault; `tell` hears each fault at once."""
    _warm_up(commands)
    codes, faults = Counter[str](), list[str]()
    for number in range(seed * 1_000_003, seed * 1_000_003 + mutants):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            words = _prepare(folder, number, sources, commands)
            ended, used = _in_child(partial(_run, words, folder, seconds, memory + 4 * 2**30))
            path = folder / "said"
            said = path.read_text(encoding="utf-8") if path.exists() else ""
            code = "slow" if ended in (-signal.SIGPROF, -signal.SIGALRM) else str(ended)
            code = code if code not in OURS or used <= memory else f"{used / 2**30:.1f} GiB"
            code = code if code not in OURS or len(said) <= SAID else f"{len(said)} characters"
            codes[code] += 1
            if code not in OURS:
                short = " | ".join(said.strip().splitlines()[:2])[:200]
                faults.append(f"mutant {number} of {source(number, sources).name}, {words[0]}: {code}: {short}")
                tell(faults[-1])
    return codes, faults


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--models", type=Path, help="a folder of models to change; without it the fixtures")
    parser.add_argument("--quick", action="store_true", help="only commands that take little time")
    parser.add_argument("--keep", type=Path, help="write the mutant with the number --seed to this file, run nothing")
    given = parser.parse_args()
    sources = sorted(given.models.rglob("*.onnx")) if given.models else FIXTURES
    if given.keep:
        given.keep.write_bytes(mutant(given.seed, sources))
        return
    codes, faults = fuzz(
        given.mutants, given.seed, seconds=given.seconds, commands=QUICK if given.quick else COMMANDS,
        sources=sources, tell=partial(print, flush=True),
    )  # fmt: skip
    print(", ".join(f"exit {code}: {count}" for code, count in sorted(codes.items())))
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
