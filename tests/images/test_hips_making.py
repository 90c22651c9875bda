"""HiPS of a collection of images of a known sky."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mocpy import MOC
from PIL import Image
from scipy.ndimage import binary_erosion

from astrolabe.core.database import Database
from astrolabe.core.errors import BadParameterError, ConflictError, NotFoundError
from astrolabe.core.migrate import upgrade
from astrolabe.images.hips.making import HipsMaker, HipsProgress, HipsRequest
from astrolabe.images.hips.tiles import Tile, read_fits_tile, sky_grid
from astrolabe.images.hips.trees import HipsTree, HipsTrees
from astrolabe.images.model import ImageKey
from astrolabe.images.store import ImageStore
from astrolabe.sky.healpix import healpix_29

from .hips_support import DEC, RA, SIZE, TinyCollection, brighter, smooth_sky, wcs_at

pytestmark = pytest.mark.timeout(60)


class Workshop:
    """A home with a collection, and what makes HiPS of it."""

    def __init__(self, home: Path) -> None:
        self.database = Database(f"sqlite:///{home / 'control.db'}")
        upgrade(self.database)
        self.store = ImageStore(self.database)
        self.images = TinyCollection(home, self.store)
        self.folder = home / "images" / "hips"
        self.trees = HipsTrees(self.folder, authority="test.invalid")
        self.maker = HipsMaker(self.trees, self.store, self.images.reader())

    def make(self, **request: object) -> HipsTree:
        report = self.maker.make(HipsRequest(collection="sky", **request))  # type: ignore[arg-type]
        return self.trees.get(report.hips_id, fresh=True)


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    made = Workshop(tmp_path)
    yield made
    made.images.open.close()
    made.database.close()


def tiles(tree: HipsTree, extension: str = "fits") -> dict[Tile, Path]:
    found = {}
    for path in tree.folder.glob(f"Norder*/Dir*/Npix*.{extension}"):
        parsed = Tile.parse(path.relative_to(tree.folder).as_posix())
        assert parsed is not None
        found[parsed[0]] = path
    return found


def values_of(path: Path) -> np.ndarray:
    values = read_fits_tile(path)
    assert values is not None
    return values


def truth(tile: Tile) -> np.ndarray:
    grid = np.arange(512.0)
    return smooth_sky(*sky_grid(tile, grid[:, None], grid[None, :], 512))


def test_tiles_of_all_orders_show_the_sky(workshop: Workshop) -> None:
    workshop.images.add("a", wcs_at(RA, DEC))
    workshop.images.add("b", wcs_at(RA + 0.3, DEC + 0.1, angle_deg=30.0))
    tree = workshop.make()
    found = tiles(tree)
    assert tree.info.order == 7
    assert {tile.order for tile in found} == set(range(8))
    assert all(tile.parent in found for tile in found if tile.order)
    assert set(tiles(tree, "png")) == set(found)
    covered = 0.0
    for tile, path in found.items():
        values = values_of(path)
        if tile.order == 7:
            covered += np.isfinite(values).sum() * (58.632302 / 128 / 512) ** 2
            inner = binary_erosion(np.isfinite(values), iterations=4, border_value=1)
            assert np.abs(values - truth(tile))[inner].max() < 0.005
        elif tile.order > 3:
            inner = binary_erosion(np.isfinite(values), iterations=2)
            assert np.abs(values - truth(tile))[inner].max() < 0.05
    # Two squares of half a degree of which a part is seen twice.
    assert 0.35 < covered < 0.5


@pytest.mark.slow
def test_a_wide_image_is_shown_everywhere(workshop: Workshop) -> None:
    """Interpolating places between those that the WCS was asked for is good enough."""
    workshop.images.add("wide", wcs_at(RA, 80.0, scale=240.0), s_pixel_scale=240.0, sky=slow_sky)
    tree = workshop.make()
    found = tiles(tree)
    assert tree.info.order == 3
    for tile, path in found.items():
        if tile.order != 3:
            continue
        values = values_of(path)
        inner = binary_erosion(np.isfinite(values), iterations=16)
        grid = np.arange(512.0)
        expected = slow_sky(*sky_grid(tile, grid[:, None], grid[None, :], 512))
        # What is left is the interpolation in the image, whose pixels are much larger.
        assert np.abs(values - expected)[inner].max(initial=0.0) < 0.02
    assert np.isfinite(values_of(found[Tile(0, 2)])).any()


def slow_sky(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """A sky without a break at RA 0."""
    lon, lat = np.radians(ra), np.radians(dec)
    return np.asarray(10.0 * np.cos(lat) * np.cos(lon) + 5.0 * np.sin(lat))


def test_fine_images_are_averaged_not_picked(workshop: Workshop) -> None:
    rng = np.random.default_rng(3)
    workshop.images.add(
        "noise", wcs_at(RA, DEC), sky=lambda ra, _dec: rng.normal(0.0, 1.0, ra.shape)
    )
    tree = workshop.make(order=4)
    leaves = [values_of(path) for tile, path in tiles(tree).items() if tile.order == 4]
    inner = [v[binary_erosion(np.isfinite(v), iterations=3)] for v in leaves]
    noise = np.concatenate(inner).std()
    # A pixel of order 4 is 26 arcsec wide: about 18 pixels of the image.
    assert 0.15 < noise < 0.35


def test_masked_pixels_count_only_where_nothing_else_is(workshop: Workshop) -> None:
    mask = np.zeros((SIZE, SIZE), dtype=np.uint8)
    mask[:, SIZE // 2 :] = 4
    zero = np.zeros_like(mask)
    workshop.images.add("a", wcs_at(RA, DEC), offset=1000.0, mask=mask)
    workshop.images.add("b", wcs_at(RA, DEC), mask=zero)
    tree = workshop.make()
    seen = []
    for tile, path in tiles(tree).items():
        if tile.order == 7:
            values = values_of(path)
            known = binary_erosion(np.isfinite(values), iterations=4, border_value=1)
            seen.append((values - truth(tile))[known])
    off = np.concatenate(seen)
    masked, both = np.abs(off) < 0.1, np.abs(off - 500.0) < 0.1
    assert masked.mean() == pytest.approx(0.5, abs=0.03)
    assert (masked | both).mean() > 0.99
    workshop.store.remove([ImageKey("sky", "b")])
    alone = workshop.make()
    off = np.concatenate(
        [
            (values_of(path) - truth(tile))[np.isfinite(values_of(path))]
            for tile, path in tiles(alone).items()
            if tile.order == 7
        ]
    )
    assert np.median(off) == pytest.approx(1000.0, abs=0.1)


def test_variances_are_weights(workshop: Workshop) -> None:
    workshop.images.add("a", wcs_at(RA, DEC), offset=40.0, variance=1.0)
    workshop.images.add("b", wcs_at(RA, DEC), variance=3.0)
    tree = workshop.make()
    off = np.concatenate(
        [
            (values_of(path) - truth(tile))[np.isfinite(values_of(path))]
            for tile, path in tiles(tree).items()
            if tile.order == 7
        ]
    )
    assert np.median(off) == pytest.approx(30.0, abs=0.01)


@pytest.mark.slow
def test_only_what_has_changed_is_made_anew(workshop: Workshop) -> None:
    workshop.images.add("a", wcs_at(RA, DEC))
    workshop.images.add("far", wcs_at(RA + 3, DEC))
    first = workshop.make()
    inodes = {tile: path.stat().st_ino for tile, path in tiles(first).items()}
    cuts = first.info.cuts
    workshop.images.add("b", wcs_at(RA + 3.4, DEC), offset=50.0)
    second = workshop.make()
    after = {tile: path.stat().st_ino for tile, path in tiles(second).items()}
    near = {t for t in inodes if t.order == 7 and np.isfinite(values_of(tiles(second)[t])).any()}
    kept = {t for t in inodes if after.get(t) == inodes[t]}
    a_cells = leaves_under(workshop, "a")
    assert a_cells
    assert a_cells <= kept
    changed = leaves_under(workshop, "b") & set(after)
    assert changed
    assert not changed & kept
    assert near
    assert Tile(0, 6) not in kept or Tile(0, 6) not in inodes
    assert second.info.cuts == cuts
    assert not first.folder.exists()
    # The same as if everything had been made at once.
    whole = workshop.make(rebuild=True, cuts=cuts)
    again = {tile: values_of(path) for tile, path in tiles(whole).items()}
    assert set(again) == set(after)


def leaves_under(workshop: Workshop, image_id: str) -> set[Tile]:
    corners = workshop.store.get(ImageKey("sky", image_id)).obscore["s_region"]
    places = np.asarray(corners).reshape(-1, 2)
    cells = healpix_29(places[:, 0], places[:, 1]) >> (2 * 22)
    return {Tile(7, cell) for cell in cells.tolist()}


@pytest.mark.slow
def test_an_image_that_went_leaves_nothing(workshop: Workshop) -> None:
    workshop.images.add("a", wcs_at(RA, DEC))
    workshop.images.add("b", wcs_at(RA + 3, DEC))
    one = workshop.make(hips_id="one")
    workshop.make(hips_id="two")
    workshop.store.remove([ImageKey("sky", "b")])
    left = workshop.make(hips_id="two")
    alone = workshop.make(hips_id="alone")
    assert set(tiles(left)) == set(tiles(alone)) < set(tiles(one))
    for tile, path in tiles(left).items():
        assert np.array_equal(values_of(path), values_of(tiles(alone)[tile]), equal_nan=True)
    moc = MOC.load(str(left.folder / "Moc.fits"), format="fits")
    assert moc == MOC.load(str(alone.folder / "Moc.fits"), format="fits")


def test_nothing_changed_nothing_done(workshop: Workshop) -> None:
    workshop.images.add("a", wcs_at(RA, DEC))
    first = workshop.make()
    report = workshop.maker.make(HipsRequest(collection="sky"))
    assert report.tiles == 0
    assert workshop.trees.get("sky", fresh=True).folder == first.folder


def test_another_look_at_the_same_values(workshop: Workshop) -> None:
    workshop.images.add("a", wcs_at(RA, DEC))
    first = workshop.make()
    inodes = {path.stat().st_ino for path in tiles(first).values()}
    second = workshop.make(picture="jpg", cuts=((0.0, 500.0),))
    assert {path.stat().st_ino for path in tiles(second).values()} == inodes
    assert not tiles(second, "png")
    assert set(tiles(second, "jpg")) == set(tiles(second))
    assert second.info.cuts == ((0.0, 500.0),)
    assert second.info.formats == ("jpg", "fits")


@pytest.mark.slow
@pytest.mark.parametrize("keep", [True, False], ids=["keep", "drop"])
def test_colour(workshop: Workshop, *, keep: bool) -> None:
    for band, light in (("g", 1.0), ("r", 2.0), ("i", 3.0)):
        workshop.images.add(band, wcs_at(RA, DEC), band=band, sky=brighter(light))
    workshop.images.add("other", wcs_at(RA + 5, DEC), band="z")
    tree = workshop.make(
        bands=("i", "r", "g"), keep_values=keep, cuts=((0.0, 600.0), (0.0, 400.0), (0.0, 600.0))
    )
    assert tree.info.hips_id == "sky_irg"
    assert not tiles(tree)
    assert (tree.folder / "bands").exists() == keep
    pictures = tiles(tree, "png")
    assert {tile.order for tile in pictures} == set(range(8))
    biggest = max((t for t in pictures if t.order == 7), key=lambda t: pictures[t].stat().st_size)
    picture = np.asarray(Image.open(pictures[biggest])).astype(float)[::-1]
    shown = picture[..., 3] > 0
    # Red and green are alike in their cuts; blue is at a third of them.
    red, green, blue = (picture[..., i][shown] for i in range(3))
    assert np.abs(red - green).max() <= 2
    assert np.median(blue / red) == pytest.approx(1 / 3, abs=0.02)
    assert tree.file("bands/0/Norder0/Dir0/Npix6.fits") is None
    properties = tree.info.properties(authority="x", is_public=True)
    assert properties["dataproduct_subtype"] == "color"
    assert properties["hips_tile_format"] == "png"
    same = workshop.make(bands=("i", "r", "g"), keep_values=keep)
    assert same.folder == tree.folder
    # A change of one band changes the picture.
    workshop.images.add("g", wcs_at(RA, DEC), band="g", sky=lambda ra, _dec: np.zeros(ra.shape))
    again = workshop.make(bands=("i", "r", "g"), keep_values=keep)
    assert again.info.cuts == tree.info.cuts
    changed = np.asarray(Image.open(tiles(again, "png")[biggest]))[::-1]
    assert changed[..., 2][shown].max() == 0
    assert set(tiles(again, "png")) == set(pictures)


def test_properties_have_all_that_must_be(workshop: Workshop) -> None:
    workshop.images.add(
        "a", wcs_at(RA, DEC), em_min=5e-7, em_max=6e-7, t_min=60000.0, t_max=60001.0
    )
    tree = workshop.make(title="Title of ours")
    found = tree.info.properties(authority="test.invalid", is_public=False)
    must = {
        "creator_did": "ivo://test.invalid/hips?sky",
        "obs_title": "Title of ours",
        "dataproduct_type": "image",
        "hips_version": "1.4",
        "hips_status": "private master unclonable",
        "hips_tile_format": "png fits",
        "hips_order": "7",
        "hips_frame": "equatorial",
        "hips_tile_width": "512",
        "hips_pixel_bitpix": "-32",
        "em_min": "5e-07",
        "t_max": "60001",
    }
    assert {key: found.get(key) for key in must} == must
    assert "hips_release_date" in found
    assert float(found["hips_initial_ra"]) == pytest.approx(RA, abs=0.05)
    low, high = map(float, found["hips_pixel_cut"].split())
    assert low < high
    moc = MOC.load(str(tree.folder / "Moc.fits"), format="fits")
    # Cells of 1.7 arcmin that have a part of half a degree squared.
    assert 0.25 < moc.sky_fraction * 41253 < 0.30
    assert float(found["moc_sky_fraction"]) == pytest.approx(moc.sky_fraction, rel=1e-4)


def test_images_that_cannot_be_shown_are_left_out(workshop: Workshop) -> None:
    workshop.images.add("a", wcs_at(RA, DEC))
    nowhere = workshop.images.add("nowhere", wcs_at(RA, DEC), s_region=None)
    broken = workshop.images.add("broken", wcs_at(RA, DEC))
    os.truncate(broken.uri, 5000)
    gone = workshop.images.add("gone", wcs_at(RA, DEC))
    Path(gone.uri).unlink()
    report = workshop.maker.make(HipsRequest(collection="sky"))
    assert {path for path, _ in report.skipped} == {
        nowhere.key.path,
        broken.key.path,
        gone.key.path,
    }
    assert report.images == 3
    assert tiles(workshop.trees.get("sky", fresh=True))


def test_it_is_told_how_far_it_is(workshop: Workshop) -> None:
    workshop.images.add("a", wcs_at(RA, DEC))
    told: list[HipsProgress] = []
    workshop.maker.make(HipsRequest(collection="sky"), told.append)
    for step in ("tiles", "pictures"):
        done = [progress for progress in told if progress.step == step]
        assert max(progress.done for progress in done) == done[0].total


@pytest.mark.parametrize(
    ("request_of", "words"),
    [
        ({"bands": ("g", "r")}, "one band or, in colour, of three"),
        ({"order": 2}, "from 3 to 20"),
        ({"order": 21}, "from 3 to 20"),
        ({"cuts": ((0.0, 1.0), (0.0, 1.0))}, "one pair"),
        ({"cuts": ((1.0, 1.0),)}, "below the second"),
        ({"cuts": ((0.0, float("nan")),)}, "below the second"),
        ({"hips_id": "../x"}, "is not the id"),
        ({"hips_id": "demo.object"}, "is not the id"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_made(workshop: Workshop, request_of: dict[str, object], words: str) -> None:
    workshop.images.add("a", wcs_at(RA, DEC))
    with pytest.raises(BadParameterError, match=words):
        workshop.make(**request_of)
    assert not workshop.trees.all(fresh=True)


def test_no_images_no_hips(workshop: Workshop) -> None:
    with pytest.raises(NotFoundError, match="no images"):
        workshop.make()
    workshop.images.add("a", wcs_at(RA, DEC), band="r")
    with pytest.raises(NotFoundError, match="no images of g"):
        workshop.make(bands=("g",))
    with pytest.raises(NotFoundError, match="no collection"):
        workshop.maker.make(HipsRequest(collection="nothing"))
    assert not workshop.trees.all(fresh=True)


def test_one_that_broke_off_leaves_the_old_one(workshop: Workshop) -> None:
    workshop.images.add("a", wcs_at(RA, DEC))
    first = workshop.make()
    workshop.images.add("b", wcs_at(RA + 0.3, DEC))

    def fail(progress: HipsProgress) -> None:
        raise KeyboardInterrupt(progress.step)

    with pytest.raises(KeyboardInterrupt):
        workshop.maker.make(HipsRequest(collection="sky"), fail)
    shown = workshop.trees.get("sky", fresh=True)
    assert shown.folder == first.folder
    assert len(tiles(shown)) == len(tiles(first))
    # What a process that was killed left behind goes with the next one.
    left = workshop.folder / "sky" / ".building-dead"
    left.mkdir()
    workshop.make()
    assert not left.exists()
    names = {entry.name for entry in (workshop.folder / "sky").iterdir()}
    assert names == {"current", "lock", workshop.trees.get("sky", fresh=True).folder.name}


def test_two_cannot_make_the_same(workshop: Workshop) -> None:
    workshop.images.add("a", wcs_at(RA, DEC))
    workshop.make()
    with workshop.trees.writing("sky"):
        with pytest.raises(ConflictError, match="Somebody else"):
            workshop.make()
        with pytest.raises(ConflictError, match="Somebody else"):
            workshop.trees.remove("sky")
        workshop.make(hips_id="another")


def test_a_removed_tree_is_gone(workshop: Workshop) -> None:
    workshop.images.add("a", wcs_at(RA, DEC))
    tree = workshop.make()
    workshop.trees.remove("sky")
    assert not tree.folder.exists()
    with pytest.raises(NotFoundError, match="hipslist"):
        workshop.trees.get("sky", fresh=True)
    with pytest.raises(NotFoundError):
        workshop.trees.remove("sky")
    workshop.make()


def test_files_of_a_tree(workshop: Workshop) -> None:
    workshop.images.add("a", wcs_at(RA, DEC))
    tree = workshop.make()
    assert tree.file("Moc.fits") == tree.folder / "Moc.fits"
    assert tree.file(Tile(0, 6).path("png")) is not None
    for path in ("hips.json", "sources.json", "../sky/current", "Norder0/Dir0/Npix5.png", "", "/"):
        assert tree.file(path) is None
    broken = replace(tree, folder=workshop.folder / "nowhere")
    assert broken.file("Moc.fits") is None
    # A manifest that cannot be read hides its tree and no other.
    (tree.folder / "hips.json").write_text("{}", "utf-8")
    assert HipsTrees(workshop.folder, authority="x").all() == ()
