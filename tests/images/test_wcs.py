"""Positions of pixels, against astropy and by going there and back."""

from __future__ import annotations

import warnings
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS
from astropy.wcs.utils import wcs_to_celestial_frame

from astrolabe.core.errors import ImageInvalidError
from astrolabe.images.fits.cards import FitsHeader
from astrolabe.images.wcs import ImageWcs
from astrolabe.sky.regions import Polygon
from tests.support.images import WCS_KINDS, open_image, wcs_header, write_lookup_image

SHAPE = (150, 180)
LIGHT = 299792458.0
REST = 1.42040575e9


def _wcs(kind: str, shape: tuple[int, ...] = SHAPE, **cards: object) -> ImageWcs:
    header = wcs_header(kind, shape)
    header.update(cards)
    made = ImageWcs.from_header(FitsHeader.from_astropy(header), shape)
    assert made is not None
    return made


def _by_astropy(kind: str, x: np.ndarray, y: np.ndarray) -> SkyCoord:
    """Return ICRS positions by the slow way: astropy's WCS and `SkyCoord`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        wcs = WCS(wcs_header(kind, SHAPE))
    lon, lat = wcs.all_pix2world(x, y, 0)
    frame = "barycentricmeanecliptic" if kind == "ecliptic" else wcs_to_celestial_frame(wcs)
    return SkyCoord(lon * u.deg, lat * u.deg, frame=frame).icrs


@pytest.mark.parametrize("kind", WCS_KINDS)
def test_positions_are_those_of_astropy(kind: str) -> None:
    rng = np.random.default_rng(4)
    x, y = rng.uniform(-0.5, 179.5, 200), rng.uniform(-0.5, 149.5, 200)
    wcs = _wcs(kind)
    ra, dec = wcs.to_sky(x, y)
    expected = _by_astropy(kind, x, y)
    apart = SkyCoord(ra * u.deg, dec * u.deg).separation(expected).arcsec / wcs.pixel_scale_arcsec
    assert apart.max() < 1e-6
    back_x, back_y = wcs.to_pixel(ra, dec)
    np.testing.assert_allclose(back_x, x, atol=2e-7)
    np.testing.assert_allclose(back_y, y, atol=2e-7)


def test_lookup_tables_are_used(tmp_path: Path) -> None:
    path = write_lookup_image(tmp_path / "lookup.fits")
    image = open_image(path, tmp_path)
    wcs = image.wcs
    assert wcs is not None
    x, y = np.array([3.0, 90.2, 170.0]), np.array([5.0, 70.9, 140.0])
    with fits.open(path) as hdus:
        real, bare = WCS(hdus[1].header, hdus), WCS(wcs_header("sip", SHAPE))
    ra, dec = wcs.to_sky(x, y)
    expected = np.column_stack(real.all_pix2world(x, y, 0))
    np.testing.assert_allclose(np.column_stack((ra, dec)), expected, atol=1e-12)
    without = np.column_stack(bare.all_pix2world(x, y, 0))
    assert np.abs(np.column_stack((ra, dec)) - without).max() * 3600 > 0.01
    back = wcs.to_pixel(ra, dec)
    np.testing.assert_allclose(back, (x, y), atol=2e-7)


@pytest.mark.parametrize("kind", [*WCS_KINDS, "lookup"])
def test_a_footprint_is_the_outline(kind: str, tmp_path: Path) -> None:
    """Positions further than 0.2 pixels inside or outside of the edges are where they should be."""
    if kind == "lookup":
        found = open_image(write_lookup_image(tmp_path / "f.fits"), tmp_path).wcs
        assert found is not None
        wcs = found
    else:
        wcs = _wcs(kind)
    vertices = wcs.footprint()
    polygon = Polygon(vertices[:, 0], vertices[:, 1])
    rng = np.random.default_rng(5)
    x, y = rng.uniform(-5.5, 184.5, 4000), rng.uniform(-5.5, 154.5, 4000)
    edge = np.minimum.reduce(
        [np.abs(x + 0.5), np.abs(x - 179.5), np.abs(y + 0.5), np.abs(y - 149.5)]
    )
    inside = (x > -0.5) & (x < 179.5) & (y > -0.5) & (y < 149.5)
    got = polygon.contains(*wcs.to_sky(x, y))
    clear = edge > 0.2
    np.testing.assert_array_equal(got[clear], inside[clear])
    assert _turns_left_looking_up(vertices)


def _turns_left_looking_up(vertices: np.ndarray) -> bool:
    """Whether a small polygon goes counter-clockwise where east is to the left."""
    east = (vertices[:, 0] - vertices[0, 0] + 180) % 360 - 180
    x, y = -east * np.cos(np.deg2rad(vertices[0, 1])), vertices[:, 1]
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) > 0


def test_long_edges_of_a_cylindrical_map_are_divided() -> None:
    """A parallel is no great circle: with four vertices the outline would miss by 100 pixels."""
    shape = (400, 1200)
    header = fits.Header()
    header.update(
        {
            "CTYPE1": "GLON-CAR", "CTYPE2": "GLAT-CAR", "CRPIX1": 600.5, "CRPIX2": -600.0,
            "CRVAL1": 30.0, "CRVAL2": 0.0, "CDELT1": -0.05, "CDELT2": 0.05,
        }
    )  # fmt: skip
    wcs = ImageWcs.from_header(FitsHeader.from_astropy(header), shape)
    assert wcs is not None
    vertices = wcs.footprint()
    assert len(vertices) > 20
    polygon = Polygon(vertices[:, 0], vertices[:, 1])
    x = np.linspace(5, 1190, 300)
    for edge, inwards in ((-0.5, 0.25), (399.5, -0.25)):
        assert polygon.contains(*wcs.to_sky(x, np.full(300, edge + inwards))).all()
        assert not polygon.contains(*wcs.to_sky(x, np.full(300, edge - inwards))).any()


def test_an_image_around_the_pole() -> None:
    header = wcs_header("tan", SHAPE)
    header["CRVAL2"], header["CRPIX1"], header["CRPIX2"] = 90.0, 90.5, 75.5
    wcs = ImageWcs.from_header(FitsHeader.from_astropy(header), SHAPE)
    assert wcs is not None
    vertices = wcs.footprint()
    assert Polygon(vertices[:, 0], vertices[:, 1]).contains([0.0, 200.0], [90.0, 89.9999]).all()


def test_a_map_of_the_whole_sky_has_no_polygon() -> None:
    shape = (180, 360)
    header = fits.Header()
    header.update(
        {
            "CTYPE1": "RA---AIT", "CTYPE2": "DEC--AIT", "CRPIX1": 180.5, "CRPIX2": 90.5,
            "CRVAL1": 0.0, "CRVAL2": 0.0, "CDELT1": -1.0, "CDELT2": 1.0,
        }
    )  # fmt: skip
    wcs = ImageWcs.from_header(FitsHeader.from_astropy(header), shape)
    assert wcs is not None
    assert np.isnan(wcs.to_sky([0.0], [0.0])[0]).all()
    with pytest.raises(ImageInvalidError, match="hemisphere"):
        wcs.footprint()


def test_corners_without_sky_are_left_out() -> None:
    """The hemisphere of a SIN projection, a little more than a quarter of it."""
    shape = (120, 120)
    header = fits.Header()
    header.update(
        {
            "CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "CRPIX1": -25.0, "CRPIX2": 60.5,
            "CRVAL1": 10.0, "CRVAL2": 0.0, "CDELT1": -0.6, "CDELT2": 0.6,
        }
    )  # fmt: skip
    wcs = ImageWcs.from_header(FitsHeader.from_astropy(header), shape)
    assert wcs is not None
    vertices = wcs.footprint()
    polygon = Polygon(vertices[:, 0], vertices[:, 1])
    ra, dec = wcs.to_sky([20.0, 118.0, 50.0], [60.0, 1.0, 30.0])
    assert np.isnan(ra[1])
    assert polygon.contains(ra[[0, 2]], dec[[0, 2]]).all()


@pytest.mark.parametrize(
    ("cards", "reason"),
    [
        ({}, None),
        ({"CTYPE1": "LINEAR", "CTYPE2": "LINEAR"}, "longitude"),
        ({"CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN"}, "not on the sky"),
    ],
    ids=["nan", "linear", "sun"],
)
def test_no_position_has_a_reason(cards: dict[str, object], reason: str | None) -> None:
    changed = wcs_header("tan", SHAPE)
    changed.update(cards)
    header = FitsHeader.from_astropy(changed)
    if reason is None:
        # astropy writes no such card, but broken pipelines do.
        nan = "CRVAL1  = NaN".ljust(80)
        header = FitsHeader(nan if c.startswith("CRVAL1") else c for c in header.cards)
    wcs = ImageWcs.from_header(header, SHAPE)
    assert wcs is not None
    assert not wcs.has_sky
    assert (reason or "CRVAL1") in wcs.no_sky_reason
    with pytest.raises(ImageInvalidError, match="no position"):
        wcs.to_sky([1.0], [1.0])


def test_a_header_without_a_wcs_has_none() -> None:
    assert ImageWcs.from_header(FitsHeader.from_astropy(fits.Header()), SHAPE) is None


@pytest.mark.parametrize(
    ("cards", "first_m", "step_sign"),
    [
        ({"CTYPE3": "FREQ", "CRVAL3": 1.4e11, "CD3_3": 1e8, "CUNIT3": "Hz"}, LIGHT / 1.4e11, -1),
        ({"CTYPE3": "WAVE", "CRVAL3": 500.0, "CD3_3": 0.5, "CUNIT3": "nm"}, 5e-7, 1),
        ({"CTYPE3": "VRAD", "CRVAL3": 0.0, "CD3_3": 1e3, "CUNIT3": "m/s", "RESTFRQ": REST},
         LIGHT / REST, 1),
        ({"CTYPE3": "VELO-LSR", "CRVAL3": 0.0, "CD3_3": 1e3, "CUNIT3": "m/s", "RESTFRQ": REST},
         LIGHT / REST, 1),
        ({"CTYPE3": "AWAV", "CRVAL3": 6562.8, "CD3_3": 1.0, "CUNIT3": "Angstrom"}, 6.5646e-7, 1),
        ({"CTYPE3": "ENER", "CRVAL3": 1000.0, "CD3_3": 1.0, "CUNIT3": "eV"}, 1.23984198e-9, -1),
    ],
    ids=["freq", "wave", "vrad", "velo", "air", "energy"],
)  # fmt: skip
def test_spectral_axes_become_wavelengths(
    cards: dict[str, object], first_m: float, step_sign: int
) -> None:
    wcs = _wcs("tan", (9, *SHAPE), CRPIX3=1.0, **cards)
    axis = wcs.spectral
    assert axis is not None
    assert axis.axis == 0
    assert axis.edges.shape == (10,)
    middle = (axis.edges[0] + axis.edges[1]) / 2
    assert middle == pytest.approx(first_m, rel=2e-5)
    assert np.sign(np.diff(axis.edges)).tolist() == [step_sign] * 9
    third = sorted(axis.edges[3:5].tolist())
    inside = sum(third) / 2
    assert axis.pixels(inside, inside) == (3, 4)
    assert axis.pixels(third[0], third[1]) == (3, 4)  # borders belong to no neighbour
    assert axis.pixels(0.0, np.inf) == (0, 9)
    assert axis.pixels(third[1] * 10, third[1] * 11) is None


def test_a_velocity_without_rest_frequency_has_no_wavelength() -> None:
    wcs = _wcs("tan", (9, *SHAPE), CTYPE3="VRAD", CRVAL3=0.0, CD3_3=1e3, CUNIT3="m/s")
    assert wcs.has_sky
    assert wcs.spectral is None
    assert "RESTFRQ" in wcs.no_spectral_reason


def test_time_and_polarisation_axes() -> None:
    wcs = _wcs(
        "tan", (4, 6, *SHAPE),
        CTYPE3="TIME", CRPIX3=1.0, CRVAL3=60.0, CD3_3=30.0, CUNIT3="s", MJDREFI=60000, MJDREFF=0.5,
        CTYPE4="STOKES", CRPIX4=1.0, CRVAL4=1.0, CD4_4=1.0,
    )  # fmt: skip
    assert wcs.has_sky
    assert (wcs.y_axis, wcs.x_axis) == (2, 3)
    assert wcs.polarisation is not None
    assert wcs.polarisation.states == ("I", "Q", "U", "V")
    assert wcs.polarisation.axis == 0
    assert wcs.polarisation.pixels(("U", "Q")) == (1, 3)
    assert wcs.polarisation.pixels(("RR",)) is None
    assert wcs.time is not None
    assert wcs.time.axis == 1
    start = 60000.5 + 45.0 / 86400
    assert wcs.time.edges == pytest.approx(start + np.arange(7) * 30 / 86400, abs=1e-9)


def test_terrestrial_time_becomes_utc() -> None:
    wcs = _wcs(
        "tan", (6, *SHAPE), CTYPE3="TIME", CRPIX3=0.5, CRVAL3=0.0, CD3_3=1.0, CUNIT3="d",
        MJDREFI=60000, TIMESYS="TT",
    )  # fmt: skip
    assert wcs.time is not None
    assert wcs.time.edges[0] == pytest.approx(60000 - 69.184 / 86400, abs=1e-8)


def test_longitude_may_be_the_second_axis() -> None:
    """Images with declination along x are read as they are."""
    header = fits.Header()
    header.update(
        {
            "CTYPE1": "DEC--TAN", "CTYPE2": "RA---TAN", "CRPIX1": 10.0, "CRPIX2": 20.0,
            "CRVAL1": -30.0, "CRVAL2": 120.0, "CDELT1": 0.001, "CDELT2": -0.001,
        }
    )  # fmt: skip
    wcs = ImageWcs.from_header(FitsHeader.from_astropy(header), (40, 30))
    assert wcs is not None
    ra, dec = wcs.to_sky([12.0], [19.0])
    assert (ra[0], dec[0]) == (pytest.approx(120.0), pytest.approx(-29.997))
    x, y = wcs.to_pixel(ra, dec)
    assert (x[0], y[0]) == (pytest.approx(12.0, abs=1e-8), pytest.approx(19.0, abs=1e-8))


def test_a_cube_with_the_sky_on_its_last_axes() -> None:
    header = fits.Header()
    header.update(
        {
            "CTYPE1": "FREQ", "CRPIX1": 1.0, "CRVAL1": 1e9, "CDELT1": 1e6, "CUNIT1": "Hz",
            "CTYPE2": "RA---TAN", "CRPIX2": 20.0, "CRVAL2": 120.0, "CDELT2": -0.001,
            "CTYPE3": "DEC--TAN", "CRPIX3": 10.0, "CRVAL3": -30.0, "CDELT3": 0.001,
        }
    )  # fmt: skip
    wcs = ImageWcs.from_header(FitsHeader.from_astropy(header), (30, 40, 5))
    assert wcs is not None
    assert (wcs.y_axis, wcs.x_axis) == (0, 1)
    assert wcs.sky_shape == (30, 40)
    ra, dec = wcs.to_sky([19.0], [12.0])
    assert (ra[0], dec[0]) == (pytest.approx(120.0), pytest.approx(-29.997))
    assert wcs.spectral is not None
    assert wcs.spectral.axis == 2
