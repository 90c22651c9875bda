"""What Parquet files say of their columns beyond Arrow's types.

Known are VOParquet (IVOA note 1.0: a VOTable without data in the file's metadata) and the YAML
header that astropy writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import yaml

from astrolabe.core.errors import RequestError
from astrolabe.tables.model import Column, CoordinateSystem, Datatype
from astrolabe.tables.readers.votable_header import read_header_text

__all__ = ["FileMeta", "metadata_of_file"]

_VOPARQUET = b"IVOA.VOTable-Parquet.content"
_ASTROPY = b"table_meta_yaml"


@dataclass(frozen=True, slots=True)
class FileMeta:
    """What the file's own metadata says of the table."""

    columns: Mapping[str, Column] = field(default_factory=dict)
    name: str | None = None
    description: str | None = None
    coordinate_system: CoordinateSystem | None = None


def metadata_of_file(schema: pa.Schema) -> FileMeta:
    """Return what the metadata of a Parquet file says; broken metadata says nothing."""
    metadata = schema.metadata or {}
    if _VOPARQUET in metadata:
        return _from_votable(metadata[_VOPARQUET])
    if _ASTROPY in metadata:
        return _from_yaml(metadata[_ASTROPY])
    return FileMeta()


def _from_votable(text: bytes) -> FileMeta:
    try:
        header = read_header_text(text)
    except RequestError:
        # The rows are readable without it.
        return FileMeta()
    return FileMeta(
        columns={f.column.name: f.column for f in header.fields},
        name=header.name,
        description=header.description,
        coordinate_system=header.coordinate_system,
    )


class _Loader(yaml.SafeLoader):
    """A safe loader that reads objects of astropy's own as plain values."""


def _plain_value(loader: yaml.SafeLoader, _suffix: str, node: yaml.Node) -> Any:  # noqa: ANN401 - YAML holds anything
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node) if isinstance(node, yaml.ScalarNode) else None


_Loader.add_multi_constructor("!", _plain_value)
_Loader.add_multi_constructor("tag:yaml.org,2002:", _plain_value)


def _from_yaml(text: bytes) -> FileMeta:
    try:
        document = yaml.load(text, Loader=_Loader)  # noqa: S506 - derived from SafeLoader
        described = [entry for entry in document["datatype"] if "name" in entry]
    except (yaml.YAMLError, KeyError, TypeError):
        return FileMeta()
    columns = {}
    for entry in described:
        meta = entry.get("meta")
        ucd = meta.get("ucd") if isinstance(meta, dict) else None
        columns[str(entry["name"])] = Column(
            name=str(entry["name"]),
            # Only the texts count: Arrow knows the types.
            datatype=Datatype.CHAR,
            unit=_text(entry.get("unit")),
            ucd=_text(ucd),
            description=_text(entry.get("description")),
        )
    return FileMeta(columns=columns)


def _text(value: object) -> str | None:
    text = "" if value is None or isinstance(value, dict) else str(value).strip()
    return text or None
