"""Fluxes in mosaics of images of different zero points and units."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from astrolabe.core.errors import BadParameterError
from astrolabe.demo.image_files import VISITS, ImageSize, plan_images, write_image
from astrolabe.demo.survey import DemoSize, make_survey
from astrolabe.images.fits.cards import FitsHeader
from astrolabe.images.model import ImageRecord
from astrolabe.images.mosaics.photometry import read_flux_scale
from astrolabe.images.mosaics.request import read_mosaic_request
from tests.mosaic.fields import DEC, PLANES, RA, write_field, write_stars
from tests.mosaic.making import CIRCLE, make
from tests.support.images import make_record

STARS = {(RA + 0.004, DEC - 0.003): 20.0, (RA - 0.006, DEC + 0.005): 17.5}


def star_fluxes(hdus: fits.HDUList, *, radius_arcsec: float = 24.0) -> list[float]:
    """Return the sum of the pixels around each of `STARS`."""
    image = hdus["IMAGE"]
    wcs, data = WCS(image.header), image.data.astype(np.float64)
    y, x = np.mgrid[: data.shape[0], : data.shape[1]]
    found = []
    for ra, dec in STARS:
        x0, y0 = (float(n) for n in wcs.all_world2pix(ra, dec, 0))
        scale = 3600 * abs(image.header["CDELT1"])
        near = np.hypot(x - x0, y - y0) * scale < radius_arcsec
        found.append(float(data[near].sum()))
    return found


def fluxes_of(zero_point: float) -> list[float]:
    return [10 ** (0.4 * (zero_point - magnitude)) for magnitude in STARS.values()]


@pytest.mark.parametrize("combine", ["weighted", "mean", "median"])
@pytest.mark.parametrize(
    ("asked", "unit", "zero_point"),
    [(None, "nJy", 31.4), ("UJY", "uJy", 23.9), ("nanomaggy", "nanomaggy", 22.5), ("25", None, 25)],
    ids=["without", "micro", "maggies", "zero-point"],
)
def test_stars_have_their_flux_whatever_the_images_zero_points(
    tmp_path: Path, asked: str | None, unit: str | None, zero_point: float, combine: str
) -> None:
    records = [
        write_stars(tmp_path / "a.fits", tmp_path, STARS, zero_point=31.4, unit="nJy"),
        write_stars(
            tmp_path / "b.fits",
            tmp_path,
            STARS,
            zero_point=27.3,
            unit="adu",
            cards={"MAGZERO": 27.3},
            angle_deg=30.0,
        ),
        write_stars(
            tmp_path / "c.fits",
            tmp_path,
            STARS,
            zero_point=26.0,
            unit="electron/s",
            cards={"FLUXMAG0": 10**10.4},
            scale_arcsec=1.5,
            size=160,
        ),
        write_stars(tmp_path / "d.fits", tmp_path, STARS, zero_point=8.9, unit="Jy", dra=0.003),
    ]
    given: dict[str, Any] = {"COMBINE": combine} | ({} if asked is None else {"SCALE_FLUX": asked})
    hdus = make(tmp_path, records, **given)
    assert star_fluxes(hdus) == pytest.approx(fluxes_of(zero_point), rel=1e-3)
    assert hdus["IMAGE"].header.get("BUNIT") == unit
    assert hdus["IMAGE"].header["MAGZERO"] == zero_point
    assert hdus[0].header["FLUXSCAL"] is True
    if combine == "weighted" and unit == "nJy":
        # Two of the four have 4, one about 2.25 square arcseconds a pixel, all 10 nJy of noise.
        least, most = np.nanpercentile(hdus["WEIGHT"].data, [5, 95])
        assert (least, most) == pytest.approx((0.03 + 0.01 * (2.25 / 4) ** 2,) * 2, rel=0.01)
        assert hdus["WEIGHT"].header["BUNIT"] == "1/(nJy)**2"


def test_images_that_agree_keep_their_scale(tmp_path: Path) -> None:
    records = [
        write_stars(
            tmp_path / f"{name}.fits",
            tmp_path,
            STARS,
            zero_point=25.0,
            unit="adu",
            cards={"MAGZPT": 25.0},
        )
        for name in "ab"
    ]
    hdus = make(tmp_path, records)
    assert star_fluxes(hdus) == pytest.approx(fluxes_of(25.0), rel=1e-3)
    assert hdus["IMAGE"].header["BUNIT"] == "adu"
    assert (hdus[0].header["MAGZERO"], hdus[0].header["FLUXSCAL"]) == (25.0, False)
    in_njy = make(tmp_path, records, SCALE_FLUX="nJy")
    assert star_fluxes(in_njy) == pytest.approx(fluxes_of(31.4), rel=1e-3)
    assert in_njy[0].header["FSCL2"] == pytest.approx(10 ** (0.4 * 6.4))


def test_surface_brightness_comes_to_one_scale(tmp_path: Path) -> None:
    one = write_field(tmp_path / "a.fits", tmp_path, unit="nJy/arcsec2", planes=False)
    two = write_field(tmp_path / "b.fits", tmp_path, unit="MJy/sr", planes=False)
    plain = make(tmp_path, [one])["IMAGE"].data
    both = make(tmp_path, [one, two])
    # 1 MJy/sr is 23,504.43 nJy a square arcsecond.
    np.testing.assert_allclose(both["IMAGE"].data, plain * (1 + 23_504.43) / 2, rtol=1e-5)
    assert both["IMAGE"].header["BUNIT"] == "nJy/arcsec2"
    pixels = write_field(tmp_path / "c.fits", tmp_path, unit="nJy", planes=False)
    with pytest.raises(BadParameterError, match="c has values of a pixel, others of a arcsec2"):
        make(tmp_path, [one, pixels])


def test_what_cannot_come_to_one_scale_is_refused(tmp_path: Path) -> None:
    calibrated = write_stars(tmp_path / "a.fits", tmp_path, STARS, zero_point=31.4, unit="nJy")
    counts = write_stars(tmp_path / "b.fits", tmp_path, STARS, zero_point=27.0, unit="adu")
    other = write_stars(
        tmp_path / "c.fits",
        tmp_path,
        STARS,
        zero_point=25.0,
        unit="adu",
        cards={"MAGZERO": 25.0, "MAGSYS": "Vega"},
    )
    with pytest.raises(BadParameterError, match=r"b has the unit 'adu' and no zero point.*NONE"):
        make(tmp_path, [calibrated, counts])
    with pytest.raises(BadParameterError, match="b has the unit 'adu' and no zero point"):
        make(tmp_path, [counts], SCALE_FLUX="Jy")
    with pytest.raises(BadParameterError, match=r"c has a zero point in VEGA magnitudes"):
        make(tmp_path, [calibrated, other])
    with pytest.raises(BadParameterError, match=r"a has the unit 'nJy', zero point 31.4000 \(AB\)"):
        make(tmp_path, [calibrated, counts], SCALE_FLUX="NATIVE")
    as_they_are = make(tmp_path, [calibrated, counts], SCALE_FLUX="none", COMBINE="sum")
    wanted = [a + b for a, b in zip(fluxes_of(31.4), fluxes_of(27.0), strict=True)]
    assert star_fluxes(as_they_are) == pytest.approx(wanted, rel=1e-3)
    header = as_they_are["IMAGE"].header
    assert "BUNIT" not in header
    assert "MAGZERO" not in header
    vega = make(tmp_path, [other], SCALE_FLUX="22")
    assert star_fluxes(vega) == pytest.approx(fluxes_of(22.0), rel=1e-3)
    assert vega["IMAGE"].header["MAGSYS"] == "VEGA"
    assert make(tmp_path, [counts])["IMAGE"].header["BUNIT"] == "adu"


@pytest.mark.parametrize(
    ("unit", "cards", "zero_point", "surface"),
    [
        ("nJy", {}, 31.4, ""),
        ("Jy/pixel", {}, 8.9, ""),
        ("10**-6 Jy", {}, 23.9, ""),
        ("nanomaggy", {}, 22.5, ""),
        ("MJy/sr", {}, 31.4 - 2.5 * np.log10(23_504.43), "arcsec2"),
        ("Jy/beam", {}, 8.9, "beam"),
        ("adu", {"MAGZERO": 27}, 27.0, ""),
        ("", {"PHOTZP": 25.5}, 25.5, ""),
        ("DN", {"ZP": 30.0, "BUNIT": "mag"}, 30.0, ""),
        ("adu/arcsec2", {"MAGZPT": 22.1}, 22.1, "arcsec2"),
        ("electron/s", {"PHOTFNU": 1e-7}, 8.9 + 17.5, ""),
        ("adu", {"MAGZERO": "unknown"}, None, ""),
        ("adu", {"MAGZERO": -9999.0}, None, ""),
        ("adu", {}, None, ""),
        ("erg/s/cm2/Angstrom", {}, None, ""),
        ("nonsense((", {}, None, ""),
    ],
    ids=lambda value: str(value)[:24] if isinstance(value, str) else None,
)
def test_zero_points_are_read_of_units_and_keywords(
    unit: str, cards: dict[str, Any], zero_point: float | None, surface: str
) -> None:
    header = FitsHeader.from_astropy(fits.Header(cards.items()))
    for own, primary in ((header, None), (FitsHeader([]), header)):
        scale = read_flux_scale(unit or None, own, primary, name="x")
        assert scale.surface == surface
        assert scale.zero_point == (
            None if zero_point is None else pytest.approx(zero_point, abs=1e-6)
        )


def test_a_unit_and_a_zero_point_that_contradict_each_other_are_refused() -> None:
    header = FitsHeader.from_astropy(fits.Header([("MAGZERO", 25.0)]))
    with pytest.raises(BadParameterError, match=r"means a zero point of 31.4000, .* says 25.0000"):
        read_flux_scale("nJy", header, None, name="x")
    assert read_flux_scale("nJy", header, None, name="x", is_trusted=False).zero_point == 31.4


@pytest.mark.parametrize("value", ["lightyears", "1e9", "nan", "-60"])
def test_scales_that_are_none_are_refused(value: str) -> None:
    with pytest.raises(BadParameterError, match="SCALE_FLUX is NONE, NATIVE, one of nJy"):
        read_mosaic_request(
            [("COLLECTION", "c"), ("CIRCLE", CIRCLE), ("SCALE_FLUX", value)], authority="a"
        )


def test_a_star_in_the_demos_visits_keeps_its_flux_beside_one_in_other_units(
    tmp_path: Path,
) -> None:
    survey = make_survey(DemoSize(objects=2_000, visits=20, asteroids=10))
    visit = next(i for i in plan_images(survey, ImageSize(visits=1)) if i.collection == VISITS)
    drawn = write_image(survey, visit, tmp_path, side=300)
    flux = 10 ** (0.4 * (31.4 - 16.0))
    with fits.open(drawn) as hdus:
        wcs = WCS(hdus["IMAGE"].header)
        primary = hdus[0].header.copy()
        planes = {hdu.name: (hdu.data.astype(np.float64), hdu.header.copy()) for hdu in hdus[1:]}
    height, width = planes["IMAGE"][0].shape
    ra, dec = (float(n) for n in wcs.all_pix2world(width / 2 + 0.3, height / 2 - 0.4, 0))
    y, x = np.mgrid[:height, :width]
    apart = (x - width / 2 - 0.3) ** 2 + (y - height / 2 + 0.4) ** 2
    star = flux * np.exp(-apart / (2 * 4.0**2)) / (2 * np.pi * 4.0**2)
    corners = wcs.all_pix2world(
        [[-0.5, -0.5], [width - 0.5, -0.5], [width - 0.5, height - 0.5], [-0.5, height - 0.5]], 0
    )
    position: dict[str, Any] = {"s_region": [float(n) for n in corners.ravel()]}

    def written(name: str, added: npt.NDArray[np.float64] | float, factor: float) -> ImageRecord:
        header = primary.copy()
        unit = "nJy" if factor == 1.0 else "adu"
        header["BUNIT"], header["MAGZERO"] = unit, 31.4 + 2.5 * np.log10(factor)
        made = fits.HDUList([fits.PrimaryHDU(header=header)])
        for plane, (values, own) in planes.items():
            power = {"IMAGE": factor, "MASK": 1.0, "VARIANCE": factor**2}[plane]
            pixels = (values + (added if plane == "IMAGE" else 0.0)) * power
            own["BUNIT"] = unit if plane == "IMAGE" else ""
            kind = np.int16 if plane == "MASK" else np.float32
            made.append(fits.ImageHDU(pixels.astype(kind), own, name=plane))
        path = tmp_path / f"{name}.fits"
        made.writeto(path)
        return make_record(path, tmp_path, planes=PLANES, obscore={**position, "o_unit": unit})

    given: dict[str, Any] = {"CIRCLE": f"{ra} {dec} 0.005", "SCALE": "0.25", "MASKBITS": "0"}
    original = make_record(drawn, tmp_path, planes=PLANES, obscore={**position, "o_unit": "nJy"})
    without = make(tmp_path, [original, written("b", 0.0, 1 / 30)], **given)
    image = without["IMAGE"].data.astype(np.float64).copy()
    assert without["IMAGE"].header["BUNIT"] == "nJy"
    assert without["IMAGE"].header["MAGZERO"] == 31.4
    pair = [written("c", star, 1.0), written("d", star, 1 / 30)]
    bright = make(tmp_path, pair, **given)["IMAGE"].data
    assert float(np.nansum(bright - image)) == pytest.approx(flux, rel=1e-3)
    # Two equal images in different units are one of them.
    alone = make(tmp_path, [original], **given)["IMAGE"].data
    np.testing.assert_allclose(image, alone, rtol=1e-4, atol=1.0)
