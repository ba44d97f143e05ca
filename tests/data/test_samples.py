"""Laws: data yield each sample once, in the same order each time, and bad data are refused before any work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from drawn_samples import Drawn
from onnxsurgeon.data import Data, Input, mirrored, open_data
from onnxsurgeon.errors import SurgeonError, UsageError

IMAGE = Input("x", np.dtype(np.float32), (None, 3, 4))
ONE = Input("x", np.dtype(np.float32), (1, 3, 4))
FOUR = Input("x", np.dtype(np.float32), (4, 3, 4))


def numbered(count: int) -> np.ndarray:
    """Samples that contain their own index."""
    return np.broadcast_to(np.arange(count, dtype=np.float32)[:, None, None], (count, 3, 4)).copy()


def seen(data: Data) -> list[int]:
    found = []
    for batch in data.batches():
        assert batch.labels is not None
        assert len(batch.labels) == batch.count
        rows = batch.feed["x"][: batch.count, 0, 0].astype(int).tolist()
        assert rows == batch.labels.tolist()
        found += rows
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "data.npz"
    np.savez(path, x=numbered(11), labels=np.arange(11))
    return path


@pytest.mark.parametrize("wanted", [IMAGE, ONE, FOUR], ids=["dynamic", "one", "four"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_every_sample_comes_once(wanted: Input, save: Callable[..., None], tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    save(path, x=numbered(11), labels=np.arange(11))
    for size in (1, 3, 11, 20) if wanted is IMAGE else (None,):
        data = open_data(str(path), [wanted], batch=size)
        assert len(data) == 11
        assert data.inputs == ("x",)
        assert seen(data) == seen(data) == list(range(11))
        lengths = [len(batch.feed["x"]) for batch in data.batches()]
        assert set(lengths) == {wanted.shape[0]} if wanted.shape[0] else max(lengths) <= (size or 32)


def test_the_same_seed_chooses_the_same_samples(file: Path) -> None:
    def chosen(seed: int) -> list[int]:
        return seen(open_data(str(file), [IMAGE], samples=5, seed=seed))

    assert chosen(1) == chosen(1) == sorted(set(chosen(1)))
    assert len(chosen(1)) == 5
    assert len({tuple(chosen(seed)) for seed in range(5)}) > 1
    assert len(open_data(str(file), [IMAGE], samples=99)) == 11


def test_a_lone_array_may_have_any_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", pictures=numbered(3))
    np.save(tmp_path / "a.npy", np.asfortranarray(numbered(3)))
    for name in ("a.npz", "a.npy"):
        data = open_data(str(tmp_path / name), [IMAGE])
        assert not data.labelled
        assert [batch.feed["x"].tolist() for batch in data.batches()] == [numbered(3).tolist()]


def test_inputs_without_a_batch_axis_go_to_all_batches(tmp_path: Path) -> None:
    rate = Input("rate", np.dtype(np.int64), ())
    state = Input("state", np.dtype(np.float32), (2, 1))
    np.savez(tmp_path / "a.npz", x=numbered(5), rate=np.int64(16), state=np.ones((2, 1), np.float32))
    for batch in open_data(str(tmp_path / "a.npz"), [IMAGE, rate, state], batch=2).batches():
        assert batch.feed["rate"] == 16
        assert batch.feed["state"].shape == (2, 1)


BAD: dict[str, dict[str, np.ndarray]] = {
    "unknown: y": {"x": numbered(3), "y": numbered(3)},
    "missing: x": {"labels": np.arange(3)},
    "wrong shape": {"x": np.zeros((3, 4, 3), np.float32)},
    "wrong type": {"x": numbered(3).astype(np.float64)},
    "NaN": {"x": np.full((3, 3, 4), np.nan, np.float32)},
    "infinity": {"x": np.full((3, 3, 4), np.inf, np.float32)},
    "labels contains NaN": {"x": numbered(3), "labels": np.full(3, np.nan)},
    "labels are not numbers": {"x": numbered(3), "labels": np.array(["cat", "dog", "cat"])},
    "different numbers": {"x": numbered(3), "labels": np.arange(4)},
    "no samples": {"x": numbered(0)},
    "can't be read": {"x": np.array([{"a": 1}], object)},
}


@pytest.mark.parametrize("words", BAD)
def test_bad_arrays_are_refused(words: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "bad.npz", **BAD[words])
    with pytest.raises(SurgeonError, match=words) as caught:
        open_data(str(tmp_path / "bad.npz"), [IMAGE])
    assert caught.value.exit_code in (2, 4)
    assert caught.value.fix


@pytest.mark.parametrize("damage", ["text", "half", "empty"])
@pytest.mark.parametrize("name", ["bad.npz", "bad.npy"])
def test_unreadable_files_are_refused(damage: str, name: str, file: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "good.npy", numbered(100))
    whole = (file if name.endswith("z") else tmp_path / "good.npy").read_bytes()
    (tmp_path / name).write_bytes({"text": b"hello, I am text", "half": whole[: len(whole) // 2], "empty": b""}[damage])
    with pytest.raises(SurgeonError, match="can't be read") as caught:
        open_data(str(tmp_path / name), [IMAGE])
    assert caught.value.exit_code == 4


def test_a_broken_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).random((50, 3, 4), np.float32))
    whole = bytearray(path.read_bytes())
    whole[200:300] = bytes(100)
    path.write_bytes(whole)
    with pytest.raises(SurgeonError, match="can't be read") as caught:
        open_data(str(path), [IMAGE])
    assert caught.value.exit_code == 4


def test_wrong_requests_are_refused(file: Path) -> None:
    with pytest.raises(SurgeonError, match="does not exist"):
        open_data("none.npz", [IMAGE])
    with pytest.raises(SurgeonError, match="static"):
        open_data(str(file), [FOUR], batch=8)
    with pytest.raises(SurgeonError, match="`samples` is 0"):
        open_data(str(file), [IMAGE], samples=0)


@pytest.mark.parametrize(("shape", "axis"), [((None, 3, 8, 6), 3), ((1, 8, 6, 1), 2)])
def test_mirrored_samples_are_samples_twice(shape: tuple[int | None, ...], axis: int) -> None:
    data = Drawn("x", tuple(n or 1 for n in shape[1:]), 20, step=8)
    found = mirrored(data, [Input("x", np.dtype(np.float32), shape)])
    batches, plain = list(found.batches()), list(data.batches())
    assert len(found) == 40 == sum(batch.count for batch in batches)
    for batch, turned, original in zip(batches[::2], batches[1::2], plain, strict=True):
        assert np.array_equal(batch.feed["x"], original.feed["x"])
        assert np.array_equal(np.flip(turned.feed["x"], axis), original.feed["x"])


def test_augmented_images_are_flipped_or_not_and_shifted_a_little_alike_in_all_inputs() -> None:
    inputs = [Input("x", np.dtype(np.float32), (None, 1, 32, 48)), Input("z", np.dtype(np.float32), (None, 16, 16, 3))]
    found = mirrored(Drawn("x", (1, 32, 48), 4), [*inputs, Input("n", np.dtype(np.float32), (None, 2))])
    ramp = np.add.outer(100.0 * np.arange(32), np.arange(48)).astype(np.float32)
    feed = {"x": np.tile(ramp, (64, 1, 1, 1)), "z": np.zeros((64, 16, 16, 3), np.float32), "n": np.ones((64, 2))}
    feed["z"][:] = np.arange(16)[:, None]
    drawn = found.augment(feed, np.random.default_rng(0))
    assert {name: array.shape for name, array in drawn.items()} == {name: array.shape for name, array in feed.items()}
    assert np.array_equal(drawn["n"], feed["n"])
    steps = drawn["x"][:, 0, 16, 20:28] - drawn["x"][:, 0, 16, 19:27]
    assert set(np.unique(steps)) == {-1, 1}
    assert np.array_equal(steps[:, 0] < 0, drawn["z"][:, 8, 9, 0] < drawn["z"][:, 8, 8, 0])
    down, right = np.divmod(np.where(steps[:, 0] < 0, drawn["x"][:, 0, 16, 23], drawn["x"][:, 0, 16, 24]), 100)
    assert set(down - 16) == {-2, -1, 0, 1, 2}
    assert set(right - 24) == {-3, -2, -1, 0, 1, 2, 3}


@pytest.mark.parametrize(("shape", "dtype"), [((None, 8), "f4"), ((None, 5, 8, 8), "f4"), ((None, 3, 8, 8), "u1")])
def test_only_images_are_mirrored(shape: tuple[int | None, ...], dtype: str) -> None:
    with pytest.raises(UsageError, match="`mirror`"):
        mirrored(Drawn("x", (8,), 4), [Input("x", np.dtype(dtype), shape)])
