"""Folders of images and user functions as data: how they are read, and what is refused."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onnxsurgeon.data import Input, open_data
from onnxsurgeon.errors import SurgeonError

FLOAT = np.dtype(np.float32)
FIRST = Input("x", FLOAT, (None, 3, 8, 6))
LAST = Input("x", FLOAT, (None, 8, 6, 3))
GREY = Input("x", FLOAT, (1, 1, 8, 6))
ROWS = Input("x", FLOAT, (None, 2))


def image(path: Path, value: int = 51, size: tuple[int, int] = (6, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, value in (("cat/a.png", 0), ("cat/b.JPG", 51), ("dog/deep/a.png", 102)):
        image(tmp_path / "pictures" / name, value)
    (tmp_path / "pictures" / "notes.md").write_text("not an image")
    return tmp_path / "pictures"


def values(spec: Path | str, wanted: Input = FIRST, **options: object) -> tuple[list[float], list[int] | None]:
    found, labels = [], []
    for batch in open_data(str(spec), [wanted], **{"batch": None, **options}).batches():  # type: ignore[arg-type]
        found += [round(float(row.ravel()[0]), 3) for row in batch.feed["x"][: batch.count]]
        labels += [] if batch.labels is None else batch.labels.tolist()
        assert batch.feed["x"].shape[1:] == wanted.shape[1:]
        assert batch.feed["x"].dtype == FLOAT
    return found, labels or None


@pytest.mark.parametrize("wanted", [FIRST, LAST, GREY], ids=["first", "last", "grey"])
def test_images_fit_the_model_input(wanted: Input, folder: Path) -> None:
    assert values(folder, wanted, preprocess="unit") == ([0.0, 0.2, 0.4], [0, 0, 1])


def test_presets_scale_as_models_are_trained(folder: Path) -> None:
    image(folder / "solo" / "a.png", 255)
    for preset, mean, std in (("imagenet", 0.485, 0.229), ("cifar", 0.4914, 0.2470)):
        assert values(folder / "solo", preprocess=preset)[0] == [round((1 - mean) / std, 3)]


def test_images_of_any_size_are_cropped_to_the_centre(tmp_path: Path) -> None:
    wide = Image.new("RGB", (60, 8), (255, 255, 255))
    wide.paste((51, 51, 51), (27, 0, 33, 8))
    wide.save(tmp_path / "wide.png")
    batch = next(open_data(str(tmp_path), [FIRST], preprocess="unit").batches())
    assert np.allclose(batch.feed["x"], 0.2)
    wide.resize((600, 80)).save(tmp_path / "wide.png")
    batch = next(open_data(str(tmp_path), [FIRST], preprocess="unit").batches())
    assert np.allclose(batch.feed["x"][..., 2:4], 0.2)
    image(tmp_path / "wide.png", size=(3, 2))
    assert values(tmp_path, preprocess="imagenet")[1] is None


def test_labels_come_from_a_list_or_from_numbered_folders(folder: Path, tmp_path: Path) -> None:
    (folder / "labels.csv").write_text("file,class\ncat/a.png,7\ndog/deep/a.png,9\ncat/b.JPG,8\n")
    assert values(folder, preprocess="unit")[1] == [7, 8, 9]
    (folder / "labels.csv").unlink()
    (folder / "labels.txt").write_text("cat/a.png 7\ncat/b.JPG 8\ndog/deep/a.png 9\n")
    assert values(folder, preprocess="unit")[1] == [7, 8, 9]
    for name in ("10", "9"):
        image(tmp_path / "numbered" / name / "a.png")
    assert values(tmp_path / "numbered", preprocess="unit")[1] == [10, 9]


def test_the_same_seed_chooses_the_same_images(folder: Path) -> None:
    drawn = {seed: values(folder, preprocess="unit", samples=2, seed=seed) for seed in range(6)}
    assert drawn[0] == values(folder, preprocess="unit", samples=2, seed=0)
    assert len({str(found) for found in drawn.values()}) > 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: (f / "cat" / "c.png").write_bytes(b"no image"), "can't be read as an image"),
        (lambda f: image(f / "alone.png"), "has no label"),
        (lambda f: (f / "labels.csv").write_text("cat/a.png,7\n"), "has no label for cat/b.JPG"),
        (lambda f: (f / "labels.csv").write_text("cat/a.png,7\ncat/b.JPG,x\n"), "can't be read"),
        (lambda f: [p.unlink() for p in f.rglob("*.*") if p.is_file()], "no images"),
    ],
)
def test_bad_folders_are_refused(change: Callable[[Path], object], words: str, folder: Path) -> None:
    change(folder)
    with pytest.raises(SurgeonError, match=words) as caught:
        open_data(str(folder), [FIRST], preprocess="unit")
    assert caught.value.exit_code in (2, 4)


def test_an_image_that_breaks_later_is_refused(folder: Path) -> None:
    whole = folder / "cat" / "b.JPG"
    image(whole, size=(200, 200))
    whole.write_bytes(whole.read_bytes()[:-200])
    data = open_data(str(folder), [FIRST], preprocess="unit")
    with pytest.raises(SurgeonError, match=r"b\.JPG can't be read"):
        list(data.batches())


@pytest.mark.parametrize(
    ("wanted", "preset", "words"),
    [
        (FIRST, None, "`preprocess` is missing"),
        (FIRST, "beauty", "beauty"),
        (ROWS, "unit", "does not fit"),
        (GREY, "imagenet", "does not fit"),
        (Input("x", FLOAT, (None, 3, None, None)), "unit", "does not fit"),
        (Input("x", np.dtype(np.uint8), (None, 3, 8, 6)), "unit", "does not fit"),
    ],
)
def test_images_that_do_not_fit_are_refused(wanted: Input, preset: str | None, words: str, folder: Path) -> None:
    with pytest.raises(SurgeonError, match=words):
        open_data(str(folder), [wanted], preprocess=preset)


MODULE = """
import numpy as np

def some(seed):
    rng = np.random.default_rng(seed)
    for _ in range(3):
        yield {"x": rng.random((2, 2), np.float32)}, [1, 2]

def endless():
    while True:
        yield {"anything": np.ones((4, 2), np.float32), "labels": np.arange(4)}

def fickle():
    yield {"x": np.random.random((2, 2)).astype(np.float32)}

def shrinking(left=[3, 2]):
    for _ in range(left.pop(0)):
        yield {"x": np.ones((1, 2), np.float32)}

def broken():
    yield {"x": np.ones((2, 2), np.float32)}
    raise KeyError("wheel")

def lengths():
    for n in (3, 5):
        yield {"x": np.full((2, n), n, np.float32), "h": np.full((1, 2, 4), n, np.float32)}

def stateless():
    yield {"x": np.ones((2, 3), np.float32)}

def equal():
    for n in (3, 5):
        yield {"x": np.ones((2, 3), np.float32), "h": np.ones((1, 2, 4), np.float32)}

def bare(): yield np.ones((2, 2), np.float32)
def nothing(): return iter(())
def single(): yield {"x": np.ones(2, np.float32)}
def half(): yield from ({"x": np.ones((1, 2), np.float32)}, ({"x": np.ones((1, 2), np.float32)}, [1]))
def nan(): yield {"x": np.full((2, 2), np.nan, np.float32)}
number = 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_samples.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*filter(None, sys.path)])
    monkeypatch.delitem(__import__("sys").modules, "own_samples", raising=False)
    return "own_samples"


def test_a_function_yields_samples(module: str) -> None:
    assert values(f"{module}:some", ROWS, seed=1) == values(f"{module}:some", ROWS, seed=1, batch=5)
    assert values(f"{module}:some", ROWS, seed=1) != values(f"{module}:some", ROWS, seed=2)
    assert values(f"{module}:endless", ROWS, samples=6) == ([1.0] * 6, [0, 1, 2, 3, 0, 1])


STREAM = [Input("x", FLOAT, (None, None)), Input("h", FLOAT, (1, None, 4))]


def test_dicts_that_differ_beside_the_batch_are_runs_of_their_own(module: str) -> None:
    batches = list(open_data(f"{module}:lengths", STREAM, batch=3).batches())
    assert [b.feed["x"].shape for b in batches] == [(2, 3), (2, 5)]
    assert [float(b.feed["h"].max()) for b in batches] == [3, 5]
    assert [(b.count, b.size) for b in batches] == [(2, 2), (2, 2)]
    assert len(list(open_data(f"{module}:lengths", STREAM, samples=1).batches())) == 1


def test_dicts_that_are_alike_are_joined(module: str) -> None:
    (batch,) = open_data(f"{module}:equal", STREAM).batches()
    assert batch.feed["x"].shape == (4, 3)
    assert batch.feed["h"].shape == (1, 2, 4)


def test_only_states_may_be_left_out(module: str) -> None:
    data = open_data(f"{module}:stateless", STREAM, carried=lambda: ["h"])
    assert data.source.lacks
    with pytest.raises(SurgeonError, match="missing: h"):
        open_data(f"{module}:stateless", STREAM)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("broken", "KeyError: 'wheel'"),
        ("bare", "yields ndarray"),
        ("nothing", "no samples"),
        ("single", "wrong shape"),
        ("half", "some dicts only"),
        ("nan", "NaN"),
        ("number", "is not a function"),
        ("missing", "is not a function"),
    ],
)
def test_bad_functions_are_refused(name: str, words: str, module: str) -> None:
    with pytest.raises(SurgeonError, match=words) as caught:
        open_data(f"{module}:{name}", [ROWS])
    assert caught.value.exit_code == 2


def test_a_missing_module_is_refused(module: str) -> None:
    with pytest.raises(SurgeonError, match="can't be imported"):
        open_data("no_such_module:f", [ROWS])


@pytest.mark.parametrize("name", ["fickle", "shrinking"])
def test_samples_that_change_are_refused(name: str, module: str) -> None:
    data = open_data(f"{module}:{name}", [ROWS])
    with pytest.raises(SurgeonError, match="other samples"):
        list(data.batches())
