"""The command line keeps its word: exit codes, streams, files that must not change, and what it reports."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

import onnxsurgeon
from commands import PRUNE, Run, environment, module
from onnxsurgeon.cli import app
from paths import FIXTURES


def test_pruning_passes_and_says_so(run: Run, folder: Path) -> None:
    result = run(*PRUNE)
    assert result.stdout == "", "tables go to stderr where stdout is no terminal"
    assert result.stderr.rstrip().endswith("WRITTEN  net.pruned.onnx")
    assert (folder / "net.pruned.onnx").stat().st_size < (folder / "net.onnx").stat().st_size


DOCUMENTED = """
    schema command version model output before after ratio requested changes interface states notes compensation
    samples assumed rotated distillation fine_tuning solver frozen free score cost_of_run proof latency verdict seconds
    curves graph
    status exit_code
""".split()


def test_json_is_one_object_with_the_documented_keys(run: Run) -> None:
    result = run(*PRUNE, "--json", "--report", "r.json")
    found = json.loads(result.stdout)
    assert result.stderr == ""
    assert sorted(found) == sorted(DOCUMENTED)
    assert json.loads(Path("r.json").read_text()) == found
    assert found["status"] == "written"
    assert found["exit_code"] == 0
    assert set(found["before"]) == set(found["after"]) == {"params", "macs", "size", "memory", "nodes"}
    assert found["after"]["size"] == Path("net.pruned.onnx").stat().st_size
    assert found["before"]["size"] == Path("net.onnx").stat().st_size
    assert found["requested"]["ratio"] == 0.3
    assert found["free"] == 1 - sum(row["params"] for row in found["frozen"]) / found["before"]["params"]


@pytest.mark.parametrize("name", ["residual", "digits", "concat", "attention", "lstm"])
@pytest.mark.parametrize("cost", ["params", "size"])
def test_the_ratio_is_met_and_hardly_more(name: str, cost: str, run: Run, folder: Path) -> None:
    model = str(FIXTURES / f"{name}.onnx")
    before = Path(model).read_bytes()
    result = run(
        "prune", model, "--ratio", "0.3", "--data", "none", "--cost", cost, "-o", "out.onnx", "--json", "--no-proof"
    )
    assert 0.3 <= json.loads(result.stdout)["ratio"][cost] <= 0.31
    assert Path(model).read_bytes() == before


def test_quiet_prints_nothing(run: Run) -> None:
    result = run(*PRUNE, "-q")
    assert result.output == ""


def test_an_error_is_told_even_when_quiet(run: Run) -> None:
    assert "not found" in run("prune", "none.onnx", "--ratio", "0.3", "-q", code=2).stderr


def test_dry_run_writes_nothing(run: Run, folder: Path) -> None:
    before = set(folder.iterdir())
    assert "DRY RUN" in run(*PRUNE, "--dry-run").stderr
    assert json.loads(run(*PRUNE, "--dry-run", "--json").stdout)["status"] == "dry run"
    assert set(folder.iterdir()) == before


def test_without_proof_it_says_so(run: Run) -> None:
    found = json.loads(run(*PRUNE, "--no-proof", "--json").stdout)
    assert (found["status"], found["proof"]) == ("not proven", None)
    assert "not proven" in run(*PRUNE, "--no-proof", "--overwrite").stderr


def test_an_existing_output_is_never_replaced(run: Run, folder: Path) -> None:
    (folder / "net.pruned.onnx").write_text("precious")
    run(*PRUNE, code=2)
    run(*PRUNE, "-o", "net.onnx", code=2)
    run(*PRUNE, "-o", "./../" + folder.name + "/net.onnx", code=2)
    (folder / "x.onnx.data").write_text("precious")
    run(*PRUNE, "-o", "x.onnx", "--save-as-external-data", code=2)
    run(*PRUNE, "--overwrite")
    assert (folder / "net.pruned.onnx").read_bytes() != b"precious"


def test_external_data_lies_beside_the_model(run: Run, folder: Path) -> None:
    run(*PRUNE, "-o", "x.onnx", "--save-as-external-data")
    assert (folder / "x.onnx.data").stat().st_size > (folder / "x.onnx").stat().st_size


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("prune",), "MODEL"),
        (("frobnicate",), "frobnicate"),
        (("prune", "net.onnx"), "there is no goal"),
        ((*PRUNE, "--rato", "1"), "--rato"),
        (("prune", "net.onnx", "--ratio", "much"), "--ratio"),
        (("prune", "net.onnx", "--ratio", "1.5"), "--ratio"),
        (("prune", "net.onnx", "--ratio", "nan"), "--ratio"),
        ((*PRUNE, "--cost", "beauty"), "--cost"),
        ((*PRUNE, "--metric", "beauty"), "--metric"),
        ((*PRUNE, "--attention", "will"), "--attention"),
        ((*PRUNE, "--max-params", "5X"), "5X"),
        ((*PRUNE, "--max-params", "5MB"), "5MB"),
        ((*PRUNE, "--max-macs", "0"), "--max-macs"),
        ((*PRUNE, "--round-to", "0"), "--round-to"),
        ((*PRUNE, "--min-keep", "2"), "--min-keep"),
        ((*PRUNE, "--importance", "l3"), "l3"),
        ((*PRUNE, "--importance", "file:none.npz"), "none.npz"),
        ((*PRUNE, "--input-shape", "input"), "--input-shape"),
        ((*PRUNE, "--input-shape", "input:1,x"), "--input-shape"),
        ((*PRUNE, "--input-shape", "other:1,3,32,32"), "other"),
        ((*PRUNE, "--input-shape", "input:0,3,16,16"), "no samples"),
        ((*PRUNE, "--input-shape", "input:1,3,7,7"), "input"),
        ((*PRUNE, "-o", "none/x.onnx"), "none"),
        ((*PRUNE, "-o", "."), "can't write"),
        ((*PRUNE, "--report", "net.onnx"), "--report"),
        ((*PRUNE, "--report", "net.pruned.onnx"), "--report"),
        (("inspect", "net.onnx", "--why", "nothing"), "--why"),
        (("validate", "net.onnx", "none.onnx"), "none.onnx"),
    ],
)
def test_wrong_usage_is_exit_2(args: tuple[str, ...], words: str, run: Run) -> None:
    result = run(*args, code=2)
    assert words in result.stderr
    assert result.stdout == ""
    assert json.loads(run(*args, "--json", code=2).stdout)["status"] == "error"


def test_an_unknown_node_is_met_with_suggestions(run: Run) -> None:
    for option in ("--exclude", "--only"):
        result = run(*PRUNE, option, "layer1.0.conv9", code=2)
        assert "layer1.0.conv1" in result.stderr


def test_excluded_nodes_keep_their_width(run: Run) -> None:
    found = json.loads(run(*PRUNE, "--exclude", "layer2*", "--no-proof", "--json").stdout)
    assert found["changes"]
    for row in found["changes"]:
        assert not row["node"].startswith("layer2") or row["before"][0] == row["after"][0]


def test_infeasible_is_exit_3_and_names_the_largest_ratio(run: Run) -> None:
    result = run("prune", "net.onnx", "--ratio", "0.99999", "--data", "none", "--json", code=3)
    found = json.loads(result.stdout)
    assert (found["status"], found["exit_code"]) == ("error", 3)
    largest = float(found["why"].split("largest feasible ratio is ")[1].split()[0])
    assert "held back by" in found["why"]
    run("prune", "net.onnx", "--ratio", str(largest - 0.001), "--data", "none", "-o", "small.onnx", "--no-proof", "-q")


@pytest.mark.parametrize("damage", ["text", "half", "empty", "folder"])
def test_what_can_not_be_read_is_exit_4(damage: str, run: Run, folder: Path) -> None:
    bad, data = folder / "bad.onnx", (folder / "net.onnx").read_bytes()
    if damage == "folder":
        bad.mkdir()
    else:
        bad.write_bytes({"text": b"hello, I am text", "half": data[: len(data) // 2], "empty": b""}[damage])
    for command in (
        ("prune", "bad.onnx", "--ratio", "0.1"),
        ("inspect", "bad.onnx"),
        ("validate", "bad.onnx", "net.onnx"),
    ):
        assert "bad.onnx" in run(*command, code=4).stderr


def test_a_failed_proof_is_exit_5_and_writes_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    prove = module("proof.of_a_cut").prove
    monkeypatch.setattr(
        module("proof.of_a_cut"), "prove", lambda *a, **k: replace(prove(*a, **k), error=0.5, margin=500.0)
    )
    result = run(*PRUNE, code=5)
    assert "FAILED" in result.stderr
    assert result.stdout == ""
    found = json.loads(run(*PRUNE, "--json", code=5).stdout)
    assert (found["status"], found["proof"]["passed"], found["proof"]["margin"]) == ("failed", False, 500.0)


@pytest.mark.parametrize(
    ("problem", "code", "words"),
    [
        (KeyError("wheel"), 1, "internal error"),
        (MemoryError(), 1, "out of memory"),
        (OSError(errno.ENOSPC, "No space left on device", "net.onnx"), 2, "No space left"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_surprises_are_told_in_words(
    problem: BaseException, code: int, words: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise problem

    monkeypatch.setattr(module("proof.saving"), "write", fail)
    assert words in run(*PRUNE, "--report", "r.json", code=code).stderr
    assert json.loads(Path("r.json").read_text())["exit_code"] == code


def test_a_full_disk_is_told_of_the_output(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module("model.write"), "_write_weight", full)
    error = run(*PRUNE, code=2).stderr
    assert "can't write net.pruned.onnx" in error
    assert "No space left on device" in error
    assert ".onnxsurgeon" not in error


def test_verbose_shows_the_traceback(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("wheel")

    monkeypatch.setattr(module("proof.saving"), "write", fail)
    result = CliRunner().invoke(app, [*PRUNE, "-v"])
    assert result.exit_code == 1
    assert "Traceback" in result.stderr


def test_the_provider_is_what_really_ran(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    ort = module("runtime.session").ort
    if (
        "CUDAExecutionProvider"
        in ort.InferenceSession(FIXTURES / "xor.onnx", providers=ort.get_available_providers()).get_providers()
    ):
        pytest.skip("CUDA works here")
    listed = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(ort, "get_available_providers", lambda: listed)
    assert json.loads(run(*PRUNE, "--json").stdout)["proof"]["provider"] == "CPU"
    assert "CUDA" in run(*PRUNE, "--device", "cuda", "-o", "x.onnx", code=2).stderr


def test_inspect_tells_what_is_there_and_why_not(run: Run) -> None:
    found = json.loads(run("inspect", "net.onnx", "--json").stdout)
    assert found["params"] == sum(row["params"] for row in found["weights"])
    assert found["free"]["params"] + sum(row["params"] for row in found["frozen"]) == found["params"]
    assert sum(found["operators"].values()) == found["nodes"]
    assert 0 < found["free"]["largest_ratio"]["params"] < 1
    text = run("inspect", "net.onnx").stdout
    assert "an output of the graph" in text
    assert "layer1.0.conv1" in run("inspect", "net.onnx", "-v").stdout
    why = run("inspect", "net.onnx", "--why", "fc").stdout
    assert "an output of the graph" in why
    assert "layer1" not in why


def test_validate_tells_equal_from_different(run: Run, folder: Path) -> None:
    assert "PASSED" in run("validate", "net.onnx", "net.onnx").stdout
    run(*PRUNE, "-q")
    found = run("validate", "net.onnx", "net.pruned.onnx", code=5)
    assert "FAILED" in found.stdout
    assert "differs" in found.stderr
    run("validate", "net.onnx", "net.pruned.onnx", "--shapes-only")
    shutil.copy(FIXTURES / "lstm.onnx", folder / "other.onnx")
    found = json.loads(run("validate", "net.onnx", "other.onnx", "--json", code=5).stdout)
    assert found["status"] == "failed"
    assert found["differences"]


def test_stdout_may_close_early(folder: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "onnxsurgeon", "inspect", "net.onnx", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(),
    )  # fmt: skip
    assert child.stdout is not None
    child.stdout.close()
    _, errors = child.communicate()
    assert b"Traceback" not in errors


@pytest.mark.parametrize("columns", ["40", "120"])
def test_poor_terminals_are_enough(columns: str, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "onnxsurgeon", *PRUNE, "--no-proof", "-v"], capture_output=True, text=True,
        env=environment(PYTHONIOENCODING="ascii", COLUMNS=columns),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert done.stderr.isascii()
    assert "\x1b" not in done.stderr


def test_help_is_light_and_complete() -> None:
    program = "import sys\nfrom onnxsurgeon.cli import app\ntry: app(['prune', '--help'])\n"
    program += "except SystemExit as e: print('LOADED', e.code, *{m.split('.')[0] for m in sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment())
    text, _, loaded = done.stdout.partition("LOADED ")
    assert loaded.split()[0] == "0"
    assert not {"numpy", "onnx", "onnx_ir", "onnxruntime", "highspy", "rich"} & set(loaded.split())
    for word in ("--ratio", "--save-as-external-data", "Exit codes", "Examples:"):
        assert word in text


@pytest.mark.parametrize("command", ["prune", "inspect", "validate"])
def test_every_help_ends_with_two_examples(command: str, run: Run) -> None:
    lines = run(command, "--help").stdout.rstrip().splitlines()
    assert lines[-3].strip() == "Examples:"
    assert all(line.strip().startswith("onnxsurgeon ") for line in lines[-2:])


def test_the_version_and_the_words_are_those_of_the_package(run: Run) -> None:
    assert run("--version").stdout.strip() == f"onnxsurgeon {onnxsurgeon.__version__}"
    assert "Prune:" in run().stdout


def test_the_api_has_the_same_names(folder: Path) -> None:
    model = onnxsurgeon.load("net.onnx")
    result = onnxsurgeon.prune(model, ratio=0.3, data="none")
    proof = result.save("small.onnx")
    assert proof is not None
    assert proof.passed
    assert onnxsurgeon.validate("net.onnx", "small.onnx", shapes_only=True).passed
    assert onnxsurgeon.inspect(model).whole == result.before
    assert callable(onnxsurgeon.load)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--help"], 0), ([*PRUNE, "--no-proof", "-v"], 0), (["inspect", "missing.onnx"], 2), (["nonsense"], 2)],
    ids=lambda value: " ".join(value)[:20] if isinstance(value, list) else "",
)
def test_a_reader_that_leaves_early_changes_nothing(folder: Path, arguments: list[str], code: int) -> None:
    """Both streams go into a pipe that nobody reads; the exit code is still that of the work."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "onnxsurgeon", *arguments], stdout=writer, stderr=writer, cwd=folder,
        )  # fmt: skip
    finally:
        os.close(writer)
    assert done.returncode == code


def test_a_model_within_its_budgets_is_not_copied(run: Run, folder: Path) -> None:
    result = run("prune", "net.onnx", "--max-params", "50M", "--data", "none", "--json")
    assert json.loads(result.stdout)["status"] == "unchanged"
    assert [path.name for path in folder.iterdir()] == ["net.onnx"]
    assert "UNCHANGED" in run("prune", "net.onnx", "--max-params", "50M", "--data", "none").stderr
    run("prune", "net.onnx", "--max-params", "50M", "--data", "none", "-o", "copy.onnx")
    assert (folder / "copy.onnx").exists()


def test_a_model_without_parameters_is_refused(run: Run, folder: Path) -> None:
    inputs = [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 4])]
    outputs = [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 4])]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", inputs, outputs)
    onnx.save(
        onnx.helper.make_model(graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 17)]), "relu.onnx"
    )
    assert "nothing can be cut" in run("prune", "relu.onnx", "--ratio", "0.3", code=4).stderr


def test_integer_weights_are_parameters(run: Run, folder: Path) -> None:
    weights = [
        onnx.numpy_helper.from_array(np.arange(n * m, dtype=np.int32).reshape(n, m), name)
        for name, n, m in (("a", 4, 16), ("b", 16, 2))
    ]
    nodes = [onnx.helper.make_node("MatMul", ["x", "a"], ["h"]), onnx.helper.make_node("MatMul", ["h", "b"], ["y"])]
    inputs = [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.INT32, ["n", 4])]
    outputs = [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.INT32, ["n", 2])]
    graph = onnx.helper.make_graph(nodes, "g", inputs, outputs, weights)
    onnx.save(onnx.helper.make_model(graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 17)]), "int.onnx")
    found = json.loads(run("prune", "int.onnx", "--ratio", "0.3", "-o", "out.onnx", "--json").stdout)
    assert found["before"]["params"] == 96
    assert 0.3 <= found["ratio"]["params"] <= 0.35


def test_the_first_wrong_thing_is_named(run: Run) -> None:
    assert "missing.onnx not found" in run("prune", "nofolder/missing.onnx", "--ratio", "0.3", code=2).stderr
