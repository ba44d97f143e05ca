"""Surgery on the shell: what each command does and says, what it refuses, and that a refusal changes no file."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner, Result

import onnxsurgeon as osg
from commands import Run, environment, module
from onnxsurgeon.cli import app
from onnxsurgeon.cli.recipes import read
from onnxsurgeon.errors import UsageError
from onnxsurgeon.surgery.part_methods import OPERATIONS
from paths import FIXTURES

MODELS = ("plain", "residual", "concat", "grouped")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a few models, in which the commands run."""
    for name in MODELS:
        shutil.copy(FIXTURES / f"{name}.onnx", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def models() -> tuple[str, ...]:
    return tuple(f"{name}.onnx" for name in MODELS)


def data(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def changed(found: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """By node, what it was and what it is; those that only follow apart."""
    return {row["node"]: (row["before"], row["after"]) for row in found["changes"] if not row["follows"]}


EXAMPLES = {
    "resize": ("resize", "plain.onnx", "conv2=-8", "conv3=+8"),
    "resize near": ("resize", "plain.onnx", "conv2~-7", "--round-to", "8"),
    "resize by input": ("resize", "concat.onnx", "mixed1.concat.in=free,free,~+4,8"),
    "resize head": ("resize", "plain.onnx", "fc=3", "--keep", "fc:0,5", "--keep", "fc:9"),
    "resize globs": ("resize", "residual.onnx", "layer1.*.conv1=-25%", "--importance", "l1"),
    "resize copies": ("resize", "plain.onnx", "conv2=+8", "--init", "duplicate", "--max-new", "conv2:8"),
    "resize dropped": ("resize", "plain.onnx", "conv2=-2", "--drop", "conv2:0-1"),
    "resize groups": ("resize", "grouped.onnx", "layer1.0.conv2=-8", "--attention", "heads"),
    "remove": ("remove", "residual.onnx", "layer1.1.conv2"),
    "remove joint": ("remove", "residual.onnx", "layer1.0.add", "--through", "relu1"),
    "remove aligned": ("remove", "plain.onnx", "conv2", "--align", "shrink", "--importance", "l2"),
    "insert": ("insert", "plain.onnx", "--after", "conv2", "--op", "Conv", "--kernel", "3", "--init", "identity"),
    "insert for": ("insert", "residual.onnx", "--after", "relu1", "--op", "BatchNorm", "--for", "layer1.0.conv1"),
    "insert plain": ("insert", "plain.onnx", "--after", "fc", "--op", "Linear", "--no-bias", "--name", "last"),
    "insert pool": ("insert", "plain.onnx", "--after", "relu1", "--op", "MaxPool", "--kernel", "3"),
    "connect": ("connect", "concat.onnx", "mixed1.one.relu", "mixed1.concat", "--position", "0"),
    "connect sum": ("connect", "residual.onnx", "relu1", "layer1.1.add"),
    "disconnect": ("disconnect", "concat.onnx", "mixed1.one.relu", "mixed1.concat"),
    "kernel": ("kernel", "plain.onnx", "conv1", "5x5"),
    "kernel of one": ("kernel", "plain.onnx", "conv1", "1"),
    "activation": ("activation", "plain.onnx", "relu3", "Silu"),
    "replace": ("replace", "plain.onnx", "relu2", "--op", "AveragePool"),
    "replace separable": ("replace", "plain.onnx", "conv2", "--op", "Separable"),
    "splice": (
        "splice", "plain.onnx", "residual.onnx", "--after", "relu2", "--entry", "relu1", "--exit", "layer1.0.relu",
    ),
    "fuse": ("fuse", "residual.onnx"),
}  # fmt: skip
UNCHANGED = {
    "resize by input", "resize head", "resize copies", "insert", "insert for", "insert plain", "connect", "kernel",
    "fuse",
}  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_command_writes_what_it_says_and_proves_it(name: str, run: Run) -> None:
    result = run(*EXAMPLES[name], "-o", "out.onnx", "--report", "r.json")
    assert result.stdout == ""
    assert result.stderr.rstrip().endswith("WRITTEN  out.onnx")
    assert ("function unchanged" in result.stderr) == (name in UNCHANGED)
    onnx.checker.check_model("out.onnx", full_check=True)
    found = json.loads(Path("r.json").read_text())
    assert found["proof"]["unchanged"] == (name in UNCHANGED)
    assert found["after"]["size"] == Path("out.onnx").stat().st_size
    assert found["changes"]


def test_a_part_is_written_with_the_names_that_its_ends_have(run: Run) -> None:
    result = run("extract", "plain.onnx", "--from", "relu1", "--to", "conv3", "-o", "part.onnx")
    assert "it computes what it does inside the original, proven exactly" in result.stderr
    graph = onnx.load("part.onnx").graph
    assert [value.name for value in (*graph.input, *graph.output)] == ["relu1", "conv3"]
    run("fuse", "part.onnx", "-o", "fused.onnx")
    again = run("fuse", "fused.onnx", "-o", "again.onnx")
    assert "none: there is nothing to do" in again.stderr
    assert again.stderr.endswith("WRITTEN  again.onnx\n")
    assert Path("again.onnx").read_bytes() == Path("fused.onnx").read_bytes()


def test_the_same_seed_gives_the_same_file(run: Run) -> None:
    for seed, name in (("1", "a"), ("1", "b"), ("2", "c")):
        run("resize", "plain.onnx", "conv2=+8", "--seed", seed, "--no-proof", "-q", "-o", f"{name}.onnx")
    a, b, c = (Path(f"{name}.onnx").read_bytes() for name in "abc")
    assert a == b != c


DOCUMENTED = """
    schema command version model output before after requested widths changes ends outputs steps proof latency graphs
    seconds status exit_code
""".split()


def test_json_is_one_object_with_the_documented_keys(run: Run) -> None:
    result = run("resize", "plain.onnx", "conv2=-8", "conv1~+1", "--json", "--report", "r.json")
    found = data(result)
    assert result.stderr == ""
    assert sorted(found) == sorted(DOCUMENTED)
    assert json.loads(Path("r.json").read_text()) == found
    assert (found["command"], found["status"], found["exit_code"]) == ("resize", "written", 0)
    assert found["output"] == "plain.edited.onnx"
    assert found["before"]["size"] == Path("plain.onnx").stat().st_size
    assert found["widths"] == [
        {"request": "conv2=-8", "before": 24, "wanted": 16, "after": 16, "relaxed": False},
        {"request": "conv1~+1", "before": 16, "wanted": 17, "after": 17, "relaxed": False},
    ]
    rows = changed(found)
    assert sorted(rows) == ["conv1", "conv2", "conv3"]
    assert rows["conv3"][1] == {"operator": "Conv", "width": 32, "weight": [32, 16, 3, 3]}
    assert {row["node"] for row in found["changes"]} > {"bn1", "relu1", "bn2", "relu2"}
    assert [step["what"] for step in found["steps"]] == ["resize conv2=-8 conv1~+1"]
    assert found["requested"]["operations"][0]["operation"] == "resize"


def test_what_came_and_went_is_named(run: Run) -> None:
    found = changed(data(run(*EXAMPLES["activation"], "--json", "--dry-run")))
    assert found["relu3.gate"] == (None, {"operator": "Sigmoid", "width": 32, "weight": None})
    assert (found["relu3"][0]["operator"], found["relu3"][1]["operator"]) == ("Relu", "Mul")
    assert changed(data(run(*EXAMPLES["remove"], "--json", "--dry-run")))["layer1.1.conv2"][1] is None
    text = run(*EXAMPLES["activation"], "--dry-run").stderr
    assert "added   relu3.gate (Sigmoid)" in text
    assert "Relu -> Mul" in text
    assert "removed layer1.1.conv2 (Conv)" in run(*EXAMPLES["remove"], "--dry-run").stderr


def test_what_follows_is_shown_when_asked_for(run: Run) -> None:
    args = ("resize", "plain.onnx", "conv2=-8", "--dry-run")
    brief, whole = run(*args).stderr, run(*args, "-v").stderr
    assert "bn2" not in brief
    assert "and 2 that only follow" in brief
    assert "bn2" in whole


def test_a_width_that_can_not_be_had_is_infeasible_or_relaxed_aloud(run: Run) -> None:
    args = ("resize", "plain.onnx", "conv2=-16", "bn2=12")
    found = run(*args, code=3).stderr
    assert "conv2=-16 and bn2=12 are impossible together" in found
    assert "the nearest possible widths: conv2=-16: 12, bn2=12: 12" in found
    assert data(run(*args, "--json", code=3))["exit_code"] == 3
    relaxed = run(*args, "--relax", "--dry-run")
    assert "relaxed conv2=-16: 24 -> 12; 8 is impossible" in relaxed.stderr
    assert data(run(*args, "--relax", "--json"))["widths"][0]["relaxed"]
    near = run("resize", "plain.onnx", "conv2~-15", "--round-to", "8", "--dry-run").stderr
    assert "nearest conv2~-15: 24 -> 8; 9 is impossible" in near


WRONG = [
    (("resize", "plain.onnx"), "NAME=WIDTH"),
    (("resize", "plain.onnx", "conv9=-16"), "conv3"),
    (("resize", "plain.onnx", "conv2"), "NAME=WIDTH"),
    (("resize", "plain.onnx", "conv2=-24"), "24 wide"),
    (("resize", "plain.onnx", "fc.in=3,free"), "1 input"),
    (("resize", "plain.onnx", "x*=+8"), "x*"),
    (("resize", "plain.onnx", "conv2=8", "--keep", "3"), "NAME:VALUE"),
    (("resize", "plain.onnx", "conv2=8", "--keep", "conv2:x"), "keep of conv2 'x'"),
    (("resize", "plain.onnx", "conv2=8", "--keep", "conv2:9-3"), "9-3"),
    (("resize", "plain.onnx", "conv2=8", "--keep", "conv2:24"), "no channel 24"),
    (("resize", "plain.onnx", "conv2=8", "--drop", "conv9:1"), "conv9"),
    (("resize", "plain.onnx", "conv2=8", "--max-new", "few"), "max-new"),
    (("resize", "plain.onnx", "conv2=8", "--round-to", "0"), "--round-to"),
    (("resize", "plain.onnx", "conv2=8", "--init", "ones"), "--init"),
    (("resize", "plain.onnx", "conv2=8", "--importance", "l3"), "l3"),
    (("resize", "plain.onnx", "conv2=8", "--importance", "file:none.npz"), "none.npz"),
    (("remove", "plain.onnx", "conv9"), "conv3"),
    (("remove", "residual.onnx", "layer1.0.add"), "--through"),
    (("remove", "residual.onnx", "layer1.0.add", "--through", "relu2"), "relu1"),
    (("insert", "plain.onnx", "--op", "Conv"), "--after"),
    (("insert", "plain.onnx", "--after", "conv2", "--op", "conv"), "did you mean Conv?"),
    (("insert", "plain.onnx", "--after", "conv2", "--op", "Relu", "--kernel", "3"), "Relu has no option kernel"),
    (("insert", "plain.onnx", "--after", "conv2", "--op", "MaxPool", "--kernel", "3x3"), "one number"),
    (("insert", "plain.onnx", "--after", "conv2", "--op", "Linear"), "follow conv2"),
    (("insert", "plain.onnx", "--after", "conv9", "--op", "Relu"), "conv3"),
    (("insert", "plain.onnx", "--after", "conv2", "--op", "Conv", "--groups", "5"), "5 groups"),
    (("insert", "plain.onnx", "--after", "conv2", "--op", "Conv", "--for", "bn3"), "bn3"),
    (("connect", "plain.onnx", "conv1", "conv2"), "takes no further input"),
    (("connect", "concat.onnx", "conv9", "mixed1.concat"), "conv1"),
    (("connect", "concat.onnx", "mixed1.one.relu", "mixed1.concat", "--position", "9"), "position 9"),
    (("disconnect", "residual.onnx", "conv1", "layer2.0.add"), "layer2.0.bn2"),
    (("disconnect", "plain.onnx", "conv1", "bn1"), "bn1"),
    (("disconnect", "plain.onnx", "conv1", "conv2"), "its inputs: relu1\n"),
    (("kernel", "plain.onnx", "conv1", "3y3"), "SIZE '3y3'"),
    (("kernel", "plain.onnx", "conv1", "3x3x3"), "3x3"),
    (("kernel", "plain.onnx", "relu1", "3"), "not a convolution"),
    (("activation", "plain.onnx", "relu3", "Silo"), "did you mean Silu?"),
    (("activation", "plain.onnx", "conv1", "Silu"), "not an activation"),
    (("replace", "plain.onnx", "conv2", "--op", "Separable", "--init", "zeros"), "closest"),
    (("replace", "plain.onnx", "relu1", "--op", "Separable"), "Conv"),
    (("splice", "plain.onnx", "none.onnx", "--after", "relu2"), "none.onnx"),
    (("splice", "plain.onnx", "residual.onnx", "--after", "relu2", "--entry", "rel1"), "relu1"),
    (("edit", "plain.onnx", "none.yaml"), "none.yaml"),
    (("edit", "plain.onnx", "residual.onnx"), "YAML or JSON"),
    ((*EXAMPLES["kernel"], "-o", "none/x.onnx"), "none"),
    ((*EXAMPLES["kernel"], "-o", "plain.onnx"), "exists"),
    ((*EXAMPLES["kernel"], "--report", "plain.onnx"), "--report"),
    ((*EXAMPLES["kernel"], "--device", "tpu"), "--device"),
    (("kernel", "none.onnx", "conv1", "3"), "none.onnx"),
]


@pytest.mark.parametrize(("args", "words"), WRONG)
def test_wrong_usage_is_exit_2(args: tuple[str, ...], words: str, run: Run) -> None:
    result = run(*args, "--json", code=2)
    assert words in result.stderr
    assert data(result)["status"] == "error"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("resize", "plain.onnx", "conv2=8", "--keep", "conv2:0-11"), "conv2=8: 12"),
        (("resize", "plain.onnx", "conv2=+8", "--max-new", "4"), "conv2=+8: 28"),
        (("resize", "plain.onnx", "input=4"), "an input of the graph"),
        (("remove", "residual.onnx", "layer2.0.conv1"), "layer2.0.add (Add) can't join"),
        (("remove", "plain.onnx", "conv2", "--align", "grow", "--dry-run", "--through", "relu1"), ""),
        (("connect", "residual.onnx", "conv1", "layer2.0.add"), "layer2.0.add"),
        (("connect", "concat.onnx", "mixed2.one", "mixed1.concat"), "nothing was changed"),
        (("replace", "plain.onnx", "conv1", "--op", "Conv"), "bn1"),
    ],
)
def test_what_the_graph_can_not_give_is_exit_3(args: tuple[str, ...], words: str, run: Run) -> None:
    if words:
        assert words in run(*args, code=3).stderr
    else:
        run(*args)


def test_an_existing_output_is_never_replaced(run: Run, folder: Path) -> None:
    (folder / "plain.edited.onnx").write_text("precious")
    run(*EXAMPLES["kernel"], code=2)
    (folder / "x.onnx.data").write_text("precious")
    run(*EXAMPLES["kernel"], "-o", "x.onnx", "--save-as-external-data", code=2)
    run(*EXAMPLES["kernel"], "--overwrite")
    assert (folder / "plain.edited.onnx").read_bytes() != b"precious"


def test_external_data_lies_beside_the_model(run: Run, folder: Path) -> None:
    run(*EXAMPLES["kernel"], "-o", "x.onnx", "--save-as-external-data")
    assert (folder / "x.onnx.data").stat().st_size > (folder / "x.onnx").stat().st_size


def test_quiet_prints_nothing_and_a_dry_run_writes_nothing(run: Run, folder: Path) -> None:
    assert run(*EXAMPLES["kernel"], "-q").output == ""
    before = set(folder.iterdir())
    assert "DRY RUN" in run(*EXAMPLES["insert"], "--dry-run").stderr
    found = data(run(*EXAMPLES["insert"], "--dry-run", "--json"))
    assert (found["status"], found["proof"]) == ("dry run", None)
    assert set(folder.iterdir()) == before


def test_without_proof_it_says_so(run: Run) -> None:
    assert "WRITTEN, not proven" in run(*EXAMPLES["kernel"], "--no-proof").stderr
    assert data(run(*EXAMPLES["kernel"], "--no-proof", "--overwrite", "--json"))["status"] == "not proven"


def test_a_failed_proof_is_exit_5_says_which_step_and_writes_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    compare, calls = module("proof.of_edits").compare, []

    def worse(*args: Any, **options: Any) -> Any:
        calls.append(args)
        found = compare(*args, **options)
        return found if len(calls) < 2 else replace(found, error=0.5, margin=500.0)

    monkeypatch.setattr(module("proof.of_edits"), "compare", worse)
    recipe = folder / "r.yaml"
    recipe.write_text("- kernel: {conv1: 5}\n- kernel: {conv2: 5}\n- kernel: {conv3: 5}\n")
    text = run("edit", "plain.onnx", "r.yaml", code=5).stderr
    assert "kernel conv1: 3x3 to 5x5: function unchanged" in text
    assert "kernel conv2: 3x3 to 5x5: FAILED" in text
    assert "kernel conv3: 3x3 to 5x5: not reached" in text
    calls.clear()
    found = data(run("edit", "plain.onnx", "r.yaml", "--json", code=5))
    assert (found["status"], found["proof"]["passed"]) == ("failed", False)
    assert [step["unchanged"] for step in found["steps"]] == [True, None, None]


RECIPE = """\
# smaller here, deeper there
- resize: {layer1.0.conv1: -16, layer1.1.conv1: +8, layer2.0.conv1: ~50%}
  importance: l1
- remove: layer1.1.conv2
- insert: {after: layer1.0.conv2, op: Conv, kernel: 3, name: extra}
- connect: [relu1, layer1.1.add]
- disconnect: {from: layer1.0.relu, to: layer1.1.add}
- kernel: {conv1: 5x5, layer1.0.conv1: [1, 1]}
- activation: {layer1.0.relu: Silu}
- replace: {name: layer2.0.conv2, op: Separable}
- splice: {file: sub/plain.onnx, after: layer1.0.relu, entry: conv1, exit: relu1}
- resize:
    fc: 3
  keep: {fc: [0, 2-3]}
  max-new: 0
"""


def test_a_recipe_does_all_its_operations(run: Run, folder: Path) -> None:
    """Paths in it start at its own folder."""
    (folder / "recipes" / "sub").mkdir(parents=True)
    shutil.copy(FIXTURES / "plain.onnx", folder / "recipes" / "sub")
    (folder / "recipes" / "r.yaml").write_text(RECIPE)
    found = data(run("edit", "residual.onnx", "recipes/r.yaml", "-o", "out.onnx", "--json"))
    assert (found["status"], found["command"]) == ("written", "edit")
    operations = found["requested"]["operations"]
    assert [o["operation"] for o in operations] == (
        "resize remove insert connect disconnect kernel kernel activation replace splice resize".split()
    )
    assert operations[1]["where"] == "r.yaml, line 4"
    network = osg.load("out.onnx")
    assert network["layer1.0.conv1"].width == 16
    assert (network["layer2.0.conv1"].width, network["fc"].width) == (32, 3)
    assert network.find("extra") == ["extra"]
    assert network.find("layer1.1.conv2") == []


def test_a_recipe_in_json_means_the_same(run: Run, folder: Path) -> None:
    (folder / "r.yaml").write_text("- resize: {conv2: +8, conv3: -8, fc: 4}\n  relax: yes\n- remove: bn1\n")
    operations = [{"resize": {"conv2": "+8", "conv3": -8, "fc": 4}, "relax": True}, {"remove": "bn1"}]
    (folder / "r.json").write_text(json.dumps(operations, indent="\t"))
    run("edit", "plain.onnx", "r.yaml", "-o", "a.onnx", "-q")
    run("edit", "plain.onnx", "r.json", "-o", "b.onnx", "-q")
    assert (folder / "a.onnx").read_bytes() == (folder / "b.onnx").read_bytes()


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ("", "no operations"),
        ("# nothing\n", "no operations"),
        ("resize: {conv1: 8}\n", "r.yaml is not a list"),
        ("- prune: 30%\n", "write it like prune: {ratio: ...}"),
        ("- prune: {cost: macs}\n", "give ratio, max-drop or one of max-params"),
        ("- resize\n", "line 1: 'resize' is not an operation"),
        ("- remove: bn1\n- resise: {conv1: 3}\n", "line 2: operation 'resise' is not known\n  known: resize"),
        ("- resise: {conv1: 3}\n", "did you mean resize?"),
        ("- {kernel: {conv1: 3}, remove: conv1}\n", "kernel and remove are in one entry"),
        ("- remove: bn1\n- resize: {conv1: x}\n", "line 2: 'conv1=x' is not a width"),
        ("- resize: {conv1: +8}\n  utilty: l1\n", "line 2: resize has no key 'utilty'"),
        ("- resize: {conv1: +8}\n  importance: l7\n", "line 2: importance 'l7' is not known"),
        ("- resize: {conv1: +8}\n  relax: perhaps\n", "line 2: relax 'perhaps'"),
        ("- resize: {conv1: +8}\n  keep: conv1\n", "line 2: keep 'conv1'"),
        ("- insert: {after: conv1, kernel: 3}\n", "insert needs op"),
        ("- insert: {after: conv1,\n    op: Conv, kernl: 3}\n", "line 2: insert has no key 'kernl'"),
        ("- insert: {after: conv1, op: relu}\n", "did you mean Relu?"),
        ("- insert: {after: conv1, op: Relu, kernel: 3}\n", "line 1: Relu has no option kernel"),
        ("- connect: [a]\n", "[from, to]"),
        ("- connect: {from: relu1, to: relu2, position: -1}\n", "position '-1'"),
        ("- remove: {name: bn1}\n  name: bn2\n", "name twice"),
        ("- remove: {name: bn1, name: bn2}\n", "the key 'name' appears twice"),
        ("- remove: [bn1\n", "this is not YAML"),
        ("- remove:\n", "name ''"),
        ("- remove: {[a]: b}\n", "a key is not a name"),
        ("- splice: {file: none.onnx, after: relu1}\n", "none.onnx not found"),
        ("- kernel: {conv1: 0}\n", "kernel of conv1 '0'"),
        ("- &a [*a]\n", "nested too deeply"),
        ("- remove: bn1\n- remove: bn1\n", "line 2: remove: there is no node 'bn1'\n  nearest names: bn"),
    ],
)
def test_a_bad_recipe_is_exit_2_and_names_the_place(recipe: str, words: str, run: Run, folder: Path) -> None:
    (folder / "r.yaml").write_text(recipe)
    assert words in run("edit", "plain.onnx", "r.yaml", code=2).stderr


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ("{}", "no operations"),
        ('[{"resize": {"conv1": +8}}]', 'put it in quotes: "+8"'),
        ("[1]", "operation 1: '1' is not an operation"),
        ('[{"remove": "bn1"}, {"resise": {}}]', "operation 2: operation 'resise' is not known"),
        ('[{"remove": "bn1", "remove": "bn2"}]', "the key 'remove' appears twice"),
        ('[\n{"remove": bn1}]', "line 2: this is not JSON"),
        ("[" * 9 + "]" * 9, "nested too deeply"),
        ('[{"remove": null}]', "operation 1: name ''"),
    ],
)
def test_a_bad_recipe_in_json_names_the_operation(recipe: str, words: str, run: Run, folder: Path) -> None:
    (folder / "r.json").write_text(recipe)
    assert words in run("edit", "plain.onnx", "r.json", code=2).stderr


def test_a_recipe_prunes_fuses_and_extracts(run: Run, folder: Path) -> None:
    """One recipe is a whole pipeline; its data lie beside it, and its cut is proven."""
    (folder / "sub").mkdir()
    x = np.random.default_rng(0).standard_normal((16, 3, 16, 16)).astype(np.float32)
    np.savez(folder / "sub/calib.npz", input=x)
    recipe = "- prune: {ratio: 40%, cost: macs, data: calib.npz}\n- fuse\n- extract: {to: layer2.0.relu}\n"
    (folder / "sub/r.yaml").write_text(recipe)
    found = data(run("edit", "residual.onnx", "sub/r.yaml", "--json", "-o", "out.onnx"))
    cut, refit, fused, part = found["steps"]
    assert (cut["kind"], refit["kind"], fused["unchanged"], part["kind"]) == ("widths", "structure", True, "part")
    assert cut["error"] is not None
    assert found["after"]["macs"] < 0.61 * found["before"]["macs"]
    assert [row["operation"] for row in found["requested"]["operations"]] == ["prune", "fuse", "extract"]
    assert [value.name for value in onnx.load("out.onnx").graph.output] == ["layer2.0.relu"]


@pytest.mark.parametrize(
    ("entry", "word"),
    [
        ("prune:", "there is no goal"),
        ("prune: {ratio: 2}", "0 <= ratio < 1"),
        ("prune: {rato: 0.3}", "did you mean ratio"),
        ("prune: {ratio: 0.3, mirror: maybe}", "true or false"),
        ("prune: {ratio: 0.3, data: none.npz}", "none.npz does not exist"),
        ("fuse: {x: 1}", "has no key 'x'"),
        ("extract:", "where the part begins or ends"),
    ],
)
def test_what_a_pipeline_gets_wrong_is_named(entry: str, word: str, run: Run, folder: Path) -> None:
    (folder / "r.yaml").write_text(f"- {entry}\n")
    said = run("edit", "residual.onnx", "r.yaml", "-o", "out.onnx", code=2).stderr
    assert said.startswith("error: r.yaml, line 1: ")
    assert word in said


def test_a_recipe_is_all_or_nothing(run: Run, folder: Path) -> None:
    (folder / "r.yaml").write_text("- remove: bn1\n- resize: {conv2: 8, bn2: 16}\n")
    result = run("edit", "plain.onnx", "r.yaml", code=3)
    assert "r.yaml, line 2: resize: conv2=8 and bn2=16 are impossible together" in result.stderr


def test_a_recipe_is_checked_before_the_model_is_read(folder: Path) -> None:
    (folder / "r.yaml").write_text("- remove: bn1\n- nothing: bn2\n")
    with pytest.raises(UsageError, match="line 2"):
        read(folder / "r.yaml")
    (folder / "bad.onnx").write_text("no model")
    assert CliRunner().invoke(app, ["edit", "bad.onnx", "r.yaml"]).exit_code == 2


@pytest.mark.parametrize("command", [*OPERATIONS, "edit"])
def test_every_help_ends_with_two_examples(command: str, run: Run) -> None:
    lines = run(command, "--help").stdout.rstrip().splitlines()
    assert lines[-3].strip() == "Examples:"
    assert all(line.strip().startswith(f"onnxsurgeon {command} ") for line in lines[-2:])
    text = "\n".join(lines)
    for word in ("--output", "--overwrite", "--no-proof", "--json", "Exit codes"):
        assert word in text


def test_help_imports_nothing_heavy() -> None:
    program = "import sys\nfrom onnxsurgeon.cli import app\ntry: app(['edit', '--help'])\n"
    program += "except SystemExit as e: print('LOADED', e.code, *{m.split('.')[0] for m in sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment())
    loaded = done.stdout.partition("LOADED ")[2].split()
    assert loaded[0] == "0"
    assert not {"numpy", "onnx", "onnx_ir", "onnxruntime", "highspy", "rich", "yaml"} & set(loaded)


def test_what_help_and_documentation_say_is_the_record(run: Run) -> None:
    for name, operation in OPERATIONS.items():
        text = " ".join(run(name, "--help").stdout.split())
        document = getattr(osg.Network, name).__doc__
        for field in operation.fields.values():
            said = field.about.off or field.about.help
            assert said.split(":")[0] in text.replace("- ", "-"), field.word
            assert f"{field.name}: {field.about.help.removesuffix(' Repeatable.')}" in document


def test_the_api_has_the_same_names(folder: Path) -> None:
    network = osg.load("plain.onnx")
    assert isinstance(network, osg.Network)
    network.resize("conv2=-8")
    network.insert(osg.Conv(kernel=3), after="conv3")
    network.insert(osg.Activation("Silu"), after="relu3")
    network.insert(osg.Pool("Max"), after="relu1")
    network.insert(osg.BatchNorm(), after="relu2")
    network.insert(osg.Linear(), after="fc")
    proofs = network.save("edited.onnx")
    assert isinstance(proofs, osg.Proofs)
    assert network.bytes == Path("edited.onnx").stat().st_size
    assert len(repr(network)) < 100
    assert repr(network["conv2"]) == "<Conv conv2>"
    for name in osg.__all__:
        assert getattr(osg, name)


def test_an_edited_network_is_inspected_and_pruned_as_it_is(folder: Path) -> None:
    network = osg.load("plain.onnx")
    network.resize("conv2=+16", seed=1)
    found = osg.inspect(network)
    assert found.whole == network.measure()
    result = osg.prune(network, ratio=0.3, data="none")
    assert result.before == network.measure()
    proof = result.save("small.onnx")
    assert proof is not None
    assert proof.passed, "the proof's original is the edited network"
    weights = {w.name: w.dims for w in onnx.load("small.onnx").graph.initializer}
    assert np.prod(weights["conv3.weight"]) < 32 * 40 * 9
