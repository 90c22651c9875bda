"""The XML around the rows of a VOTable (VOTable 1.4): everything but the cells."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from astrolabe.tables.model import Column, CoordinateSystem, Info, ResultHeader
from astrolabe.tables.writers.services import reference_ids, service_resources
from astrolabe.tables.writers.xml_values import xml_attribute, xml_text

__all__ = [
    "Serialization",
    "closing",
    "error_document",
    "info_element",
    "opening",
    "query_error",
    "xml_attribute",
    "xml_text",
]

_COORDINATE_ID = "coordinates"
# Of both UCD lists: cone searches have to use the first.
_POSITION_UCDS = ("pos.eq", "pos_eq")
_REFERRING_UCDS = (*_POSITION_UCDS, "pos.pm", "pos_pm")

_PROLOGUE = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"\n'
    '         xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"\n'
    '         xsi:schemaLocation="http://www.ivoa.net/xml/VOTable/v1.3 '
    'http://www.ivoa.net/xml/VOTable/v1.3">\n'
    '<RESOURCE type="results">\n'
)
_RESULTS_END = "</RESOURCE>\n"
_EPILOGUE = "</VOTABLE>\n"


class Serialization(StrEnum):
    """The forms of a VOTable's DATA (VOTable 1.4, section 5)."""

    TABLEDATA = "TABLEDATA"
    BINARY = "BINARY"
    BINARY2 = "BINARY2"


def info_element(info: Info) -> str:
    """Return an INFO element; name and value in this order, which clients search for."""
    start = f"<INFO name={xml_attribute(info.name)} value={xml_attribute(info.value)}"
    return f"{start}/>\n" if info.text is None else f"{start}>{xml_text(info.text)}</INFO>\n"


def query_error(message: str) -> str:
    """Return the INFO that tells of an error (DALI 1.1, section 4.4)."""
    return info_element(Info("QUERY_STATUS", "ERROR", message))


def error_document(message: str) -> bytes:
    """Return a whole VOTable that holds nothing but an error."""
    return (_PROLOGUE + query_error(message) + _RESULTS_END + _EPILOGUE).encode()


def opening(header: ResultHeader, datatypes: Mapping[str, str], nulls: Mapping[str, int]) -> str:
    """Return everything up to and without the DATA element.

    Parameters
    ----------
    header
        Of the result.
    datatypes
        Name of a column to the datatype to declare for it, where it is not the column's own.
    nulls
        Name of a column to the value that stands for null in it.
    """
    parts = [_PROLOGUE, info_element(Info("QUERY_STATUS", "OK"))]
    parts += [info_element(info) for info in header.infos]
    referring: frozenset[str] = frozenset()
    if header.coordinate_system is not None:
        referring = frozenset(c.name for c in header.columns if _refers(c))
        if any(_is_position(c) for c in header.columns):
            parts.append(_coosys(header.coordinate_system))
        else:
            referring = frozenset()
    parts.append(f"<TABLE name={xml_attribute(header.table_name)}>\n")
    if header.description is not None:
        parts.append(f"<DESCRIPTION>{xml_text(header.description)}</DESCRIPTION>\n")
    ids = reference_ids(header)
    for column in header.columns:
        parts.append(
            _field(
                column,
                xml_id=ids.get(column.name),
                datatype=datatypes.get(column.name, column.datatype),
                null=nulls.get(column.name),
                ref=_COORDINATE_ID if column.name in referring else None,
            )
        )
    return "".join(parts)


def closing(header: ResultHeader, trailer: str) -> str:
    """Return everything after the DATA element, with `trailer` after the table.

    The services come last, so that clients which read as the rows come have these first.
    """
    return f"</TABLE>\n{trailer}{_RESULTS_END}{service_resources(header)}{_EPILOGUE}"


def _coosys(system: CoordinateSystem) -> str:
    epoch = "" if system.epoch is None else f' epoch="J{system.epoch!r}"'
    return f'<COOSYS ID="{_COORDINATE_ID}" system={xml_attribute(system.system)}{epoch}/>\n'


def _words(column: Column) -> list[str]:
    return [word.strip().lower() for word in (column.ucd or "").split(";")]


def _is_position(column: Column) -> bool:
    return any(word.startswith(_POSITION_UCDS) for word in _words(column))


def _refers(column: Column) -> bool:
    return any(word.startswith(_REFERRING_UCDS) for word in _words(column))


def _field(
    column: Column, *, xml_id: str | None, datatype: str, null: int | None, ref: str | None
) -> str:
    attributes = {
        "ID": xml_id,
        "name": column.name,
        "datatype": datatype,
        "arraysize": column.arraysize,
        "unit": column.unit,
        "ucd": column.ucd,
        "utype": column.utype,
        "xtype": column.xtype,
        "precision": column.precision,
        "ref": ref,
    }
    start = "<FIELD" + "".join(
        f" {key}={xml_attribute(value)}" for key, value in attributes.items() if value is not None
    )
    inside = ""
    if column.description is not None:
        inside += f"<DESCRIPTION>{xml_text(column.description)}</DESCRIPTION>"
    if null is not None:
        inside += f'<VALUES null="{null}"/>'
    return f"{start}>{inside}</FIELD>\n" if inside else f"{start}/>\n"
