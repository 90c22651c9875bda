"""The engine's SQL and the regions that plans are made from mean the same geometry."""

from __future__ import annotations

import numpy as np
import pytest

from astrolabe.sky.regions import Box, Circle, Polygon, Region

from .survey import Survey, make_survey

SHAPES: dict[str, Region] = {
    "CIRCLE(1, 0.5, 2)": Circle(1, 0.5, 2),
    "CIRCLE(359, 89, 4)": Circle(359, 89, 4),
    "CIRCLE(200, -10, 130)": Circle(200, -10, 130),
    "CIRCLE(200, -10, 180)": Circle(200, -10, 180),
    "BOX(1, 0.5, 4, 3)": Box(1, 0.5, 4, 3),
    "BOX(0, 70, 120, 20)": Box(0, 70, 120, 20),
    "BOX(0, 80, 120, 30)": Box(0, 80, 120, 30),
    "BOX(100, 0, 200, 30)": Box(100, 0, 200, 30),
    "BOX(0, 0, 360, 180)": Box(0, 0, 360, 180),
    "POLYGON(358, -3, 3, -2, 1, 4)": Polygon([358, 3, 1], [-3, -2, 4]),
    "POLYGON(1, 4, 3, -2, 358, -3)": Polygon([1, 3, 358], [4, -2, -3]),
    "POLYGON(0, 85, 120, 85, 240, 85)": Polygon([0, 120, 240], [85, 85, 85]),
    "POLYGON(0, -10, 90, -10, 180, -10, 270, -10)": Polygon([0, 90, 180, 270], [-10] * 4),
    "POLYGON(0, 0, 4, 0, 1, 1, 0, 4)": Polygon([0, 4, 1, 0], [0, 0, 1, 4]),
    "POLYGON(0, 0, 4, 0, 0, 4, 4, 4)": Polygon([0, 4, 0, 4], [0, 0, 4, 4]),
}


@pytest.fixture(scope="module")
def survey() -> Survey:
    return make_survey(n=1500, seed=3)


@pytest.mark.parametrize("shape", SHAPES)
def test_engine_and_region_find_the_same_rows(survey: Survey, shape: str) -> None:
    query = f"SELECT id FROM sky.object WHERE 1 = CONTAINS(POINT(ra, dec), {shape})"
    everything, pruned, ranged = survey.answers(query)
    rows = survey.data["object"]
    inside = SHAPES[shape].contains(rows["ra"].to_numpy(), rows["dec"].to_numpy())
    expected = rows["id"].to_numpy()[inside]
    assert {row[0] for row in everything} == set(expected.tolist())
    assert len(everything) == len(expected)
    assert everything == pruned == ranged
    assert np.count_nonzero(inside) > 3
