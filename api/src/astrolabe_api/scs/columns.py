"""The columns of a cone search's answer (Simple Cone Search 1.03, section 2.2).

Exactly one FIELD each has to carry the UCDs ``ID_MAIN`` (a string), ``POS_EQ_RA_MAIN`` and
``POS_EQ_DEC_MAIN`` (doubles).  These are names of the first UCD list; version 1.1 keeps them, and
clients look for them.  All other columns keep the metadata that they have in TAP.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from astrolabe.tables.model import Column, Datatype, Info, ResultHeader, TableMeta, arrow_type
from astrolabe_api.scs.requests import Verbosity

__all__ = ["DEC_UCD", "ID_UCD", "RA_UCD", "SCS_STANDARD_ID", "ConeColumns"]

SCS_STANDARD_ID = "ivo://ivoa.net/std/ConeSearch"

ID_UCD = "ID_MAIN"
RA_UCD = "POS_EQ_RA_MAIN"
DEC_UCD = "POS_EQ_DEC_MAIN"

_OLD_UCDS = frozenset({ID_UCD, RA_UCD, DEC_UCD})
_MAIN_WORDS = frozenset({"meta.id", "pos.eq.ra", "pos.eq.dec"})


class ConeColumns:
    """Which columns of a table are given, and how a query's result becomes the answer.

    A table without a main identifier gets one from the position, so that a row can be named and
    found again.

    Parameters
    ----------
    table
        The table.
    ra, dec
        Raw names of its position columns.
    verbosity
        How many columns are wanted.
    """

    def __init__(self, table: TableMeta, ra: str, dec: str, verbosity: Verbosity) -> None:
        self._table = table
        self._ra = ra
        self._dec = dec
        self._main = {name for name in (table.id_column, ra, dec) if name is not None}
        self.selected = tuple(self._select(verbosity))
        """The columns to ask for, in the table's order."""

    def header(self, header: ResultHeader) -> ResultHeader:
        """Return the header of the answer for that of the query."""
        columns = [self._field(column) for column in self.selected]
        if self._table.id_column is None:
            columns.insert(0, self._made_id())
        infos = [info for info in header.infos if info.name != "standardID"]
        return replace(
            header,
            columns=tuple(columns),
            infos=(Info("standardID", SCS_STANDARD_ID), *infos),
            table_name=self._table.qualified_name,
            description=self._table.description,
        )

    def batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows of the answer for those of the query."""
        arrays, fields = [], []
        for column, array in zip(self.selected, batch.columns, strict=True):
            kind = arrow_type(self._field(column))
            arrays.append(array if array.type == kind else pc.cast(array, kind))
            fields.append(column.name)
        if self._table.id_column is None:
            ra, dec = (arrays[fields.index(name)] for name in (self._ra, self._dec))
            arrays.insert(0, _position_names(ra, dec))
            fields.insert(0, self._made_id().name)
        return pa.RecordBatch.from_arrays(arrays, names=fields)

    def _select(self, verbosity: Verbosity) -> list[Column]:
        columns = self._table.columns
        wanted = [c for c in columns if c.name in self._main]
        if verbosity is Verbosity.MAIN:
            return wanted
        principal = [c for c in columns if c.principal or c.name in self._main]
        # Where nobody said which columns matter, all do.
        if verbosity is Verbosity.ALL or len(principal) == len(wanted):
            return list(columns)
        return principal

    def _field(self, column: Column) -> Column:
        if column.name == self._table.id_column:
            return _as_identifier(column)
        if column.name == self._ra:
            return replace(column, ucd=RA_UCD, datatype=Datatype.DOUBLE)
        if column.name == self._dec:
            return replace(column, ucd=DEC_UCD, datatype=Datatype.DOUBLE)
        return _not_main(column)

    def _made_id(self) -> Column:
        taken = {column.name.lower() for column in self._table.columns}
        names = ("id" if number == 1 else f"id_{number}" for number in count(1))
        return Column(
            name=next(name for name in names if name not in taken),
            datatype=Datatype.CHAR,
            arraysize="*",
            ucd=ID_UCD,
            description="Name of the row, made of its position: the table has no identifier",
        )


def _as_identifier(column: Column) -> Column:
    """Return the main identifier as a string, which the standard wants; digits stay exact."""
    if column.is_string and not column.is_timestamp:
        return replace(column, ucd=ID_UCD, arraysize=column.arraysize or "*")
    return Column(
        name=column.name,
        datatype=Datatype.CHAR,
        arraysize="*",
        ucd=ID_UCD,
        utype=column.utype,
        description=column.description,
        principal=column.principal,
        nullable=column.nullable,
    )


def _not_main(column: Column) -> Column:
    """Return `column` without a claim to be the main identifier or position."""
    words = [word.strip() for word in (column.ucd or "").split(";")]
    folded = {word.lower() for word in words}
    if (column.ucd or "").strip().upper() in _OLD_UCDS:
        return replace(column, ucd=None)
    if "meta.main" in folded and folded & _MAIN_WORDS:
        kept = ";".join(word for word in words if word.lower() != "meta.main")
        return replace(column, ucd=kept or None)
    return column


def _position_names(ra_deg: pa.Array[Any], dec_deg: pa.Array[Any]) -> pa.Array[Any]:
    """Return names such as ``150.1+2.2`` with all digits, so that they tell positions apart."""
    dec = pc.cast(dec_deg, pa.string())
    sign = pc.if_else(pc.starts_with(dec, "-"), "", "+")
    nothing = pa.array([""] * len(dec))
    names: pa.Array[Any] = pc.binary_join_element_wise(
        pc.cast(ra_deg, pa.string()), sign, dec, nothing
    )
    return names
