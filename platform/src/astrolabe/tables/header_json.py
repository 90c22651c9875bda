"""A result's header as JSON and back: async jobs keep it beside their rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from astrolabe.tables.model import (
    Column,
    CoordinateSystem,
    Datatype,
    IdentifierColumn,
    Info,
    ResultHeader,
)

__all__ = ["column_from_json", "column_to_json", "header_from_json", "header_to_json"]

_TEXTS = ("arraysize", "unit", "ucd", "utype", "xtype", "description", "precision")
_FLAGS = {"principal": False, "indexed": False, "std": False, "nullable": True}


def column_to_json(column: Column) -> dict[str, Any]:
    """Return `column` as a JSON object without what has its default."""
    document: dict[str, Any] = {"name": column.name, "datatype": str(column.datatype)}
    for key in _TEXTS:
        value = getattr(column, key)
        if value is not None:
            document[key] = value
    for key, default in _FLAGS.items():
        value = getattr(column, key)
        if value is not default:
            document[key] = value
    return document


def column_from_json(document: Mapping[str, Any]) -> Column:
    """Return the column that :func:`column_to_json` wrote."""
    return Column(
        name=document["name"],
        datatype=Datatype(document["datatype"]),
        **{key: document[key] for key in _TEXTS if key in document},
        **{key: document[key] for key in _FLAGS if key in document},
    )


def header_to_json(header: ResultHeader) -> dict[str, Any]:
    """Return `header` as a JSON object."""
    system = header.coordinate_system
    return {
        "columns": [column_to_json(column) for column in header.columns],
        "infos": [[info.name, info.value, info.text] for info in header.infos],
        "coordinate_system": None
        if system is None
        else {
            "system": system.system,
            "epoch": system.epoch,
            "ref_position": system.ref_position,
        },
        "table_name": header.table_name,
        "description": header.description,
        "metadata": dict(header.metadata),
        "identifiers": [asdict(found) for found in header.identifiers],
    }


def header_from_json(document: Mapping[str, Any]) -> ResultHeader:
    """Return the header that :func:`header_to_json` wrote."""
    system = document["coordinate_system"]
    return ResultHeader(
        columns=tuple(column_from_json(column) for column in document["columns"]),
        infos=tuple(Info(*info) for info in document["infos"]),
        coordinate_system=None if system is None else CoordinateSystem(**system),
        table_name=document["table_name"],
        description=document["description"],
        metadata=dict(document["metadata"]),
        # Results of before have none.
        identifiers=tuple(
            IdentifierColumn(
                column=found["column"],
                table=found["table"],
                light_curves=tuple(found["light_curves"]),
            )
            for found in document.get("identifiers", ())
        ),
    )
