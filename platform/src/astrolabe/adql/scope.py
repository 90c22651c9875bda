"""What names mean in one SELECT: its tables, their columns, and the SELECTs around it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from astrolabe.adql.kinds import GEOMETRIES, kind_of
from astrolabe.adql.names import Identifier, nearest
from astrolabe.adql.tree import ColumnRef, Expr, GeometryColumn
from astrolabe.core.errors import Position, UnknownColumnError, UnknownTableError
from astrolabe.tables.model import Column, quote_name

__all__ = ["Exposed", "Scope", "Source", "Visible", "reference", "same_name"]


@dataclass(frozen=True, slots=True, eq=False)
class Exposed:
    """A column that a name finds.

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


@dataclass(slots=True, eq=False)
class Source:
    """A table or subquery in FROM.

    Parameters
    ----------
    key
        Its key in the checked tree.
    names
        By what it may be called, innermost name first: ``(alias,)``, or ``(table, schema)``.
    columns
        Its columns.
    """

    key: str
    names: tuple[Identifier, ...]
    columns: tuple[Column, ...]
    _index: dict[str, list[Column]] | None = None

    def is_called(self, qualifiers: tuple[Identifier, ...]) -> bool:
        """Whether `qualifiers` (innermost first) name this source."""
        return len(qualifiers) <= len(self.names) and all(
            same_name(given, own) for given, own in zip(qualifiers, self.names, strict=False)
        )

    @property
    def shown(self) -> str:
        """The source's name for messages."""
        return ".".join(quote_name(name.name) for name in reversed(self.names))

    def find(self, name: Identifier) -> list[Column]:
        """Return the columns that `name` means."""
        if self._index is None:
            # Made once a query: tables may have thousands of columns.
            self._index = {}
            for column in self.columns:
                self._index.setdefault(column.name.lower(), []).append(column)
        return [c for c in self._index.get(name.name.lower(), ()) if name.matches(c.name)]

    def expose(self, column: Column) -> Exposed:
        """Return one of the columns as something that a name finds."""
        return Exposed(column.name, reference(self.key, column), column, self.shown)


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
class Visible:
    """The columns that need no table's name before them, and that ``SELECT *`` shows.

    Parameters
    ----------
    merged
        Columns that USING or NATURAL made of two; they come first.
    sources
        Whose columns are visible too, each with the lower-case names that are hidden: those that
        went into merged ones.
    """

    merged: list[Exposed] = field(default_factory=list)
    sources: list[tuple[Source, frozenset[str]]] = field(default_factory=list)

    def find(self, name: Identifier) -> list[Exposed]:
        """Return the columns that `name` means; more than one makes it ambiguous."""
        found = [exposed for exposed in self.merged if name.matches(exposed.name)]
        for source, hidden in self.sources:
            found.extend(
                source.expose(column)
                for column in source.find(name)
                if column.name.lower() not in hidden
            )
        return found

    def __iter__(self) -> Iterator[Exposed]:
        yield from self.merged
        for source, hidden in self.sources:
            for column in source.columns:
                if column.name.lower() not in hidden:
                    yield source.expose(column)

    def names(self) -> Iterator[str]:
        """Yield the visible names."""
        yield from (exposed.name for exposed in self.merged)
        for source, hidden in self.sources:
            yield from (c.name for c in source.columns if c.name.lower() not in hidden)

    def joined(self, other: Visible) -> Visible:
        """Return what is visible of two relations together."""
        return Visible(self.merged + other.merged, self.sources + other.sources)

    def with_merged(self, new: list[Exposed]) -> Visible:
        """Return what is visible when `new` replace the columns of their names."""
        names = frozenset(exposed.name.lower() for exposed in new)
        kept = [exposed for exposed in self.merged if exposed.name.lower() not in names]
        return Visible(new + kept, [(source, hidden | names) for source, hidden in self.sources])


@dataclass(slots=True)
class Scope:
    """The names of one SELECT.

    Parameters
    ----------
    sources
        Of its FROM clause, in order; columns with a table's name before them are found here.
    visible
        Columns without a table's name are found here.
    parent
        The SELECT around, for correlated subqueries.
    """

    sources: list[Source] = field(default_factory=list)
    visible: Visible = field(default_factory=Visible)
    parent: Scope | None = None

    def keys(self) -> frozenset[str]:
        """Return the keys of this SELECT's own sources."""
        return frozenset(source.key for source in self.sources)

    def has(self, name: Identifier) -> bool:
        """Tell whether a table of this SELECT itself shows a column of this name."""
        return bool(self.visible.find(name))

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
        where
            For errors.

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
        if qualifiers:
            found = [
                source.expose(column)
                for source in self.sources
                if source.is_called(qualifiers)
                for column in source.find(name)
            ]
        else:
            found = self.visible.find(name)
        if len(found) > 1:
            shown = " or ".join(f"{hit.owner}.{quote_name(hit.name)}" for hit in found)
            raise UnknownColumnError(
                f"The name {name.name} is ambiguous: it may be {shown};"
                " write the table's name or alias before it",
                position=where,
            )
        return found[0].expr if found else None

    def _around(self) -> Iterator[Source]:
        scope: Scope | None = self
        while scope is not None:
            yield from scope.sources
            scope = scope.parent

    def _unknown_table(
        self, qualifiers: tuple[Identifier, ...], where: Position
    ) -> UnknownTableError:
        text = ".".join(quote_name(q.name) for q in reversed(qualifiers))
        names = list(dict.fromkeys(source.shown for source in self._around()))
        return UnknownTableError(
            f"No table of this query is called {text}; it reads {', '.join(names)}",
            position=where,
            suggestions=nearest(text, names),
        )

    def _unknown_column(
        self, name: Identifier, qualifiers: tuple[Identifier, ...], where: Position
    ) -> UnknownColumnError:
        sources = [s for s in self._around() if not qualifiers or s.is_called(qualifiers)]
        names = [column.name for source in sources for column in source.columns]
        shown = quote_name(name.name)
        if qualifiers:
            message = f"{sources[0].shown} has no column {shown}"
        else:
            message = f"No table of this query has a column {shown}"
        if name.quoted and _has_other_case(name.name, names):
            message += " (a quoted name must match in upper and lower case)"
        near = nearest(name.name, names)
        return UnknownColumnError(
            message, position=where, suggestions=tuple(quote_name(n) for n in near)
        )


def _has_other_case(name: str, names: Iterable[str]) -> bool:
    return any(name.lower() == other.lower() for other in names)
