"""What is imported opens in LSDB, with its margin, and gives the same answers there."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from astrolabe.catalogs.importing import run_import
from astrolabe.catalogs.store import CatalogStore
from astrolabe.sky.healpix import healpix_29
from astrolabe.sky.vectors import separation_deg

from .sources import OBJECT_COLUMNS, current, objects, options, positions, source_of

# LSDB takes seconds to import, and its libraries warn of each other.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(120), pytest.mark.filterwarnings("default")]


def _open(home: Path, table: str = "object") -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import dask  # noqa: PLC0415 - slow to import
        import lsdb  # noqa: PLC0415 - slow to import

        dask.config.set(scheduler="synchronous")
        opened: Any = lsdb
        return opened.open_catalog(str(home / "tables" / "dr1" / table))


def test_lsdb_gives_the_same_rows_and_cones(store: CatalogStore, home: Path) -> None:
    source = objects(4_000)
    run_import(source, options(margin_arcsec=10.0), store)
    catalog = _open(home)
    assert len(catalog.get_healpix_pixels()) == len(current(store).index.paths)
    rows = catalog.compute().sort_values("objectId")
    assert rows["objectId"].to_numpy().tolist() == source.table["objectId"].to_pylist()
    assert np.array_equal(rows["ra"].to_numpy(float), source.table["ra"].to_numpy())
    assert rows["name"].isna().sum() == source.table["name"].null_count
    ra, dec = source.table["ra"].to_numpy(), source.table["dec"].to_numpy()
    for center, radius_deg in (((0.0, -30.0), 1.0), ((123.0, -90.0), 5.0), ((359.9, 0.1), 20.0)):
        cone = catalog.cone_search(*center, radius_arcsec=radius_deg * 3600).compute()
        inside = separation_deg(ra, dec, *center) < radius_deg
        assert inside.any()
        assert sorted(cone["objectId"].tolist()) == np.flatnonzero(inside).tolist()


def test_lsdb_matches_across_partition_borders(store: CatalogStore, home: Path) -> None:
    ra, dec = positions(1_200)
    ids = np.arange(len(ra))
    run_import(
        source_of(OBJECT_COLUMNS, ids, ra, dec, ra, ["x"] * len(ra)),
        options(margin_arcsec=60.0, rows_per_file=200),
        store,
    )
    rng = np.random.default_rng(8)
    # Each row again, up to 40 arcsec away, so that many pairs lie across a border.
    moved_dec = np.clip(dec + rng.uniform(-40, 40, len(dec)) / 3600, -90, 90)
    moved = source_of(OBJECT_COLUMNS, ids, ra, moved_dec, ra, ["y"] * len(ra))
    run_import(moved, options(table="moved", margin_arcsec=60.0, rows_per_file=90), store)
    left, right = _open(home), _open(home, "moved")
    assert right.margin is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        matched = left.crossmatch(right, radius_arcsec=60.0, n_neighbors=20).compute()
    pairs = set(
        zip(
            matched["objectId_object"].to_numpy().tolist(),
            matched["objectId_moved"].to_numpy().tolist(),
            strict=True,
        )
    )
    expected = set()
    for i in ids.tolist():
        near = np.flatnonzero(np.abs(moved_dec - dec[i]) < 0.02)
        apart = separation_deg(ra[near], moved_dec[near], ra[i], dec[i]) * 3600
        expected |= {(i, int(j)) for j in near[apart < 60.0]}
    assert {(i, i) for i in ids.tolist()} <= pairs
    assert pairs == expected


def test_hats_itself_finds_nothing_wrong(store: CatalogStore, home: Path) -> None:
    source = objects(2_000)
    run_import(source, options(), store)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from hats import loaders  # noqa: PLC0415 - the same
        from hats.io import skymap  # noqa: PLC0415 - slow to import
        from hats.io.validation import is_valid_collection  # noqa: PLC0415 - slow to import

        assert is_valid_collection(home / "tables" / "dr1" / "object", strict=True)
        hats: Any = loaders
        skymaps: Any = skymap
        found = hats.read_hats(home / "tables" / "dr1" / "object").main_catalog
        assert found.catalog_info.total_rows == 2_000
        assert found.moc is not None
        counts = np.asarray(skymaps.read_skymap(found, None))
        assert counts.sum() == 2_000
        cells = healpix_29(source.table["ra"].to_numpy(), source.table["dec"].to_numpy())
        assert np.array_equal(counts, np.bincount(cells >> 42, minlength=len(counts)))


def test_lsdb_finds_ids_by_our_index(store: CatalogStore, home: Path) -> None:
    run_import(objects(4_000), options(margin_arcsec=10.0, rows_per_file=500), store)
    index = current(store).key_indexes["objectId"]
    catalog = _open(home)
    assert len(catalog.get_healpix_pixels()) > 4
    for wanted in (0, 17, 3_999):
        found = catalog.id_search(values={"objectId": wanted})
        assert len(found.get_healpix_pixels()) == 1
        assert found.compute()["objectId"].tolist() == [wanted]
    assert Path(index.root).parent == Path(current(store).root).parent
