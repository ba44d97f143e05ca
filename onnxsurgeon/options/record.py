"""Options typed once: fields of a frozen record, from which signatures, the command line and the JSON report are made.

    @dataclass(frozen=True, kw_only=True)
    class PruneOptions(Options):
        round_to: int = option(1, "Round widths to multiples of N.", panel=STAY, metavar="N", read=at_least(1))

A record checks its values when it is made. Errors and help name options in backticks, as Python does (`round_to`); the
command line writes them its own way (--round-to), see `spelled`.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from difflib import get_close_matches
from typing import Any, ClassVar, Concatenate, Generic, ParamSpec, TypeVar, overload

# Panels of options in a command's help, in the order in which they are shown
REMOVE, CHANGE, SHOW, STAY = "What to remove", "What to change", "What to show", "What must stay"
HOLD = "What must hold"
TRAIN, DATA, OUTPUT, PROOF, RUN = "Training", "Data", "Output", "Proof", "Run"
PANELS = (REMOVE, CHANGE, HOLD, SHOW, STAY, TRAIN, DATA, OUTPUT, PROOF, RUN)
Reader = Callable[[Any, str], Any]  # (value, what errors call the option) -> the value as it is used; raises UsageError
_NAMED = re.compile(r"`([a-z][a-z0-9_]*)(?:=([^`]*))?`")

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True)
class Option:
    """The description of an option; its name, type and default are those of the field.

    default: in words, if there is one. kind: type of one value on the command line. words: the allowed values, if these
    are few. read: checks and converts a value. declared: its names on the command line, if they differ from the
    field's. off: help of the switch that turns it off, if the command line has only that. reported: whether the JSON
    report repeats it. in_shell: whether the command line has it. keyword: an option on the command line, though
    positional in Python. objects: Python may give other objects than text, which are not read. about: the subject.
    """

    help: str
    panel: str
    metavar: str = ""
    default: str = ""
    kind: type = str
    many: bool = False
    words: Callable[[], Iterable[str]] | None = None
    read: Reader = lambda value, name: value
    declared: str = ""
    off: str = ""
    reported: bool = True
    in_shell: bool = True
    keyword: bool = False
    objects: bool = False
    about: Any = None

    def names(self, name: str) -> str:
        """As the command line declares it: --rotate/--no-rotate."""
        return self.declared or "--" + name.replace("_", "-")


def option(default: Any, help: str, *, panel: str, shown: str = "", kind: type | None = None, **more: Any) -> Any:
    """A field of a record. shown: the default in words, instead of its value. The rest as in `Option`."""
    many = isinstance(default, tuple)
    kind = kind or (str if many or default is None else type(default))
    shown = shown or ("" if default in (None, True, False) or many else str(default))
    about = Option(help, panel, default=shown, kind=kind, many=many, **more)
    return field(default=default, metadata={"option": about})


def option_of(of: Field[Any]) -> Option:
    found: Option = of.metadata["option"]
    return found


@dataclass(frozen=True, kw_only=True)
class Options:
    """A record of options. Raises UsageError if a value is bad, or if two contradict each other."""

    spellings: ClassVar[dict[str, Option]] = {}  # every option there is, by its name in Python

    def __init_subclass__(cls) -> None:
        found = {
            k: v.metadata["option"] for k, v in vars(cls).items() if isinstance(v, Field) and "option" in v.metadata
        }
        Options.spellings.update(found)

    def __post_init__(self) -> None:
        for of in fields(self):
            value = getattr(self, of.name)
            if value is not None:
                object.__setattr__(self, of.name, option_of(of).read(value, f"`{of.name}`"))
        self.check()

    def check(self) -> None:
        """Raises UsageError if options contradict each other."""

    def given(self, record: type[Options] | None = None) -> dict[str, Any]:
        """All options by name, as a function takes them; or those of a record that this one inherits from."""
        return {of.name: getattr(self, of.name) for of in fields(record or self)}

    def report(self, record: type[Options] | None = None) -> dict[str, Any]:
        """The options as the JSON report has them."""
        return {of.name: _plain(getattr(self, of.name)) for of in fields(record or self) if option_of(of).reported}


def _plain(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {key: entry if isinstance(entry, str) else list(entry) for key, entry in value.items()}
    return list(value) if isinstance(value, tuple) else getattr(value, "spec", value)


def spelled(text: str) -> str:
    """`text` with every option in backticks written as on the command line."""
    return _NAMED.sub(_spelled, text)


def _spelled(found: re.Match[str]) -> str:
    name, value = found[1], found[2]
    if name not in Options.spellings:
        return found[0]
    about = Options.spellings[name]
    on, _, off = about.names(name).partition("/")
    on = on.split()[-1]
    if value is None or value == "True" or about.off:
        return on
    return off if value == "False" and off else f"{on} {value.strip(chr(34) + chr(39))}"


def unexpected(function: Callable[..., Any], name: str, known: Iterable[str]) -> TypeError:
    """What Python raises for a keyword that a function does not take, with the nearest that it does."""
    near = get_close_matches(name, known, n=1)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    return TypeError(f"{function.__name__}() got an unexpected keyword argument {name!r}{meant}")


class Taking(Generic[P, R]):
    """A decorator: the function's last parameter, a record, becomes keyword-only parameters for each of its options."""

    def __init__(self, record: Callable[P, R]) -> None:
        self.record = record

    @overload
    def __call__(self, function: Callable[[A, R], T]) -> Callable[Concatenate[A, P], T]: ...
    @overload
    def __call__(self, function: Callable[[A, B, R], T]) -> Callable[Concatenate[A, B, P], T]: ...
    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        record: Any = self.record
        known = [of.name for of in fields(record)]

        @functools.wraps(function)
        def with_options(*args: Any, **given: Any) -> Any:
            own = {name: given.pop(name) for name in list(given) if name in positional}
            for name in given:
                if name not in known:
                    raise unexpected(function, name, known)
            return function(*args, **own, **{last: record(**given)})

        *before, last = inspect.signature(function).parameters
        positional = set(before)
        vars(with_options)["__signature__"] = _signature(function, record)
        text = described({of.name: option_of(of) for of in fields(record)})
        with_options.__doc__ = f"{inspect.cleandoc(function.__doc__ or '')}\n\n{text}"
        return with_options


takes = Taking  # as a decorator: @takes(PruneOptions)


def _signature(function: Callable[..., Any], record: Any) -> inspect.Signature:
    own = inspect.signature(function)
    keywords = [
        inspect.Parameter(of.name, inspect.Parameter.KEYWORD_ONLY, default=of.default, annotation=of.type)
        for of in fields(record)
        if of.default is not MISSING
    ]
    return own.replace(parameters=[*list(own.parameters.values())[:-1], *keywords])


def described(options: Mapping[str, Option]) -> str:
    """A line for each option, for a docstring."""
    defaults = {name: f" Default: {about.default}." if about.default else "" for name, about in options.items()}
    help_of = {name: about.help.removesuffix(" Repeatable.") for name, about in options.items()}  # lists, in Python
    return "\n".join(["Options:", *(f"    {name}: {help_of[name]}{defaults[name]}" for name in options)])
