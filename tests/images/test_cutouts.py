"""Parts of images: which pixels, and a WCS that says exactly where they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from astrolabe.core.errors import (
    BadParameterError,
    ImageInvalidError,
    NoOverlapError,
    TooLargeError,
)
from astrolabe.images.cutouts import (
    Cutout,
    Stencil,
    box_around,
    box_of,
    corners_around,
    cut,
    cut_box,
)
from astrolabe.images.fits.wcs_tables import EMPTY_PRIMARY
from astrolabe.images.model import PlaneKind
from astrolabe.images.reader import OpenImage
from astrolabe.images.regions import parse_pos
from tests.support.images import (
    CENTER,
    WCS_KINDS,
    card,
    open_image,
    raw_header,
    star_field,
    wcs_header,
    write_compressed,
    write_lookup_image,
    write_plain,
    write_planes,
    write_wcs_image,
)

SHAPE = (150, 180)
M13_KINDS = ["plain", "rice-i16", "gzip1-i16", "hcompress-i16", "plio-i16"]


def _circle(image: OpenImage, x: float, y: float, radius_px: float) -> Stencil:
    """Return a circle around a pixel."""
    wcs = image.wcs
    assert wcs is not None
    ra, dec = wcs.to_sky([x], [y])
    radius = radius_px * wcs.pixel_scale_arcsec / 3600
    return Stencil(
        region=parse_pos(f"CIRCLE {ra[0]:.15f} {dec[0]:.15f} {radius:.15f}"), label="a circle"
    )


@pytest.mark.parametrize("kind", M13_KINDS)
def test_five_encodings_of_one_image_give_the_same_cutout(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"{kind}.fits"
    if kind == "plain":
        write_plain(path, "i16")
    else:
        write_compressed(path, kind)
    with fits.open(path) as hdus:
        whole = np.array(hdus[0 if kind == "plain" else 1].data)
    image = open_image(path, tmp_path)
    found = cut(image, _circle(image, 80.0, 60.0, 20.3)).planes[PlaneKind.IMAGE]
    assert found.box == ((40, 81), (60, 101))
    assert found.data.dtype == np.int16
    np.testing.assert_array_equal(found.data, whole[40:81, 60:101])
    picture = np.clip(star_field(SHAPE), 0, 30_000).astype(np.int16)
    np.testing.assert_array_equal(found.data, picture[40:81, 60:101])


@pytest.mark.filterwarnings("ignore::astropy.wcs.FITSFixedWarning")
@pytest.mark.parametrize("kind", [*WCS_KINDS, "lookup"])
def test_the_wcs_of_a_cutout_is_exact(kind: str, tmp_path: Path) -> None:
    """To a millionth of a pixel, read by astropy from the header as it is written."""
    path = tmp_path / "image.fits"
    write_lookup_image(path) if kind == "lookup" else write_wcs_image(path, kind)
    image = open_image(path, tmp_path)
    found = cut_box(image, ((31, 97), (44, 133)))
    y, x = (axis.ravel().astype(float) for axis in np.mgrid[0:66:5, 0:89:7])
    with fits.open(path) as hdus:
        hdu = 1 if kind == "lookup" else 0
        real = WCS(hdus[hdu].header, hdus)
        header = _written(found, tmp_path / "cut.fits")
        with fits.open(tmp_path / "cut.fits") as parts:
            part = WCS(parts[0].header, parts)
            world = part.all_pix2world(x, y, 0)
        expected = real.all_pix2world(x + 44, y + 31, 0)
    scale = found.image.wcs.pixel_scale_arcsec / 3600  # type: ignore[union-attr]  # it has one
    np.testing.assert_allclose(world, expected, atol=1e-6 * scale, rtol=0)
    own = found.wcs
    assert own is not None
    ra, dec = own.to_sky(x, y)
    assert image.wcs is not None
    back_x, back_y = image.wcs.to_pixel(ra, dec)
    np.testing.assert_allclose(back_x - 44, x, atol=1e-6)
    np.testing.assert_allclose(back_y - 31, y, atol=1e-6)
    assert header["CRPIX1"] == wcs_header(kind if kind != "lookup" else "sip")["CRPIX1"] - 44


def _written(found: Cutout, path: Path) -> fits.Header:
    """Write the science plane as a file whose tables follow, as a writer does."""
    plane = found.planes[PlaneKind.IMAGE]
    header = plane.header.to_astropy()
    hdus = fits.HDUList([fits.PrimaryHDU(plane.data, header)])
    if found.wcs_tables:
        hdus[0].header["EXTEND"] = True
        tables = fits.HDUList.fromstring(EMPTY_PRIMARY + found.wcs_tables)
        hdus.extend(tables[1:])
    hdus.writeto(path)
    return header


def test_stars_of_a_cutout_are_where_the_image_has_them(tmp_path: Path) -> None:
    path = write_planes(tmp_path / "planes.fits", kind="sip")
    image = open_image(path, tmp_path, planes={PlaneKind.IMAGE: 1})
    with fits.open(path) as hdus:
        real = WCS(hdus[1].header)
        data = hdus[1].data
    y, x = np.unravel_index(np.argmax(data[20:130, 20:160]), (110, 140))
    ra, dec = real.all_pix2world([x + 20.0], [y + 20.0], 0)
    stencil = Stencil(region=parse_pos(f"CIRCLE {ra[0]:.15f} {dec[0]:.15f} {3 / 3600}"))
    found = cut(image, stencil)
    part = found.planes[PlaneKind.IMAGE].data
    peak_y, peak_x = np.unravel_index(np.argmax(part), part.shape)
    assert found.wcs is not None
    at_x, at_y = found.wcs.to_pixel(ra, dec)
    assert (at_x[0], at_y[0]) == (
        pytest.approx(peak_x, abs=0.01),
        pytest.approx(peak_y, abs=0.01),
    )


def test_planes_are_cut_alike(tmp_path: Path) -> None:
    planes = {PlaneKind.IMAGE: 1, PlaneKind.MASK: 2, PlaneKind.VARIANCE: 3}
    path = write_planes(tmp_path / "planes.fits")
    image = open_image(path, tmp_path, planes=planes)
    found = cut(image, _circle(image, 100.0, 70.0, 25.0), planes=tuple(PlaneKind))
    with fits.open(path) as hdus:
        for kind, hdu in planes.items():
            part = found.planes[kind]
            assert part.box == ((45, 96), (75, 126))
            np.testing.assert_array_equal(part.data, hdus[hdu].data[45:96, 75:126])
            assert part.header.get("EXTNAME") == kind.value.upper()
            assert part.header.get("CRPIX1") == hdus[hdu].header["CRPIX1"] - 75
    with pytest.raises(TooLargeError, match="million"):
        cut(image, Stencil(), planes=tuple(PlaneKind), max_pixels=150 * 180 * 3 - 1)
    bare = open_image(path, tmp_path, planes={PlaneKind.IMAGE: 1})
    with pytest.raises(BadParameterError, match="no plane mask or variance; its planes are: image"):
        cut(bare, Stencil(), planes=tuple(PlaneKind))


def test_planes_of_other_sizes_are_not_cut(tmp_path: Path) -> None:
    path = tmp_path / "sizes.fits"
    fits.HDUList(
        [
            fits.PrimaryHDU(star_field(SHAPE), wcs_header("tan")),
            fits.ImageHDU(np.zeros((75, 90), dtype=np.int16), name="MASK"),
        ]
    ).writeto(path)
    planes = {PlaneKind.IMAGE: 0, PlaneKind.MASK: 1}
    image = open_image(path, tmp_path, planes=planes)
    with pytest.raises(ImageInvalidError, match="no part of both"):
        cut(image, _circle(image, 50.0, 50.0, 9.0), planes=(PlaneKind.IMAGE, PlaneKind.MASK))


def test_the_header_says_where_the_pixels_come_from(tmp_path: Path) -> None:
    path = write_planes(tmp_path / "visit-12.fits", compressed=False)
    image = open_image(path, tmp_path, planes={PlaneKind.IMAGE: 1}, release="dr1")
    label = "POS=POLYGON " + " ".join(["53.1234567890123 -27.8123456789012"] * 6)
    region = parse_pos(f"CIRCLE {CENTER[0]} {CENTER[1]} 0.001")
    now = datetime(2026, 11, 22, 20, 0, tzinfo=UTC)
    found = cut(image, Stencil(region=region, label=label), authority="sky.example", now=now)
    header = found.planes[PlaneKind.IMAGE].header.to_astropy()
    assert header["SRCDID"] == "ivo://sky.example/tests?visit-12"
    assert header["CUTREG"] == label  # over several cards
    assert header["SRCREL"] == "dr1"
    assert header["DATE"] == "2026-11-22T20:00:00"
    for keyword in ("SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "PCOUNT", "BSCALE", "CHECKSUM"):
        assert keyword not in header


def test_other_references_to_pixels_move_too(tmp_path: Path) -> None:
    """IRAF's physical coordinates and an alternative WCS; what a missing CRPIX stands for."""
    header = wcs_header("tan")
    header["LTV1"], header["LTV2"] = -100.0, -200.0
    header["CTYPE1A"], header["CTYPE2A"] = "LINEAR", "LINEAR"
    header["CRPIX1A"], header["CRVAL1A"] = 1.0, 5.0
    path = tmp_path / "alternative.fits"
    fits.PrimaryHDU(star_field(SHAPE), header).writeto(path)
    image = open_image(path, tmp_path)
    found = cut_box(image, ((30, 60), (40, 90))).planes[PlaneKind.IMAGE].header
    assert (found.get("LTV1"), found.get("LTV2")) == (-140.0, -230.0)
    assert (found.get("CRPIX1A"), found.get("CRPIX2A")) == (-39.0, -30.0)


@given(
    x=st.floats(-60, 240), y=st.floats(-60, 210), radius=st.floats(0.0, 300.0),
    kind=st.sampled_from(["tan", "sip", "car", "galactic", "zea"]),
)  # fmt: skip
@settings(max_examples=120, deadline=None)
def test_the_box_of_a_circle_is_the_smallest(
    x: float, y: float, radius: float, kind: str, images: dict[str, OpenImage]
) -> None:
    """Against every pixel's own position: none that is inside is left out, no side is idle."""
    image = images[kind]
    wcs = image.wcs
    assert wcs is not None
    stencil = _circle(image, x, y, radius)
    assert stencil.region is not None
    ys, xs = (axis.ravel().astype(float) for axis in np.mgrid[-0.5:149.6:1.5, -0.5:179.6:1.5])
    inside = stencil.region.contains(*wcs.to_sky(xs, ys))
    try:
        (y_first, y_stop), (x_first, x_stop) = box_of(image, stencil)
    except NoOverlapError:
        assert not inside.any()
        return
    slack = 0.5 + 0.03
    assert (xs[inside] >= x_first - slack).all()
    assert (xs[inside] <= x_stop - 1 + slack).all()
    assert (ys[inside] >= y_first - slack).all()
    assert (ys[inside] <= y_stop - 1 + slack).all()
    # In a conformal projection a circle of so many pixels is not wider than that.
    if kind in {"tan", "galactic"}:
        assert x_stop - x_first <= math.ceil(2 * radius) + 2
        assert y_stop - y_first <= math.ceil(2 * radius) + 2


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, OpenImage]:
    """One image of each projection."""
    folder = tmp_path_factory.mktemp("projections")
    return {
        kind: open_image(write_wcs_image(folder / f"{kind}.fits", kind), folder)
        for kind in WCS_KINDS
    }


@pytest.mark.parametrize(
    ("text", "box"),
    [
        # A pixel is 0.001 deg; the image goes from RA 359.95 (right) to 0.05 (left).
        ("RANGE 359.99 0.01 -0.02 0.02", ((30, 71), (40, 61))),
        ("RANGE 359.99 0.01 -Inf +Inf", ((0, 101), (40, 61))),
        ("RANGE 0 360 0.0301 0.9", ((80, 101), (0, 101))),
        ("POLYGON 359.99 -0.01 0.01 -0.01 0.01 0.01 359.99 0.01", ((40, 61), (40, 61))),
        ("POLYGON 0.01 0.01 0.01 -0.01 359.99 -0.01 359.99 0.01", ((40, 61), (40, 61))),
        ("CIRCLE 0.02 0 0", ((50, 51), (30, 31))),
        ("CIRCLE 0 0 180", ((0, 101), (0, 101))),
        ("CIRCLE 90 0 89.96", ((0, 101), (0, 11))),
        ("POLYGON 350 -10 10 -10 10 10 350 10", ((0, 101), (0, 101))),
        ("POLYGON 0.0446 -60 40 -60 40 60 0.0446 60", ((0, 101), (0, 6))),
    ],
    ids=["range", "open", "wide", "ccw", "cw", "point", "sky", "half", "around", "edge"],
)  # fmt: skip
def test_regions_across_the_zero_meridian(
    text: str, box: Sequence[tuple[int, int]], tmp_path: Path
) -> None:
    header = fits.Header()
    header.update(
        {
            "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 51.0, "CRPIX2": 51.0,
            "CRVAL1": 0.0, "CRVAL2": 0.0, "CDELT1": -0.001, "CDELT2": 0.001, "RADESYS": "ICRS",
        }
    )  # fmt: skip
    path = tmp_path / "zero.fits"
    fits.PrimaryHDU(np.zeros((101, 101), dtype=np.uint8), header).writeto(path)
    image = open_image(path, tmp_path)
    assert box_of(image, Stencil(region=parse_pos(text))) == box


def test_maps_of_the_whole_sky(tmp_path: Path) -> None:
    """Whose corners have no sky, and whose seam divides what lies across it."""
    header = fits.Header()
    header.update(
        {
            "CTYPE1": "RA---AIT", "CTYPE2": "DEC--AIT", "CRPIX1": 180.5, "CRPIX2": 90.5,
            "CRVAL1": 0.0, "CRVAL2": 0.0, "CDELT1": -1.0, "CDELT2": 1.0,
        }
    )  # fmt: skip
    path = tmp_path / "sky.fits"
    fits.PrimaryHDU(np.zeros((180, 360), dtype=np.uint8), header).writeto(path)
    image = open_image(path, tmp_path)
    assert image.wcs is not None
    for text in ("CIRCLE 40 20 5", "RANGE 30 50 15 25", "POLYGON 35 15 45 15 45 25 35 25"):
        region = parse_pos(text)
        y, x = (axis.ravel().astype(float) for axis in np.mgrid[:180:0.25, :360:0.25])
        ra, dec = image.wcs.to_sky(x, y)
        good = np.isfinite(ra)
        inside = np.zeros(len(x), dtype=bool)
        inside[good] = region.contains(ra[good], dec[good])
        (y_first, y_stop), (x_first, x_stop) = box_of(image, Stencil(region=region))
        for axis, first, stop in ((y, y_first, y_stop), (x, x_first, x_stop)):
            assert first == pytest.approx(axis[inside].min(), abs=0.8)
            assert stop - 1 == pytest.approx(axis[inside].max(), abs=0.8)
    _, (x_first, x_stop) = box_of(image, Stencil(region=parse_pos("CIRCLE 180 0 5")))
    assert x_stop - x_first > 320
    whole = Stencil(region=parse_pos("CIRCLE 0 0 180"))
    # What has sky is 324 pixels wide and 162 high; a step of the grid more may be taken.
    (y_first, y_stop), (x_first, x_stop) = box_of(image, whole)
    assert 2 <= y_first <= 9
    assert 171 <= y_stop <= 178
    assert 5 <= x_first <= 18
    assert 342 <= x_stop <= 355
    with pytest.raises(TooLargeError):
        cut(image, whole, max_pixels=10_000)


def test_no_overlap(tmp_path: Path) -> None:
    image = open_image(write_wcs_image(tmp_path / "a.fits"), tmp_path)
    for text in (
        "CIRCLE 10 10 1",
        "RANGE 200 201 0 1",
        "POLYGON 0 0 1 0 1 1",
        "CIRCLE 233.1 27.8 1",
    ):
        with pytest.raises(NoOverlapError, match="outside of the image tests/a"):
            cut(image, Stencil(region=parse_pos(text)))


def _cube(path: Path, *, polarised: bool = False) -> Path:
    shape = (3, 8, 40, 50) if polarised else (8, 40, 50)
    header = wcs_header("tan", shape)
    header.update(
        {"CTYPE3": "FREQ", "CRPIX3": 1.0, "CRVAL3": 1.0e11, "CD3_3": 1.0e9, "CUNIT3": "Hz"}
    )
    if polarised:
        header.update({"CTYPE4": "STOKES", "CRPIX4": 1.0, "CRVAL4": 1.0, "CD4_4": 1.0})
    data = np.arange(math.prod(shape), dtype=np.int32).reshape(shape)
    hdu = fits.CompImageHDU(data, header, tile_shape=(*([1] * (len(shape) - 2)), 16, 16))
    hdu.writeto(path)
    return path


def test_cubes_are_cut_along_all_axes(tmp_path: Path) -> None:
    path = _cube(tmp_path / "cube.fits", polarised=True)
    image = open_image(path, tmp_path)
    light = 299792458.0
    stencil = Stencil(
        region=_circle(image, 20.0, 15.0, 5.2).region,
        band=(light / 1.041e11, light / 1.019e11),
        pol=("Q",),
    )
    found = cut(image, stencil).planes[PlaneKind.IMAGE]
    assert found.box == ((1, 2), (2, 5), (10, 21), (15, 26))
    with fits.open(path) as hdus:
        np.testing.assert_array_equal(found.data, hdus[1].data[1:2, 2:5, 10:21, 15:26])
    part = cut(image, stencil).wcs
    assert part is not None
    assert part.spectral is not None
    assert image.wcs is not None
    assert image.wcs.spectral is not None
    np.testing.assert_allclose(part.spectral.edges, image.wcs.spectral.edges[2:6], rtol=1e-13)
    assert part.polarisation is not None
    assert part.polarisation.states == ("Q",)


@pytest.mark.parametrize(
    "stencil",
    [Stencil(band=(1e-7, 2e-7)), Stencil(pol=("RR", "LL")), Stencil(time=(1.0, 2.0))],
    ids=["band", "pol", "time"],
)
def test_axes_without_overlap(stencil: Stencil, tmp_path: Path) -> None:
    path = _cube(tmp_path / "cube.fits", polarised=True)
    obscore = {"t_min": 60000.0, "t_max": 60000.1}
    with pytest.raises(NoOverlapError):
        cut(open_image(path, tmp_path, obscore=obscore), stencil)


def test_what_obscore_knows_counts_where_there_is_no_axis(tmp_path: Path) -> None:
    path = write_wcs_image(tmp_path / "r.fits")
    obscore = {
        "em_min": 5.5e-7, "em_max": 7e-7, "t_min": 60000.0, "t_max": 60000.1, "pol_states": "/I/",
    }  # fmt: skip
    image = open_image(path, tmp_path, obscore=obscore)
    whole = Stencil(band=(6e-7, math.inf), time=(60000.05, 60001.0), pol=("I",))
    assert box_of(image, whole) == ((0, 150), (0, 180))
    for missing in (Stencil(band=(1e-7, 2e-7)), Stencil(time=(1.0, 2.0)), Stencil(pol=("Q",))):
        with pytest.raises(NoOverlapError):
            box_of(image, missing)


def test_clear_refusals(tmp_path: Path) -> None:
    bare = tmp_path / "bare.fits"
    fits.PrimaryHDU(star_field((20, 30))).writeto(bare)
    image = open_image(bare, tmp_path)
    with pytest.raises(BadParameterError, match="no position"):
        cut(image, Stencil(region=parse_pos("CIRCLE 1 1 1")))
    assert cut(image, Stencil()).planes[PlaneKind.IMAGE].data.shape == (20, 30)
    header = wcs_header("tan", (4, 20, 30))
    header.update({"CTYPE3": "VRAD", "CRPIX3": 1.0, "CRVAL3": 0.0, "CD3_3": 1e3, "CUNIT3": "m/s"})
    cube = tmp_path / "velocity.fits"
    fits.PrimaryHDU(star_field((4, 20, 30)), header).writeto(cube)
    with pytest.raises(BadParameterError, match="RESTFRQ"):
        cut(open_image(cube, tmp_path), Stencil(band=(1e-3, 1.0)))


def test_stamps_around_positions(tmp_path: Path) -> None:
    image = open_image(write_wcs_image(tmp_path / "a.fits"), tmp_path)
    wcs = image.wcs
    assert wcs is not None
    x, y = np.array([50.0, 50.4, 0.0, 200.0]), np.array([60.0, 59.6, 149.0, 10.0])
    ra, dec = wcs.to_sky(x, y)
    corners = corners_around(image, ra, dec, 51, 21)
    assert corners.tolist() == [
        [25, 76, 50, 71], [25, 76, 50, 71], [-25, 26, 139, 160], [175, 226, 0, 21],
    ]  # fmt: skip
    assert corners_around(image, ra[:1], dec[:1], 4, 6)[0].tolist() in (
        [48, 52, 57, 63], [49, 53, 58, 64], [48, 52, 58, 64], [49, 53, 57, 63],
    )  # fmt: skip
    assert box_around(image, ra[2], dec[2], 51, 21) == ((139, 150), (0, 26))
    with pytest.raises(NoOverlapError):
        box_around(image, 10.0, 20.0, 51, 51)
    nowhere = corners_around(image, [53.1 - 180.0], [27.8], 51, 51)[0]
    assert (nowhere < -(2**31)).all()


def test_a_wcs_that_is_nan_has_no_position(tmp_path: Path) -> None:
    cards = [card("SIMPLE", "T"), card("BITPIX", 8), card("NAXIS", 2), card("NAXIS1", 4)]
    cards += [card("NAXIS2", 4), card("CTYPE1", "'RA---TAN'"), card("CTYPE2", "'DEC--TAN'")]
    cards += [card("CRVAL1", "NaN"), card("CRVAL2", "NaN"), card("CRPIX1", 1), card("CRPIX2", 1)]
    path = tmp_path / "nan.fits"
    path.write_bytes(raw_header(*cards) + bytes(2880))
    image = open_image(path, tmp_path)
    with pytest.raises(BadParameterError, match="CRVAL1 in its header is no finite number"):
        cut(image, Stencil(region=parse_pos("CIRCLE 0 0 90")))
