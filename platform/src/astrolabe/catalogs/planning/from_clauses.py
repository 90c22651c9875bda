"""What stands in a FROM clause, and what a condition is made of."""

from __future__ import annotations

from collections.abc import Iterator

from astrolabe.adql.tree import And, Expr, Join, Relation, TableSource

__all__ = ["joined_tables", "kept_tables", "relations", "terms_of"]


def relations(source: Relation) -> Iterator[Relation]:
    """Yield a FROM clause and what is joined in it, without looking into subqueries."""
    yield source
    if isinstance(source, Join):
        yield from relations(source.left)
        yield from relations(source.right)


def joined_tables(source: Relation) -> Iterator[str]:
    """Yield the keys of the tables that are joined, without those of subqueries."""
    for node in relations(source):
        if isinstance(node, TableSource):
            yield node.key


def kept_tables(source: Relation) -> Iterator[str]:
    """Yield the keys of the tables of which no row of nulls can stand in."""
    if isinstance(source, TableSource):
        yield source.key
    elif isinstance(source, Join):
        if source.how in ("inner", "cross", "left"):
            yield from kept_tables(source.left)
        if source.how in ("inner", "cross", "right"):
            yield from kept_tables(source.right)


def terms_of(condition: Expr | None) -> Iterator[Expr]:
    """Yield the conditions that must all hold for one to hold; none for `None`."""
    if isinstance(condition, And):
        for term in condition.terms:
            yield from terms_of(term)
    elif condition is not None:
        yield condition
