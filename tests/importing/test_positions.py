"""Positions: found, converted to ICRS degrees, checked row by row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord

from astrolabe.catalogs.importing import run_import
from astrolabe.catalogs.store import CatalogStore
from astrolabe.core.errors import ImportRefusedError
from astrolabe.tables.model import HEALPIX_COLUMN, Column, CoordinateSystem, Datatype

from .sources import current, options, source_of, stored_rows

pytestmark = pytest.mark.timeout(60)

_NAN = float("nan")


def _double(name: str, **more: Any) -> Column:
    return Column(name=name, datatype=Datatype.DOUBLE, **more)


def _plain(**changes: Any) -> Any:
    return options(id_column=None, margin_arcsec=0.0, **changes)


@pytest.mark.parametrize(
    "names",
    [
        ("ra", "dec"),
        ("RA", "DEC"),
        ("RAJ2000", "DEJ2000"),
        ("_RAJ2000", "_DEJ2000"),
        ("RA_ICRS", "DE_ICRS"),
        ("ra_deg", "dec_deg"),
        ("coord_ra", "coord_dec"),
    ],
)
def test_well_known_names_are_found(store: CatalogStore, names: tuple[str, str]) -> None:
    columns = (_double("other"), _double(names[0]), _double(names[1]))
    run_import(source_of(columns, [1.0], [10.0], [20.0]), _plain(), store)
    meta = current(store).meta
    assert (meta.ra_column, meta.dec_column) == names
    assert [c.unit for c in meta.columns] == [None, "deg", "deg"]


def test_ucds_come_before_names(store: CatalogStore) -> None:
    columns = (
        _double("ra"),
        _double("dec"),
        _double("x", ucd="pos.eq.ra;meta.main"),
        _double("y", ucd="POS.EQ.DEC;META.MAIN"),
    )
    run_import(source_of(columns, [0.0], [0.0], [10.0], [20.0]), _plain(), store)
    meta = current(store).meta
    assert (meta.ra_column, meta.dec_column) == ("x", "y")


def test_given_columns_become_the_only_main_ones(store: CatalogStore) -> None:
    columns = (
        _double("ra", ucd="pos.eq.ra;meta.main"),
        _double("dec", ucd="pos.eq.dec;meta.main"),
        _double("ra2", ucd="pos.eq.ra"),
        _double("dec2"),
    )
    source = source_of(columns, [0.0], [0.0], [10.0], [20.0])
    run_import(source, _plain(ra_column="ra2", dec_column="DEC2"), store)
    meta = current(store).meta
    assert (meta.ra_column, meta.dec_column) == ("ra2", "dec2")
    assert [c.ucd for c in meta.columns] == [
        "pos.eq.ra",
        "pos.eq.dec",
        "pos.eq.ra;meta.main",
        "pos.eq.dec;meta.main",
    ]


@pytest.mark.parametrize(
    ("columns", "changes", "message"),
    [
        ((_double("alpha"), _double("delta")), {}, "--ra and --dec"),
        ((_double("glon"), _double("glat")), {}, "--frame galactic"),
        ((_double("ra"), _double("dec")), {"ra_column": "ra"}, "both --ra and --dec"),
        ((_double("ra"), _double("dec")), {"ra_column": "r", "dec_column": "dec"}, "'r'"),
        ((_double("ra", unit="m"), _double("dec")), {}, "unit 'm'"),
        ((_double("ra"), _double("dec")), {"frame": "fk4"}, "icrs, fk5, galactic"),
        ((_double("ra"), _double("dec")), {"director_key": "x"}, "--director"),
        (
            (_double("ra"), _double("dec")),
            {"no_position": True, "ra_column": "ra", "dec_column": "dec"},
            "--no-position",
        ),
        (
            (Column(name="ra", datatype=Datatype.CHAR, arraysize="*"), _double("dec")),
            {},
            "decimal degrees",
        ),
    ],
)
def test_what_cannot_be_placed_is_refused(
    store: CatalogStore, columns: tuple[Column, Column], changes: dict[str, Any], message: str
) -> None:
    values = ["1:2:3"] if columns[0].is_string else [1.0]
    with pytest.raises(ImportRefusedError, match=message):
        run_import(source_of(columns, values, [1.0]), _plain(**changes), store)
    assert store.view(fresh=True).table("dr1", "object") is None


@pytest.mark.parametrize(("frame", "names"), [("fk5", ("ra", "dec")), ("galactic", ("l", "b"))])
@pytest.mark.parametrize("how", ["option", "source"])
def test_other_frames_become_icrs(
    store: CatalogStore, frame: str, names: tuple[str, str], how: str
) -> None:
    rng = np.random.default_rng(3)
    lon, lat = rng.uniform(0, 360, 50), rng.uniform(-90, 90, 50)
    system = CoordinateSystem(system=frame.upper(), epoch=1991.25) if how == "source" else None
    source = source_of((_double(names[0]), _double(names[1])), lon, lat, system=system)
    report = run_import(source, _plain(frame=frame if how == "option" else None), store)
    meta = current(store).meta
    assert meta.coordinate_system is not None
    assert meta.coordinate_system.system == "ICRS"
    assert meta.coordinate_system.epoch == (1991.25 if how == "source" else None)
    ra_name, dec_name = ("ra_icrs", "dec_icrs") if frame == "fk5" else ("ra", "dec")
    assert (meta.ra_column, meta.dec_column) == (ra_name, dec_name)
    assert "computed at import" in report.warnings[0]
    rows = stored_rows(current(store))
    expected = SkyCoord(
        rows[names[0]].to_numpy() * u.deg, rows[names[1]].to_numpy() * u.deg, frame=frame
    )
    found = SkyCoord(rows[ra_name].to_numpy() * u.deg, rows[dec_name].to_numpy() * u.deg)
    assert found.separation(expected.icrs).max() < 1e-9 * u.deg


@pytest.mark.parametrize(("unit", "size"), [("rad", u.rad), ("hourangle", u.hourangle)])
def test_other_units_become_degrees(store: CatalogStore, unit: str, size: u.Unit) -> None:
    ra = (np.array([0.5, 200.0]) * u.deg).to_value(size)
    columns = (_double("ra", unit=unit), _double("dec", unit="deg"))
    run_import(source_of(columns, ra, [10.0, 20.0]), _plain(), store)
    version = current(store)
    assert version.meta.ra_column == "ra_icrs"
    rows = stored_rows(version).sort_by("ra_icrs")
    assert np.allclose(rows["ra_icrs"].to_numpy(), [0.5, 200.0], rtol=0, atol=1e-12)
    assert np.array_equal(rows["ra"].to_numpy(), ra)


_BAD_RA = [10.0, 360.0, -1.0, _NAN, None, 10.0, 10.0, float("inf"), 10.0]
_BAD_DEC = [90.0, 0.0, 0.0, 0.0, 0.0, None, 90.1, 0.0, -90.0]


def _bad_source(datatype: Datatype = Datatype.DOUBLE) -> Any:
    columns = (
        Column(name="objectId", datatype=Datatype.LONG),
        Column(name="ra", datatype=datatype),
        Column(name="dec", datatype=datatype),
        Column(name="flux", datatype=Datatype.FLOAT, arraysize="*"),
    )
    return source_of(columns, range(9), _BAD_RA, _BAD_DEC, [[i] for i in range(9)])


@pytest.mark.parametrize("name", [None, "bad.csv", "deep/bad.parquet"])
def test_bad_rows_are_kept_apart_with_their_reason(
    store: CatalogStore, tmp_path: Path, name: str | None
) -> None:
    path = None if name is None else tmp_path / name
    report = run_import(_bad_source(), _plain(rejects=path), store)
    assert (report.rows, report.rejected) == (2, 7)
    assert set(stored_rows(current(store))["objectId"].to_pylist()) == {0, 8}
    reasons = {reason.split(":")[0].split(" outside")[0]: n for reason, n in report.reasons.items()}
    assert reasons == {"no position": 4, "declination": 1, "right ascension": 2}
    assert "--wrap" in report.warnings[-1]
    assert report.rejects == (path or report.path / "rejects.parquet")
    kept: pa.Table = (
        pacsv.read_csv(report.rejects)
        if report.rejects.suffix == ".csv"
        else pq.read_table(report.rejects)
    )
    assert kept["reject_row"].to_pylist() == [2, 3, 4, 5, 6, 7, 8]
    assert kept["objectId"].to_pylist() == [1, 2, 3, 4, 5, 6, 7]
    assert "0, 360" in str(kept["reject_reason"][0])
    assert not list(tmp_path.rglob("*.part"))


def test_strict_refuses_them_and_changes_nothing(store: CatalogStore, tmp_path: Path) -> None:
    with pytest.raises(ImportRefusedError, match=r"Row 2 .*--strict.*--wrap"):
        run_import(_bad_source(), _plain(strict=True, rejects=tmp_path / "bad.csv"), store)
    assert store.view(fresh=True).table("dr1", "object") is None
    assert not (tmp_path / "bad.csv").exists()


def test_a_source_without_a_single_position_is_refused(store: CatalogStore) -> None:
    columns = (_double("ra"), _double("dec"))
    with pytest.raises(ImportRefusedError, match="None of the 2 rows"):
        run_import(source_of(columns, [_NAN, None], [0.0, 0.0]), _plain(), store)


@pytest.mark.parametrize("datatype", [Datatype.DOUBLE, Datatype.FLOAT, Datatype.INT])
def test_wrap_brings_right_ascension_into_its_range(
    store: CatalogStore, datatype: Datatype
) -> None:
    columns = (Column(name="ra", datatype=datatype), Column(name="dec", datatype=datatype))
    ra = [-1, 359, 360, 361, 725, None]
    if datatype is not Datatype.INT:
        ra += [-1e-12, -1e-20]  # type: ignore[list-item]  # floats among integers
    report = run_import(source_of(columns, ra, [5] * len(ra)), _plain(wrap=True), store)
    assert report.rejected == 1
    rows = stored_rows(current(store))
    values = rows["ra"].to_numpy()
    assert np.all((values >= 0) & (values < 360))
    expected = np.array([v for v in ra if v is not None], dtype=np.float64)

    def places(degrees: np.ndarray) -> list[float]:
        return sorted((np.round(degrees, 4) % 360.0).tolist())

    assert places(values) == places(expected)


def test_wrap_works_before_a_frame_is_converted(store: CatalogStore) -> None:
    columns = (_double("l"), _double("b"))
    source = source_of(columns, [-10.0, 350.0], [0.0, 0.0])
    report = run_import(source, _plain(frame="galactic", wrap=True), store)
    assert report.rejected == 0
    assert len(set(stored_rows(current(store))[HEALPIX_COLUMN].to_pylist())) == 1
