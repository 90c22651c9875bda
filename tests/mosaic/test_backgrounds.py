"""Backgrounds that are matched where images overlap."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from astrolabe.catalogs.cancel import QueryCancel
from astrolabe.core.errors import CancelledError
from astrolabe.images.model import ImageRecord
from astrolabe.images.mosaics import backgrounds
from astrolabe.images.mosaics.backgrounds import Difference, solve_levels
from astrolabe.images.mosaics.grid import OutputGrid
from astrolabe.images.mosaics.planning import PlacedImage, place_images
from tests.mosaic.fields import DEC, RA, write_stars
from tests.mosaic.making import make

STARS = {(RA - 0.04, DEC): 18.0, (RA, DEC + 0.01): 17.0, (RA + 0.035, DEC - 0.01): 18.0}
LEVELS = (30.0, -10.0, 100.0)  # nJy a square arcsecond
WIDE: dict[str, Any] = {
    "POS": f"RANGE {RA - 0.06} {RA + 0.06} {DEC - 0.02} {DEC + 0.02}",
    "SCALE": "2",
}


def test_levels_fit_differences_and_have_a_mean_of_zero_in_each_group() -> None:
    wanted = np.array([5.0, 1.0, -6.0, 0.0, 2.0, -2.0])
    pairs = [(0, 1), (1, 2), (2, 0), (5, 4)]
    differences = [Difference(i, j, wanted[i] - wanted[j], 10.0 + i) for i, j in pairs]
    np.testing.assert_allclose(solve_levels(6, differences), wanted, atol=1e-12)
    assert (solve_levels(3, []) == 0).all()


@pytest.mark.parametrize("combine", ["mean", "median", "weighted"])
def test_images_of_different_levels_give_an_even_background(tmp_path: Path, combine: str) -> None:
    records = [
        write_stars(
            tmp_path / f"{n}.fits",
            tmp_path,
            STARS,
            zero_point=zero_point,
            unit="adu",
            cards={"MAGZERO": zero_point},
            level=level * 10 ** (0.4 * (zero_point - 31.4)),
            dra=0.035 * (n - 1),
            scale_arcsec=scale,
            size=int(240 / scale),
            angle_deg=7.0 * n,
        )
        for n, (level, zero_point, scale) in enumerate(
            zip(LEVELS, (31.4, 27.0, 25.0), (2.0, 1.6, 2.0), strict=True)
        )
    ]
    plain = make(tmp_path, records, **WIDE, COMBINE=combine)
    image = plain["IMAGE"].data.copy()
    even = make(tmp_path, records, **WIDE, COMBINE=combine, BACKGROUND="match")
    matched = even["IMAGE"].data
    # A pixel of 2 arcseconds; the levels of all images together stay.
    mean = 4 * float(np.mean(LEVELS))
    np.testing.assert_allclose(np.nanmedian(matched), mean, rtol=0.01)
    starless = matched < mean + 50
    assert starless[np.isfinite(matched)].mean() > 0.7
    assert np.nanstd(matched[starless]) < 6.0
    assert np.nanstd(image[image < 900]) > 60.0
    header = even[0].header
    assert (header["BKGMATCH"], plain[0].header["BKGMATCH"]) == (True, False)
    areas = (4.0, 1.6**2, 4.0)
    levels = [header[f"BKGL{n}"] / area for n, area in enumerate(areas, start=1)]
    np.testing.assert_allclose(levels, np.array(LEVELS) - np.mean(LEVELS), atol=1.0)


def test_surface_brightness_is_matched_as_it_is(tmp_path: Path) -> None:
    records = [
        write_stars(
            tmp_path / f"{n}.fits",
            tmp_path,
            {},
            zero_point=31.4,
            unit="nJy/arcsec2",
            # The level is written for the pixel: a quarter of it is of a square arcsecond.
            level=level / 4,
            dra=0.02 * n,
        )
        for n, level in enumerate((10.0, 50.0))
    ]
    matched = make(tmp_path, records, CIRCLE=f"{RA} {DEC} 0.03", BACKGROUND="MATCH")["IMAGE"].data
    assert np.isfinite(matched).any()
    np.testing.assert_allclose(matched[np.isfinite(matched)], 30.0, rtol=1e-4)


def test_many_images_take_a_bounded_number_of_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [
        write_stars(tmp_path / f"{n}.fits", tmp_path, {}, zero_point=31.4, unit="nJy", level=n)
        for n in range(3)
    ]
    sizes: list[int] = []

    def counting(grid: OutputGrid, images: Sequence[ImageRecord]) -> list[PlacedImage]:
        placed = place_images(grid, images)
        sizes.append(sum(image.pixels for image in placed))
        return placed

    monkeypatch.setattr(backgrounds, "_MOST_SAMPLES", 1_000)
    monkeypatch.setattr(backgrounds, "place_images", counting)
    matched = make(tmp_path, records, BACKGROUND="MATCH", COMBINE="MEDIAN")["IMAGE"].data
    assert sizes[0] > 1_000 >= sizes[-1]
    np.testing.assert_allclose(matched, 4.0, rtol=1e-3)


def test_a_job_that_nobody_waits_for_ends_while_it_matches(tmp_path: Path) -> None:
    record = write_stars(tmp_path / "a.fits", tmp_path, {}, zero_point=31.4, unit="nJy")
    cancel = QueryCancel(seconds=60)
    cancel.cancel()
    with pytest.raises(CancelledError):
        make(tmp_path, [record], cancel=cancel, BACKGROUND="match")
    assert not (tmp_path / "mosaic.fits").exists()
