"""The simulated images show what the tables say: positions, fluxes, noise, masks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from astropy.io import fits

from astrolabe.config import load_settings
from astrolabe.core.errors import InternalError
from astrolabe.demo import camera, measure
from astrolabe.demo.frames import Frame, MaskBit, draw_coadd, draw_visit, wcs_of
from astrolabe.demo.image_build import demo_size, images_are_wanted, make_demo_images
from astrolabe.demo.image_files import (
    COADDS,
    VISITS,
    DemoImage,
    ImageSize,
    plan_images,
    write_image,
)
from astrolabe.demo.light import GaussianMix, de_vaucouleurs, exponential, point_spread
from astrolabe.demo.sphere import separation_deg
from astrolabe.demo.survey import DemoSize, Survey, make_survey
from astrolabe.demo.truth import Kind
from astrolabe.factory import ProcessContext

SIZE = DemoSize(objects=150_000, visits=200, asteroids=50)
TINY = ImageSize(visits=3, patches=(5,), bands="gri", side=300)
POINTING = (150.3, 2.5, 77.0)
PATCH, BAND = 5, 3


@pytest.fixture(scope="module")
def survey() -> Survey:
    return make_survey(SIZE)


@pytest.fixture(scope="module")
def coadd(survey: Survey) -> Frame:
    return draw_coadd(survey, PATCH, BAND)


@pytest.fixture(scope="module")
def planned(survey: Survey) -> list[DemoImage]:
    return list(plan_images(survey, ImageSize(visits=20)))


@pytest.mark.parametrize("detector", [0, 44, 95])
def test_tables_and_wcs_agree_where_a_pixel_is(detector: int) -> None:
    wcs = wcs_of(camera.detector_wcs_cards(detector, POINTING))
    x, y = (axis.ravel() for axis in np.meshgrid([0.0, 900.3, 2047.0], [0.0, 1500.7, 2047.0]))
    ra, dec = wcs.all_pix2world(x, y, 0)
    found, x_found, y_found = camera.detector_xy(ra, dec, POINTING)
    assert (found == detector).all()
    np.testing.assert_allclose(x_found, x, atol=1e-6)
    np.testing.assert_allclose(y_found, y, atol=1e-6)
    ra_again, dec_again = camera.detector_sky(np.array(detector), x, y, POINTING)
    np.testing.assert_allclose(ra_again, ra, atol=1e-11)
    np.testing.assert_allclose(dec_again, dec, atol=1e-11)


def test_the_distortion_is_there_and_its_inverse_is_said() -> None:
    wcs = wcs_of(camera.detector_wcs_cards(94, POINTING))
    corner = np.array([[2047.0, 2047.0]])
    straight = wcs.wcs_world2pix(wcs.all_pix2world(corner, 0), 0)
    assert np.abs(straight - corner).max() > 20
    inverse = wcs.sip_foc2pix(wcs.sip_pix2foc(corner, 0), 0)
    np.testing.assert_allclose(inverse, corner, atol=1e-3)


def test_sources_say_the_pixel_of_their_position(survey: Survey) -> None:
    rows = next(measure.source_batches(survey.truth, survey.asteroids, survey.visits)).to_pydict()
    for n in range(0, len(rows["x"]), 97):
        wcs = wcs_of(camera.detector_wcs_cards(rows["detector"][n], survey.visits.pointing(0)))
        x, y = wcs.all_world2pix(rows["coord_ra"][n], rows["coord_dec"][n], 0)
        assert (float(x), float(y)) == pytest.approx((rows["x"][n], rows["y"][n]), abs=1e-4)
        assert -0.5 <= rows["x"][n] < camera.DETECTOR_PIXELS - 0.5


def test_objects_lie_on_the_patch_that_they_name(survey: Survey) -> None:
    truth = survey.truth
    mine = (camera.tract_of(truth.ra_deg, truth.dec_deg) == camera.CENTRAL_TRACT) & (
        camera.patch_of(truth.ra_deg, truth.dec_deg) == PATCH
    )
    assert mine.sum() > 200
    wcs = wcs_of(camera.coadd_wcs_cards(PATCH))
    x, y = wcs.wcs_world2pix(truth.ra_deg[mine], truth.dec_deg[mine], 0)
    low, high = camera.PATCH_MARGIN - 0.5, camera.PATCH_MARGIN + camera.PATCH_PIXELS - 0.5
    assert min(x.min(), y.min()) >= low - 1e-6
    assert max(x.max(), y.max()) <= high + 1e-6


@pytest.mark.parametrize("profile", [exponential, de_vaucouleurs], ids=lambda f: f.__name__)
def test_galaxies_hold_half_of_their_light_within_the_half_light_radius(
    profile: Callable[[], GaussianMix],
) -> None:
    mix = profile()
    inside = np.sum(mix.share * (1 - np.exp(-1 / (2 * mix.variance))))
    assert inside == pytest.approx(0.5, abs=0.025)
    assert mix.share.sum() == pytest.approx(1.0)


def test_a_point_source_has_half_its_peak_at_half_the_full_width() -> None:
    mix = point_spread()
    weights = mix.share / mix.variance
    half = np.sum(weights * np.exp(-(0.5**2) / (2 * mix.variance))) / weights.sum()
    assert half == pytest.approx(0.5, abs=0.01)


def _stamp(spread: GaussianMix, x: float, y: float, box: int) -> npt.NDArray[np.float64]:
    """Return the light of a point source on the pixels around the nearest one."""
    grid = np.arange(-box, box + 1)
    squares = (grid[None, :] - (x - round(x))) ** 2 + (grid[:, None] - (y - round(y))) ** 2
    terms = spread.share / (2 * np.pi * spread.variance)
    light: npt.NDArray[np.float64] = np.sum(
        terms * np.exp(-squares[..., None] / (2 * spread.variance)), axis=-1
    )
    return light


def _isolated_stars(
    survey: Survey, frame: Frame, kind: Kind, limits: tuple[float, float], band: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return rows and pixels of objects of a kind that nothing else is near to."""
    truth = survey.truth
    wcs = wcs_of(frame.wcs_cards)
    size = frame.image.shape[0]
    near = np.flatnonzero(
        separation_deg(
            truth.ra_deg, truth.dec_deg, *map(float, wcs.all_pix2world(size / 2, size / 2, 0))
        )
        < 0.3
    )
    x, y = wcs.all_world2pix(truth.ra_deg[near], truth.dec_deg[near], 0, quiet=True)
    inside = (np.minimum(x, y) > 25) & (np.maximum(x, y) < size - 25)
    mag = truth.mag[near, band]
    chosen = inside & (truth.kind[near] == kind) & (mag > limits[0]) & (mag < limits[1])
    away = np.hypot(x[chosen][:, None] - x, y[chosen][:, None] - y)
    lonely = (away < 25).sum(axis=1) == 1
    return near[chosen][lonely], x[chosen][lonely], y[chosen][lonely]


def test_point_sources_have_the_flux_of_the_tables_within_their_errors(
    survey: Survey, coadd: Frame
) -> None:
    rows, x, y = _isolated_stars(survey, coadd, Kind.STAR, (18.0, 22.5), BAND)
    assert len(rows) > 60
    scale = coadd.seeing_arcsec / camera.COADD_ARCSEC
    spread = point_spread().scaled(scale).widened(1 / 12)
    pulls, errors = [], []
    table = measure.object_table(survey.truth, survey.visits)
    told = table["i_psfFluxErr"].to_numpy()
    for row, column, line in zip(rows, x, y, strict=True):
        cut = np.s_[round(line) - 12 : round(line) + 13, round(column) - 12 : round(column) + 13]
        shape = _stamp(spread, column, line, 12)
        weight = shape / coadd.variance[cut]
        error = 1 / np.sqrt(np.sum(weight * shape))
        flux = np.sum(weight * coadd.image[cut]) * error**2
        pulls.append((flux - measure.flux_njy(survey.truth.mag[row, BAND])) / error)
        errors.append(error / told[row])
    assert np.std(pulls) == pytest.approx(1.0, abs=0.25)
    assert np.mean(pulls) == pytest.approx(0.0, abs=0.45)
    assert np.median(errors) == pytest.approx(1.0, abs=0.12)


def test_stars_lie_where_the_wcs_says(survey: Survey, coadd: Frame) -> None:
    rows, x, y = _isolated_stars(survey, coadd, Kind.STAR, (15.5, 18.5), BAND)
    assert len(rows) > 10
    misses = []
    for column, line in zip(x, y, strict=True):
        i, j = round(column), round(line)
        light = coadd.image[j - 6 : j + 7, i - 6 : i + 7].astype(float)
        grid = np.arange(-6, 7)
        window = np.exp(-(grid[:, None] ** 2 + grid[None, :] ** 2) / 8)
        light *= window
        misses.append((np.sum(light * grid[None, :]) / light.sum() - (column - i)) + 0.0)
        misses.append((np.sum(light * grid[:, None]) / light.sum() - (line - j)) + 0.0)
    # The window around the middle of a pixel draws a centroid towards it: by half at most.
    assert np.abs(misses).max() < 0.3
    assert abs(np.mean(misses)) < 0.05


def test_noise_of_the_empty_sky_is_as_the_variance_says(coadd: Frame) -> None:
    empty = coadd.mask == 0
    pulls = coadd.image[empty] / np.sqrt(coadd.variance[empty])
    assert np.std(pulls) == pytest.approx(1.0, abs=0.03)


@pytest.mark.slow
def test_a_visit_shows_variable_stars_as_bright_as_they_were_then(
    survey: Survey, planned: list[DemoImage]
) -> None:
    visits = [image for image in planned if image.collection == VISITS]
    differences: list[float] = []
    for image in visits:
        if differences:
            break
        frame = draw_visit(survey, image.visit, image.detector)
        for kind in (Kind.RR_LYRAE, Kind.LONG_PERIOD, Kind.ECLIPSING_BINARY):
            rows, x, y = _isolated_stars(survey, frame, kind, (17.0, 21.0), image.band)
            for row, column, line in zip(rows, x, y, strict=True):
                mjd = float(survey.visits.mid_mjd[image.visit])
                now = measure.flux_njy(survey.truth.magnitude_at(np.array([row]), image.band, mjd))[
                    0
                ]
                scale = frame.seeing_arcsec / camera.PIXEL_ARCSEC
                spread = point_spread().scaled(scale).widened(1 / 12)
                shape = _stamp(spread, column, line, 18)
                j, i = round(line), round(column)
                cut = np.s_[j - 18 : j + 19, i - 18 : i + 19]
                if (frame.mask[cut] & (MaskBit.BAD | MaskBit.CR | MaskBit.SAT)).any():
                    continue
                weight = shape / frame.variance[cut]
                error = 1 / np.sqrt(np.sum(weight * shape))
                differences.append((np.sum(weight * frame.image[cut]) * error**2 - now) / error)
    assert differences
    assert np.abs(differences).max() < 4.5


def test_masks_mark_what_is_wrong(survey: Survey, planned: list[DemoImage]) -> None:
    image = next(image for image in planned if image.collection == VISITS)
    frame = draw_visit(survey, image.visit, image.detector)
    bad = (frame.mask & MaskBit.BAD) > 0
    np.testing.assert_array_equal(np.isnan(frame.image), bad)
    assert np.isfinite(frame.variance).all()
    rays = ((frame.mask & MaskBit.CR) > 0) & ~bad
    assert rays.sum() > 50
    assert np.median(frame.image[rays]) > 8 * np.sqrt(frame.sky_variance)
    assert (frame.mask[0] & MaskBit.EDGE).all()
    assert not (frame.mask[100, 100] & MaskBit.EDGE)
    saturated = (frame.mask & MaskBit.SAT) > 0
    assert np.nanmax(frame.image[~saturated]) < 5.0e4 * 1.2
    again = draw_visit(survey, image.visit, image.detector)
    np.testing.assert_array_equal(frame.image, again.image)


def test_visits_lie_in_the_square_degree_and_coadds_name_them(
    survey: Survey, planned: list[DemoImage]
) -> None:
    visits = {image.name: image for image in planned if image.collection == VISITS}
    assert len(visits) == 20
    for image in visits.values():
        pointing = survey.visits.pointing(image.visit)
        ra, dec = camera.detector_sky(
            np.array(image.detector),
            np.array([0.0, 2047.0, 2047.0, 0.0]),
            np.array([0.0, 0.0, 2047.0, 2047.0]),
            pointing,
        )
        assert (camera.tract_of(ra, dec) == camera.CENTRAL_TRACT).all()
        assert (separation_deg(ra, dec, *pointing[:2]) < camera.FIELD_RADIUS_DEG).all()
    coadds = [image for image in planned if image.collection == COADDS]
    assert len(coadds) == 16 * 6
    named = {name for image in coadds for name in image.progenitors}
    assert named == set(visits)
    for image in coadds:
        assert all(visits[name].band == image.band for name in image.progenitors)


def test_a_file_has_three_planes_and_is_the_same_each_time(
    survey: Survey, planned: list[DemoImage], tmp_path: Path
) -> None:
    image = next(image for image in planned if image.collection == VISITS)
    path = write_image(survey, image, tmp_path, side=300)
    content = path.read_bytes()
    frame = draw_visit(survey, image.visit, image.detector, side=300)
    with fits.open(path) as hdus:
        assert [hdu.name for hdu in hdus[1:]] == ["IMAGE", "MASK", "VARIANCE"]
        noise = np.sqrt(frame.sky_variance)
        error = hdus["IMAGE"].data - frame.image
        # Rounded to steps of a quarter of the noise.
        assert np.nanmax(np.abs(error)) < 0.2 * noise
        np.testing.assert_array_equal(hdus["MASK"].data, frame.mask)
        np.testing.assert_allclose(
            hdus["VARIANCE"].data, frame.variance, atol=0.011 * frame.sky_variance
        )
        assert hdus["IMAGE"].compression_type == "RICE_1"
        assert hdus[0].header["VISIT"] == survey.visits.visit[image.visit]
    assert write_image(survey, image, tmp_path, side=300).read_bytes() == content
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_images_are_made_imported_and_shown_and_made_once(tmp_path: Path) -> None:
    size = DemoSize(objects=20_000, visits=40, asteroids=50)
    state = tmp_path / "demo-images.json"
    with ProcessContext.open(load_settings(home=tmp_path)) as context:
        said: list[str] = []
        make_demo_images(
            context.images, state_file=state, survey_size=size, size=TINY, progress=said.append
        )
        assert context.images.store.count(VISITS) == 3
        assert context.images.store.count(COADDS) == 3
        records = [r for batch in context.images.store.scan(COADDS) for r in batch]
        for record in records:
            values = record.obscore
            assert values["s_pixel_scale"] == pytest.approx(0.5, rel=1e-3)
            assert values["calib_level"] == 3
            assert values["em_min"] < values["em_max"] < 1e-6
            assert set(record.planes) == {"image", "mask", "variance"}
        assert "coadds_irg" in said[-1]
        files = sorted((tmp_path / "images" / "demo").rglob("*.fits"))
        times = [file.stat().st_mtime_ns for file in files]
        # As if it had ended before the last file was whole.
        files[-1].unlink()
        state.write_text('{"state": "making"}', encoding="utf-8")
        make_demo_images(context.images, state_file=state, survey_size=size, size=TINY)
        assert [file.stat().st_mtime_ns for file in files][:-1] == times[:-1]
        assert context.images.store.count() == 6
        assert '"ready"' in state.read_text("utf-8")


def test_images_follow_the_tables_of_the_demo(tmp_path: Path) -> None:
    tables, images = tmp_path / "demo.json", tmp_path / "demo-images.json"
    assert not images_are_wanted(images, tables)
    with pytest.raises(InternalError, match="does not describe"):
        demo_size(tables)
    tables.write_text('{"state": "making", "seed": 1}', encoding="utf-8")
    assert not images_are_wanted(images, tables)
    with pytest.raises(InternalError, match="another seed"):
        demo_size(tables)
    tables.write_text(
        '{"state": "ready", "seed": 20250101, "objects": 7, "visits": 9}', encoding="utf-8"
    )
    assert images_are_wanted(images, tables)
    assert demo_size(tables) == DemoSize(objects=7, visits=9)
    images.write_text('{"state": "ready"}', encoding="utf-8")
    assert not images_are_wanted(images, tables)
