"""Where in a query's text something stands."""

from __future__ import annotations

from typing import TypeVar

from sqlglot import exp
from sqlglot.tokenizer_core import Token

from astrolabe.core.errors import Position

__all__ = ["mark", "offset_of", "position_at"]

_START = "start"

N = TypeVar("N", bound=exp.Expression)


def position_at(text: str, offset: int) -> Position:
    r"""Return line and column (from 1) of the character at `offset`.

    Examples
    --------
    >>> str(position_at("SELECT a\nFROM b", 9))
    'line 2, column 1'
    """
    before = text[:offset].replace("\r\n", "\n").replace("\r", "\n")
    return Position(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)


def mark(node: N, token: Token) -> N:
    """Note in `node` that it begins at `token`."""
    node.meta[_START] = token.start
    return node


def offset_of(node: exp.Expr) -> int | None:
    """Return where `node` begins, if the parser noted it there or in what stands first in it."""
    current: exp.Expr | None = node
    while current is not None:
        start = current.meta.get(_START) if current._meta else None  # noqa: SLF001 - .meta would make a dict for each node
        if isinstance(start, int):
            return start
        current = next((v for v in current.args.values() if isinstance(v, exp.Expression)), None)
    return None
