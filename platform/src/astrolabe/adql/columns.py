"""Describes a query's output columns: names, types, units, UCDs."""

from __future__ import annotations

import re
from dataclasses import replace

from astrolabe.adql.kinds import column_of_kind, kind_of, unit_of
from astrolabe.adql.tree import Aggregate, Call, ColumnRef, Expr, GeometryColumn
from astrolabe.tables.model import Column

__all__ = ["describe_output", "generated_name", "unique_name"]

_UCD_OF_CALL = {"DISTANCE": "pos.angDistance", "AREA": "phys.angArea"}
_STATISTIC = {"MIN": "stat.min", "MAX": "stat.max", "AVG": "stat.mean"}


def generated_name(expr: Expr, number: int) -> str:
    """Return a name for an output column without one: ``max_ra``, ``count_all``, ``col3``."""
    match expr:
        case Aggregate(_, name, None):
            return f"{name.lower()}_all"
        case Aggregate(_, name, ColumnRef(_, _, column)):
            return _regular(f"{name.lower()}_{column.name}")
        case Call(_, name, (ColumnRef(_, _, column), *_)):
            return _regular(f"{name.lower()}_{column.name}")
        case Aggregate(_, name) | Call(_, name):
            return f"{name.lower()}_{number}"
        case _:
            pass
    return f"col{number}"


def _regular(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "_", name)


def unique_name(name: str, taken: set[str]) -> str:
    """Return `name`, or `name` with a number if it is taken; letters match in any case.

    `taken` holds the names so far in lower case and gets the new one.
    """
    result, count = name, 1
    while result.lower() in taken:
        count += 1
        result = f"{name}_{count}"
    taken.add(result.lower())
    return result


def describe_output(expr: Expr, name: str) -> Column:
    """Return the description of an output column of this name that holds `expr`."""
    if isinstance(expr, GeometryColumn):
        expr = expr.reference
    if isinstance(expr, ColumnRef):
        if kind_of(expr.column) != expr.kind:
            return column_of_kind(name, expr.kind)
        # An outer join may make nulls of a column that has none.
        return replace(expr.column, name=name, nullable=True)
    bare = replace(column_of_kind(name, expr.kind), unit=_unit(expr))
    if isinstance(expr, Aggregate):
        return _describe_aggregate(expr, bare)
    if isinstance(expr, Call) and expr.name in _UCD_OF_CALL:
        return replace(bare, ucd=_UCD_OF_CALL[expr.name])
    return bare


def _unit(expr: Expr) -> str | None:
    return unit_of(expr) or column_of_kind("x", expr.kind).unit


def _describe_aggregate(expr: Aggregate, bare: Column) -> Column:
    if expr.name == "COUNT":
        return replace(bare, ucd="meta.number", nullable=False)
    operand = expr.operand
    if not isinstance(operand, ColumnRef) or expr.name not in _STATISTIC:
        return bare
    ucd = _with_statistic(operand.column.ucd, _STATISTIC[expr.name])
    if expr.name == "AVG":
        return replace(bare, ucd=ucd)
    return replace(
        operand.column.renamed(bare.name),
        ucd=ucd,
        utype=None,
        principal=False,
        indexed=False,
        std=False,
        nullable=True,
    )


def _with_statistic(ucd: str | None, word: str) -> str | None:
    """Add a word for a statistic; UCD1+ allows ``stat.*`` of this kind only after the first."""
    if ucd is None:
        return None
    return ";".join([part for part in ucd.split(";") if part != "meta.main"] + [word])
