#!/usr/bin/env python3
"""Renews what is made in README.md and docs/: tables of records, the command reference, outputs of the examples.

scripts/make_docs.py [PAGE ...]                 all pages by default
scripts/make_docs.py --tables-only [PAGE ...]   runs no example
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from page_examples import ROOT, Session, same
from page_tables import commands, renewed

MEASURED = ("docs/accuracy.md", "docs/coverage.md")  # by bench_accuracy.py and zoo.py
REFERENCE = "docs/commands.md"
PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
WRITTEN = [page for page in PAGES if page not in (*MEASURED, REFERENCE)]


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", metavar="PAGE", help="like docs/surgery.md")
    parser.add_argument("--tables-only", action="store_true")
    options = parser.parse_args()
    pages = options.pages or [*WRITTEN, REFERENCE]
    for page in sorted(pages, key=lambda page: page == REFERENCE):  # it links to where commands are shown
        text = read(page) if page != REFERENCE else commands({p: read(p) for p in WRITTEN})
        new = renewed(text)
        if page != REFERENCE and not options.tables_only:
            with tempfile.TemporaryDirectory() as folder:
                found = Session(Path(folder)).renewed(new, page)
            new = new if same(new, found) else found
        if not (ROOT / page).exists() or new != read(page):
            (ROOT / page).write_text(new, encoding="utf-8")
            print(f"{page} is new")


if __name__ == "__main__":
    main()
