"""Joins of positions with footprints: which conditions are answered pair by pair, ahead of SQL.

``CONTAINS(POINT(t.ra, t.dec), o.s_region) = 1`` between two tables costs an engine a judgement for
every pair of their rows.  Where one of the tables is in memory, the rows of the other can be read
with the numbers of those that they make pairs with instead: each row as often as it makes a pair.
The condition becomes an equality of numbers, which any engine joins by.

That is right wherever only such pairs of rows are left: in WHERE, in ON of an inner join, and in ON
of an outer join for the table whose rows are gone unless they match.  A table whose rows stay is
given with those that make no pair as well; that is right where ON asks for nothing else and the
other side is the table itself.  ``EXISTS (SELECT ... FROM t WHERE CONTAINS(...) = 1)`` becomes a
choice of rows.  All other forms are left to the engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import numpy as np
import pyarrow as pa

from astrolabe.adql import tree
from astrolabe.adql.comparisons import MIRRORED
from astrolabe.adql.deep import call_with_deep_stack
from astrolabe.adql.emit_conditions import predicate_sense
from astrolabe.adql.tree import (
    Call,
    CheckedQuery,
    ColumnRef,
    Comparison,
    Exists,
    Expr,
    GeometryColumn,
    Join,
    Kind,
    Node,
    Select,
    TableSource,
    field_names,
    walk,
)
from astrolabe.catalogs.engine import ArrowScan, FileScan, Kept, PairScan
from astrolabe.catalogs.pairs import (
    CircleTerms,
    PairTest,
    RowCircles,
    RowShapes,
    ShapeColumn,
    is_number_of,
)
from astrolabe.catalogs.planning.folding import number
from astrolabe.catalogs.planning.from_clauses import (
    joined_tables,
    kept_tables,
    relations,
    terms_of,
)
from astrolabe.catalogs.planning.restrictions import Restriction
from astrolabe.sky.places import Places
from astrolabe.tables.model import Column, Datatype, TableMeta

__all__ = ["PairJoin", "PairedQuery", "PlannedPair", "find_pair_joins", "paired_query"]

_REAL_DEG: Final = 5e-5  # how far a 32-bit position may be from itself
_LARGEST_DEG: Final = 180.0
_Tree = TypeVar("_Tree", bound=Node)
_ONE: Final = tree.Literal(Kind.INTEGER, 1)


@dataclass(frozen=True, slots=True, eq=False)
class PairJoin:
    """A condition on the circles of one table and the polygons of another.

    Parameters
    ----------
    condition
        The node that is replaced.
    circles, shapes
        Key of the `TableSource` and what its rows have.
    test
        What is asked.
    streamed
        By key, how the rows of a table can be given with the numbers of the other one's.
    """

    condition: Expr
    circles: tuple[str, CircleTerms]
    shapes: tuple[str, ShapeColumn]
    test: PairTest
    streamed: Mapping[str, Kept]

    def other(self, key: str) -> str:
        """Return the key of the other table."""
        return self.shapes[0] if key == self.circles[0] else self.circles[0]


# --- finding them --------------------------------------------------------------------------------


def find_pair_joins(checked: CheckedQuery) -> tuple[PairJoin, ...]:
    """Return the joins of a query that can be answered pair by pair.

    Parameters
    ----------
    checked
        The query.
    """
    if len(checked.tables) < 2:
        return ()
    return call_with_deep_stack(lambda: tuple(_joins(checked)))


def _joins(checked: CheckedQuery) -> Iterator[PairJoin]:
    for node in walk(checked.root):
        if not isinstance(node, Select) or node.source is None:
            continue
        own = frozenset(joined_tables(node.source))
        for term in terms_of(node.where):
            yield from _found(term, dict.fromkeys(own, Kept.PAIRS))
            if isinstance(term, Exists):
                yield from _found_existence(term, frozenset(kept_tables(node.source)))
        for relation in relations(node.source):
            if isinstance(relation, Join) and relation.condition is not None:
                for term in terms_of(relation.condition):
                    yield from _found(term, _streamed_in(relation, term))


def _streamed_in(join: Join, term: Expr) -> dict[str, Kept]:
    """Return how the tables of a join can be given, if `term` is one that its ON asks for."""
    left, right = tuple(joined_tables(join.left)), tuple(joined_tables(join.right))
    match join.how:
        case "inner" | "cross":
            return dict.fromkeys(left + right, Kept.PAIRS)
        case "left":
            kept_keys, lost, lost_keys = left, join.right, right
        case "right":
            kept_keys, lost, lost_keys = right, join.left, left
        case _:
            return {}
    found = dict.fromkeys(lost_keys, Kept.PAIRS)
    if join.condition is term and isinstance(lost, TableSource):
        parts = _parts(term)
        if parts is not None and lost.key in (parts[0][0], parts[1][0]):
            found |= dict.fromkeys(kept_keys, Kept.ALL)
    return found


def _found(term: Expr, streamed: Mapping[str, Kept]) -> Iterator[PairJoin]:
    """Yield the join that a condition is, if one of its tables can be given pair by pair."""
    parts = _parts(term)
    if parts is None:
        return
    circles, shapes, test = parts
    possible = {key: streamed[key] for key in (circles[0], shapes[0]) if key in streamed}
    if possible:
        yield PairJoin(term, circles, shapes, test, possible)


def _found_existence(term: Exists, outside: frozenset[str]) -> Iterator[PairJoin]:
    inner = term.query
    if (
        not isinstance(inner.source, TableSource)
        or inner.where is None
        or inner.group_by
        or inner.having is not None
        or inner.top == 0
        or inner.offset
        or any(isinstance(node, tree.Aggregate) for item in inner.items for node in walk(item))
    ):
        return
    parts = _parts(inner.where)
    if parts is None:
        return
    circles, shapes, test = parts
    for key, other in ((circles[0], shapes[0]), (shapes[0], circles[0])):
        if key in outside and other == inner.source.key:
            yield PairJoin(term, circles, shapes, test, {key: Kept.ANY})


def _parts(
    term: Expr,
) -> tuple[tuple[str, CircleTerms], tuple[str, ShapeColumn], PairTest] | None:
    """Return the circles, the polygons and what is asked of them; `None` for another condition."""
    if not isinstance(term, Comparison):
        return None
    for call, operator, other in (
        (term.left, term.operator, term.right),
        (term.right, MIRRORED[term.operator], term.left),
    ):
        if not isinstance(call, Call) or call.name not in ("CONTAINS", "INTERSECTS"):
            continue
        if not predicate_sense(operator, other):
            continue
        for place in (0, 1):
            circles, shapes = _circles(call.args[place]), _shapes(call.args[1 - place])
            if circles is None or shapes is None or circles[0] == shapes[0]:
                continue
            if call.name == "INTERSECTS":
                return circles, shapes, PairTest.MEETS
            if place == 0:
                return circles, shapes, PairTest.HOLDS
            # No polygon lies in a point: that is nothing to be quick about.
            return None if circles[1].radius is None else (circles, shapes, PairTest.WITHIN)
    return None


def _shapes(expr: Expr) -> tuple[str, ShapeColumn] | None:
    if not isinstance(expr, GeometryColumn) or expr.kind != Kind.POLYGON:
        return None
    return expr.reference.source, ShapeColumn(expr.reference.column.name)


def _circles(expr: Expr) -> tuple[str, CircleTerms] | None:
    center, radius = (expr.center, expr.radius) if isinstance(expr, tree.Circle) else (expr, None)
    if not isinstance(center, tree.Point):
        return None
    references = [node for node in walk(expr) if isinstance(node, ColumnRef)]
    sources = {reference.source for reference in references}
    if len(sources) != 1:
        return None
    (source,) = sources
    numbers = [center.lon, center.lat, *([] if radius is None else [radius])]
    if not all(is_number_of(part, source) for part in numbers):
        return None
    names = frozenset(reference.column.name for reference in references)
    return source, CircleTerms(center.lon, center.lat, radius, names)


# --- using them ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class PlannedPair:
    """How the rows of one table are given.

    Parameters
    ----------
    columns, partner, mine, others, test, kept
        As `PairScan` has them.
    restriction
        Where the rows that make pairs lie; nothing is said of those that must be given anyway.
    """

    columns: tuple[Column, ...]
    partner: str
    mine: CircleTerms | ShapeColumn
    others: RowCircles | RowShapes
    test: PairTest
    kept: Kept
    restriction: Restriction

    def scan(self, rows: FileScan | ArrowScan) -> PairScan:
        """Return the scan of the table whose rows are at `rows`."""
        return PairScan(
            rows=rows,
            columns=self.columns,
            partner=self.partner,
            mine=self.mine,
            others=self.others,
            test=self.test,
            kept=self.kept,
        )


@dataclass(frozen=True, slots=True, eq=False)
class PairedQuery:
    """A query in which joins are answered pair by pair.

    Parameters
    ----------
    checked
        The query with equalities of row numbers in the place of the conditions.
    memory_tables
        The tables in memory, those that make pairs with the numbers of their rows.
    pairs
        By `TableSource` key, how the rows of the other tables are given.
    """

    checked: CheckedQuery
    memory_tables: Mapping[str, pa.Table]
    pairs: Mapping[str, PlannedPair]


def paired_query(
    checked: CheckedQuery, joins: tuple[PairJoin, ...], memory_tables: Mapping[str, pa.Table]
) -> PairedQuery | None:
    """Return a query with its joins answered pair by pair, where a side of them is in memory.

    Parameters
    ----------
    checked
        The query.
    joins
        What `find_pair_joins` found in it.
    memory_tables
        By `TableSource` key, tables whose rows are in memory.

    Returns
    -------
    PairedQuery or None
        `None` if there is no such join.
    """
    tables = {source.key: source.table for source in checked.tables}
    counts: dict[str, int] = {}
    for node in walk(checked.root):
        if isinstance(node, TableSource):
            counts[node.key] = counts.get(node.key, 0) + 1
    made = _Made(tables, dict(memory_tables))
    for join in joins:
        for key in (join.shapes[0], join.circles[0]):
            other = join.other(key)
            if (
                key in join.streamed
                and other in memory_tables
                and key not in made.numbered
                and key not in made.streams
                and other not in made.streams
                # A stream can be read once only.
                and counts.get(key) == 1
            ):
                made.add(join, key)
                break
    return made.query(checked) if made.streams else None


class _Made:
    """Collects what becomes of a query."""

    def __init__(self, tables: Mapping[str, TableMeta], memory_tables: dict[str, pa.Table]) -> None:
        self.numbered: dict[str, str] = {}
        self.streams: dict[str, tuple[PairJoin, RowCircles | RowShapes, str]] = {}
        self._tables = tables
        self._memory = memory_tables
        self._replaced: dict[int, Expr] = {}

    def add(self, join: PairJoin, key: str) -> None:
        """Answer a join by giving the rows of the table `key`."""
        other = join.other(key)
        data = self._memory[other]
        columns = {name: data.column(name) for name in data.column_names}
        side = join.shapes[1] if other == join.shapes[0] else join.circles[1]
        others = side.of(columns, data.num_rows)
        partner = _free_name(self._tables[key], "pair")
        if join.streamed[key] is Kept.ANY:
            self._replaced[id(join.condition)] = Comparison(Kind.BOOLEAN, "=", _ONE, _ONE)
        else:
            number = self._numbered(other)
            self._replaced[id(join.condition)] = Comparison(
                Kind.BOOLEAN, "=", _reference(other, number), _reference(key, partner)
            )
        self.streams[key] = (join, others, partner)

    def _numbered(self, key: str) -> str:
        """Give the rows of a table in memory numbers; return the column's name."""
        if key not in self.numbered:
            data = self._memory[key]
            name = _free_name(self._tables[key], "row")
            numbers = pa.array(np.arange(data.num_rows), pa.int64())
            self._memory[key] = data.append_column(name, pa.chunked_array([numbers]))
            self.numbered[key] = name
        return self.numbered[key]

    def query(self, checked: CheckedQuery) -> PairedQuery:
        """Return the query as it is now."""
        root = call_with_deep_stack(lambda: _rebuilt(checked.root, self._replaced))
        used: dict[str, set[str]] = {key: set() for key in self.streams}
        for node in walk(root):
            if isinstance(node, ColumnRef) and node.source in used:
                used[node.source].add(node.column.name)
        names = {key: frozenset(columns) for key, columns in used.items()}
        query = replace(checked, root=root, used_columns={**checked.used_columns, **names})
        pairs = {key: self._planned(key, names[key]) for key in self.streams}
        return PairedQuery(query, self._memory, pairs)

    def _planned(self, key: str, used: frozenset[str]) -> PlannedPair:
        join, others, partner = self.streams[key]
        table, kept = self._tables[key], join.streamed[key]
        mine = join.shapes[1] if key == join.shapes[0] else join.circles[1]
        where = _where(table, mine, others) if kept is not Kept.ALL else Restriction()
        return PlannedPair(
            columns=tuple(column for column in table.columns if column.name in used),
            partner=partner,
            mine=mine,
            others=others,
            test=join.test,
            kept=kept,
            restriction=where,
        )


def _where(
    table: TableMeta, mine: CircleTerms | ShapeColumn, others: RowCircles | RowShapes
) -> Restriction:
    """Return where the rows of a table lie that make a pair."""
    if isinstance(mine, ShapeColumn):
        if not isinstance(others, RowCircles):
            return Restriction()
        size = np.zeros(len(others.rows)) if others.radius_rad is None else others.radius_rad
        size = np.degrees(np.maximum(size, 0.0))
        if (size >= _LARGEST_DEG).any():
            return Restriction()
        return Restriction(footprints=((mine.name, Places(others.centers, size)),))
    radius = 0.0 if mine.radius is None else number(mine.radius)
    if radius is None or isinstance(others, RowCircles) or not _is_position(table, mine):
        return Restriction()
    columns = [table.column(name) for name in (table.ra_column, table.dec_column) if name]
    short = any(c is not None and c.datatype is Datatype.FLOAT for c in columns)
    reach = np.degrees(others.reaches.radius_rad) + max(radius, 0.0) + (_REAL_DEG if short else 0.0)
    return Restriction(regions=(Places(others.reaches.centers, np.minimum(reach, _LARGEST_DEG)),))


def _is_position(table: TableMeta, circles: CircleTerms) -> bool:
    """Tell whether the centres of circles are the main positions of their table."""
    return (
        isinstance(circles.lon, ColumnRef)
        and isinstance(circles.lat, ColumnRef)
        and (circles.lon.column.name, circles.lat.column.name)
        == (table.ra_column, table.dec_column)
    )


def _free_name(table: TableMeta, name: str) -> str:
    """Return a name that no column of a table has, whatever its case."""
    taken = {column.name.lower() for column in table.columns}
    while name in taken:
        name += "_"
    return name


def _reference(key: str, name: str) -> ColumnRef:
    return ColumnRef(Kind.BIGINT, key, Column(name=name, datatype=Datatype.LONG))


def _rebuilt(node: _Tree, replaced: Mapping[int, Expr]) -> _Tree:
    """Return a tree with some nodes, known by identity, in the place of others."""
    changed: dict[str, object] = {}
    for name in field_names(type(node)):
        value = getattr(node, name)
        if isinstance(value, Node):
            new = replaced.get(id(value)) or _rebuilt(value, replaced)
            if new is not value:
                changed[name] = new
        elif isinstance(value, tuple):
            parts = tuple(
                (replaced.get(id(part)) or _rebuilt(part, replaced))
                if isinstance(part, Node)
                else part
                for part in value
            )
            if any(new is not old for new, old in zip(parts, value, strict=True)):
                changed[name] = parts
    return replace(node, **changed) if changed else node
