"""Pictures: limits, stretches, colours and how they lie."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pytest
from astropy.visualization import ZScaleInterval, make_lupton_rgb
from astropy.wcs import WCS
from PIL import Image

from astrolabe.core.errors import BadParameterError, TooLargeError
from astrolabe.images.writers.color_maps import COLOR_MAPS, color_table
from astrolabe.images.writers.pictures import (
    Limits,
    LimitsKind,
    PictureForm,
    PictureStyle,
    Stretch,
    draw,
    flat_image,
    reduced,
    stretched,
)
from astrolabe.images.writers.rgb import SOFTENING, Band, draw_rgb, lupton_rgb
from tests.support.images import star_field, wcs_header

Pixels = npt.NDArray[Any]


def decoded(content: bytes, mode: str = "RGBA") -> Pixels:
    with Image.open(BytesIO(content)) as picture:
        return np.asarray(picture.convert(mode))


def ramp() -> npt.NDArray[np.float32]:
    return np.linspace(0.0, 1.0, 200, dtype=np.float32).reshape(10, 20)


@pytest.mark.parametrize("name", COLOR_MAPS)
def test_color_maps_are_those_of_matplotlib(name: str) -> None:
    expected = np.rint(mpl.colormaps[name](np.arange(256))[:, :3] * 255)
    assert np.array_equal(color_table(name), expected)
    assert np.array_equal(color_table(f"{name.upper()}_r"), expected[::-1])


def test_unknown_color_maps_are_named_with_those_there_are() -> None:
    with pytest.raises(BadParameterError, match="'jet'; there are gray, viridis"):
        color_table("jet")


def test_the_first_row_of_an_image_is_the_lowest_of_a_picture() -> None:
    image = np.zeros((4, 6), np.float32)
    image[0, 0] = 1.0
    style = PictureStyle(limits=Limits.parse("0 1"), stretch=Stretch.LINEAR)
    for form in PictureForm:
        picture = decoded(draw(image, form, style), "L")
        assert picture.shape == (4, 6)
        assert int(np.argmax(picture)) == 3 * 6


def test_values_become_the_colours_of_the_map_between_the_limits() -> None:
    style = PictureStyle(
        limits=Limits.parse("0.25 0.75"), stretch=Stretch.LINEAR, color_map="viridis"
    )
    picture = decoded(draw(ramp(), PictureForm.PNG, style), "RGB")[::-1].reshape(-1, 3)
    table = color_table("viridis").astype(int)
    light = np.clip((ramp().ravel() - 0.25) / 0.5, 0, 1)
    expected = table[np.rint(light * 255).astype(int)]
    # 255 levels instead of 256: one step of the map at most.
    assert np.abs(picture.astype(int) - expected).max() <= 4
    assert tuple(picture[0]) == tuple(table[0])
    assert tuple(picture[-1]) == tuple(table[255])


def test_limits_may_be_turned_round() -> None:
    plain = stretched(ramp(), 0.0, 1.0, Stretch.LINEAR)
    assert np.allclose(stretched(ramp(), 1.0, 0.0, Stretch.LINEAR), 1.0 - plain)


@pytest.mark.parametrize("form", PictureForm)
def test_pixels_without_a_value_are_transparent_or_black(form: PictureForm) -> None:
    image = np.full((16, 16), 5.0, np.float32)
    image[:8, :8] = np.nan
    image[15, 15] = 9.0
    style = PictureStyle(limits=Limits.parse("0 5"))
    picture = decoded(draw(image, form, style))[::-1]
    if form is PictureForm.PNG:
        assert (picture[:8, :8, 3] == 0).all()
        assert (picture[8:, 8:, 3] == 255).all()
    else:
        assert picture[:7, :7, :3].max() < 30
    assert picture[9:, 9:, :3].min() > 230


@pytest.mark.parametrize("stretch", Stretch)
def test_stretches_rise_from_black_to_white(stretch: Stretch) -> None:
    light = stretched(ramp(), 0.0, 1.0, stretch).ravel()
    assert light[0] == pytest.approx(0.0, abs=1e-3)
    assert light[-1] == pytest.approx(1.0, abs=1e-6)
    assert (np.diff(light) >= 0).all()
    if stretch in {Stretch.SQRT, Stretch.LOG, Stretch.ASINH}:
        assert light[50] > ramp().ravel()[50] * 1.5


def test_equal_shares_of_pixels_are_equally_bright_by_histeq() -> None:
    rng = np.random.default_rng(3)
    image = rng.exponential(1.0, (100, 100)).astype(np.float32)
    light = stretched(image, 0.0, float(image.max()), Stretch.HISTEQ)
    shares, _ = np.histogram(light, bins=10, range=(0, 1))
    assert shares.min() > 800


def test_limits_of_an_image() -> None:
    image = star_field()
    image[0, 0] = np.nan
    finite = image[np.isfinite(image)]
    assert Limits.parse("MinMax").of(image) == (finite.min(), finite.max())
    assert Limits.parse("99%").of(image) == pytest.approx(tuple(np.percentile(finite, [0.5, 99.5])))
    low, high = ZScaleInterval().get_limits(finite)
    assert Limits.parse(" zscale ").of(image) == pytest.approx((low, high))
    assert Limits.parse("-1.5,2e3").of(image) == (-1.5, 2000.0)


def test_images_without_contrast_or_values_are_drawn_all_the_same() -> None:
    for image in (np.full((5, 5), 7.0), np.full((5, 5), np.nan), np.zeros((5, 5), np.int64)):
        for limits in ("zscale", "minmax", "99.5%"):
            for stretch in Stretch:
                style = PictureStyle(limits=Limits.parse(limits), stretch=stretch)
                assert decoded(draw(image, PictureForm.PNG, style)).shape == (5, 5, 4)


@pytest.mark.parametrize(
    "text",
    ["", "1", "1 1", "1 2 3", "nan 1", "0 inf", "low high", "0%", "101%", "%", "1e400 2", "-5%"],
)
def test_limits_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(BadParameterError, match="give two different numbers"):
        Limits.parse(text)


def test_stretches_that_are_none_are_refused() -> None:
    assert Stretch.parse(" ASINH ") is Stretch.ASINH
    with pytest.raises(BadParameterError, match="linear, sqrt, log, asinh, histeq"):
        Stretch.parse("gamma")


def test_a_cube_is_drawn_as_its_mean_and_a_spectrum_not_at_all() -> None:
    cube = np.stack([np.full((3, 4), 1.0), np.full((3, 4), np.nan), np.full((3, 4), 3.0)])
    assert np.array_equal(flat_image(cube), np.full((3, 4), 2.0))
    with pytest.raises(BadParameterError, match="two axes"):
        flat_image(np.zeros(5))


def test_large_images_are_made_smaller_by_means() -> None:
    image = np.arange(35, dtype=np.float32).reshape(5, 7)
    image[0, 0] = np.nan
    small = reduced(image, 3)
    assert small.shape == (2, 3)
    assert small[0, 0] == np.nanmean(image[:3, :3])
    assert small[1, 2] == np.nanmean(image[3:, 6:])
    assert reduced(image, 7) is image


def test_jpeg_has_a_largest_size() -> None:
    with pytest.raises(TooLargeError, match="at most 65500"):
        draw(np.zeros((1, 65_501), np.float32), PictureForm.JPEG, PictureStyle())


def bands(images: list[Pixels], wcs: list[WCS | None]) -> list[Band]:
    return [Band(image, where) for image, where in zip(images, wcs, strict=True)]


def test_rgb_is_that_of_lupton() -> None:
    rng = np.random.default_rng(8)
    images = [(rng.pareto(2.0, (40, 50)) * flux).astype(np.float32) for flux in (1.0, 2.0, 0.5)]
    low, high = 0.0, 5.0
    style = PictureStyle(limits=Limits(LimitsKind.VALUES, low, high))
    mine, missing = lupton_rgb(images, style)
    assert not missing.any()
    # astropy's curve is asinh(Q I / stretch) scaled so that a tenth of `stretch` is a tenth.
    frac = 0.1
    theirs = make_lupton_rgb(*images, minimum=low, stretch=high, Q=SOFTENING) / 255.0
    peak_theirs = frac / np.arcsinh(frac * SOFTENING)
    peak_mine = 1.0 / np.arcsinh(SOFTENING)
    dark = (theirs.max(axis=2) < 0.99) & (mine.max(axis=2) < 0.99) & (theirs.min(axis=2) > 0.05)
    assert dark.sum() > 50
    ratio = mine[dark] / theirs[dark]
    assert np.allclose(ratio, peak_mine / peak_theirs, rtol=0.12)
    # Colours, which are ratios, are the same but for the rounding to 8 bits.
    assert np.median(np.abs(ratio / np.median(ratio) - 1)) < 0.02


def test_bright_pixels_keep_their_colour() -> None:
    images = [np.full((2, 2), value, np.float32) for value in (4e4, 2e4, 1e4)]
    style = PictureStyle(limits=Limits(LimitsKind.VALUES, 0.0, 10.0))
    colors, _ = lupton_rgb(images, style)
    assert np.allclose(colors, [1.0, 0.5, 0.25], rtol=1e-5)


def test_bands_on_other_pixels_are_resampled_to_the_first() -> None:
    shape = (120, 140)
    y, x = np.mgrid[: shape[0], : shape[1]]
    wcs, moved = WCS(wcs_header("tan", shape)), WCS(wcs_header("tan", shape))
    moved.wcs.crpix += (5.0, -3.0)
    star = np.exp(-((x - 60) ** 2 + (y - 50) ** 2) / 18.0).astype(np.float32)
    other = np.exp(-((x - 65) ** 2 + (y - 47) ** 2) / 18.0).astype(np.float32)
    style = PictureStyle(limits=Limits.parse("0 1"), stretch=Stretch.LINEAR)
    content = draw_rgb(bands([star, other, star], [wcs, moved, wcs]), PictureForm.PNG, style)
    picture = decoded(content)[::-1].astype(int)
    inside = picture[10:-10, 10:-10]
    assert np.abs(inside[..., 0] - inside[..., 1]).max() <= 2
    assert inside[40, 50, 0] > 240
    unmoved = draw_rgb(bands([star, other, star], [wcs, wcs, wcs]), PictureForm.PNG, style)
    assert np.abs(np.diff(decoded(unmoved)[..., :2].astype(int), axis=2)).max() > 100


def test_bands_without_positions_must_have_the_same_pixels() -> None:
    image = star_field()
    same = draw_rgb(bands([image] * 3, [None] * 3), PictureForm.JPEG, PictureStyle())
    assert decoded(same).shape == (*image.shape, 4)
    with pytest.raises(BadParameterError, match="resampled"):
        draw_rgb(bands([image, image[1:], image], [None] * 3), PictureForm.PNG, PictureStyle())
    with pytest.raises(BadParameterError, match="three images"):
        draw_rgb(bands([image] * 2, [None] * 2), PictureForm.PNG, PictureStyle())


def test_rgb_pixels_that_no_band_has_are_transparent() -> None:
    images = [star_field(seed=seed) for seed in range(3)]
    for image in images:
        image[:10] = np.nan
    images[0][10:20] = np.nan
    picture = decoded(draw_rgb(bands(images, [None] * 3), PictureForm.PNG, PictureStyle()))[::-1]
    assert (picture[:10, :, 3] == 0).all()
    assert (picture[10:, :, 3] == 255).all()
    assert picture[10:20, :, 0].max() == 0
