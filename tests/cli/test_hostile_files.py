"""Files that others give beside a model: what is broken, endless or grows without bound is refused."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, ValueInfoProto, helper, load, save_model

from commands import Run
from paths import FIXTURES

Make = Callable[[Path], object]


def bomb(path: Path) -> None:
    """2 GiB of zeros in 2 MB."""
    form = {"descr": "<f4", "fortran_order": False, "shape": (2**29,)}
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("conv1.npy", "w", force_zip64=True) as member,
    ):
        np.lib.format.write_array_header_1_0(member, form)
        for _ in range(2**7):
            member.write(bytes(2**24))


def claims(path: Path, shape: tuple[int, ...] = (2**40, 2**22)) -> None:
    """An array whose header claims more than there is."""
    with zipfile.ZipFile(path, "w") as archive, archive.open("format.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "<f4", "fortran_order": False, "shape": shape})
        member.write(bytes(64))


def sound(path: Path) -> None:
    np.savez(path.with_suffix(".npz"), format=np.zeros(1000))
    path.with_suffix(".npz").replace(path)


def half(path: Path) -> None:
    sound(path)
    path.write_bytes(path.read_bytes()[:500])


def flipped(path: Path) -> None:
    sound(path)
    data = bytearray(path.read_bytes())
    data[400] ^= 1  # a byte that its checksum covers
    path.write_bytes(data)


def encrypted(path: Path) -> None:
    sound(path)
    data = bytearray(path.read_bytes())
    for place in (6, data.rindex(b"PK\x01\x02") + 8):  # the flags in both headers
        data[place] |= 1
    path.write_bytes(data)


KINDS: dict[str, Make] = {
    "empty": lambda path: path.write_bytes(b""),
    "half": half,
    "flipped": flipped,
    "encrypted": encrypted,
    "claims": claims,
    "bomb": bomb,
    "pipe": os.mkfifo,
    "folder": Path.mkdir,
    "endless": lambda path: path.symlink_to("/dev/zero"),
    "loop": lambda path: path.symlink_to(path),
}
USES = {
    "stats": ("prune", "net.onnx", "--ratio", "0.3", "--data", "good.npz", "--importance", "wanda", "--stats", "x.npz"),
    "scores": ("prune", "net.onnx", "--ratio", "0.3", "--importance", "file:x.npz"),
    "data": ("prune", "net.onnx", "--ratio", "0.3", "--data", "x.npz"),
    "model": ("inspect", "x.npz"),
    "recipe": ("edit", "net.onnx", "x.npz"),
}


NOT_THERE = {("scores", "pipe"), ("scores", "folder"), ("scores", "endless"), ("data", "folder")}  # as a usage says it


@pytest.mark.slow
@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_a_whole_file_is_refused(kind: str, use: str, run: Run, folder: Path) -> None:
    if (use, kind) == ("data", "flipped"):
        pytest.skip("samples are mapped: only what is used is read, and its numbers are checked")
    KINDS[kind](folder / "x.npz")
    np.savez(folder / "good.npz", np.zeros((2, 3, 16, 16), np.float32))
    mistaken = use == "recipe" or (kind == "loop" and use in ("scores", "data")) or (use, kind) in NOT_THERE
    result = run(*USES[use], code=2 if mistaken else 4)
    assert "x.npz" in result.stderr


LEVELS = [f"- &{b} [{', '.join([f'*{a}'] * 100)}]" for a, b in ("ab", "bc", "cd")]
ALIASES = "\n".join([f"- &a [{', '.join(['conv1'] * 100)}]", *LEVELS])
RECIPES = {
    "aliases": ALIASES,
    "deep": "[" * 5000,
    "digits": f"- resize: {{conv1: {'9' * 5000}}}",
    "wide": "- resize: {conv1: 1000000000000}",
    "heavy": "- resize: {conv1: 9000000}",
    "positions": "- resize: {widths: {conv1: -1}, drop: {conv1: 0-999999999}}",
    "long": "- resize: {conv1: 8}\n" * 100_000,
}


@pytest.mark.parametrize("kind", RECIPES)
@pytest.mark.parametrize("suffix", [".yaml", ".json"])
def test_a_recipe_has_bounds(kind: str, suffix: str, run: Run, folder: Path) -> None:
    recipe = folder / f"r{suffix}"
    recipe.write_text(RECIPES[kind])
    result = run("edit", "net.onnx", recipe.name, code=2)
    assert len(result.stderr) < 3000


@pytest.mark.parametrize("location", ["a\0b", "n" * 300, "loop", "loop/x", "/".join(["d"] * 3000), ""])
def test_weights_elsewhere_need_a_file(location: str, run: Run, folder: Path) -> None:
    (folder / "loop").symlink_to("loop")
    proto = load(FIXTURES / "plain.onnx")
    weight = max(proto.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    weight.ClearField("raw_data")
    weight.data_location = weight.EXTERNAL
    for key, value in (("location", location), ("unheard", "of")):
        weight.external_data.add(key=key, value=value)
    save_model(proto, folder / "m.onnx")
    run("inspect", "m.onnx", code=4)


def test_unknown_words_about_weights_elsewhere_are_ignored(run: Run, folder: Path) -> None:
    save_model(
        load(FIXTURES / "plain.onnx"), folder / "m.onnx", save_as_external_data=True, location="w", size_threshold=0
    )
    proto = load(folder / "m.onnx", load_external_data=False)
    for weight in proto.graph.initializer:
        weight.external_data.add(key="unheard", value="of")
    (folder / "m.onnx").write_bytes(proto.SerializeToString())
    run("inspect", "m.onnx")


def changed(folder: Path, fixture: str, change: Callable[[ModelProto], object]) -> None:
    model = load(FIXTURES / f"{fixture}.onnx")
    change(model)
    save_model(model, folder / "m.onnx")


def foreign(model: ModelProto) -> None:
    """A layer's activation becomes an operator that nobody knows."""
    node = next(node for node in model.graph.node if node.output[0] == "mixed1.project.relu")
    node.domain = "nobody"
    model.opset_import.add(domain="nobody")


def test_sizes_behind_an_unknown_operator_are_those_of_the_first_sample(run: Run, folder: Path) -> None:
    changed(folder, "concat", foreign)
    run("resize", "m.onnx", "conv1=-1", "--no-proof", "--no-bench")


@pytest.mark.parametrize("count", [-(2**63), 0, 2, 2**63 - 1])
def test_a_node_that_does_not_fit_is_named(count: int, run: Run, folder: Path) -> None:
    """A Scan that says it takes more inputs apart than it has, or none."""

    def change(model: ModelProto) -> None:
        body = helper.make_graph([helper.make_node("Identity", ["i"], ["o"])], "b", [ValueInfoProto(name="i")], [])
        body.output.add(name="o")
        end = model.graph.output[0].name
        scan = helper.make_node("Scan", [end], ["scanned"], "the_scan", body=body, num_scan_inputs=count)
        model.graph.node.append(scan)
        model.graph.output[0].CopyFrom(ValueInfoProto(name="scanned"))

    changed(folder, "plain", change)
    assert "Scan the_scan" in run("inspect", "m.onnx", code=4).stderr


def test_a_model_whose_types_differ_is_refused_before_any_work(run: Run, folder: Path) -> None:
    changed(folder, "concat", lambda model: setattr(model.graph.output[0].type.tensor_type, "elem_type", 7))
    result = run("prune", "m.onnx", "--ratio", "0.3", code=4)
    assert "node name: fc" in result.stderr
    assert "Load model from m.onnx failed" in result.stderr
