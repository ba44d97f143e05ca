"""What the pages of docs/ show of the package's records: the command reference, and tables between marks.

A page has `<!-- made: NAME -->` above a table and `<!-- /made -->` below it; NAME is a key of TABLES.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import pairwise
from typing import Any

import typer

from page_examples import ROOT, blocks

MADE = re.compile(r"(?<=<!-- made: )([\w-]+)( -->\n).*?(?=<!-- /made -->)", re.DOTALL)
HEAD = """# Commands

<!-- Written by scripts/make_docs.py: change the help texts in onnxsurgeon/cli/, not this page. -->

`onnxsurgeon COMMAND --help` says the same on a terminal. `-h` is short for `--help`; `onnxsurgeon --version` prints
the version.

| command | what it does |
|---|---|
"""


NEEDS = {"nothing": "", "data": "`--data`", "samples": "`--data`", "gradients": "`--data`"}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(_cell(cell) for cell in line)} |\n" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def rooms() -> str:
    """The folders of the package from the ground up, each with what its docstring says."""
    order = re.search(r'ROOMS = """(.*?)"""', (ROOT / "tests/test_architecture.py").read_text("utf-8"), re.DOTALL)
    assert order is not None
    rows = []
    for name in order[1].split():
        folder = ROOT / "onnxsurgeon" / name
        home = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
        said = (ast.get_docstring(ast.parse(home.read_text("utf-8"))) or "").partition("\n\n")[0]
        rows.append((f"`{name}`", said))
    return table(("room", "what it holds"), rows)


def operations() -> str:
    from onnxsurgeon.pruning.in_recipes import PRUNE
    from onnxsurgeon.surgery.part_methods import OPERATIONS

    rows = [operation.row() for operation in (*OPERATIONS.values(), PRUNE)]
    return table(("operation", "under its name", "further keys"), rows)


def budgets() -> str:
    from onnxsurgeon.dependency.costs import COSTS, Budgets
    from onnxsurgeon.options.record import option_of

    about = {field.name: option_of(field) for field in fields(Budgets)}
    rows = [(f"`{word}`", f"`--max-{word}`", about[f"max_{word}"].help) for word in COSTS]
    return table(("`--cost`", "budget", "what it bounds"), rows)


def criteria() -> str:
    from onnxsurgeon.importance.criteria import CRITERIA

    rows = [(f"`{word}`", NEEDS[record.needs], _spelled(record.help)) for word, record in CRITERIA.items()]
    return table(("`--importance`", "needs", "what a channel is worth"), rows)


def efforts() -> str:
    from onnxsurgeon.pruning.efforts import EFFORTS

    rows = [(f"`{word}`", record.help) for word, record in EFFORTS.items()]
    return table(("`--effort`", "what it costs: importance, and compensation"), rows)


def compensations() -> str:
    from onnxsurgeon.compensation.compensations import COMPENSATIONS

    rows = [(f"`{word}`", NEEDS[record.needs], record.help) for word, record in COMPENSATIONS.items()]
    return table(("`--compensate`", "needs", "what it does"), rows)


def metrics() -> str:
    from onnxsurgeon.metrics import METRICS

    rows = [(f"`{word}`", record.targets, record.help) for word, record in METRICS.items()]
    return table(("`--metric`", "labels", "what it is"), rows)


def _words(head: str, about: str, records: Mapping[str, Any]) -> str:
    return table((head, about), [(f"`{word}`", _spelled(record.help)) for word, record in records.items()])


def losses() -> str:
    from onnxsurgeon.training.losses import LOSSES

    return _words("`--loss`", "what is minimised", LOSSES)


def optimisers() -> str:
    from onnxsurgeon.training.optimisers import OPTIMISERS

    return _words("`--optimiser`", "how weights move", OPTIMISERS)


def fitnesses() -> str:
    from onnxsurgeon.search.fitness import FITNESSES

    return _words("`--fitness`", "what is best", FITNESSES)


def executors() -> str:
    from onnxsurgeon.search.crews import EXECUTORS

    return _words("`--executor`", "where candidates train", EXECUTORS)


def schedules() -> str:
    from onnxsurgeon.training.schedules import SCHEDULES

    return _words("`--schedule`", "the learning rate", SCHEDULES)


def augmentations() -> str:
    from onnxsurgeon.training.augmentations import AUGMENTATIONS

    rows = [(f"`{word}`", f"{record.strength:g}", record.help) for word, record in AUGMENTATIONS.items()]
    return table(("`--augment`", "strength", "what it does"), rows)


def edits() -> str:
    from onnxsurgeon.surgery.part_methods import OPERATIONS

    rows = [(f"[`{name}`](commands.md#{name})", operation.summary) for name, operation in OPERATIONS.items()]
    return table(("command", "what it does"), rows)


def inits() -> str:
    from onnxsurgeon.edit.inits import GROWN, INITS

    return table(("`--init`", "what new channels start as"), [(f"`{word}`", INITS[word].help) for word in GROWN])


def _spelled(text: str) -> str:
    """A text in which the names of options are as on the shell."""
    return re.sub(r"`([a-z_]+)`", lambda name: f"`--{name[1].replace('_', '-')}`", text)


TABLES: dict[str, Callable[[], str]] = {
    made.__name__: made
    for made in (
        rooms, budgets, criteria, efforts, compensations, metrics, losses, optimisers, schedules, augmentations, edits,
        operations, inits, fitnesses, executors,
    )
}  # fmt: skip


def renewed(text: str) -> str:
    """A page whose made tables are as the records are now."""
    return MADE.sub(lambda found: found[1] + found[2] + TABLES[found[1]](), text)


# --- the command reference ---


def application() -> Any:
    """The command line as a tree of commands."""
    from onnxsurgeon.cli import app

    return typer.main.get_command(app)


def commands(pages: Mapping[str, str]) -> str:
    """docs/commands.md; pages: the texts in which examples of the commands are looked for, by path."""
    found = application().commands
    rows = [(f"[`{name}`](#{name})", command.get_short_help_str(200)) for name, command in found.items()]
    listed = HEAD + "".join(f"| {name} | {text} |\n" for name, text in rows)
    codes = re.findall(r"^  (\d+)\s+(.*)$", application().epilog, re.MULTILINE)
    listed += f"\n## Exit codes\n\n{table(('code', 'meaning'), codes)}"
    return "\n".join([listed, *(_command(name, command, pages) for name, command in found.items())])


def _command(name: str, command: Any, pages: Mapping[str, str]) -> str:
    from onnxsurgeon.cli.group import HYPHEN

    help_text = command.help.replace(HYPHEN, "-")
    text = re.sub(r"\x08\n?(.*?)(\n\n|$)", lambda block: f"```text\n{block[1]}\n```\n\n", help_text, flags=re.DOTALL)
    usage = " ".join([name, "[OPTIONS]", *(_usage(p) for p in command.params if p.param_type_name == "argument")])
    parts = [f"## {name}", f"```text\nonnxsurgeon {usage}\n```", text.strip()]
    for panel, rows in _panels(name, command).items():
        parts.append(f"{panel}:\n\n{table(('option', 'what it does', 'default'), rows)}".rstrip())
    links = [f"[{title(text)}]({link(page)})" for page, text in pages.items() if name in shown_commands(text)]
    return "\n\n".join([*parts, f"Examples: {', '.join(links)}."]) + "\n"


def shown_commands(text: str) -> set[str]:
    """The commands of onnxsurgeon that the examples of a page run."""
    lines = [shlex.split(line, comments=True) for block in blocks(text) for line in block.commands]
    return {after for words in lines for word, after in pairwise(words) if word == "onnxsurgeon"}


def title(page: str) -> str:
    return page.partition("\n")[0].lstrip("# ")


def link(page: str) -> str:
    """The address of a page, from docs/."""
    return page.removeprefix("docs/") if page.startswith("docs/") else f"../{page}"


def _usage(param: Any) -> str:
    name, many = str(param.metavar or param.name.upper()), "..." if param.nargs != 1 else ""
    return f"{name}{many}" if param.required else f"[{name}]{many}"


def _panels(name: str, command: Any) -> dict[str, list[tuple[str, str, str]]]:
    """Rows of options by the panel that the help shows them in."""
    from onnxsurgeon.options.record import PANELS, RUN

    found: dict[str, list[tuple[str, str, str]]] = {panel: [] for panel in ("Arguments", *PANELS)}
    context = typer.Context(command, info_name=name)
    for param in command.params:
        if param.param_type_name == "argument":
            found["Arguments"].append((f"`{_usage(param)}`", param.help, ""))
        elif (record := param.get_help_record(context)) is not None:
            names, text = record
            found[param.rich_help_panel or RUN].append((f"`{names}`", *_stated(text)))
    return {panel: rows for panel, rows in found.items() if rows}


def _stated(text: str) -> tuple[str, str]:
    """A help text without what it says in brackets at its end, and the default that is stated there."""
    found = re.search(r"\s*\[([^\[\]]*)\]$", text)
    if found is None:
        return text, ""
    notes = [note.partition("default: ")[2] for note in found[1].split("; ") if note.startswith("default: ")]
    rest = [note for note in found[1].split("; ") if not note.startswith("default: ")]
    text, inner = _stated(text[: found.start()])
    return text + (f" ({'; '.join(rest)})" if rest else ""), ", ".join(filter(None, (*notes, inner)))


def options() -> Iterator[str]:
    """Every long or short option of every command."""
    for command in (application(), *application().commands.values()):
        for param in command.params:
            yield from (*param.opts, *param.secondary_opts)
