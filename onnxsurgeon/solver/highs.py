"""HiGHS solvers that print nothing, imported on first use."""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def _silent() -> Any:
    import highspy  # lazily: most of the package needs no solver

    class Silent(highspy.Highs):
        """From 1.16 on, the constructor enables callbacks, which prints a banner unless output is off."""

        def enableCallbacks(self) -> None:
            self.silent()
            super().enableCallbacks()  # type: ignore[no-untyped-call]

    return Silent


def highs() -> Any:
    """A new solver that prints nothing."""
    return _silent()()
