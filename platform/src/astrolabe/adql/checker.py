"""Checks a query against the schema and builds its typed tree."""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from astrolabe.adql.check_context import CheckContext, identifier_of
from astrolabe.adql.check_expressions import ExpressionChecker
from astrolabe.adql.check_from import FromChecker
from astrolabe.adql.columns import describe_output, generated_name, unique_name
from astrolabe.adql.grouping import check_grouping
from astrolabe.adql.kinds import GEOMETRIES, describe
from astrolabe.adql.names import Identifier, SchemaLookup
from astrolabe.adql.scope import Exposed, Scope, same_name
from astrolabe.adql.tree import (
    CheckedQuery,
    ColumnRef,
    Expr,
    GeometryColumn,
    Kind,
    Literal,
    OrderItem,
    Select,
    SelectItem,
)
from astrolabe.core.errors import AdqlSyntaxError, UnknownTableError

__all__ = ["check_tree"]

_SELECT_ARGS = (
    "distinct",
    "limit",
    "expressions",
    "from_",
    "joins",
    "where",
    "group",
    "having",
    "order",
    "offset",
)


def check_tree(
    tree: exp.Select, text: str, lookup: SchemaLookup | None, default_schema: str | None
) -> CheckedQuery:
    """Check a parsed query.

    Parameters
    ----------
    tree
        From the parser.
    text
        Of the query.
    lookup
        The catalog; `None` checks what can be checked without one.
    default_schema
        Where unqualified tables are looked for too.
    """
    context = CheckContext(text, lookup, default_schema)
    root = _QueryChecker(context).query(tree, None, existence=False)
    return CheckedQuery(
        text=text,
        root=root,
        columns=tuple(item.column for item in root.items),
        tables=tuple(context.tables),
        used_columns={key: frozenset(names) for key, names in context.used.items()},
    )


@dataclass(slots=True)
class _Item:
    """An output column with the name by which ORDER BY and GROUP BY find it."""

    item: SelectItem
    shown: Identifier


class _QueryChecker:
    def __init__(self, context: CheckContext) -> None:
        self._context = context

    def query(self, node: exp.Expr, parent: Scope | None, *, existence: bool) -> Select:
        """Check one SELECT; `existence` says that only whether it has rows matters."""
        context = self._context
        context.only_args(node, *_SELECT_ARGS)
        scope = Scope(parent=parent)
        expressions = ExpressionChecker(context, scope, self._subquery)
        source = FromChecker(context, self._subquery).check(node, scope)
        where_node = node.args.get("where")
        where = None
        if where_node is not None:
            where = expressions.condition(where_node.this, aggregates="in WHERE")
        items = self._items(node, scope, expressions, existence=existence)
        group_by = self._group_by(node, items, expressions, scope)
        having_node = node.args.get("having")
        having = expressions.condition(having_node.this) if having_node is not None else None
        distinct = node.args.get("distinct") is not None
        order_by = self._order_by(node, items, expressions, distinct=distinct)
        select = Select(
            items=tuple(entry.item for entry in items),
            source=source,
            where=where,
            group_by=group_by,
            having=having,
            order_by=order_by,
            distinct=distinct,
            top=_count(node.args.get("limit")),
            offset=_count(node.args.get("offset")),
        )
        if not context.syntax_only:
            check_grouping(context, select, node, scope.keys())
        return select

    def _subquery(self, node: exp.Expr, parent: Scope | None, existence: bool) -> Select:  # noqa: FBT001 - a callback's fixed form
        self._context.climb(1, node)
        result = self.query(node, parent, existence=existence)
        self._context.height -= 1
        return result

    # --- the SELECT list -------------------------------------------------------------------------

    def _items(
        self, node: exp.Expr, scope: Scope, expressions: ExpressionChecker, *, existence: bool
    ) -> list[_Item]:
        items: list[_Item] = []
        taken: set[str] = set()
        for number, item_node in enumerate(node.expressions, start=1):
            if isinstance(item_node, exp.Star) or (
                isinstance(item_node, exp.Column) and isinstance(item_node.this, exp.Star)
            ):
                shown = self._starred(item_node, scope)
                if existence or not shown:
                    # Whether rows exist does not depend on their columns: none need be read.
                    expr = Literal(Kind.INTEGER, 1)
                    name = unique_name(f"col{number}", taken)
                    items.append(
                        _Item(SelectItem(expr, describe_output(expr, name)), Identifier(name))
                    )
                for exposed in () if existence else shown:
                    expressions.note_uses(exposed.expr)
                    name = unique_name(exposed.name, taken)
                    items.append(
                        _Item(
                            SelectItem(exposed.expr, exposed.column.renamed(name)),
                            Identifier(exposed.name, quoted=True),
                        )
                    )
                continue
            items.append(self._item(item_node, number, taken, expressions))
        return items

    def _item(
        self, node: exp.Expr, number: int, taken: set[str], expressions: ExpressionChecker
    ) -> _Item:
        alias: Identifier | None = None
        value_node = node
        if isinstance(node, exp.Alias):
            self._context.only_args(node, "this", "alias")
            alias = identifier_of(node.args["alias"])
            value_node = node.this
        expr = expressions.value(value_node)
        if alias is not None:
            name = alias.name
        elif isinstance(value_node, exp.Column):
            name = _column_name(value_node, expr)
        else:
            name = generated_name(expr, number)
        column = describe_output(expr, unique_name(name, taken))
        return _Item(SelectItem(expr, column), alias or Identifier(name))

    def _starred(self, node: exp.Expr, scope: Scope) -> list[Exposed]:
        if isinstance(node, exp.Star):
            self._context.only_args(node)
            return list(scope.visible)
        self._context.only_args(node, "this", "table", "db", "catalog")
        qualifiers = tuple(
            identifier_of(node.args[part])
            for part in ("table", "db", "catalog")
            if node.args.get(part)
        )
        found = [source for source in scope.sources if source.is_called(qualifiers)]
        text = ".".join(q.name for q in reversed(qualifiers))
        if self._context.syntax_only:
            return []
        if not found:
            names = ", ".join(source.shown for source in scope.sources)
            raise UnknownTableError(
                f"No table of this query is called {text}; it reads {names}",
                position=self._context.where(node),
            )
        if len(found) > 1:
            raise UnknownTableError(
                f"The name {text} is ambiguous; write the schema before it, or give aliases",
                position=self._context.where(node),
            )
        return [found[0].expose(column) for column in found[0].columns]

    # --- the clauses after it --------------------------------------------------------------------

    def _group_by(
        self,
        node: exp.Expr,
        items: list[_Item],
        expressions: ExpressionChecker,
        scope: Scope,
    ) -> tuple[Expr, ...]:
        group = node.args.get("group")
        if group is None:
            return ()
        self._context.only_args(group, "expressions")
        result = []
        for term in group.expressions:
            expr = self._group_term(term, items, expressions, scope)
            if expr.kind in GEOMETRIES or expr.kind == Kind.ARRAY:
                self._context.type_error(f"Rows cannot be grouped by {describe(expr.kind)}", term)
            result.append(expr)
        return tuple(result)

    def _group_term(
        self,
        term: exp.Expr,
        items: list[_Item],
        expressions: ExpressionChecker,
        scope: Scope,
    ) -> Expr:
        if isinstance(term, exp.Literal):
            raise AdqlSyntaxError(
                "GROUP BY names columns; a constant groups nothing",
                position=self._context.where(term),
            )
        named = _output(term, items)
        if named is not None and not scope.has(identifier_of(term.this)):
            return items[named].item.expr
        return expressions.value(term, aggregates="in GROUP BY")

    def _order_by(
        self,
        node: exp.Expr,
        items: list[_Item],
        expressions: ExpressionChecker,
        *,
        distinct: bool,
    ) -> tuple[OrderItem, ...]:
        order = node.args.get("order")
        if order is None:
            return ()
        self._context.only_args(order, "expressions")
        result = []
        for term in order.expressions:
            self._context.only_args(term, "this", "desc")
            expr = self._order_term(term.this, items, expressions)
            if expr.kind in GEOMETRIES or expr.kind == Kind.ARRAY:
                self._context.type_error(f"There is no order for {describe(expr.kind)}", term.this)
            if distinct and all(expr != entry.item.expr for entry in items):
                raise AdqlSyntaxError(
                    "With SELECT DISTINCT, ORDER BY may only name output columns",
                    position=self._context.where(term.this),
                )
            result.append(OrderItem(expr, bool(term.args.get("desc"))))
        return tuple(result)

    def _order_term(
        self, term: exp.Expr, items: list[_Item], expressions: ExpressionChecker
    ) -> Expr:
        if isinstance(term, exp.Literal) and not term.args.get("is_string"):
            text = str(term.this)
            if self._context.syntax_only:
                return expressions.value(term)
            if not text.isdigit() or not 1 <= int(text) <= len(items):
                raise AdqlSyntaxError(
                    f"ORDER BY {text}: output columns are numbered 1 to {len(items)}",
                    position=self._context.where(term),
                )
            return items[int(text) - 1].item.expr
        named = _output(term, items)
        if named is not None:
            return items[named].item.expr
        return expressions.value(term)


def _count(node: exp.Expr | None) -> int | None:
    """Return the number behind TOP or OFFSET."""
    return None if node is None else int(str(node.expression.this))


def _column_name(node: exp.Expr, expr: Expr) -> str:
    """Return the name of an output column that is a plain column: the stored name's case."""
    if isinstance(expr, GeometryColumn):
        expr = expr.reference
    return expr.column.name if isinstance(expr, ColumnRef) else str(node.this.this)


def _output(term: exp.Expr, items: list[_Item]) -> int | None:
    """Return which output column `term` names, `None` if it is no name of just one."""
    if not isinstance(term, exp.Column) or term.args.get("table"):
        return None
    name = identifier_of(term.this)
    found = [i for i, entry in enumerate(items) if same_name(name, entry.shown)]
    if not found or any(items[i].item.expr != items[found[0]].item.expr for i in found):
        return None
    return found[0]
