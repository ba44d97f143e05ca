"""What README.md and docs/ show is so: examples run and print what is shown, tables are those of the records."""

from __future__ import annotations

import difflib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import accuracy_page
import zoo
from make_docs import MEASURED, PAGES, REFERENCE, WRITTEN, read
from page_examples import Block, Session, blocks, run, same
from page_tables import application, commands, options, renewed, shown_commands
from paths import FIXTURES, ROOT
from report_schema import require_schema

QUICK = ("docs/architecture.md", "docs/how-it-is-proven.md", "docs/json-report.md")
RENEW = "scripts/make_docs.py renews the pages"
NOT_OURS = ("--edits", "--help", "--strict", "--version")  # of scripts, of mypy, of every command
MOST_NOT_RUN = 3

CASES = [pytest.param(page, marks=[] if page in QUICK else pytest.mark.slow, id=page) for page in WRITTEN]
EVERY_PAGE = pytest.mark.parametrize("page", PAGES)


@pytest.mark.parametrize("page", CASES)
def test_examples_run_and_print_what_is_shown(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxsurgeon.cli.latency.SECONDS", 0.0)  # no page is held to a latency
    shown = read(page)
    now = Session(tmp_path).renewed(shown, page)
    assert same(shown, now), "\n".join(difflib.unified_diff(shown.splitlines(), now.splitlines(), page, RENEW, n=1))


@EVERY_PAGE
def test_tables_are_those_of_the_records(page: str) -> None:
    assert renewed(read(page)) == read(page), RENEW


def test_the_command_reference_is_that_of_the_command_line() -> None:
    assert read(REFERENCE) == commands({page: read(page) for page in WRITTEN}), RENEW


def test_every_command_is_shown_and_none_that_does_not_exist() -> None:
    known = set(application().commands)
    shown = set().union(*(shown_commands(read(page)) for page in WRITTEN))
    assert shown == known


@EVERY_PAGE
def test_no_text_names_a_command_or_an_option_that_does_not_exist(page: str) -> None:
    code = [*re.findall(r"`([^`\n]+)`", read(page)), *(line for block in blocks(read(page)) for line in block.lines)]
    known, existing = {*options(), *NOT_OURS}, set(application().commands)
    for text in code:
        if page in MEASURED and "scripts/" in text:
            continue  # its own options
        assert set(re.findall(r"(?<![\w-])--[a-z][\w-]*", text)) <= known, text
        assert set(re.findall(r"^onnxsurgeon ([a-z]\w*)", text)) <= existing, text


@EVERY_PAGE
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", read(page)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings}, target


def test_few_examples_are_not_run_and_each_says_why() -> None:
    skipped = [block.notes["not run"] for page in WRITTEN for block in blocks(read(page)) if "not run" in block.notes]
    assert all(skipped)
    assert len(skipped) <= MOST_NOT_RUN


# --- the JSON report ---

DIGITS = "fixtures/digits.onnx --data fixtures/digits_test.npz --samples 32"
REPORTS = (
    f"prune {DIGITS} --max-drop 0.5 --metric top1 --importance wanda --compensate linear",
    "resize fixtures/plain.onnx conv2=-8",
    "inspect fixtures/xor.onnx",
    f"evaluate {DIGITS}",
    f"sensitivity {DIGITS} --only conv1",
    "validate fixtures/xor.onnx fixtures/xor.onnx",
    "bench fixtures/xor.onnx --layers --time-limit 0.1",
    "compare fixtures/xor.onnx fixtures/plain.onnx",
    "doctor",
    "demo there",
    "diff fixtures/xor.onnx fixtures/plain.onnx",
    f"check {DIGITS} --min-top1 0 --max-latency 9s --time-limit 0.1",
    "train fixtures/digits.onnx --data fixtures/digits_train.npz --samples 32 --epochs 1 -o trained.onnx",
    "profile fixtures/plain.onnx -o device.json --time-limit 0.2 --effort fast",
    "search --data fixtures/digits_test.npz --generations 1 --population 3 --batches 1 --executor here --space vectors"
    " -o found.onnx",
    f"compress {DIGITS} --ratio 0.2 --steps 1 --fine-tune 1 --importance taylor -o compressed.onnx",
)
OPEN = (
    "requested",
    "left",
    "costs",
    "generations",
    "operators",
    "opsets",
    "unknown",
    "seconds",
    "stages",
    "largest_ratio",
    "attributes",
)  # whose keys depend on the call


def keys(report: Any) -> Iterator[str]:
    for name, value in report.items() if isinstance(report, dict) else ():
        yield name
        for entry in value if isinstance(value, list) else [value]:
            yield from () if name in OPEN else keys(entry)


@pytest.mark.slow
def test_every_key_of_a_report_is_documented_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(FIXTURES, tmp_path / "fixtures")
    monkeypatch.chdir(tmp_path)
    found = set[str]()
    for command in REPORTS:
        code, output = run(f"onnxsurgeon {command} --json")
        assert code == 0, output
        report = json.loads(output)
        require_schema(report)
        found |= set(keys(report))
    page = read("docs/json-report.md")
    documented = {name for cell in re.findall(r"^\| (`.*?`) \|", page, re.M) for name in re.findall(r"`(\w+)`", cell)}
    assert found - set(re.findall(r"`(\w+)`", page)) == set()
    assert documented - found == set()


# --- the comparison itself ---


@pytest.mark.parametrize(
    "now", ["top1 0.980 in 0.2 s on CPU", "top1 0.975\nin 9.1 s on CUDA", "top1  0.980 in 0.1 s on CPU"]
)
def test_an_output_may_differ_by_what_machines_change(now: str) -> None:
    assert same("top1 0.980 in 0.1 s on CPU", now)


@pytest.mark.parametrize("now", ["top1 0.9 in 0.1 s on CPU", "top5 0.980 in 0.1 s on CPU", "top1 0.980"])
def test_an_output_may_not_differ_by_more(now: str) -> None:
    assert not same("top1 0.980 in 0.1 s on CPU", now)


def test_an_example_is_a_command_with_its_output() -> None:
    text = "<!-- exit code 3 -->\n```console\n$ onnxsurgeon x \\\n    --y 1\nout\n$ onnxsurgeon z\n```\n"
    (block,) = blocks(text)
    assert isinstance(block, Block)
    assert block.notes == {"exit code": "3"}
    assert list(block.parts()) == [(["onnxsurgeon x", "--y 1"], ["out"]), (["onnxsurgeon z"], [])]


def test_the_measured_pages_have_the_words_of_their_scripts() -> None:
    assert read("docs/accuracy.md").startswith(accuracy_page.HEAD)
    assert read("docs/accuracy.md").endswith(accuracy_page.NOTES)
    words = zoo.HEAD.partition("{totals}")[2].format(ratio="0.3", cost="params")
    assert words in read("docs/coverage.md")
