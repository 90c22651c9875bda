"""Checks FROM: finds tables, gives them keys, rewrites USING and NATURAL to conditions."""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from astrolabe.adql.check_context import CheckContext, identifier_of
from astrolabe.adql.check_expressions import ExpressionChecker, QueryChecker
from astrolabe.adql.kinds import GEOMETRIES, NUMBERS, describe
from astrolabe.adql.names import Identifier, nearest
from astrolabe.adql.scope import Exposed, Scope, Source, Visible, same_name
from astrolabe.adql.tree import (
    And,
    Call,
    ColumnRef,
    Comparison,
    Expr,
    Join,
    Kind,
    Relation,
    SubquerySource,
    TableSource,
)
from astrolabe.core.errors import AdqlSyntaxError, UnknownColumnError, UnknownTableError
from astrolabe.tables.model import TableMeta, quote_name

__all__ = ["FromChecker"]

_SIDES = {"": "inner", "LEFT": "left", "RIGHT": "right", "FULL": "full"}


@dataclass(slots=True)
class _Joined:
    """A part of FROM: its relation, its sources and what is visible of it."""

    relation: Relation
    sources: list[Source]
    visible: Visible


def _alone(relation: Relation, source: Source) -> _Joined:
    return _Joined(relation, [source], Visible(sources=[(source, frozenset())]))


class FromChecker:
    """Checks the FROM clause of one SELECT.

    Parameters
    ----------
    context
        Of the whole query.
    check_query
        Checks a subquery.
    """

    def __init__(self, context: CheckContext, check_query: QueryChecker) -> None:
        self._context = context
        self._check_query = check_query

    def check(self, node: exp.Expr, scope: Scope) -> Relation:
        """Check the FROM clause of the SELECT `node` and fill `scope` with its sources."""
        from_node = node.args["from_"]
        self._context.only_args(from_node, "this")
        joined = self._reference(from_node.this, scope.parent)
        for comma in node.args.get("joins") or ():
            self._context.only_args(comma, "this")
            right = self._reference(comma.this, scope.parent)
            joined = self._together(joined, right, comma.this)
            joined.relation = Join("cross", joined.relation, right.relation, None)
        scope.sources.extend(joined.sources)
        scope.visible = joined.visible
        return joined.relation

    def _together(self, left: _Joined, right: _Joined, node: exp.Expr) -> _Joined:
        for source in () if self._context.syntax_only else right.sources:
            for other in left.sources:
                if len(source.names) == len(other.names) and all(
                    same_name(a, b) for a, b in zip(source.names, other.names, strict=True)
                ):
                    raise AdqlSyntaxError(
                        f"Two tables are called {source.shown} here; give one of them an alias",
                        position=self._context.where(node),
                    )
        return _Joined(
            left.relation, left.sources + right.sources, left.visible.joined(right.visible)
        )

    def _reference(self, node: exp.Expr, parent: Scope | None) -> _Joined:
        joined = self._primary(node, parent)
        for join in node.args.get("joins") or ():
            joined = self._join(joined, join, parent)
        return joined

    def _primary(self, node: exp.Expr, parent: Scope | None) -> _Joined:
        if isinstance(node, exp.Table):
            return self._table(node)
        if not isinstance(node, exp.Subquery):
            self._context.unsupported(f"{type(node).__name__} may not stand in FROM", node)
        self._context.only_args(node, "this", "alias", "joins")
        if not isinstance(node.this, exp.Select):
            self._context.climb(1, node)
            inner = self._reference(node.this, parent)
            self._context.height -= 1
            return inner
        # A subquery in FROM does not see its neighbours, only the SELECTs around.
        query = self._check_query(node.this, parent, False)
        key = self._context.next_key()
        alias = identifier_of(node.args["alias"].this)
        source = Source(key, (alias,), tuple(item.column for item in query.items))
        return _alone(SubquerySource(key, query), source)

    # --- tables ----------------------------------------------------------------------------------

    def _table(self, node: exp.Table) -> _Joined:
        context = self._context
        context.only_args(node, "this", "db", "catalog", "alias", "joins")
        table = identifier_of(node.this)
        schema = identifier_of(node.args["db"]) if node.args.get("db") else None
        meta = self._find(node, schema, table)
        key = context.next_key()
        source_node = TableSource(key, meta)
        context.tables.append(source_node)
        context.used[key] = set()
        names: tuple[Identifier, ...]
        if node.args.get("alias"):
            names = (identifier_of(node.args["alias"].this),)
        else:
            names = (Identifier(meta.name, table.quoted), Identifier(meta.schema))
        return _alone(source_node, Source(key, names, meta.columns))

    def _find(self, node: exp.Table, schema: Identifier | None, table: Identifier) -> TableMeta:
        lookup = self._context.lookup
        if lookup is None:
            return TableMeta(schema=schema.name if schema else "", name=table.name, columns=())
        found = None
        if not node.args.get("catalog"):
            found = lookup.find_table(schema, table)
            default = self._context.default_schema
            if found is None and schema is None and default is not None:
                found = lookup.find_table(Identifier(default, quoted=True), table)
        if found is not None:
            return found
        parts = [node.args.get("catalog"), node.args.get("db"), node.this]
        text = ".".join(quote_name(str(part.this)) for part in parts if part)
        known = lookup.table_names()
        near = nearest(text, known)
        if not near:
            by_last = {name.rpartition(".")[2]: name for name in known}
            near = tuple(by_last[last] for last in nearest(table.name, by_last))
        raise UnknownTableError(
            f"There is no table {text}", position=self._context.where(node), suggestions=near
        )

    # --- joins -----------------------------------------------------------------------------------

    def _join(self, left: _Joined, node: exp.Join, parent: Scope | None) -> _Joined:
        context = self._context
        context.only_args(node, "this", "side", "method", "on", "using")
        context.only_args(node.this, "this", "db", "catalog", "alias")
        right = self._primary(node.this, parent)
        joined = self._together(left, right, node)
        how = _SIDES[str(node.args.get("side") or "")]
        condition: Expr | None = None
        conditions = [node.args.get(part) for part in ("on", "using", "method")]
        if not any(conditions):
            # ADQL's grammar leaves the condition optional: all pairs, as with a comma.
            joined.relation = Join("cross", left.relation, right.relation, None)
            return joined
        if node.args.get("on"):
            scope = Scope(joined.sources, joined.visible, parent)
            checker = ExpressionChecker(context, scope, self._check_query)
            condition = checker.condition(node.args["on"], aggregates="in ON")
        elif context.syntax_only:
            how = "cross"
        else:
            if node.args.get("using"):
                names = [identifier_of(part) for part in node.args["using"]]
            else:
                names = self._common(left, right, node)
            condition = self._merge(joined, left, right, names, how, node)
        joined.relation = Join(how, left.relation, right.relation, condition)  # type: ignore[arg-type]  # one of five by table
        return joined

    def _common(self, left: _Joined, right: _Joined, node: exp.Join) -> list[Identifier]:
        """Return the names of the columns that both sides of a NATURAL join have."""
        on_right = {name.lower() for name in right.visible.names()}
        names = [Identifier(name) for name in left.visible.names() if name.lower() in on_right]
        if not names:
            raise UnknownColumnError(
                "The tables of this NATURAL JOIN have no column name in common; write ON",
                position=self._context.where(node),
            )
        return names

    def _merge(
        self,
        joined: _Joined,
        left: _Joined,
        right: _Joined,
        names: list[Identifier],
        how: str,
        node: exp.Join,
    ) -> Expr:
        """Make one column of each pair; returns the join's condition."""
        terms: list[Expr] = []
        merged: list[Exposed] = []
        for name in names:
            one, two = self._one(left, name, node), self._one(right, name, node)
            self._check_pair(one, two, node)
            terms.append(Comparison(Kind.BOOLEAN, "=", one.expr, two.expr))
            kept = two if how == "right" else one
            expr = kept.expr
            if how == "full":
                expr = Call(one.expr.kind, "COALESCE", (one.expr, two.expr))
            merged.append(Exposed(kept.name, expr, kept.column, kept.owner))
            for side in (one, two):
                if isinstance(side.expr, ColumnRef):
                    self._context.note_use(side.expr)
        joined.visible = joined.visible.with_merged(merged)
        return terms[0] if len(terms) == 1 else And(Kind.BOOLEAN, tuple(terms))

    def _one(self, side: _Joined, name: Identifier, node: exp.Join) -> Exposed:
        found = side.visible.find(name)
        if len(found) == 1:
            return found[0]
        if found:
            owners = " and ".join(exposed.owner for exposed in found)
            raise UnknownColumnError(
                f"The join column {name.name} is ambiguous: {owners} have it; write ON",
                position=self._context.where(node),
            )
        raise UnknownColumnError(
            f"The join column {name.name} is not in both tables",
            position=self._context.where(node),
            suggestions=nearest(name.name, side.visible.names()),
        )

    def _check_pair(self, one: Exposed, two: Exposed, node: exp.Join) -> None:
        kinds = {one.expr.kind, two.expr.kind}
        if kinds & GEOMETRIES or Kind.ARRAY in kinds or not (len(kinds) == 1 or kinds <= NUMBERS):
            self._context.type_error(
                f"The join column {one.name} is {describe(one.expr.kind)} on one side and"
                f" {describe(two.expr.kind)} on the other",
                node,
            )
