"""The reader of HATS catalogs and collections."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from astrolabe.core.errors import ImportRefusedError
from astrolabe.tables.model import HEALPIX_COLUMN, CoordinateSystem
from astrolabe.tables.readers.parquet import ParquetSource
from astrolabe.tables.source import SourceMeta

__all__ = ["HatsSource"]

_INTERNAL = frozenset({HEALPIX_COLUMN, "_hipscat_index", "Norder", "Dir", "Npix"})
_READABLE = frozenset({"object", "source", "map", "None", ""})
_PIXEL = re.compile(r"Norder=(\d+)/Dir=\d+/Npix=(\d+)")
_MAX_ORDER = 29


class HatsSource:
    """The primary catalog of a HATS collection, or a HATS catalog alone.

    Rows come in the order of the pixels (NESTED).  Margins and indexes are not read, the columns
    of the layout are left out.

    Parameters
    ----------
    folder
        The one with ``collection.properties`` or ``hats.properties``.
    as_string
        Names of columns to be read as text.

    Raises
    ------
    ImportRefusedError
        Raised if the folder is no catalog of objects or sources or if a file is broken.
    """

    def __init__(self, folder: Path, *, as_string: Collection[str] = ()) -> None:
        catalog = _primary(folder)
        properties = _properties(catalog)
        kind = properties.get("dataproduct_type", "")
        if kind not in _READABLE:
            raise ImportRefusedError(
                f"{catalog}: is a HATS {kind}; only catalogs of objects or sources can be read"
            )
        self._parquet = ParquetSource(
            _partitions(catalog, properties), as_string=as_string, internal=_INTERNAL
        )
        name = properties.get("obs_collection") or catalog.name
        self._meta = replace(
            self._parquet.meta,
            name=name,
            # HATS positions are ICRS by definition.
            coordinate_system=self._parquet.meta.coordinate_system or CoordinateSystem(),
        )

    @property
    def meta(self) -> SourceMeta:
        """The declared columns and table metadata."""
        return self._meta

    def batches(self, *, max_rows: int = 65_536) -> Iterator[pa.RecordBatch]:
        """Yield the rows, pixel after pixel."""
        return self._parquet.batches(max_rows=max_rows)


def _primary(folder: Path) -> Path:
    collection = folder / "collection.properties"
    if not collection.is_file():
        return folder
    name = _read(collection).get("hats_primary_table_url")
    if not name:
        raise ImportRefusedError(f"{collection}: has no hats_primary_table_url")
    primary = folder / name
    if not primary.resolve().is_relative_to(folder.resolve()):
        raise ImportRefusedError(f"{collection}: its primary table lies outside of the collection")
    if not primary.is_dir():
        raise ImportRefusedError(f"{collection}: its primary table {name!r} is missing")
    return primary


def _properties(catalog: Path) -> dict[str, str]:
    for name in ("hats.properties", "properties"):
        path = catalog / name
        if path.is_file():
            return _read(path)
    raise ImportRefusedError(f"{catalog}: has no hats.properties")


def _read(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise ImportRefusedError(f"{path}: cannot be read: {exc}") from exc
    pairs = (line.partition("=") for line in lines if not line.lstrip().startswith(("#", "!")))
    return {key.strip(): value.strip() for key, sign, value in pairs if sign}


def _partitions(catalog: Path, properties: dict[str, str]) -> list[Path]:
    """Return the files of all partitions in the order of their pixels."""
    dataset = catalog / "dataset"
    suffix = properties.get("hats_npix_suffix", ".parquet")
    if suffix in ("", "None"):
        suffix = ".parquet"
    found: list[tuple[int, str, Path]] = []
    for path in dataset.glob("Norder=*/Dir=*/Npix=*"):
        match = _PIXEL.search(path.as_posix())
        if match is None:
            continue
        order, pixel = int(match.group(1)), int(match.group(2))
        first = pixel << 2 * (_MAX_ORDER - order)
        if path.is_dir():
            found += [
                (first, file.name, file)
                for file in path.rglob("*")
                if file.is_file() and not file.name.startswith(("_", "."))
            ]
        elif suffix == "/" or path.name.endswith(suffix):
            found.append((first, path.name, path))
    if not found:
        raise ImportRefusedError(f"{catalog}: has no partitions in dataset/")
    return [path for _, _, path in sorted(found)]
