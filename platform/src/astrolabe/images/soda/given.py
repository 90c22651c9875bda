"""Parameters as they were sent, before anybody knows what they mean."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Final

from astrolabe.core.errors import BadParameterError

__all__ = ["Given", "read_number"]

_NUMBER: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\Z")


class Given:
    """Parameters of a request or a job: names in any case, empty values count as not sent.

    Parameters
    ----------
    pairs
        Names and values in the order sent.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._pairs = [(name.upper(), value.strip()) for name, value in pairs if value.strip()]

    def values(self, name: str) -> tuple[str, ...]:
        """Return the different values of a parameter in the order sent."""
        return tuple(dict.fromkeys(value for key, value in self._pairs if key == name))

    def listed(self, name: str) -> tuple[str, ...]:
        """Return what a parameter lists, by commas, by blanks or by repeating it."""
        return tuple(
            dict.fromkeys(
                part for value in self.values(name) for part in value.replace(",", " ").split()
            )
        )

    def single(self, name: str) -> str | None:
        """Return the value of a parameter that may be given once, `None` without it.

        Raises
        ------
        BadParameterError
            Raised if it was given twice with different values.
        """
        found = self.values(name)
        if len(found) > 1:
            shown = " and ".join(repr(value[:100]) for value in found[:2])
            raise BadParameterError(f"{name} was given more than once, as {shown}; give it once.")
        return found[0] if found else None


def read_number(name: str, text: str) -> float:
    """Return a finite decimal number.

    Raises
    ------
    BadParameterError
        Raised if `text` is none.
    """
    # Python's own float() would also take nan, inf and 1_0.
    value = float(text) if _NUMBER.match(text) else math.nan
    if not math.isfinite(value):
        raise BadParameterError(f"{name} takes decimal numbers, not {text[:100]!r}.")
    return value
