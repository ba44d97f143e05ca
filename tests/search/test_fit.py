"""A search: what it finds is a model that computes what was scored, and the same seed gives the same on any workers,
whatever is killed."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnxsurgeon as osg
from onnxsurgeon.errors import InfeasibleError, SurgeonError, UsageError
from onnxsurgeon.options.shared import Counted
from onnxsurgeon.search import crews
from onnxsurgeon.search.crews import EXECUTORS
from onnxsurgeon.search.default_spaces import DEFAULTS
from onnxsurgeon.search.fitness import FITNESSES
from onnxsurgeon.search.fitting import fit
from onnxsurgeon.search.options import EXECUTORS as WORDS
from onnxsurgeon.search.options import FITNESSES as FITNESS_WORDS
from onnxsurgeon.search.options import SPACES
from onnxsurgeon.search.training_share import Lessons, Share, Taught, train_share
from paths import FIXTURES, ROOT
from small_searches import ASKED, came, data, points, searched


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data(tmp_path_factory.mktemp("points"))


@pytest.fixture(scope="module")
def whole(path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a search that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    searched(path, folder)
    return folder


def test_words_of_options_are_those_of_the_records() -> None:
    assert list(FITNESS_WORDS) == list(FITNESSES)
    assert list(WORDS) == list(EXECUTORS)
    assert set(SPACES) == {"auto", *DEFAULTS}


def test_what_is_found_computes_what_was_scored(path: Path, tmp_path: Path) -> None:
    val = tmp_path / "val.npz"
    samples, labels = points(seed=9)
    np.savez(val, input=samples, labels=labels)
    found = searched(path, tmp_path / "run", generations=4, batches=12, val=val)
    found.save(tmp_path / "best.onnx")
    score = osg.evaluate(tmp_path / "best.onnx", val, metric="top1")
    scored = found.score()
    assert scored is not None
    assert score.value == scored.value > 0.9
    rows = list(csv.DictReader((tmp_path / "run" / "history.csv").read_text("utf-8").splitlines()))
    assert [row["generation"] for row in rows] == ["1", "2", "3", "4"]
    assert float(rows[-1]["best_score"]) == found.population.history[-1]["best_score"]
    assert len(list((tmp_path / "run" / "candidates").glob("*.onnx"))) == ASKED["population"]


def test_arrays_and_numbers_as_targets_can_be_learned(tmp_path: Path) -> None:
    samples, _ = points()
    targets = samples[:, :2] * 0.5
    asked = {**ASKED, "generations": 2, "batches": 40, "executor": "here"}
    found = fit(samples, targets, **asked)
    best = found.best.measured
    assert best is not None
    assert -best.score < 0.2 * float(targets.var())
    found.save(tmp_path / "best.onnx")
    with pytest.raises(UsageError, match="need labels"):
        fit(samples, None, **asked)


def test_the_lineage_is_whole(whole: Path) -> None:
    rows, models = came(whole)
    known = {row["id"] for row in rows}
    assert {parent for row in rows for parent in row["parents"]} <= known
    assert [row["generation"] for row in rows] == [1] * 4 + [2] * 4 + [3] * 4
    assert all(row["parents"] for row in rows if row["born"] > 1)
    assert len(models) == 4


def test_worker_processes_change_nothing_even_if_they_are_killed(path: Path, whole: Path, tmp_path: Path) -> None:
    killed = list[int]()

    def kill(stage: str, detail: str) -> None:
        workers = multiprocessing.active_children()
        if stage == "train" and workers and len(killed) < 3:
            killed.append(workers[0].pid or 0)
            os.kill(killed[-1], signal.SIGKILL)

    searched(path, tmp_path / "run", executor="local", jobs=2, progress=kill)
    assert len(killed) == 3
    assert came(tmp_path / "run") == came(whole)
    assert not multiprocessing.active_children()


def test_a_killed_driver_goes_on_with_the_same_numbers(path: Path, whole: Path, tmp_path: Path) -> None:
    folder, trained = tmp_path / "run", 0

    def kill(stage: str, detail: str) -> None:
        nonlocal trained
        trained += stage == "train"
        if trained in (2, 7):
            trained += 1
            raise KilledError

    with pytest.raises(KilledError):
        searched(path, folder, progress=kill)
    with pytest.raises(KilledError):
        fit(None, None, resume=folder, executor="here", progress=kill)
    found = fit(None, None, resume=folder, executor="here")
    assert found.population.generation == 3
    assert came(folder) == came(whole)
    assert len((folder / "history.csv").read_text("utf-8").splitlines()) == 4


class KilledError(BaseException):
    """Stands for SIGKILL: nothing may rely on what follows."""


@pytest.mark.slow
def test_kill_9_of_the_command(path: Path, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    options = [part for name, value in ASKED.items() for part in (f"--{name}", str(value))]
    begin = ["search", "--data", str(path), "--dir", str(folder), "--jobs", "2", *options]
    command = [sys.executable, "-m", "onnxsurgeon", *begin]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as child:
        while child.poll() is None and not list((folder / "candidates").glob("*.2.json")):
            time.sleep(0.01)
        child.kill()
        assert child.stdout is not None
        child.stdout.read()  # ends when the last worker has, which holds the other end
    assert child.returncode == -signal.SIGKILL
    assert json.loads((folder / "search.json").read_bytes())["generation"] in (1, 2)
    fit(None, None, resume=folder, executor="here")
    assert came(folder) == came(whole)


def test_an_interrupt_keeps_what_there_is(path: Path, whole: Path, tmp_path: Path) -> None:
    def interrupt(stage: str, detail: str) -> None:
        if stage == "generation" and isinstance(detail, Counted) and detail.done == 2:
            raise KeyboardInterrupt

    found = searched(path, tmp_path / "run", progress=interrupt)
    assert found.stopped == "interrupted"
    assert found.best.measured is not None
    fit(None, None, resume=tmp_path / "run", executor="here")
    assert came(tmp_path / "run") == came(whole)


def test_ray_gives_the_same(path: Path, whole: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    searched(path, tmp_path / "run", executor="ray", jobs=2)
    assert came(tmp_path / "run") == came(whole)


def test_what_can_t_be_asked(path: Path, whole: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds a search"):
        searched(path, whole)
    with pytest.raises(UsageError, match="`population` can't change"):
        fit(None, None, resume=whole, population=9)
    with pytest.raises(UsageError, match="holds no search"):
        fit(None, None, resume=tmp_path)
    with pytest.raises(UsageError, match="needs a model"):
        searched(path, tmp_path, ratio=0.5)
    with pytest.raises(UsageError, match="nothing could change"):
        searched(path, tmp_path, elites=4)
    np.savez(tmp_path / "bare.npz", input=points()[0])
    with pytest.raises(UsageError, match="no labels"):
        searched(tmp_path / "bare.npz", tmp_path / "bare")


def test_stops(path: Path, tmp_path: Path) -> None:
    assert "reached" in searched(path, tmp_path / "a", target=0.0).stopped
    assert "on_generation" in searched(path, tmp_path / "b", on_generation=lambda population: False).stopped
    assert "minutes" in searched(path, tmp_path / "c", minutes=1e-9).stopped


def test_limits_come_before_the_score(path: Path, tmp_path: Path) -> None:
    found = searched(path, tmp_path / "run", max_params=200, population=8, generations=1)
    sizes = [c.measured.costs["params"] for c in found.population.candidates if c.measured is not None]
    assert sorted(size > 200 for size in sizes) == [size > 200 for size in sizes]
    over = searched(path, tmp_path / "none", max_params=2, generations=1)
    with pytest.raises(InfeasibleError, match="no candidate is good enough"):
        over.save(tmp_path / "best.onnx")


def test_a_cost_gives_a_front(path: Path, tmp_path: Path) -> None:
    found = searched(path, tmp_path / "run", cost="macs", population=8, generations=2, fitness="score")
    pairs = [(c.measured.score, -c.measured.costs["macs"]) for c in found.front if c.measured is not None]
    assert pairs == sorted(pairs, reverse=True)
    assert all(a[0] > b[0] and a[1] < b[1] for a, b in pairwise(pairs))
    assert found.best.id == found.front[0].id


def test_a_search_begins_with_a_model_that_is_cut_to_the_limits(path: Path, whole: Path, tmp_path: Path) -> None:
    model = next((whole / "candidates").glob("*.onnx"))
    params = osg.load(model).measure().params
    found = searched(path, tmp_path / "run", generations=1, batches=1, model=model, ratio=0.5)
    sizes = {c.id: c.measured.costs["params"] for c in found.population.candidates if c.measured is not None}
    assert all(0.25 * params < sizes[f"1-{number}"] <= 0.5 * params for number in (1, 2, 3))
    again = searched(path, tmp_path / "as-it-is", generations=1, batches=1, model=model)
    assert {c.id: c.measured for c in again.population.candidates if c.measured}["1-1"].costs["params"] == params


def share(path: Path, folder: Path, **changes: Any) -> Share:
    model = next((folder / "candidates").glob("*.onnx")).read_bytes()
    lessons = Lessons(
        str(path), 0.1, 32, 0, (("loss", "cross-entropy"), ("device", "cpu")), changes.pop("seconds", None)
    )
    return Share(**{  # type: ignore[arg-type]
        "id": "x", "generation": 0, "model": model, "optimiser": "sgd", "lr": 0.01, "batch": 8, "before": None,
        "lessons": lessons, **changes,
    })  # fmt: skip


def test_what_is_not_finite_or_too_slow_is_a_problem_and_no_error(path: Path, whole: Path) -> None:
    wild = train_share(share(path, whole, lr=1e30))
    assert "not finite" in wild.measured.problem
    assert wild.model == share(path, whole).model
    assert "more than 0 s" in train_share(share(path, whole, seconds=0.0)).measured.problem
    other = train_share(share(path, whole, model=(FIXTURES / "digits.onnx").read_bytes()))
    assert "wrong shape" in other.measured.problem
    assert not train_share(share(path, whole)).measured.problem


def test_a_share_that_loses_each_worker_is_given_up(path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = share(path, whole)

    class Dying:
        def do(self, share: Share) -> Taught:
            raise EOFError

        def end(self) -> None: ...

    monkeypatch.setattr(crews, "_Worker", Dying)
    staff = crews._Staff()
    with pytest.raises(SurgeonError, match="can't start"):
        staff.do(asked)
    staff.proven = True
    assert "ended 5 worker processes" in staff.do(asked).measured.problem
