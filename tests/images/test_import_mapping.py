"""How headers become values: expressions, a collection's YAML file, bands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from astropy.io import fits
from astropy.time import Time
from hypothesis import given
from hypothesis import strategies as st

from astrolabe.core.errors import ImportRefusedError
from astrolabe.images.fits.cards import FitsHeader
from astrolabe.images.importing.expressions import (
    Headers,
    Keyword,
    ValueProblemError,
    date_and_time,
    parse_expression,
)
from astrolabe.images.importing.filters import Band, find_band
from astrolabe.images.importing.mapping import HeaderMapping, parse_mapping, read_mapping
from astrolabe.images.model import PlaneKind


def headers(own: dict[str, Any], primary: dict[str, Any] | None = None, **others: Any) -> Headers:
    def made(cards: dict[str, Any]) -> FitsHeader:
        header = fits.Header()
        for keyword, value in cards.items():
            header[keyword] = value
        return FitsHeader.from_astropy(header)

    return Headers(
        own=made(own),
        primary=made(primary or {}),
        others={name: made(cards) for name, cards in others.items()},
    )


@pytest.mark.parametrize(
    ("given_", "value"),
    [
        pytest.param("EXPTIME", 30.0, id="keyword"),
        pytest.param({"keyword": ["NONE", "OBJECT"]}, "M 31", id="first-that-is-there"),
        pytest.param("PRIM", "in the primary", id="primary-after-own"),
        pytest.param({"keyword": "OBJECT", "hdu": "AUX"}, "other", id="another-hdu"),
        pytest.param({"keyword": "OBJECT", "hdu": 7}, None, id="no-such-hdu"),
        pytest.param("EMPTY", None, id="blank-is-none"),
        pytest.param("Telescope Name", "Blanco", id="hierarch"),
        pytest.param({"constant": "Rubin"}, "Rubin", id="constant"),
        pytest.param(2, 2, id="number"),
        pytest.param({"template": "{EXPNUM:06d}_{FILT}"}, "000042_r", id="template"),
        pytest.param({"template": "{EXPTIME:.1f}"}, "30.0", id="template-float"),
        pytest.param({"template": "{EXPNUM}/{NONE}"}, None, id="template-lacks-one"),
        pytest.param(
            {"keyword": "IMTYPE", "values": {"object": 2, "zero": 0}}, 2, id="other-names"
        ),
        pytest.param({"keyword": "NONE", "default": 5}, 5, id="default"),
        pytest.param({"keyword": "SEEING", "unit": "deg"}, 3.6, id="unit"),
    ],
)
def test_expressions(given_: object, value: object) -> None:
    own = {"EXPTIME": 30.0, "OBJECT": "M 31", "EXPNUM": 42, "FILT": "r", "EMPTY": "  "}
    own |= {"IMTYPE": "object", "SEEING": 0.001, "HIERARCH Telescope Name": "Blanco"}
    made = headers(own, {"PRIM": "in the primary", "OBJECT": "primary"}, AUX={"OBJECT": "other"})
    expression = parse_expression(given_, where="x", unit="arcsec")
    found = expression.evaluate(made)
    assert found == pytest.approx(value) if isinstance(value, float) else found == value


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        pytest.param([1], "give a keyword", id="list"),
        pytest.param({}, "exactly one", id="empty"),
        pytest.param({"keyword": "A", "constant": 1}, "exactly one", id="two-kinds"),
        pytest.param({"constant": 1, "unit": "m"}, "does not go with", id="unit-of-constant"),
        pytest.param({"keyword": "A", "unit": "furlongs"}, "cannot be converted", id="no-unit"),
        pytest.param({"keyword": "A", "unit": "s"}, "cannot be converted", id="wrong-unit"),
        pytest.param({"keyword": "A", "time": "gregorian"}, "'time' is one of", id="time"),
        pytest.param({"keyword": ""}, "not a FITS keyword", id="no-keyword"),
        pytest.param({"template": "{A.__class__}{"}, "braces", id="brace-left"),
        pytest.param({"template": "{A:>1000000000}"}, "braces", id="width-bomb"),
        pytest.param({"keyword": "A", "values": [1]}, "'values'", id="values"),
    ],
)
def test_what_is_no_expression(given_: object, says: str) -> None:
    with pytest.raises(ImportRefusedError, match=says):
        parse_expression(given_, where="s_resolution", unit="arcsec")


@pytest.mark.parametrize(
    ("value", "form", "scale", "mjd"),
    [
        pytest.param("2027-01-31T12:00:00", "iso", "utc", 61436.5, id="iso"),
        pytest.param("2027-01-31 12:00:00Z", "iso", "utc", 61436.5, id="blank-and-zone"),
        pytest.param("2027-01-31", "iso", "utc", 61436.0, id="date"),
        pytest.param("31/12/98", "iso", "utc", 51178.0, id="of-before-2000"),
        pytest.param(61436.5, "mjd", "utc", 61436.5, id="mjd"),
        pytest.param(2461437.0, "jd", "utc", 61436.5, id="jd"),
        pytest.param("61436.5", "iso", "utc", 61436.5, id="number-as-text"),
        pytest.param(1801396800, "unix", "utc", 61436.5, id="unix"),
        pytest.param("2027-01-31T12:00:37", "iso", "tai", 61436.5, id="tai"),
    ],
)
def test_dates(value: Any, form: str, scale: str, mjd: float) -> None:
    assert date_and_time(value, form=form, scale=scale) == pytest.approx(mjd, abs=1e-9)


@pytest.mark.parametrize(
    "value",
    [
        "2027-01-01T25:00:00",
        "yesterday",
        "2027-13-01",
        True,
        "nan",
        1e300,
        "",
        "99/99/99",
        "2027-02-30",
    ],
)
def test_what_is_no_date(value: Any) -> None:
    with pytest.raises(ValueError, match="date"):
        date_and_time(value)


@given(st.floats(min_value=20_000, max_value=80_000))
def test_dates_come_back(mjd: float) -> None:
    text = Time(mjd, format="mjd", scale="tai").isot
    assert date_and_time(text) == pytest.approx(mjd, abs=2e-8)


def test_time_system_and_time_of_day() -> None:
    expression = Keyword(names=("DATE-OBS",), time="iso")
    tai = headers({"DATE-OBS": "2027-01-31T12:00:37", "TIMESYS": "TAI"})
    assert expression.evaluate(tai) == pytest.approx(61436.5, abs=1e-9)
    local = headers({"DATE-OBS": "2027-01-31T12:00:00", "TIMESYS": "LOCAL"})
    assert expression.evaluate(local) == pytest.approx(61436.5, abs=1e-9)
    apart = headers({"DATE-OBS": "31/01/97", "TIME-OBS": "12:00:00"})
    assert expression.evaluate(apart) == pytest.approx(50479.5, abs=1e-9)
    with pytest.raises(ValueProblemError, match="DATE-OBS = 'soon'"):
        expression.evaluate(headers({"DATE-OBS": "soon"}))


def test_series_are_in_order() -> None:
    made = headers({"PROG10": "j", "PROG2": "b", "PROG0001": "a", "PROGRAM": "no", "XPROG1": "no"})
    assert made.series("PROG") == ["a", "b", "j"]


_FILE = """
id: {template: "{EXPNUM:08d}_{CCDNUM:02d}"}
band: FILTER
bands:
  VR: {name: VR, min: 497, max: 756, unit: nm}
columns:
  obs_id: EXPNUM
  facility_name: {constant: Blanco}
  s_resolution: {keyword: [FWHM, SEEING], unit: deg}
  t_min: MJD-OBS
planes: {mask: [DQM], variance: []}
progenitors: {keyword: "IMCMB#", collection: visits}
released: {keyword: RELDATE}
"""


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mapping.yaml"
    path.write_text(_FILE, "utf-8")
    mapping = read_mapping(path)
    assert mapping.planes[PlaneKind.MASK] == ("DQM",)
    assert mapping.planes[PlaneKind.VARIANCE] == ()
    assert mapping.planes[PlaneKind.IMAGE] == ("IMAGE", "SCI")
    assert mapping.bands["VR"].em_min == pytest.approx(497e-9)
    assert (mapping.progenitors.prefix, mapping.progenitors.collection) == ("IMCMB", "visits")
    assert mapping.explicit == {"obs_id", "facility_name", "s_resolution", "t_min"}
    made = headers({"EXPNUM": 7, "CCDNUM": 3, "FWHM": 0.5, "MJD-OBS": 61000.25})
    assert mapping.image_id is not None
    assert mapping.image_id.evaluate(made) == "00000007_03"
    assert mapping.columns["s_resolution"].evaluate(made) == pytest.approx(1800.0)
    assert mapping.columns["t_min"].evaluate(made) == 61000.25
    assert "instrument_name" in mapping.columns, "defaults stay"
    assert mapping.digest != HeaderMapping.default().digest
    assert mapping.digest == read_mapping(path).digest


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("colums: {}", "'colums' is not known", id="unknown-key"),
        pytest.param("[1, 2]", "begins with one of", id="list"),
        pytest.param("columns: {a: b", "not YAML", id="yaml"),
        pytest.param("columns: {no_such: A}", "not a column of ObsCore", id="column"),
        pytest.param("columns: {access_url: A}", "made by the platform", id="derived"),
        pytest.param("columns: {obs_release_date: A}", "use 'released'", id="release-date"),
        pytest.param("columns: [1]", "must be a mapping", id="columns-list"),
        pytest.param("planes: {weight: [W]}", "none of image, mask", id="plane"),
        pytest.param("planes: {mask: {a: 1}}", "list of names", id="plane-names"),
        pytest.param("bands: {g: {min: 1}}", "give", id="band-half"),
        pytest.param("bands: {g: {min: 5, max: 1}}", "not above max", id="band-reversed"),
        pytest.param("bands: {g: {min: a, max: 1}}", "are numbers", id="band-text"),
        pytest.param(
            "bands: {g: {min: 1, max: 2, unit: s}}", "cannot be converted", id="band-unit"
        ),
        pytest.param("progenitors: {collection: x}", "give", id="progenitors"),
        pytest.param("x: &a [*a]", "not", id="loop-of-aliases"),
    ],
)
def test_wrong_files_are_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "mapping.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(ImportRefusedError, match=says):
        read_mapping(path)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ImportRefusedError, match="cannot be read"):
        read_mapping(tmp_path)
    (tmp_path / "m.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ImportRefusedError, match="cannot be read"):
        read_mapping(tmp_path / "m.yaml")
    (tmp_path / "empty.yaml").write_text("", "utf-8")
    assert read_mapping(tmp_path / "empty.yaml") == HeaderMapping.default()


def test_constants() -> None:
    mapping = HeaderMapping.default().with_columns({"calib_level": 3})
    assert mapping.columns["calib_level"].evaluate(headers({})) == 3
    with pytest.raises(ImportRefusedError, match="not a column"):
        mapping.with_columns({"nothing": 3})
    assert parse_mapping({}) == HeaderMapping.default()


@pytest.mark.parametrize(
    ("name", "instrument", "short", "low", "high"),
    [
        pytest.param("g", "LSSTCam", "g", 402.0, 552.0, id="rubin"),
        pytest.param("r_57", "LSSTCam", "r", 552.0, 691.0, id="rubin-filter"),
        pytest.param("r", "", "r", 557.0, 695.2, id="no-instrument"),
        pytest.param("SDSS g'", "", "g", 413.55, 551.45, id="prime"),
        pytest.param("HSC-G", "Hyper Suprime-Cam", "g", 405.65, 545.15, id="hsc"),
        pytest.param("g DECam SDSS c0001 4720.0 1520.0", "DECam", "g", 396.0, 548.0, id="decam"),
        pytest.param("VR DECam c0007 6300.0 2600.0", "DECam", "VR", 500.0, 760.0, id="decam-vr"),
        pytest.param("V", "", "V", 502.8, 586.8, id="johnson"),
        pytest.param("K", "", "Ks", 2028.0, 2290.0, id="k"),
        pytest.param("f814w", "WFC3 HST", "F814W", 725.6, 879.2, id="hst"),
        pytest.param("NUV", "GALEX", "NUV", 177.1, 283.1, id="galex"),
        pytest.param("Y", "", "Y", 950.0, 1080.0, id="y"),
    ],
)
def test_bands(name: str, instrument: str, short: str, low: float, high: float) -> None:
    band = find_band(name, instrument=instrument)
    assert band is not None
    assert band.name == short
    assert (band.em_min * 1e9, band.em_max * 1e9) == pytest.approx((low, high))


def test_own_bands_come_first_and_unknown_ones_are_none() -> None:
    own = {"g": Band("my g", 1e-7, 2e-7)}
    assert find_band("G", own=own) == own["g"]
    assert find_band("clear") is None
    assert find_band("w", instrument="DECam") is None
