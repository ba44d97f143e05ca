"""A search in a folder: its population, and what became of every candidate.

    search.json          the request, the generation, the population; replaced as a whole after each generation
    candidates/          the models of the population; those of earlier generations are removed
    history.csv          a row for each generation
    candidates.jsonl     a line for each candidate of each generation: settings, fitness, costs, parents, notes

Logs only grow. `search.json` says how long they were when it was written, so that a run that was killed forgets what
came after. Models are written before it; shares that were trained since then are kept in `candidates/`, too.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from onnxsurgeon.errors import UsageError
from onnxsurgeon.files import BROKEN, sweep
from onnxsurgeon.model.write import write_atomically
from onnxsurgeon.search.candidate import Candidate
from onnxsurgeon.search.fitness import Measured
from onnxsurgeon.search.mutation import Note
from onnxsurgeon.search.training_share import Taught
from onnxsurgeon.surgery.network import load

STATE, MODELS, HISTORY, CANDIDATES = "search.json", "candidates", "history.csv", "candidates.jsonl"
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Population:
    """The candidates after a generation, best first. generation: how many are over. seconds: that they took, all runs
    together. history: a row for each generation. stopped: why it ended, if it did."""

    folder: Path
    request: Row
    candidates: tuple[Candidate, ...] = ()
    generation: int = 0
    seconds: float = 0.0
    history: tuple[Row, ...] = ()
    stopped: str = ""
    logs: Mapping[str, int] = field(default_factory=dict)

    @property
    def models(self) -> Path:
        return self.folder / MODELS

    def keep(self, trained: Taught, generation: int) -> None:
        """Writes a candidate that was trained before the others of its generation are."""
        with write_atomically(_model(self.models, trained.id, generation)) as file:
            file.write(trained.model)
        with write_atomically(_numbers(self.models, trained.id, generation)) as file:
            file.write(_json(_plain(trained.measured)))

    def kept(self, id: str, generation: int) -> Measured | None:
        """What was measured of a candidate that a killed run had trained; None if it had not."""
        path = _numbers(self.models, id, generation)
        return _measured(json.loads(path.read_bytes())) if path.exists() else None

    def loaded(self, candidate: Candidate, generation: int) -> Candidate:
        """The candidate with its model as it was written after a generation; weights stay in the file."""
        return replace(candidate, network=load(_model(self.models, candidate.id, generation)))

    def after(self, candidates: Sequence[Candidate], row: Row, seconds: float) -> Population:
        """The population once a generation is over, and is written."""
        number = self.generation + 1
        logs = {
            HISTORY: self._append(HISTORY, _csv([row], head=not self.history)),
            CANDIDATES: self._append(CANDIDATES, b"".join(_json(described(c, number)) + b"\n" for c in candidates)),
        }
        new = replace(
            self, candidates=tuple(candidates), generation=number, seconds=seconds, history=(*self.history, row),
            logs=logs,
        )  # fmt: skip
        return new.saved()

    def saved(self, **changes: Any) -> Population:
        """With these changes, written."""
        new = replace(self, **changes)
        state = {
            "request": new.request, "generation": new.generation, "seconds": new.seconds, "stopped": new.stopped,
            "logs": new.logs, "history": new.history, "population": [described(c) for c in new.candidates],
        }  # fmt: skip
        with write_atomically(new.folder / STATE) as file:
            file.write(_json(state, indent=1))
        new._tidy()
        return new

    def _append(self, name: str, content: bytes) -> int:
        with (self.folder / name).open("r+b" if name in self.logs else "wb") as file:
            file.seek(self.logs.get(name, 0))
            file.truncate()
            file.write(content)
            return file.tell()

    def _tidy(self) -> None:
        """Removes the models that no candidate has any more."""
        needed = {_model(self.models, c.id, self.generation) for c in self.candidates}
        for path in self.models.iterdir():
            if path not in needed and path.suffix in (".onnx", ".json"):
                path.unlink(missing_ok=True)


def begun(folder: Path, request: Row) -> Population:
    """A new population in a folder. Raises UsageError if one is there already, or it can't be written."""
    if (folder / STATE).exists():
        raise UsageError(f"{folder} holds a search", why="it would be lost", fix="go on with `resume`, or name another")
    (folder / MODELS).mkdir(parents=True, exist_ok=True)
    return Population(folder, json.loads(_json(request)))


def resumed(folder: Path) -> Population:
    """The population in a folder, after its last whole generation. Raises UsageError if there is none."""
    path = folder / STATE
    if not path.exists():
        raise UsageError(f"{folder} holds no search", why=f"there is no {STATE}", fix="begin one with `dir`")
    sweep(folder)
    sweep(folder / MODELS)
    try:
        found = json.loads(path.read_bytes())
        empty = Population(
            folder, found["request"], (), found["generation"], found["seconds"], tuple(found["history"]),
            found["stopped"], found["logs"],
        )  # fmt: skip
        return replace(empty, candidates=tuple(_candidate(row, empty) for row in found["population"]))
    except BROKEN as problem:
        raise UsageError(f"{path} can't be read", why=str(problem), fix="begin a new search elsewhere") from None


def described(candidate: Candidate, generation: int | None = None) -> dict[str, Any]:
    """A candidate as JSON has it, without its network."""
    found: dict[str, Any] = {} if generation is None else {"generation": generation}
    for name in ("id", "parents", "born", "optimiser", "lr", "batch", "fitness"):
        found[name] = getattr(candidate, name)
    found["measured"] = None if candidate.measured is None else asdict(candidate.measured)
    found["notes"] = [asdict(note) for note in candidate.notes]
    return dict(_plain(found))


def _candidate(row: Row, population: Population) -> Candidate:
    network = load(_model(population.models, row["id"], population.generation))
    notes = tuple(Note(**note) for note in row["notes"])
    fitness = -math.inf if row["fitness"] is None else row["fitness"]
    return Candidate(
        network, row["optimiser"], row["lr"], row["batch"], row["id"], tuple(row["parents"]), notes, fitness,
        None if row["measured"] is None else _measured(row["measured"]), row["born"],
    )  # fmt: skip


def _measured(row: Row) -> Measured:
    numbers = {name: math.nan for name in ("score", "loss") if row[name] is None}
    before = row["before"]
    return Measured(**{**row, **numbers, "before": before})


def _model(folder: Path, id: str, generation: int) -> Path:
    return folder / f"{id}.{generation}.onnx"


def _numbers(folder: Path, id: str, generation: int) -> Path:
    return folder / f"{id}.{generation}.json"


def _plain(value: Any) -> Any:
    """As JSON has it: a number that is not finite is null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(entry) for entry in value]
    return _plain(asdict(value)) if isinstance(value, Measured) else value


def _json(value: Any, indent: int | None = None) -> bytes:
    return json.dumps(value, indent=indent, allow_nan=False).encode()


def _csv(rows: Iterable[Row], *, head: bool) -> bytes:
    text = io.StringIO()
    for row in rows:
        writer = csv.DictWriter(text, list(row), lineterminator="\n")
        if head:
            writer.writeheader()
        writer.writerow(row)
    return text.getvalue().encode()
