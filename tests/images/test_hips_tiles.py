"""Tiles, coverage and properties of HiPS."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import ICRS, SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from mocpy import MOC
from PIL import Image
from reproject.hips._utils import tile_header

from astrolabe.catalogs.count_map import CountMap
from astrolabe.core.errors import BadParameterError, InternalError
from astrolabe.images.hips.coverage import (
    MOC_FORMS,
    MocForm,
    cells_of_polygon,
    find_moc_form,
    moc_bytes,
    moc_of_cells,
    read_moc,
    view_of_cells,
)
from astrolabe.images.hips.density import DENSITY_ORDER, DENSITY_WIDTH, DensityMap
from astrolabe.images.hips.pictures import colors, cut_of, encode, grey
from astrolabe.images.hips.properties import format_properties, parse_properties
from astrolabe.images.hips.tiles import (
    Tile,
    average_of_children,
    fits_bytes,
    order_of_scale,
    pixel_scale_arcsec,
    png_bytes,
    read_fits_tile,
    sky_grid,
)
from astrolabe.sky.healpix import healpix_29


@pytest.mark.parametrize(("order", "pixel"), [(3, 100), (3, 0), (5, 3000), (4, 2900), (7, 190_000)])
def test_pixels_are_where_another_library_has_them(order: int, pixel: int) -> None:
    """reproject describes each tile by a projection (HPX) of FITS."""
    header = tile_header(level=order, index=pixel, frame=ICRS(), tile_dims=512)
    wcs = WCS(header[0] if isinstance(header, tuple) else header)
    columns, rows = np.array([0.0, 10, 400, 511]), np.array([0.0, 300, 20, 511])
    expected = wcs.pixel_to_world(columns, rows)
    ra, dec = sky_grid(Tile(order, pixel), rows, columns, 512)
    apart = SkyCoord(ra, dec, unit="deg").separation(expected)
    assert apart.arcsec.max() < 1e-6


def test_pixels_lie_in_their_tile() -> None:
    for tile in (Tile(2, 77), Tile(0, 0), Tile(1, 47), Tile(6, 12 * 4**6 - 1)):
        rows, columns = np.meshgrid(np.arange(64.0), np.arange(64.0), indexing="ij")
        ra, dec = sky_grid(tile, rows, columns, 64)
        cells = healpix_29(ra.ravel(), dec.ravel()) >> (2 * (29 - tile.order))
        assert set(cells.tolist()) == {tile.pixel}


@pytest.mark.parametrize(
    "path",
    [
        "Norder3/Dir0/Npix5.fits",
        "Norder9/Dir1240000/Npix1245244.png",
        "Norder0/Dir0/Npix11.jpg",
    ],
)
def test_a_path_comes_back(path: str) -> None:
    parsed = Tile.parse(path)
    assert parsed is not None
    assert parsed[0].path(parsed[1]) == path


@pytest.mark.parametrize(
    "path",
    [
        "Norder3/Dir10000/Npix5.fits",
        "Norder03/Dir0/Npix5.fits",
        "Norder3/Dir0/Npix05.fits",
        "Norder3/Dir0/Npix768.fits",
        "Norder21/Dir0/Npix5.fits",
        "Norder3/Dir0/Npix5.fits/../../x",
        "../Norder3/Dir0/Npix5.fits",
        "Norder3/Dir0/Npix5.html",
        "Norder3/Dir0/Npix5.fits\n",
        "Norder3/Dir0/Npix\u0665.fits",
        "Norder3/Allsky.png",
    ],
)
def test_what_is_no_tile(path: str) -> None:
    assert Tile.parse(path) is None


def test_the_tile_above_is_the_mean_of_what_is_known() -> None:
    rng = np.random.default_rng(1)
    width = 16
    tile = Tile(4, 1234)

    def sky(of: Tile, size: int) -> np.ndarray:
        rows, columns = np.meshgrid(np.arange(float(size)), np.arange(float(size)), indexing="ij")
        ra, dec = sky_grid(of, rows, columns, size)
        return (10 * ra + dec).astype(np.float32)

    children = {child: sky(child, width) for child in tile.children}
    above = average_of_children(children, width)
    # The mean of four points around the middle of a pixel is nearly the value in the middle.
    assert np.abs(above - sky(tile, width)).max() < 0.05 * np.ptp(above) / width
    hole = rng.random((width, width)) < 0.5
    first = tile.children[0]
    holed = {first: np.where(hole, np.nan, children[first]).astype(np.float32)}
    part = average_of_children(holed, width)
    quads = holed[first].reshape(width // 2, 2, width // 2, 2)
    with np.errstate(invalid="ignore"):
        number = np.isfinite(quads).sum(axis=(1, 3))
        expected = np.nansum(quads, axis=(1, 3)) / number
    filled = part[width // 2 :, : width // 2]
    assert np.array_equal(np.isfinite(filled), number > 0)
    assert np.allclose(filled[number > 0], expected[number > 0])
    assert np.isfinite(part).sum() == (number > 0).sum()


def test_a_fits_tile_is_one_for_astropy_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(size=(512, 512)).astype(np.float32)
    values[3, 5] = np.nan
    path = tmp_path / "Npix7.fits"
    path.write_bytes(fits_bytes(Tile(3, 7), values, "nJy"))
    assert path.stat().st_size % 2880 == 0
    with fits.open(path) as hdus:
        hdus.verify("exception")
        assert np.array_equal(hdus[0].data, values, equal_nan=True)
        assert (hdus[0].header["ORDER"], hdus[0].header["NPIX"]) == (3, 7)
        assert hdus[0].header["BUNIT"] == "nJy"
    read = read_fits_tile(path)
    assert read is not None
    assert np.array_equal(read, values, equal_nan=True)
    assert read_fits_tile(tmp_path / "Npix8.fits") is None
    path.write_bytes(b"SIMPLE")
    with pytest.raises(InternalError, match="is broken"):
        read_fits_tile(path)


def test_pictures_are_upright() -> None:
    values = np.zeros((4, 4), dtype=np.float32)
    values[0, 1] = 1.0  # lowest row of FITS
    values[3, 3] = np.nan
    picture = np.asarray(Image.open(io.BytesIO(png_bytes(grey(values, (0.0, 1.0))))))
    assert picture[3, 1].tolist() == [255, 255]
    assert picture[0, 3].tolist() == [0, 0]
    assert picture[1, 1].tolist() == [0, 255]


def test_colours_keep_their_ratios_and_fill_gaps() -> None:
    red = np.array([[1.0, 0.5, 4.0, np.nan]], dtype=np.float32)
    green = np.array([[1.0, 0.25, 2.0, np.nan]], dtype=np.float32)
    blue = np.array([[np.nan, 0.125, 1.0, np.nan]], dtype=np.float32)
    shown = colors([red, green, blue], [(0.0, 1.0)] * 3)[0].astype(int)
    # Where blue is unknown it is the mean of the others, so white stays white.
    assert shown[0].tolist() == [255, 255, 255, 255]
    assert shown[1, 0] / shown[1, 1] == pytest.approx(2.0, rel=0.03)
    assert shown[1, 1] / shown[1, 2] == pytest.approx(2.0, rel=0.03)
    # What is too bright keeps its colour instead of becoming white.
    assert shown[2].tolist() == [255, 128, 64, 255]
    assert shown[3, 3] == 0


def test_a_jpeg_has_no_holes_but_black() -> None:
    values = np.full((64, 64), np.nan, dtype=np.float32)
    values[:32] = 1.0
    picture = np.asarray(Image.open(io.BytesIO(encode(grey(values, (0.0, 1.0)), "jpg"))))
    assert picture.shape == (64, 64)
    assert picture[40:].min() > 250
    assert picture[:24].max() < 5


def test_cuts_are_from_the_sky_to_bright_things() -> None:
    rng = np.random.default_rng(4)
    values = rng.normal(100.0, 2.0, 100_000).astype(np.float32)
    values[:1000] += 5000.0
    low, high = cut_of(values)
    assert 95 < low < 99
    assert 4000 < high < 5200
    assert cut_of(np.empty(0, dtype=np.float32)) == (0.0, 1.0)
    low, high = cut_of(np.full(10, 3.0, dtype=np.float32))
    assert low < high


def test_orders_and_scales() -> None:
    assert pixel_scale_arcsec(9) == pytest.approx(0.805, abs=0.001)
    assert [order_of_scale(scale) for scale in (0.81, 0.8, 0.2, 1e9)] == [9, 10, 12, 0]


@pytest.mark.parametrize("form", MOC_FORMS, ids=lambda form: form.name)
def test_a_coverage_is_read_by_mocpy(tmp_path: Path, form: MocForm) -> None:
    cells = np.array([5, 17, 18, 19, 16, 1000, 12_582_911])
    moc = moc_of_cells(10, cells)
    content = moc_bytes(moc, form)
    path = tmp_path / "coverage"
    path.write_bytes(content)
    if content.startswith(b"SIMPLE"):
        read = read_moc(path)
        with fits.open(path) as hdus:
            assert hdus[1].header["ORDERING"] in {"RANGE", "NUNIQ"}
    elif content.startswith(b"{"):
        read = MOC.from_string(content.decode(), "json")
    else:
        read = MOC.from_string(content.decode(), "ascii")
    assert read == moc
    assert sorted(read.to_order(10).flatten().tolist()) == sorted(cells.tolist())


def test_forms_of_coverage() -> None:
    assert find_moc_form(None).name == "fits"
    assert find_moc_form("image/fits").name == "fits"
    assert find_moc_form(" JSON ").name == "json"
    assert find_moc_form("text/plain").name == "ascii"
    with pytest.raises(BadParameterError, match="one of fits, json, ascii"):
        find_moc_form("votable")


def test_a_broken_coverage(tmp_path: Path) -> None:
    with pytest.raises(InternalError, match="cannot be read"):
        read_moc(tmp_path / "Moc.fits")


@pytest.mark.parametrize(("ra", "dec"), [(10.0, 0.0), (0.0, 5.0), (123.0, 88.5), (200.0, -89.9)])
def test_cells_of_a_polygon_hold_all_of_it(ra: float, dec: float) -> None:
    size = 0.4
    center = SkyCoord(ra, dec, unit="deg")
    corners = center.directional_offset_by(
        np.array([10.0, 100.0, 190.0, 280.0]) * units.deg, size * units.deg
    )
    flat = np.stack([corners.ra.deg, corners.dec.deg], axis=1).ravel()
    found = cells_of_polygon(flat, 9)
    inside = center.directional_offset_by(
        np.linspace(0, 360, 500) * units.deg, np.linspace(0, size * 0.69, 500) * units.deg
    )
    cells = healpix_29(inside.ra.deg, inside.dec.deg) >> (2 * 20)
    assert set(cells.tolist()) <= set(found.tolist())
    assert len(found) < 120


def test_the_view_of_cells() -> None:
    cells = np.unique(healpix_29([359.9, 0.1, 0.0], [10.0, 10.0, 10.3]) >> (2 * 19))
    ra, dec, fov = view_of_cells(10, cells)
    assert min(ra, 360 - ra) < 0.1
    assert dec == pytest.approx(10.1, abs=0.1)
    assert fov == pytest.approx(1.0)
    assert view_of_cells(10, [])[2] == 60.0
    everywhere = view_of_cells(2, np.arange(192))
    assert everywhere[2] == 180.0


def counted(count: int = 20_000) -> tuple[CountMap, np.ndarray]:
    rng = np.random.default_rng(6)
    keys = np.sort(healpix_29(rng.normal(150, 3, count) % 360, rng.normal(2, 3, count)))
    counts = CountMap()
    counts.add(keys)
    return counts, keys


def test_density_tiles_hold_all_rows_at_every_order() -> None:
    counts, keys = counted()
    density = DensityMap(counts)
    sky = 4 * np.pi * np.degrees(1) ** 2
    for order in range(DENSITY_ORDER + 1):
        area = sky / (12 * 4**order * DENSITY_WIDTH**2)
        tiles = {Tile(order, pixel) for pixel in (keys >> (2 * (29 - order))).tolist()}
        total = 0.0
        for tile in tiles:
            values = density.values(tile)
            assert values is not None
            total += values.sum(dtype=np.float64) * area
        assert total == pytest.approx(len(keys), rel=1e-5)
    assert density.values(Tile(DENSITY_ORDER, 0)) is None
    assert density.values(Tile(DENSITY_ORDER + 1, 0)) is None


def test_density_pixels_are_where_the_rows_are() -> None:
    counts, _ = counted()
    density = DensityMap(counts)
    cell = int(counts.cells[np.argmax(counts.counts)])
    tile = Tile(DENSITY_ORDER, cell >> (2 * (10 - DENSITY_ORDER)))
    values = density.values(tile)
    picture = density.picture(tile)
    assert values is not None
    assert picture is not None
    rows, columns = np.meshgrid(
        np.arange(float(DENSITY_WIDTH)), np.arange(float(DENSITY_WIDTH)), indexing="ij"
    )
    ra, dec = sky_grid(tile, rows, columns, DENSITY_WIDTH)
    at = healpix_29(ra.ravel(), dec.ravel()) >> (2 * 19)
    filled = values.ravel() > 0
    assert set(at[filled].tolist()) == set(
        counts.cells[counts.cells >> (2 * (10 - DENSITY_ORDER)) == tile.pixel].tolist()
    )
    brightest = int(np.argmax(values))
    assert at[brightest] == cell
    assert np.array_equal(picture[..., 3] > 0, values > 0)
    light = picture[..., :3].astype(int).sum(axis=2)
    assert light.ravel()[brightest] == light.max()


def test_an_empty_density() -> None:
    density = DensityMap(CountMap())
    assert density.is_empty
    assert density.values(Tile(0, 0)) is None
    assert density.picture(Tile(0, 0)) is None


def test_properties_come_back() -> None:
    properties = {"obs_title": "A  sky\nwith lines", "hips_order": "9"}
    text = format_properties(properties)
    assert len(text.splitlines()) == 2
    assert parse_properties("# comment\n" + text) == {
        "obs_title": "A sky with lines",
        "hips_order": "9",
    }
