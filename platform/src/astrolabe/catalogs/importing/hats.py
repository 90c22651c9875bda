"""The small files that make a folder of Parquet files a HATS catalog (HATS 1.0).

LSDB and every other HATS reader open a version's folder by them; Astrolabe itself reads its own
partition index.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits

from astrolabe.catalogs.count_map import COUNT_ORDER, CountMap
from astrolabe.catalogs.importing.files import WrittenFile
from astrolabe.core.clock import utc_now
from astrolabe.core.version import VERSION
from astrolabe.tables.model import HEALPIX_COLUMN

__all__ = [
    "Skymap",
    "catalog_properties",
    "margin_name",
    "margin_properties",
    "write_catalog",
    "write_index_catalog",
]

_SKYMAP_ORDER = 8
_HATS_VERSION = "v1.0"


class Skymap:
    """How many rows there are in each HEALPix pixel of one order (NESTED)."""

    def __init__(self, order: int = _SKYMAP_ORDER) -> None:
        self.order = order
        self.counts = np.zeros(12 << (2 * order), dtype=np.int64)

    @classmethod
    def of(cls, counts: CountMap) -> Skymap:
        """Return the map of counts that were taken in finer cells."""
        skymap = cls()
        coarser = counts.at(skymap.order)
        skymap.counts[coarser.cells] = coarser.counts
        return skymap

    @classmethod
    def read(cls, catalog: Path) -> Skymap | None:
        """Read the map of another version; `None` if there is none of this order."""
        skymap = cls()
        path = catalog / "skymap.fits"
        if not path.exists():
            return None
        with fits.open(path, memmap=False) as hdus:
            header, data = hdus[1].header, hdus[1].data
            if header["NSIDE"] != 1 << skymap.order:
                return None
            if header["INDXSCHM"] == "EXPLICIT":
                skymap.counts[data["PIXEL"]] = data["VALUE"]
            else:
                skymap.counts[:] = data["VALUE"]
        return skymap

    def write(self, catalog: Path) -> None:
        """Write ``skymap.fits`` and, for older readers, the same as ``point_map.fits``."""
        filled = np.flatnonzero(self.counts)
        sparse = len(filled) * 2 < len(self.counts) and len(filled) > 0
        values = fits.Column("VALUE", "K", array=self.counts[filled] if sparse else self.counts)
        columns = [fits.Column("PIXEL", "K", array=filled), values] if sparse else [values]
        table = fits.BinTableHDU.from_columns(columns)
        # HEALPix maps in FITS as gamma-ray astronomy's data formats 0.3 have them.
        cards = {
            "PIXTYPE": "HEALPIX",
            "ORDERING": "NESTED",
            "COORDSYS": "CEL",
            "NSIDE": 1 << self.order,
            "INDXSCHM": "EXPLICIT" if sparse else "IMPLICIT",
        }
        cards |= (
            {"OBS_NPIX": len(filled)}
            if sparse
            else {"FIRSTPIX": 0, "LASTPIX": len(self.counts) - 1, "OBJECT": "FULLSKY"}
        )
        table.header.update(cards)
        for name in ("skymap.fits", "point_map.fits"):
            table.writeto(catalog / name)

    @property
    def sky_fraction(self) -> float:
        """The share of the sky that has rows, seen in pixels of this order."""
        return float(np.count_nonzero(self.counts)) / len(self.counts)


def margin_name(table: str, arcsec: float) -> str:
    """Return the folder of a margin catalog: ``object_10arcs``."""
    return f"{table}_{arcsec:g}arcs".replace(".", "p")


def catalog_properties(
    *,
    table: str,
    ra_column: str,
    dec_column: str,
    is_source: bool,
    files: Sequence[WrittenFile],
    skymap: Skymap,
    rows_per_file: int,
    default_columns: Sequence[str] = (),
) -> dict[str, str]:
    """Return the ``hats.properties`` of a table.

    Parameters
    ----------
    is_source
        Whether rows are detections of objects in another table.
    default_columns
        What LSDB reads unless it is told; all where none are given.
    """
    properties = {
        "obs_collection": table,
        "dataproduct_type": "source" if is_source else "object",
        "hats_nrows": str(_rows(files)),
        "hats_col_ra": ra_column,
        "hats_col_dec": dec_column,
        "hats_cols_sort": HEALPIX_COLUMN,
        "hats_skymap_order": str(skymap.order),
        "hats_skymap_alt_orders": str(COUNT_ORDER),
        "moc_sky_fraction": f"{skymap.sky_fraction:.6f}",
    }
    if default_columns and not any(set(name) & set(" ,;") for name in default_columns):
        properties["hats_cols_default"] = " ".join(default_columns)
    return properties | _common(files, rows_per_file)


def margin_properties(
    *,
    table: str,
    arcsec: float,
    ra_column: str,
    dec_column: str,
    files: Sequence[WrittenFile],
    rows_per_file: int,
) -> dict[str, str]:
    """Return the ``hats.properties`` of a margin catalog."""
    return {
        "obs_collection": margin_name(table, arcsec),
        "dataproduct_type": "margin",
        "hats_nrows": str(_rows(files)),
        "hats_col_ra": ra_column,
        "hats_col_dec": dec_column,
        "hats_primary_table_url": table,
        "hats_margin_threshold": f"{arcsec:g}",
    } | _common(files, rows_per_file)


def write_catalog(
    catalog: Path,
    *,
    schema: pa.Schema,
    files: Sequence[WrittenFile],
    properties: Mapping[str, str],
    skymap: Skymap | None = None,
    counts: CountMap | None = None,
) -> None:
    """Write everything of a HATS catalog but its data files.

    Parameters
    ----------
    catalog
        The folder with ``dataset/``.
    schema
        Of the data files.
    files
        All data files.
    """
    ordered = sorted(files, key=lambda file: file.start)
    dataset = catalog / "dataset"
    dataset.mkdir(parents=True, exist_ok=True)
    _write_properties(catalog, properties)
    rows = "".join(f"{file.order},{file.pixel}\n" for file in ordered)
    (catalog / "partition_info.csv").write_text("Norder,Npix\n" + rows, "ascii")
    # LSDB takes the schema from here; one without the Arrow part would lose lists' field names.
    pq.write_metadata(schema, str(dataset / "_common_metadata"))
    if ordered:
        pq.write_metadata(
            schema, str(dataset / "_metadata"), metadata_collector=[file.footer for file in ordered]
        )
    if skymap is not None:
        skymap.write(catalog)
    if counts is not None:
        counts.write(catalog)


def write_index_catalog(
    catalog: Path, *, schema: pa.Schema, files: Sequence[WrittenFile], table: str, column: str
) -> None:
    """Write everything of a HATS index catalog but its data files.

    Parameters
    ----------
    catalog
        The folder with ``dataset/``.
    schema
        Of the data files.
    files
        All data files.
    table, column
        The catalog beside it that is indexed, and by which column.
    """
    dataset = catalog / "dataset"
    _write_properties(
        catalog,
        {
            "obs_collection": catalog.name,
            "dataproduct_type": "index",
            "hats_nrows": str(_rows(files)),
            "hats_index_column": column,
            "hats_primary_table_url": table,
            "hats_builder": f"astrolabe v{VERSION}",
            "hats_version": _HATS_VERSION,
        },
    )
    pq.write_metadata(schema, str(dataset / "_common_metadata"))
    if files:
        pq.write_metadata(
            schema, str(dataset / "_metadata"), metadata_collector=[file.footer for file in files]
        )


def _write_properties(catalog: Path, properties: Mapping[str, str]) -> None:
    lines = ["#HATS catalog", *(f"{key}={_escape(v)}" for key, v in properties.items())]
    text = "\n".join(lines) + "\n"
    for name in ("hats.properties", "properties"):
        (catalog / name).write_text(text, "utf-8")


def _escape(value: str) -> str:
    """Write a value as java.util.Properties reads it."""
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")


def _rows(files: Sequence[WrittenFile]) -> int:
    return sum(file.footer.num_rows for file in files)


def _common(files: Sequence[WrittenFile], rows_per_file: int) -> dict[str, str]:
    now = utc_now()
    kilobytes = sum(file.size_bytes for file in files) // 1024
    return {
        "hats_col_healpix": HEALPIX_COLUMN,
        "hats_col_healpix_order": "29",
        "hats_npix_suffix": ".parquet",
        "hats_max_rows": str(rows_per_file),
        "hats_order": str(max((file.order for file in files), default=0)),
        "hats_builder": f"astrolabe v{VERSION}",
        "hats_creation_date": now.strftime("%Y-%m-%dT%H:%MUTC"),
        "hats_release_date": "2025-08-22",
        "hats_estsize": str(kilobytes),
        "hats_version": _HATS_VERSION,
    }
