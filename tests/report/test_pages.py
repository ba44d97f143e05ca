"""Pages: made from the JSON report alone, they need nothing else, and no name in a model is more than text."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import onnx
import pytest
from typer.testing import CliRunner

from onnxsurgeon.cli import app
from onnxsurgeon.errors import ModelError
from onnxsurgeon.report.edit_tables import edited, outcomes, outputs
from onnxsurgeon.report.json_report import Report, failure, head
from onnxsurgeon.report.layout import as_text
from onnxsurgeon.report.pages import PAGES, page
from onnxsurgeon.report.pages.charts import spaced
from onnxsurgeon.report.pages.measures import ERROR, TOP_CLASS, measured
from onnxsurgeon.report.pages.pieces import table
from onnxsurgeon.report.pages.runs_page import on_front
from onnxsurgeon.report.ranking import ranked, ranking
from onnxsurgeon.report.tables_of import tables_of
from paths import FIXTURES

ODD = "<script>alert(1)</script>[red]\"'&"
NAME = "a<b>[red]&'.onnx"
DATA = ("--data", "train.npz", "--samples", "16")
RUNS = {
    "prune": ("prune", NAME, "--ratio", "0.3", "--metric", "top1", "--importance", "wanda", "--compensate", "linear",
              "--max-memory", "1GB", "-o", "small.onnx", *DATA),
    "unknown": ("prune", NAME, "--ratio", "0.3", "--data", "none", "--no-bench", "-o", "blind.onnx"),
    "dry": ("prune", NAME, "--ratio", "0.3", "--data", "none", "--no-bench", "--dry-run"),
    "resize": ("resize", NAME, f"conv1{ODD}=-4", "-o", "resized.onnx"),
    "remove": ("remove", NAME, f"relu1{ODD}", "--no-proof", "--no-bench", "-o", "removed.onnx"),
    "inspect": ("inspect", NAME),
    "compare": ("compare", NAME, "small.onnx"),
    "diff": ("diff", NAME, "resized.onnx"),
    "bench": ("bench", NAME, "--time-limit", "0.01"),
    "evaluate": ("evaluate", NAME, *DATA),
    "sensitivity": ("sensitivity", NAME, *DATA),
    "train": ("train", NAME, "--epochs", "2", "-o", "trained.onnx", *DATA),
    "compress": ("compress", NAME, "--ratio", "0.2", "--steps", "1", "--fine-tune", "1", "--importance", "taylor", "-o",
                 "compressed.onnx", *DATA),
    "validate": ("validate", NAME, NAME, "--shapes-only"),
    "search": ("search", "--data", "train.npz", "--samples", "32", "--generations", "2", "--population", "3",
               "--batches", "1", "--executor", "here", "--cost", "params", "-o", "found.onnx"),
    "check": ("check", NAME, "--max-params", "9M"),
    "runs": ("report", "prune.json", "unknown.json"),
}  # fmt: skip
FAILED = {
    "no such model": ("prune", "none.onnx", "--ratio", "0.3"),
    "infeasible": ("prune", NAME, "--max-params", "1", "--data", "none"),
    "larger": ("compare", "small.onnx", NAME, "--fail-if-larger", "--no-bench"),
}
VOID = {"meta", "input"}
BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
needs_browser = pytest.mark.skipif(BROWSER is None, reason="needs Chromium")


def odd_model(path: Path) -> None:
    """The network of digits, with names that would be markup."""
    model = onnx.load(FIXTURES / "digits.onnx")
    for node in model.graph.node:
        node.name += ODD
        node.output[:] = [name if name == "output" else name + ODD for name in node.output]
        weights = {w.name for w in model.graph.initializer} | {"input", ""}
        node.input[:] = [name if name in weights else name + ODD for name in node.input]
    onnx.save(model, path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the model, data, and a report and a page of each run."""
    found = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("onnxsurgeon.cli.latency.SECONDS", 0.0)
        patch.chdir(found)
        odd_model(found / NAME)
        shutil.copy(FIXTURES / "digits_train.npz", "train.npz")
        for name, words in (RUNS | FAILED).items():
            done = CliRunner().invoke(app, [*words, "--report", f"{name}.json", "--html", f"{name}.html", "-q"])
            assert (done.exit_code == 0) == (name in RUNS), done.output
        yield found


def report(folder: Path, name: str) -> Report:
    found: Report = json.loads((folder / f"{name}.json").read_text())
    return found


class Elements(HTMLParser):
    """The elements of a page: name, attributes, text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.open: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.feed(text)
        assert not self.open, "every element ends"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = (tag, dict(attrs), list[str]())
        self.found.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element[2].append(data)


@pytest.mark.parametrize("name", [*RUNS, *FAILED])
def test_a_page_is_a_function_of_the_report(name: str, folder: Path) -> None:
    assert page(report(folder, name)) == (folder / f"{name}.html").read_text()


@pytest.mark.parametrize("name", [*RUNS, *FAILED])
def test_a_page_needs_nothing_else_and_runs_its_own_scripts_alone(name: str, folder: Path) -> None:
    text = (folder / f"{name}.html").read_text()
    elements = Elements(text).found
    assert not [e for e in elements if {"src", "onclick", "onload", "onerror"} & set(e[1])]
    assert all((e[1].get("href") or "#").startswith("#") for e in elements)
    assert {e[0] for e in elements} & {"link", "iframe", "img", "object", "form"} == set()
    scripts = ["".join(e[2]) for e in elements if e[0] == "script" and "type" not in e[1]]
    policy = next(e[1]["content"] or "" for e in elements if e[1].get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; ")
    allowed = re.findall(r"'sha256-(.*?)'", policy)
    assert allowed == [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    assert not [script for script in scripts if "alert(1)" in script]
    assert len(text) < 1.5e6


@pytest.mark.parametrize(
    "name", [name for name in RUNS if name not in ("bench", "evaluate", "validate", "check", "search", "runs")]
)
def test_names_are_text(name: str, folder: Path) -> None:
    elements = Elements((folder / f"{name}.html").read_text()).found
    texts = ["".join(e[2]) for e in elements if e[0] in ("td", "h1")]
    assert any(NAME in text for text in texts)
    assert name in ("train", "compress") or any(ODD in text for text in texts)
    values = [json.loads("".join(e[2])) for e in elements if e[1].get("type") == "application/json"]
    assert values


def test_every_page_was_tried(folder: Path) -> None:
    used = {next((key for key in PAGES if key in report(folder, name)), "") for name in RUNS}
    assert used == {*PAGES, ""}


def test_a_page_answers_what_was_asked(folder: Path) -> None:
    text = (folder / "prune.html").read_text()
    for title in ("What happened", "Was it worth it?", "What next?", "Layers", "Graph", "What was assumed"):
        assert f">{title}</h2>" in text
    cells = ["".join(e[2]) for e in Elements(text).found if e[0] == "td"]
    assert {"parameters", "MACs", "file", "peak memory", "latency", "top1"} <= set(cells)
    assert any("--html 'a<b>[red]&'\"'\"'.sensitivity.html'" in line for line in commands(text)), "named by the model"


def commands(text: str) -> list[str]:
    return ["".join(e[2]) for e in Elements(text).found if e[0] == "code"]


def test_a_page_without_one_of_its_own_says_what_the_terminal_says(folder: Path) -> None:
    for name in ("bench", "check", "validate", "evaluate"):
        given = report(folder, name)
        cells = ["".join(e[2]) for e in Elements(page(given)).found if e[0] in ("td", "dd", "p")]
        lines = as_text(tables_of(given)(given, verbose=True)).splitlines()
        said = [cell for line in lines for cell in re.split("  +", line.strip()) if cell and cell != "-"]
        assert {cell for cell in said if " us" in cell or " KB" in cell or "PASSED" in cell} <= {*cells, "PASSED"}
        assert not [cell for cell in cells if re.search(r"[0-9]\.[0-9]{5,}", cell)], "no raw numbers"


def test_what_is_offered_can_work(folder: Path) -> None:
    """Nothing with a model from a pipe, or with an original whose outputs are others; options of the run go along."""
    given = report(folder, "resize")
    assert [line for line in commands(page(given)) if "--against" in line]
    cut = {**given, "ends": [{"name": "y", "kind": "output", "before": "FLOAT [2]", "after": "FLOAT [1]"}]}
    assert not [line for line in commands(page(cut)) if "--against" in line or "--teacher" in line]
    assert commands(page({**given, "model": "-", "output": "-"})) == []
    for line in commands((folder / "prune.html").read_text()):
        words = line.split()
        if words[1] == "prune":
            assert {"--data", "--metric", "--samples", "--importance", "--compensate"} <= set(words)
        if words[1] == "sensitivity":
            assert {"--data", "--samples"} <= set(words)


def test_options_of_a_run_go_along(folder: Path) -> None:
    asked = {"input_shape": {"input": [1, 1, 8, 8]}, "preprocess": "unit", "samples": 16, "threads": 2}
    for name, command in (("sensitivity", "prune"), ("inspect", "prune"), ("bench", "bench"), ("validate", "bench")):
        given = report(folder, name)
        assert set(given["requested"]) & set(asked)
        lines = commands(page({**given, "requested": {**given["requested"], **asked}}))
        line = next(line for line in lines if line.startswith(f"onnxsurgeon {command}"))
        assert "--input-shape input:1,1,8,8" in line
        assert ("--preprocess unit" in line) == (name == "sensitivity")
        assert ("--threads 2" in line) == (name == "bench")


def test_runs_are_compared_by_what_tells_them_apart(folder: Path) -> None:
    rows = report(folder, "runs")["models"]
    moved = [{**row, "score": None} for row in rows]
    for row, error, agreement in zip(moved, (0.5, 2.0), (0.9, 0.7), strict=True):
        outputs = [{"name": "y", "error": error, "agreement": agreement}]
        row["verdict"] = {"moved": {"share": 1 - agreement, "samples": 8, "kind": "random", "outputs": outputs}}
    found = measured(moved)
    assert found is not None
    assert [found.title, found.unit, *map(found.written, found.after.values())] == [TOP_CLASS, "%", "90 %", "70 %"]
    moved[0]["verdict"]["moved"]["outputs"][0]["agreement"] = None
    found = measured(moved)
    assert found is not None
    assert (found.title, found.after, found.silent) == (ERROR, {0: 0.5, 1: 2.0}, ""), "one unit, and not clamped"
    moved[0]["verdict"]["moved"]["outputs"][0]["error"] = 1.2
    text = page({**report(folder, "runs"), "models": moved})
    assert "as far off as a constant" in text
    assert "What is left of each cost, by run." in text


def test_lines_of_an_error_stay_lines(folder: Path) -> None:
    given = report(folder, "runs")
    bad = {
        **head("prune"),
        "model": "m.onnx",
        **failure(ModelError("broken", why="one\ntwo"), 4),
        "requested": {"ratio": 1},
    }
    text = page({**given, "models": [*given["models"], bad]})
    assert "<div>one</div><div>two</div>" in text
    assert "m.onnx, ratio 1" in text


def test_a_failed_run_says_what_to_do(folder: Path) -> None:
    for name in FAILED:
        found, text = report(folder, name), (folder / f"{name}.html").read_text()
        shown = ["".join(e[2]) for e in Elements(text).found if e[0] == "dd"]
        assert found["what"] in shown
        assert found["fix"] in shown


def test_page_and_terminal_say_the_same_of_an_edit(folder: Path) -> None:
    found = report(folder, "resize")
    ran = {**found["steps"][0], "what": "splice", "error": None, "change": 0.7, "unchanged": False}
    for steps, word in ((found["steps"], "proven"), ([*found["steps"], ran], "partly proven")):
        given = {**found, "steps": steps}
        said, elements = as_text(edited(given, verbose=True)), Elements(page(given)).found
        shown = ["".join(e[2]).strip() for e in elements if e[0] in ("dd", "td")]
        assert {*outcomes(given), outputs(given)[0]} <= set(shown)
        assert all(text in said for text in (*outcomes(given), outputs(given)[0]))
        chips = ["".join(e[2]) for e in elements if (e[1].get("class") or "").startswith("chip")]
        assert chips[0] == word
    assert "1 of 2 steps only ran" in said


def test_a_page_replaces_no_other_file(folder: Path) -> None:
    (folder / "precious.html").write_text("precious")
    for target in ("precious.html", NAME, "none/page.html"):
        done = CliRunner().invoke(app, ["inspect", NAME, "--html", target])
        assert done.exit_code == 2
        assert "fix: " in done.output
    assert (folder / "precious.html").read_text() == "precious"


def test_the_graph_counts_what_the_model_costs(folder: Path) -> None:
    found = report(folder, "prune")
    rows = found["graph"]
    assert sum(row["params"] for row in rows) == found["before"]["params"]
    assert sum(row["after"]["params"] for row in rows) <= found["after"]["params"]  # a refitted layer may get a bias
    names = {row["node"] for row in rows}
    assert all(name in names or name == "input" for row in rows for name in row["reads"])
    for row in rows:
        for space in row["spaces"]:
            curve = found["curves"][space]
            assert curve["at"][0] == 0
            assert curve["at"][-1] == curve["units"]
            assert curve["kept"] in curve["at"]
    trace = found["solver"]["trace"]
    assert trace[-1]["objective"] == found["solver"]["objective"]
    assert all(a["seconds"] <= b["seconds"] for a, b in pairwise(trace))


def test_layers_are_ranked_and_those_that_stand_out_are_left_alone() -> None:
    layers = [
        {
            "nodes": [name],
            "units": 8,
            "points": [{"share": 0.9, "units": 7, "error": 0.1}, {"share": 0.5, "units": 4, "error": error}],
        }
        for name, error in (("a", 0.1), ("b b", None), ("c", 0.2), ("d", 0.15))
    ]
    found = ranking(layers, (0.9, 0.5), "m.onnx", "d.npz")
    assert [layer["nodes"][0] for layer in ranked(layers, found["ranked_by"])] == ["b b", "c", "d", "a"]
    assert found["sensitive"] == ["b b"]
    assert found["next"] == "onnxsurgeon prune m.onnx --ratio 0.3 --data d.npz --exclude 'b b'"


def test_the_front_holds_what_no_other_run_beats() -> None:
    points = [(50.0, 0.9), (60.0, 0.9), (40.0, 0.8), (45.0, 0.7), (90.0, 0.95), (50.0, 0.9)]
    assert on_front(points) == [True, False, True, False, True, True]


def test_labels_lie_on_no_other_label() -> None:
    rows = [{"x": x, "y": y, "name": "0.35"} for x, y in ((50, 0.5), (51, 0.5), (51, 0.9), (90, 0.5))]
    assert [row["name"] for row in spaced(rows, across="x", up="y", label="name")] == ["0.35", "", "0.35", "0.35"]


def test_a_column_without_content_is_left_out() -> None:
    shown = table("node", ">width", "further", rows=[("a", 0, ""), ("b", None, None)], caption="Nodes")
    assert [e[2] for e in Elements(shown).found if e[0] == "th"] == [["node"], ["width"]]


def test_what_was_not_measured_is_said_where_it_can_be(folder: Path) -> None:
    said = {name: (folder / f"{name}.html").read_text() for name in ("unknown", "resize", "compare")}
    assert ["latency: not measured" in text for text in said.values()] == [True, False, False]
    assert all("peak memory" in text for text in said.values())


def test_an_error_alone_makes_a_page() -> None:
    error = ModelError("it is <b>broken</b>", why="one\ntwo", fix="mend it")
    text = page({**head("prune"), **failure(error, 4)})
    assert "&lt;b&gt;broken" in text
    assert "<b>" not in text


# --- in a browser ---

ACT = """
window.requestAnimationFrame = (act) => setTimeout(act, 0); // a browser that shows nothing draws no frames
const say = {}, wait = (ms) => new Promise((done) => setTimeout(done, ms));
addEventListener("load", async () => {
  window.dispatchEvent(new Event("beforeprint"));
  await wait(300);
  say.charts = document.querySelectorAll(".chart").length;
  say.drawn = document.querySelectorAll(".chart .plot svg").length;
  say.wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  const filtered = (table) => table.closest("div:not(.scroll)").querySelector("input");
  const tables = [...document.querySelectorAll("table")];
  const table = tables.find((found) => filtered(found) && found.rows[0].cells.length > 8);
  if (table) {
    const head = [...table.tHead.rows[0].cells].findIndex((cell) => cell.textContent === "parameters");
    const keys = () => [...table.tBodies[0].rows].map((row) => Number(row.cells[head].dataset.sort));
    table.tHead.rows[0].cells[head].click();
    say.first = keys();
    table.tHead.rows[0].cells[head].dispatchEvent(new KeyboardEvent("keydown", { key: "Enter" }));
    say.second = keys();
    say.sorted = table.tHead.rows[0].cells[head].getAttribute("aria-sort");
    const field = filtered(table);
    field.value = "gemm";
    field.dispatchEvent(new Event("input"));
    say.shown = [...table.tBodies[0].rows].filter((row) => !row.hidden).length;
    say.said = field.closest(".filter").querySelector("output").textContent;
  }
  const graph = document.querySelector("figure.graph");
  if (graph) {
    say.windows = graph.querySelectorAll(".window svg").length;
    say.nodes = graph.querySelectorAll(".window:first-of-type .node").length;
    const find = graph.querySelector('input[type="search"]');
    find.value = "layer1.0.conv1";
    find.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter" }));
    await wait(50);
    say.found = graph.querySelectorAll(".node.found").length;
    say.chosen = graph.querySelector(".chosen").textContent;
    const moved = () => graph.querySelector(".window svg").style.transform;
    await wait(300);
    const start = moved();
    graph.querySelector(".window").dispatchEvent(new KeyboardEvent("keydown", { key: "+" }));
    await wait(300);
    say.zoomed = moved() !== start;
    say.transforms = new Set([...graph.querySelectorAll(".window svg")].map((svg) => svg.style.transform)).size;
  }
  const result = document.createElement("pre");
  result.id = "result";
  result.textContent = JSON.stringify(say);
  document.body.append(result);
});
"""


def browsed(path: Path, folder: Path, *, width: int = 1200, act: bool = True) -> tuple[dict[str, Any], str]:
    """What the script above found in a page, and what the browser had to complain about."""
    text = path.read_text()
    shown = folder / f"shown-{path.name}"
    if act:  # the policy of the page allows no other script
        text = re.sub(r"<meta http-equiv.*?>", "", text).replace("</body>", f"<script>{ACT}</script></body>")
    shown.write_text(text)
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    flags += " --disable-component-update --disable-sync --enable-logging=stderr --v=0 --virtual-time-budget=3000"
    command = [str(BROWSER), *flags.split(), f"--user-data-dir={folder / 'profile'}", f"--window-size={width},900"]
    done = subprocess.run(
        [*command, "--dump-dom", shown.as_uri()], capture_output=True, encoding="utf-8", timeout=120, check=True
    )
    found = re.search(r'<pre id="result">(.*?)</pre>', done.stdout, re.DOTALL)
    complaints = "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)
    return json.loads(
        found[1].replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&")
    ) if found else {}, complaints


@needs_browser
@pytest.mark.slow
def test_a_page_works_in_a_browser(folder: Path) -> None:
    found, complaints = browsed(folder / "prune.html", folder)
    assert complaints == ""
    assert found["drawn"] == found["charts"] > 5
    assert found["wide"] == 0, "nothing is wider than the window"
    assert found["first"] == sorted(found["first"])
    assert found["second"] == found["first"][::-1]
    assert found["sorted"] == "descending"
    assert (found["shown"], found["said"]) == (1, "1 of 9 rows")
    assert found["found"] == found["windows"] == 1
    assert ODD in found["chosen"]
    assert found["zoomed"]


@needs_browser
@pytest.mark.slow
def test_two_graphs_move_together(folder: Path) -> None:
    found, complaints = browsed(folder / "compare.html", folder, width=420)
    assert complaints == ""
    assert found["windows"] == found["found"] == 2
    assert found["transforms"] == 1
    assert found["wide"] == 0


@needs_browser
@pytest.mark.slow
def test_the_policy_lets_the_page_draw(folder: Path) -> None:
    _, complaints = browsed(folder / "sensitivity.html", folder, act=False)
    assert complaints == ""
