"""HTML from Python values: text is always escaped, so that names in a model are text and never markup."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable
from typing import Any

from onnxsurgeon.errors import printable

VOID = ("input", "meta")  # elements without an end


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


Child = Html | str | int | None | Iterable["Child"]


def text(value: object) -> Html:
    """`value` as text of the page; HTML stays as it is."""
    return value if isinstance(value, Html) else Html(html.escape(printable(str(value))))


def joined(*children: Child) -> Html:
    return Html("".join(_parts(children)))


def tag(name: str, *children: Child, **attributes: object) -> Html:
    """An element. Attributes: `class_` is class, _ is -; True is an attribute without a value, None and False none."""
    given = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{text(value)}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    end = "" if name in VOID else f"{joined(*children)}</{name}>"
    return Html(f"<{name}{given}>{end}")


def data(value: Any, **attributes: object) -> Html:
    """A value for the scripts of the page. No text in it can end the element."""
    plain = json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=True)
    shown = plain.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return tag("script", Html(shown), type="application/json", **attributes)


def _parts(children: Child) -> Iterable[str]:
    if children is None:
        return
    if isinstance(children, str | int):
        yield text(children)
        return
    for child in children:
        yield from _parts(child)
