"""The group of commands: help in panels, one form for all errors, and the exit codes."""

from __future__ import annotations

import functools
import inspect
import os
import re
import shlex
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from onnxsurgeon.cli import interrupts
from onnxsurgeon.cli.answer import EARLY, Answer, failed
from onnxsurgeon.cli.log import LOG
from onnxsurgeon.cli.pipes import DASH, piped
from onnxsurgeon.cli.suggest import COMMANDS, OPTIONS, misplaced, nearest
from onnxsurgeon.errors import SurgeonError, UsageError
from onnxsurgeon.options.parsing import CHOICES, resolved
from onnxsurgeon.options.record import PANELS, RUN
from onnxsurgeon.report.earlier import forget, value_of

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 10_000}  # as wide as the terminal
PRUNE, LOOK, EDIT = "Prune", "Look", "Edit"  # panels of commands
EXIT_CODES = """\b
Exit codes:
  0    done, and proven unless --no-proof or --dry-run
  1    an internal error
  2    wrong usage: bad options, an existing output, an unwritable folder, a broken install
  3    infeasible: the network can't meet the budget or the widths
  4    the model or the data can't be read or isn't supported, or nothing can be cut
  5    the proof or the comparison failed; no model was written
  6    a condition does not hold: the model is larger, slower or less accurate than allowed
  130  interrupted; the message says what was written
"""
HYPHEN = "\ue000"  # replaces - until lines are broken, so that option names are not split
WIDEST = 30  # width of option names; the help of longer ones begins on the next line
LogFile = Annotated[
    Path | None,
    typer.Option(
        "--log-file",
        metavar="FILE",
        help="Append what -v shows, and tracebacks, to a file, with times.",
        rich_help_panel=RUN,
        show_default=False,
    ),
]


def examples(*lines: str) -> str:
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def add(
    app: typer.Typer, command: Callable[..., None], short: str, *lines: str, panel: str, name: str | None = None
) -> None:
    """Adds a command. lines: examples at the end of its help. panel: where the top-level help lists it."""
    app.command(
        name,
        cls=Command,
        help=(inspect.getdoc(command) or "").replace("-", HYPHEN),
        short_help=short,
        epilog="Exit codes: see onnxsurgeon --help.\n\n" + examples(*lines),
        rich_help_panel=panel,
    )(_logged(command))


def _logged(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the option --log-file."""
    own = inspect.signature(command, eval_str=True)
    log_file = inspect.Parameter("log_file", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=LogFile)

    @functools.wraps(command)
    def logged(*, log_file: Path | None, **given: Any) -> None:
        with LOG.to(log_file, shlex.join(sys.argv[1:])), piped(given) as files:
            command(**files)

    parameters = [*(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own.parameters.values()), log_file]
    for info in (info for p in parameters for info in getattr(p.annotation, "__metadata__", ())):
        info.readable = False  # typer would refuse a file that can't be read: whoever opens it says more
    vars(logged)["__signature__"] = own.replace(parameters=parameters)  # read by typer
    logged.__annotations__ = {p.name: p.annotation for p in parameters}
    return logged


def _sections(formatter: Any, rows: Iterable[tuple[str, tuple[str, str]]], order: Sequence[str]) -> None:
    """Writes rows of help under their headings, aligned: first the headings in `order`, then all others."""
    rows = list(rows)
    width = min(max(len(name) for _, (name, _) in rows), WIDEST)
    found: Mapping[str, list[tuple[str, str]]] = defaultdict(list, {name: [] for name in order})
    for heading, (name, help_) in rows:
        found[heading].append((f"{name:{width}}", help_.replace("-", HYPHEN)))
    for heading, under in found.items():
        if under:
            with formatter.section(_bold(heading)):
                formatter.write_dl(under, WIDEST)


def _bold(text: str) -> str:
    shines = sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    return f"\x1b[1m{text}\x1b[0m" if shines else text


def _long(param: Any) -> list[str]:
    """The long names of an option."""
    return [name for name in (*param.opts, *param.secondary_opts) if name.startswith("--")]


class Command(TyperCommand):
    """A command whose help shows its options in panels."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        self._require_words(args)
        found = misplaced(args, [name for param in self.params for name in _long(param)])
        if found is not None and not ctx.resilient_parsing:
            option, value, meant = found
            raise UsageError(f"{option} can't be {value!r}", why=_help_of(self, option), fix=f"did you mean {meant}?")
        return super().parse_args(ctx, args)

    def _require_words(self, args: Sequence[str]) -> None:
        """Raises UsageError if a value is empty, as that of a variable of the shell that is not set."""
        takes = {name for param in self.params if not getattr(param, "is_flag", True) for name in param.opts}
        for before, word in pairwise(("", *args)):
            name, _, value = word.partition("=")
            if not value and (not word or (name in takes and name != word)):
                empty = name or (before if before in takes else "an argument")
                raise UsageError(
                    f"{empty} is empty", why="a variable may not be set", fix="give a value, or leave it out"
                )

    def get_help(self, ctx: Any) -> str:
        return super().get_help(ctx).replace(HYPHEN, "-")

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return ["[OPTIONS]", *(_argument(param) for param in self.params if param.param_type_name == "argument")]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        _sections(formatter, self._rows(ctx), ("Arguments", *PANELS))

    def _rows(self, ctx: Any) -> Iterator[tuple[str, tuple[str, str]]]:
        for param in self.get_params(ctx):
            row = param.get_help_record(ctx)
            if param.param_type_name == "argument":
                yield "Arguments", (_argument(param), str(getattr(param, "help", "")))
            elif row is not None:
                yield getattr(param, "rich_help_panel", None) or RUN, row


def _argument(param: Any) -> str:
    name = param.metavar or param.name.upper()
    return f"{name if param.required else f'[{name}]'}{'...' * (param.nargs != 1)}"


def _help_of(command: Any, option: str) -> str:
    return next((f"{option}: {param.help}" for param in command.params if option in param.opts), "")


class Group(TyperGroup):
    """The commands, with one form for all errors."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> NoReturn:
        args = list(sys.argv[1:] if args is None else args) or ["--help"]
        EARLY.report = forget(args)
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")  # names may hold characters that the terminal lacks
        try:
            code = super().main(args, prog_name or "onnxsurgeon", standalone_mode=False)
            if code == interrupts.INTERRUPTED:  # what typer makes of an interrupt outside of our commands
                raise KeyboardInterrupt
        except (KeyboardInterrupt, typer.Abort):
            interrupts.ignore()
            code = interrupts.INTERRUPTED
            self._early(args).fail(SurgeonError("interrupted", why=interrupts.left_behind()), code)
        except Exception as problem:  # noqa: BLE001 - all that is wrong before a command begins
            answer, error = self._early(args), problem
            if isinstance(problem, typer.TyperException):
                error = _unparsed(problem, args, answer.command)
            answer.verbose = error is problem and not {"-v", "--verbose"}.isdisjoint(args)
            code = failed(answer, error)
        interrupts.ignore()
        sys.exit(code if isinstance(code, int) else 0)

    def _early(self, args: Sequence[str]) -> Answer:
        """The answer of a command that never began: it is given in the form that the words ask for, unless a model goes
        to stdout."""
        name = next((word for word in args if word in self.commands), "")
        params = {param.name for param in self.commands[name].params} if name else set()
        output = value_of(args, "-o", "--output") or (DASH if DASH in args else "")
        answer = Answer(name, json="--json" in args and not ("output" in params and output == DASH))
        if "form" in params:
            answer.form = answer.form or resolved("report.check_texts:FORMATS").get(value_of(args, "--format") or "")
        return answer

    def get_help(self, ctx: Any) -> str:
        return super().get_help(ctx).replace(HYPHEN, "-")

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        word = args[0]
        if word not in self.commands and not word.startswith("-") and not ctx.resilient_parsing:
            raise UsageError(f"unknown command {word!r}", fix=_fix(nearest(word, self.commands, COMMANDS)))
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        commands = (
            (str(getattr(command, "rich_help_panel", "Commands")), (name, str(command.short_help)))
            for name, command in self.commands.items()
        )
        options = (("Options", row) for param in self.get_params(ctx) if (row := param.get_help_record(ctx)))
        _sections(formatter, (*commands, *options), ())


def _unparsed(problem: typer.TyperException, args: Sequence[str], command: str) -> UsageError:
    """An error of typer as ours. args: the whole command line. command: the command in it, if there is one."""
    context, param = getattr(problem, "ctx", None), getattr(problem, "param", None)
    text = problem.format_message().rstrip(".")
    if context is not None and hasattr(problem, "possibilities"):
        option = str(getattr(problem, "option_name", ""))
        if not option.startswith("--"):  # -ratio is read as -r, -a, ...
            option = next((word for word in args if word.startswith(option) and len(word) > 2), option)
        known = [name for param in context.command.get_params(context) for name in _long(param)]
        meant = nearest(f"--{option.lstrip('-')}", known, OPTIONS)
        return UsageError(f"unknown option {option}", fix=_fix(meant, command))
    if param is not None and text.startswith("Invalid value"):
        name, why = (param.opts or [param.name])[-1], text.partition(": ")[2].replace("Value error, ", "")
        choice = re.fullmatch(r"'(.*)' is not one of (.*)", why)
        if choice is None:
            why = why.partition(", ")[0].replace("Input should", "it should")
            return UsageError(f"{name} has a wrong value", why=why, fix=_fix("", command))
        words = choice[2].replace("'", "").split(", ")
        fix = _fix(nearest(choice[1], words, CHOICES), command)
        return UsageError(f"{name} can't be {choice[1]!r}", why=f"known: {', '.join(words)}", fix=fix)
    usage = "" if context is None else context.command.get_usage(context)
    return UsageError(text[:1].lower() + text[1:], why=usage[:1].lower() + usage[1:], fix=_fix("", command))


def _fix(meant: str, command: str = "") -> str:
    see = f"see {' '.join(filter(None, ('onnxsurgeon', command, '--help')))}"
    return f"write {meant}; or {see}" if meant else see
