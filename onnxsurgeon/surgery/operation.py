"""An operation on a network as one record, made from the signature of its method.

The method's checks and documentation, the command with its help, and the recipe key follow from the record.
"""

from __future__ import annotations

import builtins
import functools
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, get_args, get_type_hints

from onnxsurgeon.errors import SurgeonError, UsageError
from onnxsurgeon.options.parsing import entries, near, place, placed, unknown
from onnxsurgeon.options.record import Option, Options, described, unexpected

if TYPE_CHECKING:
    from onnxsurgeon.surgery.network import Network

P = ParamSpec("P")
R = TypeVar("R")
OPERATIONS: dict[str, Operation] = {}


@dataclass(frozen=True)
class Field:
    """A parameter of an operation, and the record of its option."""

    place: inspect.Parameter
    about: Option

    @property
    def name(self) -> str:
        return self.place.name

    @property
    def word(self) -> str:
        """Its name outside of Python."""
        return self.name.replace("_", "-") if self.about.off else self.about.names(self.name).removeprefix("--")

    @property
    def several(self) -> bool:
        """Whether it takes any number of values."""
        return self.place.kind is self.place.VAR_POSITIONAL

    @property
    def argument(self) -> bool:
        """Whether it is positional on the shell."""
        return self.place.kind is not self.place.KEYWORD_ONLY and not self.about.keyword

    @property
    def needed(self) -> bool:
        return self.place.default is self.place.empty

    @property
    def spelled(self) -> str:
        """Its name in errors on the shell."""
        return (self.about.metavar or self.word.upper()) if self.argument else f"--{self.word}"

    def taken(self, value: Any) -> Any:
        """The checked value of an argument from Python."""
        nothing = value is None or (isinstance(value, Mapping) and not value)
        if nothing or (self.about.objects and not isinstance(value, str)):
            return value
        return self.about.read(value, f"`{self.name}`")


@dataclass(frozen=True)
class Operation:
    """method: runs the operation with checked values. fields: its parameters, by their words.

    pairs: in recipes, a mapping gives its two arguments, once or several times. check: raises UsageError if values
    contradict each other. keys: what stands under its name, where the list of its fields would be too long.
    """

    name: str
    method: Callable[..., Any]
    signature: inspect.Signature
    fields: Mapping[str, Field]
    examples: Sequence[str]
    pairs: bool
    check: Callable[..., object]
    keys: str = ""

    @property
    def arguments(self) -> list[Field]:
        """The positional arguments: in a recipe, they follow directly under the operation's name."""
        return [field for field in self.fields.values() if field.argument]

    @property
    def needs(self) -> list[str]:
        return [word for word, field in self.fields.items() if field.needed]

    @property
    def summary(self) -> str:
        """The first line of its documentation."""
        return self.help.partition("\n")[0]

    @property
    def help(self) -> str:
        """Its documentation, without the part about Python."""
        return inspect.cleandoc(self.method.__doc__ or "").partition("\n\nRaises ")[0]

    def row(self) -> tuple[str, str, str]:
        """Its row in the table of recipes: name, content, optional keys."""
        arguments = [field.word for field in self.arguments]
        if not arguments and not self.needs:
            listed = ", ".join(f"`{word}`" for word in self.fields)
            return f"`{self.name}`", self.keys or listed or "nothing", ""
        under = f"`[{', '.join(arguments)}]`" if len(arguments) > 1 else f"`{', '.join(arguments)}`"
        if arguments != self.needs:
            under = ", ".join(f"`{word}`" for word in self.needs)
        elif self.pairs:
            under = f"a mapping of each `{arguments[0]}` to its `{arguments[1]}`"
        elif self.arguments[0].several:
            under = f"a mapping of names to {arguments[0]}, or a list as on the shell"
        return f"`{self.name}`", under, ", ".join(f"`{word}`" for word in self.fields if word not in self.needs)

    def request(self, given: Mapping[str, Any], where: str, spelled: Callable[[Field], str]) -> Request:
        """The request for the given values. spelled: the name of a field in errors. Raises UsageError."""
        for word, value in given.items():
            if word not in self.fields:
                known = [w for w, field in self.fields.items() if not field.several]
                fix = near(word, known) or "leave it out"
                raise UsageError(f"{place(value) or where}{self.name} has no key {word!r}", why=_known(known), fix=fix)
        for word in self.needs:
            if word not in given:
                raise UsageError(f"{where}{self.name} needs {word}", why=_known(self.fields), fix=f"add {word}: ...")
        values = {
            field.name: field.about.read(given[word], spelled(field))
            for word, field in self.fields.items()
            if word in given
        }
        try:
            self.check(**values)
        except UsageError as error:
            raise UsageError(f"{where}{error.what}", why=error.why, fix=error.fix) from None
        return Request(self, values, where)

    def requests(self, content: Any, beside: Mapping[str, Any], where: str) -> list[Request]:
        """The requests of a recipe entry: `content` under the operation's name, other keys beside it."""
        beside = {key.replace("_", "-"): value for key, value in beside.items()}
        under = [self._under(content)]
        if self.pairs and isinstance(content, dict):
            one, other = (field.word for field in self.arguments)
            under = [{one: placed(k, place(v), Path()), other: v} for k, v in content.items()] or [{}]
        found = []
        for entry in under:
            twice = [key for key in entry if key in beside]
            if twice:
                raise UsageError(f"{where}{self.name} gets {twice[0]} twice", fix="remove one of them")
            found.append(self.request({**entry, **beside}, where, functools.partial(self._spelled, entry)))
        return found

    def _spelled(self, entry: Mapping[str, Any], field: Field) -> str:
        """The name of a field in errors about a recipe."""
        if self.pairs and field.argument and field.word in list(entry)[1:]:
            return f"{self.name} of {next(iter(entry.values()))}"
        return field.word

    def _under(self, content: Any) -> dict[str, Any]:
        """The fields under the operation's name."""
        arguments = self.arguments
        if arguments and arguments[0].several:
            return {arguments[0].word: content}
        if isinstance(content, dict):
            return {key.replace("_", "-"): value for key, value in content.items()}
        if not content and not self.needs:
            return {}
        values = entries(content)
        words = [field.word for field in arguments]
        if len(values) != len(words) or words != self.needs:
            listed = f"[{', '.join(words)}], or " if words and words == self.needs else ""
            shown = ", ".join(f"{word}: ..." for word in self.needs or list(self.fields)[:1])
            raise UsageError(
                f"{place(content)}{self.name} {content!r} is not valid",
                why=f"wanted: {listed}a mapping of {_some(self.fields)}" if self.fields else "it takes nothing",
                fix=f"write it like {self.name}: {{{shown}}}" if shown else f"write {self.name} alone",
            )
        return dict(zip(words, values, strict=True))


@dataclass(frozen=True)
class Request:
    """A requested operation. values: by the names of Python. where: its place in a recipe, or empty."""

    operation: Operation
    values: Mapping[str, Any]
    where: str = ""

    def run(self, network: Network, **shared: Any) -> Any:
        """The method's result. shared: parameters of all operations. Raises SurgeonError, and then changes nothing."""
        signature = self.operation.signature
        given = {"self": network, **self.values, **{k: v for k, v in shared.items() if k in signature.parameters}}
        bound = inspect.BoundArguments(signature, given)
        try:
            return self.operation.method(*bound.args, **bound.kwargs)
        except SurgeonError as error:
            if not self.where:
                raise
            named = "" if error.what.startswith(self.operation.name) else f"{self.operation.name}: "
            raise type(error)(f"{self.where}{named}{error.what}", why=error.why, fix=error.fix) from error

    def record(self) -> dict[str, Any]:
        """The request as reports show it."""
        words = {field.name: field.word for field in self.operation.fields.values()}
        return {
            "operation": self.operation.name,
            "where": self.where.removesuffix(": "),
            **{words[name]: value for name, value in self.values.items()},
        }


def operation(
    *examples: str, pairs: bool = False, check: Callable[..., object] = lambda **values: None
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Makes a method an operation: reads and checks its arguments before it runs. examples: two commands."""

    def register(method: Callable[P, R]) -> Callable[P, R]:
        signature, name = inspect.signature(method), method.__name__
        fields = _fields(method, signature)
        shown = {field.word: field for field in fields.values() if field.about.in_shell}
        OPERATIONS[name] = Operation(name, method, signature, shown, examples, pairs, check)
        for key, field in fields.items():
            Options.spellings.setdefault(key, field.about)

        @functools.wraps(method)
        def checked(*args: P.args, **options: P.kwargs) -> R:
            for key in options.keys() - signature.parameters.keys():
                raise unexpected(method, key, signature.parameters)
            bound = signature.bind(*args, **options)
            given = {key: value for key, value in bound.arguments.items() if key in fields}
            bound.arguments |= {key: fields[key].taken(value) for key, value in given.items()}
            result: R = method(*bound.args, **bound.kwargs)
            return result

        options_text = described({key: field.about for key, field in fields.items()})
        hints = _hints(method)
        plain = [p.replace(annotation=hints.get(key, p.empty)) for key, p in signature.parameters.items()]
        vars(checked)["__signature__"] = signature.replace(parameters=plain)
        checked.__doc__ = f"{inspect.cleandoc(method.__doc__ or '')}\n\n{options_text}"
        return checked

    return register


class _Names(dict[str, Any]):
    """The names in annotations; a name that only type checkers import is Any."""

    def __missing__(self, name: str) -> Any:
        return getattr(builtins, name, Any)


def _hints(method: Callable[..., Any], *, options: bool = False) -> dict[str, Any]:
    """The types of a method's parameters; with `options`, the options that annotate them, too."""
    return get_type_hints(method, localns=_Names(vars(sys.modules[method.__module__])), include_extras=options)


def _fields(method: Callable[..., Any], signature: inspect.Signature) -> dict[str, Field]:
    found = {}
    for name, hint in _hints(method, options=True).items():
        for about in (extra for extra in get_args(hint) if isinstance(extra, Option)):
            place = signature.parameters[name]
            own = str(place.default) if isinstance(place.default, str | int) and place.default is not False else ""
            found[name] = Field(place, replace(about, default=about.default or own))
    return found


def requests(entry: Any, operations: Mapping[str, Operation] = OPERATIONS) -> list[Request]:
    """The requests of a recipe entry. Raises UsageError if it describes none of `operations`."""
    if isinstance(entry, str) and entry in operations and not operations[entry].needs:
        return operations[entry].requests("", {}, place(entry))
    if not isinstance(entry, dict) or not entry:
        what = f"{place(entry)}{entry!r} is not an operation"
        raise UsageError(what, why=_known(operations), fix="write it like remove: conv3")
    named = [key for key in entry if key in operations]
    if not named:
        raise unknown(placed(next(iter(entry)), place(entry), Path()), operations, "operation")
    if len(named) > 1:
        both = f"{place(entry)}{' and '.join(named)} are in one entry"
        raise UsageError(both, why=_known(operations), fix="write each one as its own entry")
    beside = {key: value for key, value in entry.items() if key != named[0]}
    return operations[named[0]].requests(entry[named[0]], beside, place(entry))


def _some(names: Mapping[str, Any], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(list(names)[:most]) + more


def _known(names: Mapping[str, Any] | Sequence[str]) -> str:
    return f"known: {', '.join(names) or 'none'}"
