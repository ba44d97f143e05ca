"""The template of all pages: a head, what came of the run, sections; styles, scripts and libraries within the file."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from onnxsurgeon.report.json_report import PAGE
from onnxsurgeon.report.pages.charts import THEME
from onnxsurgeon.report.pages.markup import Child, Html, data, joined, tag, text

FOLDER = Path(__file__).parent
LIBRARY = FOLDER / "library"  # as published; LICENSES.txt names versions
CHARTS = ("vega.min.js", "vega-lite.min.js")
GRAPHS = ("dagre.min.js", "panzoom.min.js")
TABLES = ("tablesort.min.js",)
DRAWN_WITH = "vega, vega-lite (BSD-3-Clause), d3 (ISC), dagre, panzoom, tablesort (MIT)"


@dataclass(frozen=True)
class Section:
    """A section of a page. note: what to make of it, in a sentence or two. wide: whether it takes a row of its own."""

    title: str
    parts: Sequence[Child]
    note: Child = ""

    @property
    def anchor(self) -> str:
        return re.sub(r"\W+", "-", self.title.lower()).strip("-")


@dataclass(frozen=True)
class Page:
    """What a page says. status: what came of the run, in a word. mood: good, bad, warn or empty. lead: the answer in
    a few sentences."""

    title: str
    lead: Sequence[Child]
    sections: Sequence[Section] = field(default=())
    status: str = ""
    mood: str = ""
    foot: str = ""

    def html(self) -> str:
        """The file, without external resources: only its own scripts run, whatever the names in a model say."""
        sections = [section for section in self.sections if any(section.parts)]
        body = joined(
            tag("a", "Skip to the content", href="#content", class_="skip"),
            tag(
                "header",
                tag("h1", self.title, " ", self.status and tag("span", self.status, class_=f"status {self.mood}")),
                tag("div", *(tag("p", part) for part in self.lead), class_="lead"),
                tag("nav", *(tag("a", s.title, href=f"#{s.anchor}") for s in sections), aria_label="Sections"),
            ),
            tag("main", *map(_section, sections), id="content", tabindex="-1"),
            tag("footer", tag("p", self.foot), _licenses()),
            data(THEME, id="theme"),
        )
        scripts = [_read(LIBRARY / name) for name in _needed(body)]
        scripts += [_read(FOLDER / "page.js"), *([_read(FOLDER / "graph.js")] if _has(body, "graph") else [])]
        return "\n".join(
            [
                PAGE,
                '<html lang="en"><head><meta charset="utf-8">',
                '<meta name="viewport" content="width=device-width, initial-scale=1">',
                _policy(scripts),
                f"<title>{text(self.title)}</title>",
                f"<style>\n{_read(FOLDER / 'page.css')}</style></head>",
                f"<body>{body}",
                *(f"<script>{script}</script>" for script in scripts),
                "</body></html>",
                "",
            ]
        )


def _section(section: Section) -> Html:
    heading = tag("h2", section.title, id=section.anchor)
    note = tag("p", section.note, class_="note") if section.note else None
    return tag("section", heading, note, *section.parts, aria_labelledby=section.anchor)


def _licenses() -> Html:
    """The libraries that pages are drawn with, whose licenses ask to be kept with them."""
    texts = Html(html.escape(_read(LIBRARY / "LICENSES.txt")))
    return tag("details", tag("summary", f"Drawn with {DRAWN_WITH}"), tag("pre", texts, tabindex="0"))


def _needed(body: str) -> list[str]:
    """The libraries that the body uses."""
    used = (("chart", CHARTS), ("graph", GRAPHS), ("sortable", TABLES))
    return [name for mark, names in used if _has(body, mark) for name in names]


def _has(body: str, kind: str) -> bool:
    return f'class="{kind}"' in body


def _policy(scripts: Sequence[str]) -> str:
    """No network, and no script but ours. Vega compiles the expressions of charts, which hold no text of a model."""
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{found}'" for found in hashes)
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'unsafe-eval' {allowed}"
    return f'<meta http-equiv="Content-Security-Policy" content="{policy}">'


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")
