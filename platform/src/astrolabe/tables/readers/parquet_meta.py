"""What Parquet files say of their columns beyond Arrow's types.

Known are VOParquet (IVOA note 1.0: a VOTable without data in the file's metadata) and the YAML
header that astropy writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from astrolabe.core.errors import RequestError
from astrolabe.tables.model import Column, CoordinateSystem, Datatype
from astrolabe.tables.readers.votable_header import read_header_text
from astrolabe.tables.readers.yaml_meta import (
    described_columns,
    load_description,
    mapping_of,
    text_of,
)

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


def metadata_of_file(metadata: Mapping[bytes, bytes]) -> FileMeta:
    """Return what the metadata of a Parquet file says; broken metadata says nothing."""
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


def _from_yaml(text: bytes) -> FileMeta:
    try:
        entries = described_columns(load_description(text))
    except ValueError:
        # The rows are readable without it.
        return FileMeta()
    columns = {}
    for entry in entries:
        name = str(entry["name"])
        columns[name] = Column(
            name=name,
            # Only the texts count: Arrow knows the types.
            datatype=Datatype.CHAR,
            unit=text_of(entry.get("unit")),
            ucd=text_of(mapping_of(entry.get("meta")).get("ucd")),
            description=text_of(entry.get("description")),
        )
    return FileMeta(columns=columns)
