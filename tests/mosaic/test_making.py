"""Mosaics of a sky that is known: values, weights, masks, grids, blocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from reproject import reproject_interp

from astrolabe.catalogs.cancel import QueryCancel
from astrolabe.core.errors import BadParameterError, CancelledError, TooLargeError
from astrolabe.images.mosaics import planning, sampling
from astrolabe.images.mosaics.grid import grid_of_header, grid_of_region
from astrolabe.images.mosaics.photometry import FluxScale
from astrolabe.images.mosaics.planning import (
    MosaicPlan,
    place_images,
    resolve_combine,
)
from astrolabe.images.mosaics.request import Combine, read_mosaic_request
from astrolabe.images.regions import parse_pos
from tests.mosaic.fields import DEC, RA, brightness, pixel_areas, pixel_sky, write_field
from tests.mosaic.making import CIRCLE, make


def expected(hdus: fits.HDUList) -> npt.NDArray[np.float64]:
    """Return the light of the sky in the pixels of a mosaic (nJy a pixel)."""
    header, size = hdus["IMAGE"].header, hdus["IMAGE"].data.shape[0]
    assert hdus["IMAGE"].data.shape[1] == size
    return np.asarray(brightness(*pixel_sky(header, size)) * pixel_areas(header, size))


@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("projection", ["TAN", "ZEA"])
def test_a_mosaic_shows_the_sky(tmp_path: Path, projection: str, resampling: str) -> None:
    records = [
        write_field(tmp_path / "a.fits", tmp_path, angle_deg=25.0, dra=-0.02),
        write_field(tmp_path / "b.fits", tmp_path, sip=2e-5, scale_arcsec=1.5, dra=0.015, size=180),
    ]
    hdus = make(tmp_path, records, PROJECTION=projection, RESAMPLING=resampling)
    found = hdus["IMAGE"].data
    known = np.isfinite(found)
    assert known.mean() > 0.9
    assert hdus["IMAGE"].header["CTYPE1"] == f"RA---{projection}"
    wrong = np.abs(found[known] / expected(hdus)[known] - 1)
    # A neighbour is up to half a pixel away, also beyond the last pixels of an image.
    assert wrong.max() < 0.01
    if resampling != "nearest":
        assert np.mean(wrong > 3e-4) < 0.02


def test_pixels_are_those_that_reproject_gives_with_the_wcs_itself(tmp_path: Path) -> None:
    record = write_field(tmp_path / "a.fits", tmp_path, angle_deg=40.0, sip=5e-5, unit="Jy/arcsec2")
    hdus = make(tmp_path, [record], COMBINE="mean")
    with fits.open(record.uri) as original:
        ours = hdus["IMAGE"]
        theirs, _ = reproject_interp(
            (original[1].data, WCS(original[1].header)),
            WCS(ours.header),
            shape_out=ours.data.shape,
        )
    both = np.isfinite(theirs) & np.isfinite(ours.data)
    assert both.mean() > 0.9
    assert (np.isfinite(theirs) == np.isfinite(ours.data)).mean() > 0.995
    np.testing.assert_allclose(ours.data[both], theirs[both], rtol=2e-5)


def test_weights_are_inverse_variances(tmp_path: Path) -> None:
    records = [
        write_field(tmp_path / "a.fits", tmp_path, variance=1.0),
        write_field(tmp_path / "b.fits", tmp_path, variance=4.0, offset=10.0),
    ]
    hdus = make(tmp_path, records)
    assert hdus[0].header["COMBINE"] == "weighted"
    np.testing.assert_allclose(hdus["WEIGHT"].data, 1.25, rtol=1e-3)
    # The second is 10 nJy a square arcsecond brighter and counts a fifth: 2 of them, 4 arcsec^2.
    np.testing.assert_allclose(hdus["IMAGE"].data - expected(hdus), 8.0, atol=0.1)


@pytest.mark.parametrize(
    ("combine", "offsets", "extra", "weight"),
    [
        ("mean", (0.0, 3.0, 12.0), 5.0, 3),
        ("median", (0.0, 3.0, 12.0), 3.0, 3),
        ("median", (0.0, 4.0), 2.0, 2),
        ("sum", (0.0, 6.0), None, 2),
    ],
    ids=["mean", "median-of-three", "median-of-two", "sum"],
)
def test_values_are_combined_as_asked(
    tmp_path: Path, combine: str, offsets: tuple[float, ...], extra: float | None, weight: int
) -> None:
    records = [
        write_field(tmp_path / f"{n}.fits", tmp_path, offset=offset)
        for n, offset in enumerate(offsets)
    ]
    hdus = make(tmp_path, records, COMBINE=combine)
    assert (hdus["WEIGHT"].data == weight).all()
    sky = expected(hdus)
    wanted = 2 * sky + 24.0 if extra is None else sky + 4 * extra
    np.testing.assert_allclose(hdus["IMAGE"].data, wanted, rtol=2e-3)


def test_masked_pixels_are_left_out_and_saturated_ones_stay(tmp_path: Path) -> None:
    spots = ((50, 50, 1), (60, 70, 4), (70, 60, 2))
    record = write_field(tmp_path / "a.fits", tmp_path, spots=spots)
    with fits.open(record.uri) as original:
        grid = original[1].header.copy()
    text = grid.tostring(sep="\n")
    hdus = make(tmp_path, [record], WCS=text)
    image = hdus["IMAGE"].data
    assert np.isnan(image[50, 50])
    assert np.isnan(image[60, 70])
    assert image[70, 60] > 1e4
    assert hdus["WEIGHT"].data[50, 50] == 0
    everything = make(tmp_path, [record], WCS=text, MASKBITS="0")["IMAGE"].data
    assert everything[50, 50] > 1e4
    fewer = make(tmp_path, [record], WCS=text, MASKBITS="2")["IMAGE"].data
    assert np.isnan(fewer[70, 60])
    assert fewer[50, 50] > 1e4


def test_the_grid_of_an_image_gives_its_pixels_back(tmp_path: Path) -> None:
    record = write_field(tmp_path / "a.fits", tmp_path, angle_deg=17.0, sip=1e-5)
    with fits.open(record.uri) as original:
        hdus = make(tmp_path, [record], WCS=original[1].header.tostring(sep="\n"))
        inner = np.s_[1:-1, 1:-1]
        np.testing.assert_allclose(hdus["IMAGE"].data[inner], original[1].data[inner], rtol=1e-5)
        x, y = WCS(hdus["IMAGE"].header).all_world2pix(RA, DEC, 0)
        there = WCS(original[1].header).all_world2pix(RA, DEC, 0)
        assert (float(x), float(y)) == pytest.approx(tuple(map(float, there)), abs=1e-6)


def test_coarse_pixels_take_in_all_light(tmp_path: Path) -> None:
    record = write_field(tmp_path / "a.fits", tmp_path, spots=((61, 58, 0),), size=121)
    hdus = make(tmp_path, [record], SCALE="14", COMBINE="mean")
    sky = expected(hdus)
    known = np.isfinite(hdus["IMAGE"].data)
    # One pixel is 10,000 nJy too bright: its light is there, in whichever pixels.
    assert np.sum((hdus["IMAGE"].data - sky)[known]) == pytest.approx(1e4, rel=0.15)


def test_blocks_leave_no_seams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [
        write_field(tmp_path / "a.fits", tmp_path, angle_deg=25.0, sip=1e-5),
        write_field(tmp_path / "b.fits", tmp_path, scale_arcsec=1.2, dra=0.01),
    ]
    whole = make(tmp_path, records)
    image, weight = whole["IMAGE"].data.copy(), whole["WEIGHT"].data.copy()
    monkeypatch.setattr(planning, "_BLOCK", 37)
    monkeypatch.setattr(sampling, "_MOST_BOX_PIXELS", 5_000)
    parts = make(tmp_path, records)
    np.testing.assert_allclose(parts["IMAGE"].data, image, rtol=1e-4)
    np.testing.assert_allclose(parts["WEIGHT"].data, weight, rtol=1e-4)


def test_blocks_of_a_median_get_smaller_with_more_images(tmp_path: Path) -> None:
    record = write_field(tmp_path / "a.fits", tmp_path)
    grid = grid_of_region(
        parse_pos(f"CIRCLE {CIRCLE}"), scale_arcsec=0.1, projection="TAN", most_mpix=10.0
    )
    images = place_images(grid, [record]) * 2000
    output = FluxScale("nJy", 31.4)
    combine = resolve_combine(None, [record])
    plan = MosaicPlan(grid=grid, images=images, combine=combine, output=output)
    assert plan.block_side == 1024
    combine = read_combine("median")
    plan = MosaicPlan(grid=grid, images=images, combine=combine, output=output)
    assert plan.block_side**2 * len(images) * 8 <= 256 << 20
    pixels = np.zeros(grid.shape, np.int8)
    for block in plan.blocks():
        pixels[block.y : block.y + block.height, block.x : block.x + block.width] += 1
    assert (pixels == 1).all()


def read_combine(name: str) -> Combine:
    request = read_mosaic_request(
        [("COLLECTION", "c"), ("CIRCLE", CIRCLE), ("COMBINE", name)], authority="a"
    )
    assert request.combine is not None
    return request.combine


def test_the_header_names_every_image(tmp_path: Path) -> None:
    records = [
        write_field(tmp_path / "a.fits", tmp_path),
        write_field(tmp_path / "b.fits", tmp_path),
    ]
    header = make(tmp_path, records)[0].header
    assert [header["PROG1"], header["PROG2"]] == ["tests/a", "tests/b"]
    assert header["NCOMBINE"] == 2
    assert header["FILTER"] == "r"
    assert header["EXPTIME"] == 60.0
    assert (header["MJD-OBS"], header["MJD-END"]) == (60000.0, 60000.5)
    assert header["FLUXCONS"] is True
    assert header["OBJECT"] == f"CIRCLE={CIRCLE}"


def test_images_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    plain = write_field(tmp_path / "a.fits", tmp_path, planes=False)
    other = write_field(tmp_path / "b.fits", tmp_path, unit="adu")
    with pytest.raises(BadParameterError, match="b has the unit 'adu' and no zero point"):
        make(tmp_path, [plain, other])
    with pytest.raises(BadParameterError, match="needs variances, and tests/a has none"):
        make(tmp_path, [plain], COMBINE="weighted")
    assert make(tmp_path, [plain])[0].header["COMBINE"] == "mean"
    magnitudes = write_field(tmp_path / "c.fits", tmp_path, unit="mag/arcsec2")
    with pytest.raises(BadParameterError, match="cannot be averaged"):
        make(tmp_path, [magnitudes])


def test_a_job_that_nobody_waits_for_ends_and_leaves_nothing(tmp_path: Path) -> None:
    record = write_field(tmp_path / "a.fits", tmp_path)
    cancel = QueryCancel(seconds=60)
    cancel.cancel()
    with pytest.raises(CancelledError):
        make(tmp_path, [record], cancel=cancel)


@pytest.mark.parametrize(
    ("pos", "error", "says"),
    [
        ("CIRCLE 150 2 50", BadParameterError, "make a HiPS"),
        ("CIRCLE 150 2 180", BadParameterError, "HiPS"),
        ("RANGE 0 360 -90 90", BadParameterError, "HiPS"),
        ("CIRCLE 150 2 1", TooLargeError, "images.mosaic_mpix"),
    ],
    ids=["half-the-sky", "all-as-a-circle", "all-as-a-range", "too-many-pixels"],
)
def test_regions_that_are_too_wide_are_refused(pos: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        grid_of_region(parse_pos(pos), scale_arcsec=2.0, projection="TAN", most_mpix=1.0)


@pytest.mark.parametrize("ra", [0.0, 359.999])
@pytest.mark.parametrize("dec", [0.0, 89.995, -90.0])
def test_grids_hold_their_region_everywhere(ra: float, dec: float) -> None:
    grid = grid_of_region(
        parse_pos(f"CIRCLE {ra} {dec} 0.02"), scale_arcsec=2.0, projection="TAN", most_mpix=1.0
    )
    assert grid.shape == pytest.approx((73, 73), abs=1)
    x, y = grid.wcs.to_pixel([ra], [dec])
    assert (float(x[0]), float(y[0])) == pytest.approx((36, 36), abs=1)


GOOD = (
    "CTYPE1  = 'RA---TAN'\nCTYPE2  = 'DEC--TAN'\nCRVAL1  = 10\nCRVAL2  = 20\nCRPIX1  = 5\n"
    "CRPIX2  = 5\nCDELT1  = -0.001\nCDELT2  = 0.001\n"
)


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        (GOOD, BadParameterError, "NAXIS1 and NAXIS2"),
        (GOOD + "NAXIS1  = 0\nNAXIS2  = 5", BadParameterError, "NAXIS1 and NAXIS2"),
        (GOOD + "NAXIS1  = 999999\nNAXIS2  = 999999", TooLargeError, "images.mosaic_mpix"),
        (GOOD + "NAXIS1  = 1E300\nNAXIS2  = 5", BadParameterError, "NAXIS1 and NAXIS2"),
        ("NAXIS1  = 5\nNAXIS2  = 5", BadParameterError, "no place on the sky"),
        (GOOD.replace("CDELT1  = -0.001", "CDELT1  = 0"), BadParameterError, "WCS"),
        ("x" * 30_000, BadParameterError, "cards"),
        ("é" * 80, BadParameterError, "ASCII"),
    ],
    ids=["no-size", "empty", "bomb", "infinite", "no-axes", "singular", "long", "not-ascii"],
)
def test_headers_that_are_no_grid_are_refused(text: str, error: type[Exception], says: str) -> None:
    if "NAXIS" not in text and "CDELT1  = 0" in text:
        text += "NAXIS1  = 5\nNAXIS2  = 5"
    with pytest.raises(error, match=says):
        grid_of_header(text, most_mpix=1.0)


@pytest.mark.parametrize(
    ("pairs", "says"),
    [
        ([("CIRCLE", CIRCLE)], "either COLLECTION"),
        ([("COLLECTION", "c"), ("ID", "ivo://a/c?x"), ("CIRCLE", CIRCLE)], "either COLLECTION"),
        ([("ID", "ivo://b/c?x"), ("CIRCLE", CIRCLE)], "ID: "),
        ([("COLLECTION", "../c"), ("CIRCLE", CIRCLE)], "not the name of a collection"),
        ([("COLLECTION", "c")], "one of POS, CIRCLE and POLYGON"),
        ([("COLLECTION", "c"), ("CIRCLE", CIRCLE), ("CIRCLE", "1 2 3")], "one region"),
        ([("COLLECTION", "c"), ("CIRCLE", "1 2")], "CIRCLE"),
        ([("COLLECTION", "c"), ("WCS", GOOD), ("SCALE", "2")], "WCS says scale"),
        ([("COLLECTION", "c"), ("CIRCLE", CIRCLE), ("SCALE", "0")], "SCALE"),
        ([("COLLECTION", "c"), ("CIRCLE", CIRCLE), ("SCALE", "nan")], "SCALE"),
        ([("COLLECTION", "c"), ("CIRCLE", CIRCLE), ("BAND", "r' OR '1")], "BAND"),
        ([("COLLECTION", "c"), ("CIRCLE", CIRCLE), ("TIME", "5 4")], "TIME"),
        ([("COLLECTION", "c"), ("CIRCLE", CIRCLE), ("COMBINE", "max")], "COMBINE is one of"),
        ([("COLLECTION", "c"), ("CIRCLE", CIRCLE), ("PROJECTION", "XYZ")], "PROJECTION"),
        ([("COLLECTION", "c"), ("CIRCLE", CIRCLE), ("MASKBITS", "-1")], "MASKBITS"),
        ([("COLLECTION", "c"), ("WCS", "y" * 20_001)], "characters"),
    ],
    ids=lambda value: value.replace(" ", "-")[:20] if isinstance(value, str) else "asked",
)
def test_requests_that_make_no_sense_are_refused(pairs: list[tuple[str, str]], says: str) -> None:
    with pytest.raises(BadParameterError, match=says):
        read_mosaic_request(pairs, authority="a")
