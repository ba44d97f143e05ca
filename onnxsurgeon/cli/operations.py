"""The operations on a network by name: what each is told, and how it is done. Commands and recipes share them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onnxsurgeon.cli.fields import (
    Reader,
    Told,
    bound,
    by_node,
    file,
    flag,
    importance,
    kernel,
    near,
    number,
    positions,
    text,
    texts,
    told,
    widths,
    word,
)
from onnxsurgeon.errors import SurgeonError, UsageError

if TYPE_CHECKING:
    from onnxsurgeon.surgery.blocks import Block
    from onnxsurgeon.surgery.network import Network
    from onnxsurgeon.surgery.widths import Resized

Given = Mapping[str, Any]
LAYERS = {  # what each is told
    "Conv": ("kernel", "groups", "bias", "init"),
    "Linear": ("bias", "init"),
    "BatchNorm": (),
    "MaxPool": ("kernel",),
    "AveragePool": ("kernel",),
}
SEPARABLE = "Separable"


def _activations() -> list[str]:
    from onnxsurgeon.surgery.blocks import ACTIVATIONS

    return list(ACTIVATIONS)


ALIGNING: dict[str, Reader] = {
    "align": word(("auto", "grow", "shrink", "both")),
    "importance": importance,
    "init": word(("normal", "zeros", "he", "duplicate")),
}
BLOCK: dict[str, Reader] = {"kernel": kernel, "groups": number(1), "bias": flag}


@dataclass(frozen=True)
class Kind:
    """What an operation is told.

    needs: fields that must be there. main: the fields that a text or a list under its name gives. whole: what stands
    under its name is its main field.
    """

    run: Callable[[Network, Given, int], Sequence[Resized]]
    fields: Mapping[str, Reader]
    needs: tuple[str, ...]
    main: tuple[str, ...] = ()
    whole: bool = False
    check: Callable[[Given, str], None] = lambda given, where: None


@dataclass(frozen=True)
class Operation:
    """One operation, ready to run. where: its place in a recipe, or nothing."""

    kind: str
    given: Given
    where: str = ""

    def run(self, network: Network, seed: int) -> Sequence[Resized]:
        """What it did to widths that were asked for. Raises SurgeonError; then nothing was changed."""
        try:
            return KINDS[self.kind].run(network, self.given, seed)
        except SurgeonError as error:
            if not self.where:
                raise
            named = "" if error.what.startswith(self.kind) else f"{self.kind}: "
            raise type(error)(f"{self.where}{named}{error.what}", why=error.why, fix=error.fix) from error


def asked(kind: str, **fields: Any) -> Operation:
    """The operation that a command's arguments describe; those that are None were not given."""
    given = {name.strip("_").replace("_", "-"): told(value) for name, value in fields.items() if value is not None}
    return _checked(kind, given, "")


def operation(entry: Told) -> Operation:
    """The operation that an entry of a recipe describes. Raises UsageError where it doesn't describe one."""
    if isinstance(entry.value, str) or not entry.value or isinstance(entry.value, list):
        raise UsageError(
            f"{entry.where}{str(entry)!r} is no operation", why=_known(KINDS), fix="write it like remove: conv3"
        )
    named = [key for key in entry.value if key in KINDS]
    if len(named) != 1:
        first = next(iter(entry.value))
        raise UsageError(
            f"{entry.where}{' and '.join(named)} stand in one entry"
            if named
            else f"{entry.where}unknown operation {first!r}",
            why=_known(KINDS),
            fix="write each as an entry of its own" if named else near(first, KINDS) or "choose one of these",
        )
    content, kind = entry.value[named[0]], KINDS[named[0]]
    given = {key.replace("_", "-"): value for key, value in entry.value.items() if key != named[0]}
    for key, value in _main(named[0], kind, content).items():
        if key in given:
            raise UsageError(f"{entry.where}{named[0]} is told {key} twice", fix="leave one of them out")
        given[key] = value
    return _checked(named[0], given, entry.where)


def _main(name: str, kind: Kind, content: Told) -> dict[str, Told]:
    """The fields that stand under an operation's name."""
    if kind.whole:
        return {kind.main[0]: content}
    if isinstance(content.value, dict):
        return {key.replace("_", "-"): value for key, value in content.value.items()}
    entries = content.value if isinstance(content.value, list) else [content]
    if len(entries) != len(kind.main):
        wanted = f"[{', '.join(kind.main)}], or " if kind.main else ""
        raise UsageError(
            f"{content.where}{name} {str(content)!r} makes no sense",
            why=f"wanted: {wanted}a mapping of {', '.join(kind.fields)}",
            fix=f"write it like {name}: {{{', '.join(f'{field}: ...' for field in kind.needs)}}}",
        )
    return dict(zip(kind.main, entries, strict=True))


def _checked(name: str, given: Mapping[str, Told], where: str) -> Operation:
    kind = KINDS[name]
    options = [key for key in kind.fields if not (kind.whole and key in kind.main)]
    for key, value in given.items():
        if key not in kind.fields:
            fix = near(key, options) or "leave it out"
            raise UsageError(f"{value.where or where}{name} knows no {key!r}", why=_known(options), fix=fix)
    for key in kind.needs:
        if key not in given:
            raise UsageError(f"{where}{name} needs {key}", why=_known(options), fix=f"add {key}: ...")
    read = {key: kind.fields[key](value, key) for key, value in given.items()}
    kind.check(read, where)
    return Operation(name, read, where)


def _known(names: Iterable[str]) -> str:
    return f"known: {', '.join(names)}"


def _check_block(given: Given, where: str) -> None:
    """Raises UsageError where a block is told what it doesn't take."""
    op = given["op"]
    takes = ("init",) if op == SEPARABLE else LAYERS.get(op, ())
    extra = [key for key in ("kernel", "groups", "bias", "init") if key in given and key not in takes]
    if extra:
        raise UsageError(
            f"{where}{op} takes no {extra[0]}",
            why=f"it takes {', '.join(takes)}" if takes else "it takes nothing",
            fix="leave it out",
        )
    if op.endswith("Pool") and not isinstance(given.get("kernel", 3), int):
        raise UsageError(f"{where}the kernel of a {op} is one number", fix="write kernel 3 in place of 3x3")
    starts = ("closest", "he") if op == SEPARABLE else ("identity", "zeros", "he")
    if given.get("init", starts[0]) not in starts:
        raise UsageError(f"{where}{op} can't start as {given['init']}", why=_known(starts), fix="choose one of these")


def _block(given: Given) -> Block:
    from onnxsurgeon.surgery.blocks import Activation, BatchNorm, Conv, Linear, Pool

    op, options = given["op"], {key: given[key] for key in ("kernel", "groups", "bias") if key in given}
    made: dict[str, Callable[..., Block]] = {"Conv": Conv, "Linear": Linear, "BatchNorm": BatchNorm}
    if op in made:
        return made[op](**options)
    if op in LAYERS:
        return Pool("Max" if op == "MaxPool" else "Average", **options)
    return Activation(op)


def _aligning(given: Given, seed: int) -> dict[str, Any]:
    names = {"align": "align", "importance": "importance", "init": "grow_init"}
    return {"seed": seed, **{name: given[key] for key, name in names.items() if key in given}}


def _resize(network: Network, given: Given, seed: int) -> Sequence[Resized]:
    options = {key.replace("-", "_"): value for key, value in given.items() if key != "widths"}
    return [network.resize(*given["widths"], seed=seed, **options)]


def _remove(network: Network, given: Given, seed: int) -> Sequence[Resized]:
    network.remove(given["name"], through=given.get("through"), **_aligning(given, seed))
    return ()


def _insert(network: Network, given: Given, seed: int) -> Sequence[Resized]:
    network.insert_after(
        given["after"], _block(given), readers=given.get("for"), init=given.get("init", "identity"),
        called=given.get("name"), seed=seed,
    )  # fmt: skip
    return ()


def _connect(network: Network, given: Given, seed: int) -> Sequence[Resized]:
    network.connect(given["from"], given["to"], position=given.get("position"), **_aligning(given, seed))
    return ()


def _disconnect(network: Network, given: Given, seed: int) -> Sequence[Resized]:
    network.disconnect(given["from"], given["to"])
    return ()


def _kernel(network: Network, given: Given, seed: int) -> Sequence[Resized]:
    for name, size in given["kernel"].items():
        network.kernel(name, size)
    return ()


def _activation(network: Network, given: Given, seed: int) -> Sequence[Resized]:
    for name, kind in given["activation"].items():
        network.activation(name, kind)
    return ()


def _replace(network: Network, given: Given, seed: int) -> Sequence[Resized]:
    if given["op"] == SEPARABLE:
        network.separate(given["name"], init=given.get("init", "closest"), seed=seed)
    else:
        network.replace(given["name"], _block(given), init=given.get("init", "he"), seed=seed)
    return ()


def _splice(network: Network, given: Given, seed: int) -> Sequence[Resized]:
    from onnxsurgeon.surgery.network import load

    ends = {key: given[key] for key in ("entry", "exit", "prefix") if key in given}
    network.splice(load(given["file"]), after=given["after"], **ends, **_aligning(given, seed))
    return ()


KINDS: dict[str, Kind] = {
    "resize": Kind(
        _resize,
        {
            "widths": widths, "importance": importance, "keep": by_node(positions), "drop": by_node(positions),
            "multiple": number(1), "max-new": bound, "relax": flag, "init": ALIGNING["init"],
            "free": word(("auto", "heads", "head-size")),
        },
        needs=("widths",), main=("widths",), whole=True,
    ),
    "remove": Kind(_remove, {"name": text, "through": text, **ALIGNING}, needs=("name",), main=("name",)),
    "insert": Kind(
        _insert,
        {
            "after": text, "op": word(lambda: [*LAYERS, *_activations()]), **BLOCK,
            "init": word(("identity", "zeros", "he")), "for": texts, "name": text,
        },
        needs=("after", "op"), check=_check_block,
    ),
    "connect": Kind(
        _connect, {"from": text, "to": text, "position": number(0), **ALIGNING}, needs=("from", "to"),
        main=("from", "to"),
    ),
    "disconnect": Kind(_disconnect, {"from": text, "to": text}, needs=("from", "to"), main=("from", "to")),
    "kernel": Kind(_kernel, {"kernel": by_node(kernel)}, needs=("kernel",), main=("kernel",), whole=True),
    "activation": Kind(
        _activation, {"activation": by_node(word(_activations))}, needs=("activation",), main=("activation",),
        whole=True,
    ),
    "replace": Kind(
        _replace,
        {
            "name": text, "op": word(lambda: [*LAYERS, *_activations(), SEPARABLE]), **BLOCK,
            "init": word(("identity", "zeros", "he", "closest")),
        },
        needs=("name", "op"), check=_check_block,
    ),
    "splice": Kind(
        _splice, {"file": file, "after": text, "entry": text, "exit": text, "prefix": text, **ALIGNING},
        needs=("file", "after"),
    ),
}  # fmt: skip
