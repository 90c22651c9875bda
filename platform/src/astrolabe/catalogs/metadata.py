"""A table's metadata as JSON and back, as the control database keeps it with each version."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from astrolabe.tables.header_json import column_from_json, column_to_json
from astrolabe.tables.model import CoordinateSystem, ForeignKey, TableMeta

__all__ = ["table_meta_from_json", "table_meta_to_json"]

_TEXTS = ("description", "utype", "ra_column", "dec_column", "id_column", "table_index")


def table_meta_to_json(meta: TableMeta) -> str:
    """Return `meta` as JSON text."""
    document: dict[str, Any] = {
        "schema": meta.schema,
        "name": meta.name,
        "table_type": meta.table_type,
        "row_count": meta.row_count,
        "columns": [column_to_json(column) for column in meta.columns],
    }
    document |= {key: getattr(meta, key) for key in _TEXTS if getattr(meta, key) is not None}
    if meta.keys:
        document["keys"] = [asdict(key) for key in meta.keys]
    if meta.coordinate_system is not None:
        document["coordinate_system"] = asdict(meta.coordinate_system)
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def table_meta_from_json(text: str) -> TableMeta:
    """Return the metadata that :func:`table_meta_to_json` wrote."""
    document = json.loads(text)
    system = document.get("coordinate_system")
    return TableMeta(
        schema=document["schema"],
        name=document["name"],
        table_type=document["table_type"],
        row_count=document["row_count"],
        columns=tuple(column_from_json(column) for column in document["columns"]),
        keys=tuple(_key_from_json(key) for key in document.get("keys", ())),
        coordinate_system=None if system is None else CoordinateSystem(**system),
        **{key: document[key] for key in _TEXTS if key in document},
    )


def _key_from_json(document: dict[str, Any]) -> ForeignKey:
    pairs = tuple((pair[0], pair[1]) for pair in document["columns"])
    return ForeignKey(**{**document, "columns": pairs})
