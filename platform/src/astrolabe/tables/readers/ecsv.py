"""The reader of ECSV (Enhanced CSV 1.0)."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from astrolabe.tables.arrow import AnyArray, AnyType
from astrolabe.tables.arrow import compute as pc
from astrolabe.tables.model import Column, CoordinateSystem, Datatype, arrow_type
from astrolabe.tables.readers.base import Refusal, batch_of, first_line, sliced, unique_names
from astrolabe.tables.readers.decode import timestamps
from astrolabe.tables.readers.delimited import TextLayout, read_start, string_batches
from astrolabe.tables.readers.yaml_meta import (
    described_columns,
    load_description,
    mapping_of,
    text_of,
)
from astrolabe.tables.source import SourceMeta

__all__ = ["EcsvSource"]

_DATATYPES: dict[str, tuple[Datatype, AnyType]] = {
    "bool": (Datatype.BOOLEAN, pa.bool_()),
    "int8": (Datatype.SHORT, pa.int16()),
    "uint8": (Datatype.UNSIGNED_BYTE, pa.uint8()),
    "int16": (Datatype.SHORT, pa.int16()),
    "uint16": (Datatype.INT, pa.int32()),
    "int32": (Datatype.INT, pa.int32()),
    "uint32": (Datatype.LONG, pa.int64()),
    "int64": (Datatype.LONG, pa.int64()),
    "uint64": (Datatype.LONG, pa.int64()),
    "float16": (Datatype.FLOAT, pa.float32()),
    "float32": (Datatype.FLOAT, pa.float32()),
    "float64": (Datatype.DOUBLE, pa.float64()),
    "float128": (Datatype.DOUBLE, pa.float64()),
    "string": (Datatype.CHAR, pa.string()),
}
_SUBTYPE = re.compile(r"([a-z]+\d*)\[((?:\d+|null)(?:\s*,\s*(?:\d+|null))*)\]\Z")
_TIMESTAMPS = ("timestamp", "adql:TIMESTAMP")


@dataclass(frozen=True, slots=True)
class _Field:
    column: Column
    kind: AnyType
    array: bool


class EcsvSource:
    """A table with types, units and descriptions in a YAML header.

    UCDs are taken from a column's ``meta`` (``ucd``), as are ``utype`` and ``xtype``.

    Parameters
    ----------
    path
        Of the file, which may be compressed with gzip.
    refuse
        Makes the error that tells what is wrong with it.

    Raises
    ------
    AstrolabeError
        Raised as `refuse` makes it if the header is broken or a type is not known.
    """

    def __init__(self, path: Path, refuse: Refusal) -> None:
        self._path = path
        self._refuse = refuse
        lines = read_start(path, refuse)
        header = []
        for line in lines:
            if not line.startswith("#"):
                break
            header.append(line[2:] if line.startswith("# ") else line[1:])
        document = _document(header, refuse)
        self._notes: list[str] = []
        fields = [self._field(entry) for entry in _entries(document, refuse)]
        unique_names([f.column.name for f in fields if f is not None], refuse)
        self._layout, order = _layout(
            lines, len(header), document, [f.column.name for f in fields if f], refuse
        )
        by_name = {f.column.name: f for f in fields if f is not None}
        self._fields = [by_name[name] for name in order if name in by_name]
        self._places = [i for i, name in enumerate(order) if name in by_name]
        if not self._fields:
            raise refuse("has no column that a table can hold")
        meta = mapping_of(document.get("meta"))
        self._meta = SourceMeta(
            columns=tuple(field.column for field in self._fields),
            name=text_of(meta.get("name")),
            description=text_of(meta.get("description")),
            coordinate_system=_system(meta),
            notes=tuple(self._notes),
        )

    @property
    def meta(self) -> SourceMeta:
        """The declared columns and table metadata."""
        return self._meta

    def batches(self, *, max_rows: int = 65_536) -> Iterator[pa.RecordBatch]:
        """Yield the rows in order."""
        for batch in string_batches(self._path, self._layout, self._places, self._refuse):
            for rows in sliced(batch, max_rows):
                arrays = []
                for field, cells in zip(self._fields, rows.columns, strict=True):
                    try:
                        arrays.append(_values(cells, field))
                    except (pa.ArrowException, ValueError, TypeError) as exc:
                        raise self._refuse(
                            f"column {field.column.name!r} has a value that is no "
                            f"{field.column.datatype}: {first_line(exc)}"
                        ) from exc
                yield batch_of(arrays, self._meta.columns, self._refuse)

    def _field(self, entry: dict[str, Any]) -> _Field | None:
        name = str(entry["name"])
        datatype, subtype = str(entry.get("datatype", "")), entry.get("subtype")
        meta = mapping_of(entry.get("meta"))
        arraysize: str | None = None
        if subtype is not None:
            match = _SUBTYPE.match(str(subtype).strip())
            if match is None or match.group(1) in ("string", "json"):
                self._notes.append(f"column {name!r} was left out: no table can hold {subtype}")
                return None
            datatype = match.group(1)
            # ECSV has the slowest index first, VOTable the fastest.
            sizes = [size.strip() for size in match.group(2).split(",")][::-1]
            if "null" in sizes[:-1]:
                self._notes.append(f"column {name!r} was left out: no table can hold {subtype}")
                return None
            arraysize = "x".join("*" if size == "null" else size for size in sizes)
        if datatype in ("complex64", "complex128", "complex256"):
            self._notes.append(f"column {name!r} was left out: complex numbers are not read")
            return None
        if datatype not in _DATATYPES:
            raise self._refuse(f"column {name!r} has the unknown datatype {datatype!r}")
        declared, kind = _DATATYPES[datatype]
        xtype = text_of(meta.get("xtype"))
        column = Column(
            name=name,
            datatype=declared,
            arraysize="*" if declared is Datatype.CHAR else arraysize,
            unit=text_of(entry.get("unit")),
            ucd=text_of(meta.get("ucd")),
            utype=text_of(meta.get("utype")),
            xtype=None if xtype in _TIMESTAMPS and declared is not Datatype.CHAR else xtype,
            description=text_of(entry.get("description")),
        )
        return _Field(column, kind, array=arraysize is not None)


def _document(header: list[str], refuse: Refusal) -> dict[str, Any]:
    if not header or not header[0].startswith("%ECSV"):
        raise refuse("is not ECSV: its first line is not '# %ECSV 1.0'")
    try:
        return load_description("\n".join(header[1:]))
    except ValueError as exc:
        raise refuse(f"its header is broken: {first_line(exc)}") from exc


def _entries(document: dict[str, Any], refuse: Refusal) -> list[dict[str, Any]]:
    try:
        return described_columns(document)
    except ValueError as exc:
        raise refuse(f"its header is broken: {exc}") from exc


def _layout(
    lines: list[str],
    comments: int,
    document: dict[str, Any],
    names: list[str],
    refuse: Refusal,
) -> tuple[TextLayout, list[str]]:
    delimiter = str(document.get("delimiter", " "))
    if delimiter not in (" ", ","):
        raise refuse(f"its delimiter {delimiter!r} is neither a space nor a comma")
    if comments >= len(lines):
        raise refuse("has no line with the names of its columns")
    found = next(csv.reader([lines[comments]], delimiter=delimiter))
    missing = [name for name in names if name not in found]
    if missing:
        raise refuse(f"its line of names lacks {missing[0]!r}, which its header describes")
    return TextLayout(delimiter, comments + 1, tuple(found)), found


def _values(cells: AnyArray, field: _Field) -> AnyArray:
    column = field.column
    if field.array:
        return _arrays(cells, field)
    if column.is_timestamp:
        times = timestamps(cells)
        if times is None:
            raise ValueError("not a timestamp to the microsecond")
        return times
    if column.is_string:
        return cells
    cells = pc.if_else(pc.equal(cells, ""), None, cells)
    if column.datatype is Datatype.BOOLEAN:
        words = pc.utf8_lower(cells)
        true = pc.equal(words, "true")
        if not pc.all(pc.or_(true, pc.equal(words, "false")), min_count=0).as_py():
            raise ValueError("only True and False are")
        return true
    return cells.cast(field.kind)


def _arrays(cells: AnyArray, field: _Field) -> AnyArray:
    values = [None if not cell else _flat(json.loads(cell)) for cell in cells.to_pylist()]
    return pa.array(values, arrow_type(field.column))


def _flat(value: Any) -> list[Any]:  # noqa: ANN401 - JSON holds anything
    if not isinstance(value, list):
        raise ValueError("not an array")  # noqa: TRY004 - the value is wrong
    flat: list[Any] = []
    for element in value:
        if isinstance(element, list):
            flat += _flat(element)
        else:
            flat.append(element)
    return flat


def _system(meta: dict[Any, Any]) -> CoordinateSystem | None:
    for key, value in meta.items():
        if str(key).upper() in ("RADESYS", "FRAME") and str(value).upper() in ("ICRS", "FK5"):
            return CoordinateSystem(system=str(value).upper())
    return None
