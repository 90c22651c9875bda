"""The simulated survey is believable, repeatable and whole."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from astrolabe.demo import columns, measure
from astrolabe.demo.bright_stars import BrightStars
from astrolabe.demo.sphere import separation_deg
from astrolabe.demo.survey import DemoSize, Survey, make_survey
from astrolabe.demo.truth import CENTER_DEC_DEG, CENTER_RA_DEG, RADIUS_DEG, Kind
from astrolabe.tables.model import Column, arrow_type

SIZE = DemoSize(objects=6_000, visits=40, asteroids=300)


@pytest.fixture(scope="module")
def survey() -> Survey:
    return make_survey(SIZE)


@pytest.fixture(scope="module")
def sources(survey: Survey) -> pa.Table:
    return pa.Table.from_batches(
        measure.source_batches(survey.truth, survey.asteroids, survey.visits)
    )


def test_the_same_seed_makes_the_same_sky(survey: Survey) -> None:
    again = make_survey(SIZE)
    for field in ("object_id", "ra_deg", "mag", "kind", "phase"):
        np.testing.assert_array_equal(getattr(survey.truth, field), getattr(again.truth, field))
    first = next(measure.source_batches(survey.truth, survey.asteroids, survey.visits))
    assert first.equals(next(measure.source_batches(again.truth, again.asteroids, again.visits)))


def test_objects_fill_the_cap_and_nothing_else(survey: Survey) -> None:
    distance = separation_deg(
        survey.truth.ra_deg, survey.truth.dec_deg, CENTER_RA_DEG, CENTER_DEC_DEG
    )
    assert distance.max() < RADIUS_DEG + 0.01
    # Evenly spread: half of the area holds half of the objects.
    assert np.mean(distance < RADIUS_DEG / np.sqrt(2)) == pytest.approx(0.5, abs=0.03)
    assert len(np.unique(survey.truth.object_id)) == SIZE.objects


def test_counts_rise_with_magnitude_as_galaxies_do(survey: Survey) -> None:
    galaxies = survey.truth.mag[survey.truth.redshift > 0, 3]
    faint, bright = (
        np.sum((galaxies > 21) & (galaxies < 22)),
        np.sum((galaxies > 19) & (galaxies < 20)),
    )
    assert np.log10(faint / bright) / 2 == pytest.approx(0.35, abs=0.06)


def test_every_kind_of_object_is_there() -> None:
    kinds = np.bincount(make_survey(DemoSize(objects=40_000, visits=8)).truth.kind)
    assert (kinds[: Kind.SUPERNOVA + 1] > 0).all()


def test_measured_fluxes_scatter_about_the_truth_by_their_errors(survey: Survey) -> None:
    table = measure.object_table(survey.truth, survey.visits)
    true = measure.flux_njy(survey.truth.mag[:, 2])
    pull = (table["r_cModelFlux"].to_numpy() - true) / table["r_cModelFluxErr"].to_numpy()
    assert np.std(pull) == pytest.approx(1.0, abs=0.05)
    assert np.mean(pull) == pytest.approx(0.0, abs=0.06)


@pytest.mark.parametrize(
    ("made", "declared"),
    [("object", columns.OBJECT), ("visit", columns.VISIT), ("source", columns.SOURCE)],
)
def test_tables_have_their_declared_columns(
    survey: Survey, sources: pa.Table, made: str, declared: tuple[Column, ...]
) -> None:
    table = {
        "object": lambda: measure.object_table(survey.truth, survey.visits),
        "visit": lambda: measure.visit_table(survey.visits),
        "source": lambda: sources,
    }[made]()
    assert table.schema == pa.schema([(c.name, arrow_type(c)) for c in declared])
    for column in declared:
        assert column.description
        assert column.ucd
        if not column.nullable:
            assert table[column.name].null_count == 0, column.name


def test_ids_are_unique(survey: Survey, sources: pa.Table) -> None:
    assert pc.count_distinct(sources["sourceId"]).as_py() == sources.num_rows
    forced = pa.Table.from_batches(measure.forced_source_batches(survey.truth, survey.visits))
    assert pc.count_distinct(forced["forcedSourceId"]).as_py() == forced.num_rows
    assert forced.num_rows > sources.num_rows


def test_moving_objects_are_detected_without_an_object(sources: pa.Table) -> None:
    assert 0 < sources["objectId"].null_count < 0.05 * sources.num_rows


def test_variables_vary_and_the_others_do_not(survey: Survey) -> None:
    truth = survey.truth
    varying = np.flatnonzero(truth.kind > Kind.GALAXY)
    steady = np.flatnonzero(truth.kind <= Kind.GALAXY)[:100]
    times = survey.visits.mid_mjd
    curves = np.array([truth.magnitude_at(varying, 1, float(t)) for t in times])
    assert np.median(np.ptp(curves, axis=0)) > 0.05
    flat = np.array([truth.magnitude_at(steady, 1, float(t)) for t in times])
    assert np.ptp(flat, axis=0).max() == 0


def test_bright_stars_are_the_real_ones() -> None:
    stars = pa.Table.from_batches(BrightStars().batches())
    assert stars.num_rows == 117_955
    sirius = stars.filter(pc.field("hip") == 32349).to_pylist()[0]
    assert sirius["ra"] == pytest.approx(101.287, abs=0.005)
    assert sirius["dec"] == pytest.approx(-16.716, abs=0.005)
    assert sirius["parallax"] == pytest.approx(379.21, abs=0.01)
    assert sirius["hp_mag"] == pytest.approx(-1.09, abs=0.02)
