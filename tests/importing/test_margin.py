"""The margin catalog against brute force: all rows within the margin, and none far outside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from astrolabe.catalogs.importing import run_import
from astrolabe.catalogs.store import CatalogStore
from astrolabe.sky.healpix import healpix_29
from astrolabe.sky.vectors import unit_vectors

from .sources import OBJECT_COLUMNS, current, options, positions, source_of, stored_rows

pytestmark = pytest.mark.timeout(120)

_POINTS = 1500


def _disc(ra: float, dec: float, radius_deg: float, seed: int) -> np.ndarray:
    """Return cells of points that fill a disc, its border included."""
    rng = np.random.default_rng(seed)
    distance = np.radians(radius_deg) * np.sqrt(rng.uniform(0, 1, _POINTS))
    distance[: _POINTS // 3] = np.radians(radius_deg)
    bearing = rng.uniform(0, 2 * np.pi, _POINTS)
    center = unit_vectors(ra, dec)
    east = np.array([-np.sin(np.radians(ra)), np.cos(np.radians(ra)), 0.0])
    north = np.cross(center, east)
    across = np.cos(bearing)[:, None] * north + np.sin(bearing)[:, None] * east
    points = np.cos(distance)[:, None] * center + np.sin(distance)[:, None] * across
    lon, lat = np.arctan2(points[:, 1], points[:, 0]), np.arcsin(np.clip(points[:, 2], -1, 1))
    return healpix_29(np.degrees(lon), np.degrees(lat))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arcsec", "rows_per_file"),
    [(3600.0, 100), (60.0, 100), (36_000.0, 60)],  # the last: wider than many partitions
)
def test_margin_holds_every_row_that_is_near(
    store: CatalogStore, arcsec: float, rows_per_file: int
) -> None:
    ra, dec = positions(1_500)
    # More of them close to the corners and edges of partitions, around the poles and at 0/360.
    rng = np.random.default_rng(2)
    ra = np.concatenate([ra, rng.uniform(0, 360, 300), rng.normal(0, 0.01, 100) % 360])
    dec = np.concatenate([dec, 90 - rng.exponential(0.5, 300), rng.normal(0, 0.01, 100)])
    dec = np.clip(dec, -90, 90)
    ids = np.arange(len(ra))
    source = source_of(OBJECT_COLUMNS, ids, ra, dec, ra, ["x"] * len(ra))
    report = run_import(
        source, options(margin_arcsec=arcsec, rows_per_file=rows_per_file, memory_mb=1), store
    )
    version = current(store)
    root = Path(version.root).parent / f"object_{arcsec:g}arcs"
    start = version.index.pixel << (2 * (29 - version.index.order.astype(np.int64)))
    stop = (version.index.pixel + 1) << (2 * (29 - version.index.order.astype(np.int64)))
    margin: dict[int, set[int]] = {}
    for i, path in enumerate(version.index.paths):
        file = root / path
        margin[i] = (
            set(pq.read_table(file)["objectId"].to_numpy().tolist()) if file.exists() else set()
        )
    assert sum(len(m) for m in margin.values()) == report.margin_rows > 0
    rows = stored_rows(version)
    chosen = np.random.default_rng(4).choice(rows.num_rows, 400, replace=False)
    for n in chosen.tolist():
        ra_deg, dec_deg = rows["ra"][n].as_py(), rows["dec"][n].as_py()
        own = int(np.searchsorted(stop, rows["_healpix_29"][n].as_py(), side="right"))
        within = _disc(ra_deg, dec_deg, arcsec / 3600.0, n)
        around = _disc(ra_deg, dec_deg, 1.06 * arcsec / 3600.0, n)
        row_id = rows["objectId"][n].as_py()
        for i in range(len(start)):
            if i == own:
                assert row_id not in margin[i]
                continue
            if np.any((within >= start[i]) & (within < stop[i])):
                assert row_id in margin[i], (ra_deg, dec_deg, version.index.paths[i])
            # In tiny pixels no point of the disc may have fallen by chance.
            elif row_id in margin[i] and 58.6 / 2 ** version.index.order[i] > arcsec / 18_000.0:
                assert np.any((around >= start[i]) & (around < stop[i]))


def test_no_margin_when_none_is_wanted(store: CatalogStore) -> None:
    ra, dec = positions(500)
    source = source_of(OBJECT_COLUMNS, np.arange(500), ra, dec, ra, ["x"] * 500)
    report = run_import(source, options(margin_arcsec=0.0), store)
    assert report.margin_rows == 0
    assert not list(report.path.glob("*arcs"))
