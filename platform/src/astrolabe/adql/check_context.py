"""What the parts of the checker share while they check one query."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NoReturn

from sqlglot import exp

from astrolabe.adql.names import Identifier, SchemaLookup
from astrolabe.adql.position import offset_of, position_at
from astrolabe.adql.tree import ColumnRef, TableSource
from astrolabe.core.errors import AdqlTypeError, AdqlUnsupportedError, InternalError, Position

__all__ = ["MAX_HEIGHT", "CheckContext", "identifier_of"]

MAX_HEIGHT = 200
"""Levels of an expression's tree; engines give up at about a thousand of their own."""


@dataclass(slots=True)
class CheckContext:
    """State of one check.

    Parameters
    ----------
    text
        The query's text.
    lookup
        The catalog, `None` when only the syntax is checked.
    default_schema
        Where unqualified tables are looked for too.
    """

    text: str
    lookup: SchemaLookup | None
    default_schema: str | None = None
    tables: list[TableSource] = field(default_factory=list)
    used: dict[str, set[str]] = field(default_factory=dict)
    height: int = 0
    _keys: int = 0

    @property
    def syntax_only(self) -> bool:
        """Whether there is no schema: names exist and columns have the type that is needed."""
        return self.lookup is None

    def next_key(self) -> str:
        """Return a new key for a source."""
        key = f"t{self._keys}"
        self._keys += 1
        return key

    def note_use(self, reference: ColumnRef) -> None:
        """Note that the query reads a column."""
        columns = self.used.get(reference.source)
        if columns is not None:
            columns.add(reference.column.name)

    def where(self, node: exp.Expr) -> Position:
        """Return where `node` stands in the text."""
        offset = offset_of(node)
        if offset is None:
            raise InternalError(f"The parser noted no position for {type(node).__name__}")
        return position_at(self.text, offset)

    def type_error(self, message: str, node: exp.Expr) -> NoReturn:
        """Refuse `node` for its type."""
        raise AdqlTypeError(message, position=self.where(node))

    def unsupported(self, message: str, node: exp.Expr) -> NoReturn:
        """Refuse `node`: it is not offered."""
        raise AdqlUnsupportedError(message, position=self.where(node))

    def only_args(self, node: exp.Expr, *known: str) -> None:
        """Refuse a node of the parser that says more than is understood.

        This guards against a change in the parser's nodes: nothing in a query is ever ignored.
        """
        for name, value in node.args.items():
            if name not in known and value not in (None, [], False, ""):
                raise AdqlUnsupportedError(
                    f"{type(node).__name__} with {name} is not ADQL", position=self.where(node)
                )

    def climb(self, levels: int, node: exp.Expr) -> None:
        """Go `levels` deeper into an expression; the caller takes them off `height` again."""
        self.height += levels
        if self.height > MAX_HEIGHT:
            raise AdqlUnsupportedError(
                f"The expression has more than {MAX_HEIGHT} levels or terms in a row; simplify it",
                position=self.where(node),
            )


def identifier_of(node: exp.Expr) -> Identifier:
    """Return a name of the parser as ours."""
    return Identifier(str(node.this), bool(node.args.get("quoted")))
