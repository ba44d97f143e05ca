"""Sizes as expressions over the dynamic dims of a graph: what is static follows from arithmetic, not from trials.

A size is a sum of products with rational coefficients: `2*b*s + 1`. Its factors are symbols, one for each dynamic dim,
and what does not reduce to a sum: quotients, remainders, minima and maxima, and values that nothing is known about.
Equal arguments give equal factors, so `min(s, 64) - min(s, 64)` is 0 and `min(s, 64)` is not static, whatever sizes
were tried. Intervals decide minima and comparisons where they can: a dim is 1 at least.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from math import floor, inf, prod
from typing import Any, Union

Number = Union["Size", int, float, Fraction]
Monomial = tuple["Factor", ...]  # sorted; a factor may repeat
_UNKNOWN: Iterator[int] = count()


class UndecidedError(ValueError):
    """A comparison of sizes that holds for some sizes of the dynamic dims and not for others."""


@dataclass(frozen=True, order=True, slots=True)
class Factor:
    """A symbol, or what an operation gives of sizes. key: what it is, the same for equal arguments."""

    key: str
    low: float
    high: float
    whole: bool = True  # it is an integer
    clamps: bool = True  # it may be the same at different sizes of the dynamic dims


class Size:
    """An integer (or rational) that depends on the dynamic dims of a graph. Constants are plain numbers, never a Size.

    Comparisons answer for all sizes of the dynamic dims alike, or raise UndecidedError.
    """

    __slots__ = ("key", "terms")
    __hash__ = None  # type: ignore[assignment]  # == compares values, and may be undecided

    def __init__(self, terms: Mapping[Monomial, Fraction]) -> None:
        self.terms = dict(sorted(terms.items()))
        self.key = " + ".join(f"{c}*{'*'.join(f.key for f in m)}" for m, c in self.terms.items())

    @property
    def clamps(self) -> bool:
        """Whether two samples of the dynamic dims say too little about it."""
        return any(factor.clamps for monomial in self.terms for factor in monomial)

    def limits(self) -> set[int]:
        """The numbers at which it may be clamped: 64 of `min(s, 64)`."""
        clamps = [factor.key for monomial in self.terms for factor in monomial if factor.clamps]
        return {int(number) for key in clamps for number in re.findall(r"(?<![\w.?\[])\d+(?![\w.\]*])", key)}

    def __repr__(self) -> str:
        return self.key

    def bounds(self) -> tuple[float, float]:
        """The least and the largest value that it may have."""
        low = high = 0.0
        for monomial, coefficient in self.terms.items():
            ends = (
                float(coefficient) * _times(f.low for f in monomial),
                float(coefficient) * _times(f.high for f in monomial),
            )
            if any(f.low < 0 for f in monomial):
                ends = (-inf, inf)
            low, high = low + min(ends), high + max(ends)
        return low, high

    def __add__(self, other: Any) -> Number:
        terms = dict(self.terms)
        for monomial, coefficient in _terms(other).items():
            terms[monomial] = terms.get(monomial, Fraction(0)) + coefficient
        return _reduced(terms)

    def __mul__(self, other: Any) -> Number:
        terms: dict[Monomial, Fraction] = {}
        for a, x in self.terms.items():
            for b, y in _terms(other).items():
                both = tuple(sorted((*a, *b)))
                terms[both] = terms.get(both, Fraction(0)) + x * y
        return _reduced(terms)

    def __neg__(self) -> Number:
        return self * -1

    def __sub__(self, other: Any) -> Number:
        return self.__add__(-other)

    def __rsub__(self, other: Any) -> Number:
        result: Number = self * -1 + other
        return result

    def __truediv__(self, other: Any) -> Number:
        exact = quotient(self, other)
        return operation("div", self, other, whole=False) if exact is None else exact

    def __rtruediv__(self, other: Any) -> Number:
        return operation("div", other, self, whole=False)

    def __floordiv__(self, other: Any) -> Number:
        return floordiv(self, other)

    def __rfloordiv__(self, other: Any) -> Number:
        return floordiv(other, self)

    def __mod__(self, other: Any) -> Number:
        return remainder(self, other)

    def __rmod__(self, other: Any) -> Number:
        return remainder(other, self)

    def __abs__(self) -> Number:
        return self if self >= 0 else -self

    def __lt__(self, other: Any) -> bool:
        low, high = bounds(self - other)
        return _decided(yes=high < 0, no=low >= 0)

    def __le__(self, other: Any) -> bool:
        low, high = bounds(self - other)
        return _decided(yes=high <= 0, no=low > 0)

    def __gt__(self, other: Any) -> bool:
        return not self <= other

    def __ge__(self, other: Any) -> bool:
        return not self < other

    def __eq__(self, other: Any) -> bool:
        low, high = bounds(self - other)
        return _decided(yes=low == high == 0, no=low > 0 or high < 0)

    def __ne__(self, other: Any) -> bool:
        return not self == other

    def __bool__(self) -> bool:
        return self != 0

    __radd__, __rmul__ = __add__, __mul__


def symbol(name: str) -> Size:
    """The size of a dynamic dim, which is at least 1."""
    return Size({(Factor(name, 1, inf, clamps=False),): Fraction(1)})


def opaque(low: float = -inf, high: float = inf) -> Size:
    """A number that depends on dynamic dims in a way that is not known; no two of them are equal."""
    return Size({(Factor(f"?{next(_UNKNOWN)}", low, high),): Fraction(1)})


def operation(name: str, *arguments: Number, low: float = -inf, high: float = inf, whole: bool = True) -> Size:
    """What an operation gives that does not reduce to a sum: the same for the same arguments."""
    text = ", ".join(a.key if isinstance(a, Size) else str(a) for a in arguments)
    return Size({(Factor(f"{name}({text})", low, high, whole),): Fraction(1)})


def floordiv(a: Number, b: Number) -> Number:
    """`a // b`, rounded down."""
    if not isinstance(a, Size) and not isinstance(b, Size):
        return _plain(Fraction(a) // Fraction(b))
    exact = quotient(a, b)
    if exact is not None:
        return whole(exact, floor)
    low, high = bounds(a)
    least, most = bounds(b)
    ends = (floor(low / most), high // least if high < inf else inf) if low >= 0 and least > 0 else (-inf, inf)
    if ends[0] == ends[1] and ends[0] > -inf:
        return int(ends[0])
    return operation("floordiv", a, b, low=ends[0], high=ends[1])


def remainder(a: Number, b: Number) -> Number:
    """`a % b`, with the sign of b, as numpy has it."""
    if not isinstance(a, Size) and not isinstance(b, Size):
        return _plain(Fraction(a) % Fraction(b))
    exact = quotient(a, b)
    if exact is not None and _is_whole(exact):
        return 0
    (low, high), (least, most) = bounds(a), bounds(b)
    if low >= 0 and high < least:
        return a
    is_whole = _is_whole(a) and _is_whole(b)
    return operation("mod", a, b, whole=is_whole, low=0 if least > 0 else -inf, high=most if least > 0 else inf)


def smaller(a: Number, b: Number) -> Number:
    """The minimum."""
    return _either("min", a, b, min, lambda low, high: high <= 0)


def larger(a: Number, b: Number) -> Number:
    """The maximum."""
    return _either("max", a, b, max, lambda low, high: low >= 0)


def whole(a: Number, rounded: Callable[[Any], int]) -> Number:
    """`a` rounded by `floor`, `ceil` or `round`: itself where its coefficients are whole numbers."""
    if not isinstance(a, Size):
        return rounded(a)
    if _is_whole(a):
        return a
    low, high = a.bounds()
    low, high = (rounded(n) if abs(n) < inf else n for n in (low, high))
    return Size({(Factor(f"{rounded.__name__}({a.key})", low, high, clamps=a.clamps),): Fraction(1)})


def is_number(size: Any, number: int | None) -> bool:
    """Whether a size is this very number, at all sizes of the dynamic dims; any number for None."""
    return not isinstance(size, Size) and (number is None or bool(size == number))


def is_static(number: Any) -> bool:
    """Whether a number is the same for all sizes of the dynamic dims."""
    return not isinstance(number, Size)


def _either(
    name: str, a: Number, b: Number, plain: Callable[[Any, Any], Any], first: Callable[[float, float], bool]
) -> Number:
    if not isinstance(a, Size) and not isinstance(b, Size):
        return a if plain(a, b) == a else b
    low, high = bounds(a - b)
    if first(low, high):
        return a
    if first(-high, -low):
        return b
    (a_low, a_high), (b_low, b_high) = bounds(a), bounds(b)
    arguments = sorted((a, b), key=lambda n: n.key if isinstance(n, Size) else str(n))
    is_whole = _is_whole(a) and _is_whole(b)
    return operation(name, *arguments, low=plain(a_low, b_low), high=plain(a_high, b_high), whole=is_whole)


def _is_whole(a: Number) -> bool:
    if not isinstance(a, Size):
        return Fraction(a).denominator == 1
    return all(c.denominator == 1 and all(f.whole for f in m) for m, c in a.terms.items())


def quotient(a: Number, b: Number) -> Number | None:
    """`a / b`, where that is a sum again."""
    if not isinstance(b, Size):
        return a * Fraction(1, 1) * (1 / Fraction(b)) if b else None
    if len(b.terms) != 1:
        return 1 if isinstance(a, Size) and a.key == b.key else None
    ((divisor, coefficient),) = b.terms.items()
    terms: dict[Monomial, Fraction] = {}
    for monomial, c in _terms(a).items():
        left = list(monomial)
        for factor in divisor:
            if factor not in left:
                return None
            left.remove(factor)
        terms[tuple(left)] = c / coefficient
    return _reduced(terms)


def _reduced(terms: Mapping[Monomial, Fraction]) -> Number:
    kept = {m: c for m, c in terms.items() if c}
    if not kept.keys() - {()}:
        return _plain(kept.get((), Fraction(0)))
    return Size(kept)


def _plain(value: Fraction | int) -> int | Fraction:
    return int(value) if value.denominator == 1 else value


def _terms(number: Any) -> Mapping[Monomial, Fraction]:
    return number.terms if isinstance(number, Size) else {(): Fraction(_item(number))}


def _item(number: Any) -> Any:
    return number.item() if hasattr(number, "item") else number


def bounds(number: Any) -> tuple[float, float]:
    return number.bounds() if isinstance(number, Size) else (float(number), float(number))


def _times(numbers: Iterator[float]) -> float:
    return prod(numbers, start=1.0)


def _decided(*, yes: bool, no: bool) -> bool:
    if yes or no:
        return yes
    raise UndecidedError
