"""A search on a terminal: a live table of its generations, with the time that is left."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live

from onnxsurgeon.cli.progress import Stages
from onnxsurgeon.options.shared import Counted
from onnxsurgeon.report.layout import console, plain
from onnxsurgeon.report.searches import search_rows

if TYPE_CHECKING:
    from onnxsurgeon.search.population import Population


class SearchScreen:
    """Progress of a search: a table on a terminal, a line per stage with `verbose`, else nothing."""

    def __init__(self, *, verbose: bool, quiet: bool) -> None:
        screen = console(sys.stderr)
        self.stages = Stages(verbose=verbose, quiet=quiet)
        live = screen.is_terminal and not quiet and not verbose
        self.live = Live(console=screen, transient=True, refresh_per_second=4) if live else None
        self.population: Population | None = None
        self.text, self.last = "", 0

    def __call__(self, stage: str, detail: str) -> None:
        if self.live is None:
            self.stages(stage, detail)
            return
        if stage == "generation" and isinstance(detail, Counted):
            self.last = detail.total
        self.text = f"{stage} {detail}"
        self._show()

    def generation(self, population: Population) -> None:
        """A generation is over."""
        self.population = population
        self._show()

    def _show(self) -> None:
        if self.live is not None:
            history = self.population.history if self.population is not None else ()
            rows = [search_rows(history)] if history else []
            self.live.update(Group(*rows, plain(f"{self.text}{self._left()}")))

    def _left(self) -> str:
        """The time that the generations that are left may take."""
        if self.population is None or not self.population.generation or not self.last:
            return ""
        each = self.population.seconds / self.population.generation
        return f"; about {each * max(0, self.last - self.population.generation) / 60:.0f} min left"

    def __enter__(self) -> SearchScreen:
        if self.live is not None:
            self.live.start()
        else:
            self.stages.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live is not None:
            self.live.stop()
        else:
            self.stages.__exit__()
