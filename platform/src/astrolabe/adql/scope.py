"""What names mean in one SELECT: its tables, their columns, and the SELECTs around it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from astrolabe.adql.kinds import GEOMETRIES, kind_of
from astrolabe.adql.names import Identifier, nearest
from astrolabe.adql.tree import ColumnRef, Expr, GeometryColumn
from astrolabe.core.errors import Position, UnknownColumnError, UnknownTableError
from astrolabe.tables.model import Column, quote_name

__all__ = ["Exposed", "Scope", "Source", "reference", "same_name"]


@dataclass(frozen=True, slots=True)
class Exposed:
    """A column that a source shows.

    Parameters
    ----------
    name
        By which it is found.
    expr
        What reads it.
    column
        How it is described.
    owner
        Name of its table for messages.
    """

    name: str
    expr: Expr
    column: Column
    owner: str


@dataclass(slots=True)
class Source:
    """A table or subquery in FROM.

    Parameters
    ----------
    key
        Its key in the checked tree.
    names
        By what it may be called, innermost name first: ``(alias,)``, or ``(table, schema)``.
    columns
        What it shows.  `None` if that is not known (when only syntax is checked).
    """

    key: str
    names: tuple[Identifier, ...]
    columns: tuple[Exposed, ...] | None

    def is_called(self, qualifiers: tuple[Identifier, ...]) -> bool:
        """Whether `qualifiers` (innermost first) name this source."""
        return len(qualifiers) <= len(self.names) and all(
            same_name(given, own) for given, own in zip(qualifiers, self.names, strict=False)
        )

    @property
    def shown(self) -> str:
        """The source's name for messages."""
        return ".".join(quote_name(name.name) for name in reversed(self.names))


def same_name(given: Identifier, own: Identifier) -> bool:
    """Tell whether two identifiers of a query mean the same (ADQL 2.1, section 2.1.2)."""
    if given.quoted and own.quoted:
        return given.name == own.name
    return given.name.lower() == own.name.lower()


def reference(key: str, column: Column) -> Expr:
    """Return the expression that reads `column` of the source `key`."""
    kind = kind_of(column)
    plain = ColumnRef(kind, key, column)
    return GeometryColumn(kind, plain) if kind in GEOMETRIES else plain


@dataclass(slots=True)
class Scope:
    """The names of one SELECT.

    Parameters
    ----------
    sources
        Of its FROM clause, in order; columns with a table's name before them are found here.
    visible
        What ``SELECT *`` shows; columns without a table's name are found here.  USING and NATURAL
        leave one column where there were two.
    parent
        The SELECT around, for correlated subqueries.
    """

    sources: list[Source] = field(default_factory=list)
    visible: list[Exposed] = field(default_factory=list)
    parent: Scope | None = None

    def keys(self) -> frozenset[str]:
        """Return the keys of this SELECT's own sources."""
        return frozenset(source.key for source in self.sources)

    def has(self, name: Identifier) -> bool:
        """Tell whether a table of this SELECT itself shows a column of this name."""
        return any(name.matches(exposed.name) for exposed in self.visible)

    def resolve(
        self, name: Identifier, qualifiers: tuple[Identifier, ...], where: Position
    ) -> Expr:
        """Find what a column's name means.

        Parameters
        ----------
        name
            The column's name.
        qualifiers
            The names before it, innermost first.

        Raises
        ------
        UnknownColumnError
            Raised if there is no such column, or more than one.
        UnknownTableError
            Raised if no table of the query has the name before the dot.
        """
        scope: Scope | None = self
        qualifier_known = False
        while scope is not None:
            found = scope.find(name, qualifiers, where)
            if found is not None:
                return found
            if any(source.is_called(qualifiers) for source in scope.sources):
                qualifier_known = True
            scope = scope.parent
        if qualifiers and not qualifier_known:
            raise self._unknown_table(qualifiers, where)
        raise self._unknown_column(name, qualifiers, where)

    def find(
        self, name: Identifier, qualifiers: tuple[Identifier, ...], where: Position
    ) -> Expr | None:
        """Find what a column's name means in this SELECT itself, `None` if nothing."""
        sources = [s for s in self.sources if s.is_called(qualifiers)]
        if qualifiers:
            candidates = [c for source in sources for c in source.columns or ()]
        else:
            candidates = self.visible
        found = [candidate for candidate in candidates if name.matches(candidate.name)]
        if len(found) > 1:
            shown = " and ".join(f"{hit.owner}.{quote_name(hit.name)}" for hit in found)
            raise UnknownColumnError(
                f"The name {name.name} is ambiguous: it may be {shown};"
                " write the table's name or alias before it",
                position=where,
            )
        return found[0].expr if found else None

    def _visible(self) -> Iterator[Source]:
        scope: Scope | None = self
        while scope is not None:
            yield from scope.sources
            scope = scope.parent

    def _unknown_table(
        self, qualifiers: tuple[Identifier, ...], where: Position
    ) -> UnknownTableError:
        text = ".".join(quote_name(q.name) for q in reversed(qualifiers))
        names = [source.shown for source in self._visible()]
        near = nearest(text, names)
        listed = ", ".join(dict.fromkeys(names)) or "no table"
        return UnknownTableError(
            f"No table of this query is called {text}; it reads {listed}",
            position=where,
            suggestions=near,
        )

    def _unknown_column(
        self, name: Identifier, qualifiers: tuple[Identifier, ...], where: Position
    ) -> UnknownColumnError:
        sources = [s for s in self._visible() if not qualifiers or s.is_called(qualifiers)]
        names = [quote_name(c.name) for s in sources for c in s.columns or ()]
        if qualifiers:
            place = f"{sources[0].shown} has no column {quote_name(name.name)}"
        else:
            place = f"No table of this query has a column {quote_name(name.name)}"
        if name.quoted and any(name.name.lower() == n.strip('"').lower() for n in names):
            place += " (a quoted name must match in upper and lower case)"
        return UnknownColumnError(place, position=where, suggestions=nearest(name.name, names))
