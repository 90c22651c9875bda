"""The one model of column and table metadata.

It feeds TAP_SCHEMA, ``/tables``, the headers of results and the files' own metadata, so that all
four always agree.  Datatypes are VOTable's (VOTable 1.5, section 2.1).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from enum import StrEnum

import pyarrow as pa

from astrolabe.tables.reserved import ADQL_RESERVED_WORDS

__all__ = [
    "HEALPIX_COLUMN",
    "Column",
    "CoordinateSystem",
    "Datatype",
    "ForeignKey",
    "IdentifierColumn",
    "Info",
    "ResultHeader",
    "SchemaMeta",
    "ServiceDescriptor",
    "ServiceParam",
    "TableMeta",
    "arrow_type",
    "quote_name",
    "storage_type",
]

HEALPIX_COLUMN = "_healpix_29"
"""The position column of every stored table: HEALPix index, order 29, NESTED, ICRS (int64)."""

_REGULAR_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")


class Datatype(StrEnum):
    """VOTable primitive datatypes (VOTable 1.5, table 1)."""

    BOOLEAN = "boolean"
    BIT = "bit"
    UNSIGNED_BYTE = "unsignedByte"
    SHORT = "short"
    INT = "int"
    LONG = "long"
    CHAR = "char"
    UNICODE_CHAR = "unicodeChar"
    FLOAT = "float"
    DOUBLE = "double"
    FLOAT_COMPLEX = "floatComplex"
    DOUBLE_COMPLEX = "doubleComplex"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column and all that is known of it.

    Parameters
    ----------
    name
        The name as stored, never with quotes.
    datatype
        VOTable datatype of the elements.
    arraysize
        VOTable arraysize (``*``, ``3``, ``10*``, ``2x3``), `None` for a scalar.  Strings have one
        (``*`` or a length); a string of arraysize `None` is one character.
    unit, ucd, utype, xtype, description
        As in VOTable; empty text is not allowed, use `None`.
    principal, indexed, std
        The flags of TAP_SCHEMA.columns.
    nullable
        Whether the column may hold nulls (for floats NaN counts as null at output).
    precision
        VOTable's display precision (``F3``, ``E6``), if the source declares one.
    """

    name: str
    datatype: Datatype
    arraysize: str | None = None
    unit: str | None = None
    ucd: str | None = None
    utype: str | None = None
    xtype: str | None = None
    description: str | None = None
    principal: bool = False
    indexed: bool = False
    std: bool = False
    nullable: bool = True
    precision: str | None = None

    @property
    def is_string(self) -> bool:
        """Whether the column holds character strings (timestamps included)."""
        return self.datatype in (Datatype.CHAR, Datatype.UNICODE_CHAR)

    @property
    def is_timestamp(self) -> bool:
        """Whether the column holds DALI timestamps; in Arrow these are ``timestamp[us]``."""
        return self.is_string and self.xtype in ("timestamp", "adql:TIMESTAMP")

    @property
    def is_array(self) -> bool:
        """Whether a cell holds an array of numbers, booleans or bits."""
        return self.arraysize is not None and not self.is_string

    def renamed(self, name: str) -> Column:
        """Return the same column under another name."""
        return replace(self, name=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class CoordinateSystem:
    """What a VOTable COOSYS says (VOTable 1.5, section 3.1).

    Parameters
    ----------
    system
        ``ICRS`` for everything that Astrolabe stores.
    epoch
        Epoch of the positions in Julian years (2016.0), if known.
    ref_position
        From the refposition vocabulary, if known.
    """

    system: str = "ICRS"
    epoch: float | None = None
    ref_position: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKey:
    """A key from one table to another (TAP_SCHEMA.keys and key_columns).

    `from_table` and `target_table` are qualified raw names, ``schema.table``; `columns` are
    (from, target) pairs of raw column names.
    """

    key_id: str
    from_table: str
    target_table: str
    columns: tuple[tuple[str, str], ...]
    description: str | None = None
    utype: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TableMeta:
    """One table and its columns.

    Parameters
    ----------
    schema, name
        Raw names, never quoted.
    columns
        In display order; `HEALPIX_COLUMN` is never among them.
    coordinate_system
        Frame and epoch of the position columns, `None` for a table without positions.
    ra_column, dec_column
        Raw names of the main ICRS position columns (degrees), `None` without positions.
    id_column
        Raw name of the main identifier, if there is one.
    row_count
        Number of rows, `None` if unknown.
    """

    schema: str
    name: str
    columns: tuple[Column, ...]
    description: str | None = None
    utype: str | None = None
    table_type: str = "table"
    keys: tuple[ForeignKey, ...] = ()
    coordinate_system: CoordinateSystem | None = None
    ra_column: str | None = None
    dec_column: str | None = None
    id_column: str | None = None
    row_count: int | None = None
    table_index: int | None = None

    @property
    def qualified_name(self) -> str:
        """``schema.table``, raw."""
        return f"{self.schema}.{self.name}"

    @property
    def adql_name(self) -> str:
        """``schema.table`` with quotes where ADQL needs them."""
        return f"{quote_name(self.schema)}.{quote_name(self.name)}"

    def column(self, name: str) -> Column | None:
        """Return the column of exactly this raw name, `None` if there is none."""
        return next((c for c in self.columns if c.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaMeta:
    """One schema and its tables, in display order."""

    name: str
    tables: tuple[TableMeta, ...] = ()
    description: str | None = None
    utype: str | None = None
    schema_index: int | None = None


@dataclass(frozen=True, slots=True)
class Info:
    """A VOTable INFO: name, value and the text inside."""

    name: str
    value: str
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentifierColumn:
    """A column of a result whose values name rows of a table: services can be asked of them.

    Parameters
    ----------
    column
        Name of the result's column.
    table
        Qualified raw name of the table whose rows it names.
    light_curves
        Qualified ADQL names of the tables with the light curves of these rows.
    """

    column: str
    table: str
    light_curves: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceParam:
    """One input of a service (DataLink 1.1, section 4.3).

    Parameters
    ----------
    name, datatype, arraysize, unit, ucd, utype, xtype, description
        As of a column; `arraysize` is `None` for a single number.
    value
        What is sent always; empty where it comes from a column or from the user.
    column
        Name of the column of the same document that the value comes from.
    minimum, maximum
        Bounds of what makes sense, as text in the form of the datatype.
    options
        All values that make sense.
    """

    name: str
    datatype: Datatype = Datatype.CHAR
    arraysize: str | None = "*"
    unit: str | None = None
    ucd: str | None = None
    utype: str | None = None
    xtype: str | None = None
    description: str | None = None
    value: str = ""
    column: str | None = None
    minimum: str | None = None
    maximum: str | None = None
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceDescriptor:
    """A service that a document offers for its rows (DataLink 1.1, section 4).

    Parameters
    ----------
    name
        A short name for people.
    access_url
        Where it is.
    params
        Its inputs.
    service_id
        XML ID by which rows refer to it, if they do.
    standard_id
        The IVOA standard that it follows, if any.
    content_type
        Media type of its answers.
    description
        What it is good for.
    is_self
        Whether it is the service that this document comes from.
    """

    name: str
    access_url: str
    params: tuple[ServiceParam, ...]
    service_id: str | None = None
    standard_id: str | None = None
    content_type: str | None = None
    description: str | None = None
    is_self: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultHeader:
    """All that a writer needs before the first row.

    Parameters
    ----------
    columns
        The result's columns; names are unique.
    infos
        Written before the table, after ``QUERY_STATUS``.
    coordinate_system
        If given, positions among `columns` refer to it.
    table_name
        Name of the TABLE element.
    description
        Description of the TABLE element.
    identifiers
        The columns that name rows of tables.
    services
        What can be done with the rows; written into VOTables.  Their addresses depend on where the
        platform is, so that they are given when a result is written and not kept with it.
    """

    columns: tuple[Column, ...]
    infos: tuple[Info, ...] = ()
    coordinate_system: CoordinateSystem | None = None
    table_name: str = "result"
    description: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    identifiers: tuple[IdentifierColumn, ...] = ()
    services: tuple[ServiceDescriptor, ...] = ()


def quote_name(name: str) -> str:
    """Return `name` as it must be written in ADQL: in double quotes where it needs them.

    Examples
    --------
    >>> quote_name("ra"), quote_name("size"), quote_name("_RAJ2000")
    ('ra', '"size"', '"_RAJ2000"')
    """
    if _REGULAR_IDENTIFIER.match(name) and name.upper() not in ADQL_RESERVED_WORDS:
        return name
    return '"' + name.replace('"', '""') + '"'


_SCALAR_ARROW: dict[Datatype, pa.DataType] = {
    Datatype.BOOLEAN: pa.bool_(),
    Datatype.BIT: pa.bool_(),
    Datatype.UNSIGNED_BYTE: pa.uint8(),
    Datatype.SHORT: pa.int16(),
    Datatype.INT: pa.int32(),
    Datatype.LONG: pa.int64(),
    Datatype.FLOAT: pa.float32(),
    Datatype.DOUBLE: pa.float64(),
    Datatype.FLOAT_COMPLEX: pa.list_(pa.float32(), 2),
    Datatype.DOUBLE_COMPLEX: pa.list_(pa.float64(), 2),
}


def arrow_type(column: Column) -> pa.DataType:
    """Return the Arrow type in which a result holds `column`.

    Strings are ``string``, timestamps ``timestamp[us]`` (UTC by convention, without zone), arrays
    of one fixed size ``list<T>[n]`` (all dimensions flattened, first index fastest), other arrays
    ``list<T>``.
    """
    if column.is_timestamp:
        return pa.timestamp("us")
    if column.is_string:
        return pa.string()
    scalar = _SCALAR_ARROW[column.datatype]
    if column.arraysize is None:
        return scalar
    length = _fixed_length(column.arraysize)
    return pa.list_(scalar) if length is None else pa.list_(scalar, length)


def storage_type(column: Column) -> pa.DataType:
    """Return the Arrow type in which a Parquet file holds `column`: what Iceberg can describe.

    8- and 16-bit integers become int32 and fixed arrays become lists; the declared type in the
    metadata brings them back (see :func:`arrow_type`).
    """

    def widen(kind: pa.DataType) -> pa.DataType:
        if pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind):
            return pa.list_(widen(kind.value_type))
        return pa.int32() if kind in (pa.uint8(), pa.int16()) else kind

    return widen(arrow_type(column))


def _fixed_length(arraysize: str) -> int | None:
    if "*" in arraysize:
        return None
    length = 1
    for part in arraysize.split("x"):
        length *= int(part)
    return length
