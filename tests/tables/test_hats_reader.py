from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from astrolabe.core.errors import ImportRefusedError
from astrolabe.tables.readers import open_source

PIXELS = ((1, 44, [1, 2]), (0, 5, [3]), (1, 4, [4, 5]))


def catalog(folder: Path, *, suffix: str = ".parquet", kind: str = "object") -> Path:
    folder.mkdir(parents=True)
    properties = (
        "#HATS catalog\nobs_collection=stars\n"
        f"dataproduct_type={kind}\nhats_col_ra=ra\nhats_col_dec=dec\nhats_npix_suffix={suffix}\n"
    )
    (folder / "hats.properties").write_text(properties)
    for order, pixel, ids in PIXELS:
        table = pa.table(
            {
                "_healpix_29": [pixel << 2 * (29 - order)] * len(ids),
                "id": ids,
                "ra": [0.5] * len(ids),
                "Norder": [order] * len(ids),
                "Dir": [0] * len(ids),
                "Npix": [pixel] * len(ids),
            }
        )
        path = folder / f"dataset/Norder={order}/Dir=0"
        if suffix == "/":
            path /= f"Npix={pixel}"
            path.mkdir(parents=True)
            pq.write_table(table.slice(0, 1), path / "part0.parquet")
            pq.write_table(table.slice(1), path / "part1.parquet")
        else:
            path.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, path / f"Npix={pixel}{suffix}")
    pq.write_table(table, folder / "dataset" / "_metadata")
    pq.write_table(table, folder / "dataset" / "data_thumbnail.parquet")
    return folder


@pytest.mark.parametrize("suffix", [".parquet", ".parq", "/"])
def test_rows_come_pixel_after_pixel(tmp_path: Path, suffix: str) -> None:
    source = open_source(catalog(tmp_path / "stars", suffix=suffix))
    assert [c.name for c in source.meta.columns] == ["id", "ra"]
    assert source.meta.name == "stars"
    assert source.meta.row_count == 5
    assert source.meta.coordinate_system is not None
    ids = [i for b in source.batches() for i in b.column(0).to_pylist()]
    assert ids == [4, 5, 3, 1, 2]


def test_a_collection_is_its_primary_catalog(tmp_path: Path) -> None:
    catalog(tmp_path / "v0001" / "stars")
    catalog(tmp_path / "v0001" / "stars_margin", kind="margin")
    properties = tmp_path / "collection.properties"
    properties.write_text("hats_primary_table_url=v0001/stars\nall_margins=v0001/stars_margin\n")
    assert open_source(tmp_path).meta.row_count == 5
    for line, what in (
        ("obs_collection=x\n", "no hats_primary_table_url"),
        ("hats_primary_table_url=gone\n", "'gone' is missing"),
        ("hats_primary_table_url=../../etc\n", "outside of the collection"),
    ):
        properties.write_text(line)
        with pytest.raises(ImportRefusedError, match=what):
            open_source(tmp_path)


def test_margins_and_indexes_are_no_tables(tmp_path: Path) -> None:
    for kind in ("margin", "index", "association"):
        folder = catalog(tmp_path / kind, kind=kind)
        with pytest.raises(ImportRefusedError, match=f"is a HATS {kind}"):
            open_source(folder)


def test_a_catalog_without_partitions_is_refused(tmp_path: Path) -> None:
    (tmp_path / "hats.properties").write_text("dataproduct_type=object\n")
    with pytest.raises(ImportRefusedError, match="no partitions"):
        open_source(tmp_path)
