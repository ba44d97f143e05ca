"""Help: every command's, in panels, as wide as the terminal; wrong words are met with the one that was meant."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from typer.main import get_command

import onnxsurgeon
from commands import PRUNE, Run, environment
from onnxsurgeon.cli import app, suggest
from onnxsurgeon.options.record import PANELS, RUN

GROUP = get_command(app)
COMMANDS = sorted(GROUP.commands)
HEAVY = {"numpy", "onnx", "onnx_ir", "onnxruntime", "highspy", "rich", "yaml"}


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_shows_panels_and_two_examples(command: str, run: Run) -> None:
    text = run(command, "-h").stdout
    assert text == run(command, "--help").stdout
    lines = text.rstrip().splitlines()
    headings = [line[:-1] for line in lines if re.fullmatch(r"\S.*:", line)]
    known = ("Arguments", *PANELS)
    assert headings == [name for name in known if name in headings], "panels stand in their order, and no others"
    assert headings[-1] == RUN
    assert not [line for line in lines if line.endswith("-")], "names of options are whole"
    assert lines[-3].strip() == "Examples:"
    assert all(f"{line.strip()} ".startswith(f"onnxsurgeon {command} ") for line in lines[-2:])
    assert "  Exit codes: see onnxsurgeon --help." in lines
    for option in ("--json", "--report", "--quiet", "--verbose", "--log-file", "-h, --help"):
        assert option in text


def test_an_option_is_whole_at_the_start_of_a_text(run: Run) -> None:
    assert re.search(r"^  --mirror +--data holds", run("prune", "--help").stdout, re.MULTILINE)


def test_the_top_lists_each_command_and_exit_code(run: Run) -> None:
    text = run("-h").stdout
    assert text == run().stdout == run("--help").stdout
    for word in (*COMMANDS, "Prune:", "Look:", "Edit:", "Exit codes:", "infeasible", "130", "--install-completion"):
        assert word in text
    for option in ("-V", "--version"):
        assert run(option).stdout.strip() == f"onnxsurgeon {onnxsurgeon.__version__}"


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
def test_help_is_as_wide_as_the_terminal(columns: int) -> None:
    command = [sys.executable, "-m", "onnxsurgeon", "prune", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, env=environment(COLUMNS=str(columns)))
    lines = shown.stdout.partition("Examples:")[0].splitlines()
    assert columns - 20 <= max(map(len, lines)) <= columns


@pytest.mark.parametrize("args", [["--help"], ["prune", "--help"], ["nonsense"], ["--show-completion", "bash"]])
def test_help_imports_nothing_heavy(args: list[str]) -> None:
    program = f"import sys\nfrom onnxsurgeon.cli import app\ntry: app({args})\n"
    program += "except SystemExit as e: print('LOADED', *{m.split('.')[0] for m in sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment())
    assert not HEAVY & set(done.stdout.partition("LOADED ")[2].split())


@pytest.mark.parametrize(
    ("args", "program", "words"),
    [
        ("onnxsurgeon sens", "complete_bash", ["sensitivity"]),
        ("onnxsurgeon prune --max-dr", "complete_bash", ["--max-drop"]),
        ("onnxsurgeon validate --device c", "complete_bash", ["cuda", "cpu"]),
    ],
)
def test_the_shell_completes_words(args: str, program: str, words: list[str]) -> None:
    asked = environment(_ONNXSURGEON_COMPLETE=program, COMP_WORDS=args, COMP_CWORD=str(len(args.split()) - 1))
    done = subprocess.run([sys.executable, "-m", "onnxsurgeon"], capture_output=True, text=True, env=asked)
    assert done.stdout.split() == words, done.stderr


@pytest.mark.parametrize(
    ("args", "meant"),
    [
        (("prune", "--percent", "30"), "--ratio"),
        (("prune", "--sparsity", "0.3"), "--ratio"),
        (("prune", "--amount=0.3"), "--ratio"),
        (("prune", "--rtio", "0.3"), "--ratio"),
        (("prune", "-ratio", "0.3"), "--ratio"),
        (("prune", "--utility", "l1"), "--importance"),
        (("prune", "--calibration", "x"), "--data"),
        (("prune", "--datset", "x"), "--data"),
        (("prune", "--threshold", "x"), "--max-drop"),
        (("prune", "--accuracy", "x"), "--max-drop"),
        (("prune", "--out", "x"), "--output"),
        (("prune", "--force"), "--overwrite"),
        (("prune", "--hepl"), "--help"),
        (("validate", "--tolerance", "1"), "--atol"),
        (("evaluate", "--gpu"), "--device"),
        (("--versoin",), "--version"),
        (("shrink", "net.onnx"), "prune"),
        (("compres", "net.onnx"), "compress"),
        (("inspct", "net.onnx"), "inspect"),
        (("recipe", "net.onnx"), "edit"),
        (("validate", "a", "b", "--device", "gpu"), "cuda"),
    ],
)
def test_the_word_that_was_meant_is_named(args: tuple[str, ...], meant: str, run: Run) -> None:
    assert f"fix: write {meant}; or see onnxsurgeon " in run(*args, code=2).stderr


@pytest.mark.parametrize("word", ["--xyzzy", "xyzzy", "-x", "--max-bogus", "--race", "--no-roof"])
def test_what_is_near_nothing_is_met_without_a_guess(word: str, run: Run) -> None:
    assert run(word, code=2).stderr.endswith("fix: see onnxsurgeon --help\n")


def test_every_suggestion_exists_and_none_is_a_second_name() -> None:
    options = {name for c in GROUP.commands.values() for p in c.params for name in (*p.opts, *p.secondary_opts)}
    assert {name.split()[0] for name in suggest.OPTIONS} <= options
    assert set(suggest.COMMANDS) == set(COMMANDS)
    for name, words in (*suggest.OPTIONS.items(), *suggest.COMMANDS.items()):
        assert name.lstrip("-") not in words.split()
    assert not {word for words in suggest.COMMANDS.values() for word in words.split()} & set(COMMANDS)


@pytest.mark.parametrize(("args", "what"), [((*PRUNE, "--ratio"), "'--ratio'"), (("inspect",), "MODEL")])
def test_a_wrong_command_line_is_told_in_three_parts(args: tuple[str, ...], what: str, run: Run) -> None:
    lines = run(*args, code=2).stderr.splitlines()
    assert what in lines[0]
    assert lines[-1] == f"fix: see onnxsurgeon {args[0]} --help"
