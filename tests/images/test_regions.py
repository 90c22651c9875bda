"""Regions and intervals as DALI writes them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from astrolabe.core.errors import BadParameterError
from astrolabe.images.regions import outline_points, parse_interval, parse_pos
from astrolabe.sky.regions import Circle, Polygon, Zone
from astrolabe.sky.vectors import separation_deg


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("CIRCLE 12.5 -3 0.1", Circle(12.5, -3.0, 0.1)),
        ("circle\t12.5  -3   1e-1 ", Circle(12.5, -3.0, 0.1)),
        ("RANGE 10 20 -1 1", Zone(10.0, 10.0, -1.0, 1.0)),
        ("RANGE 359 1 -1 1", Zone(359.0, 2.0, -1.0, 1.0)),
        ("RANGE 0 360 89 +Inf", Zone(0.0, 360.0, 89.0, 90.0)),
        ("RANGE -Inf +Inf -Inf 10", Zone(0.0, 360.0, -90.0, 10.0)),
        ("POLYGON 1 1 2 1 2 2", Polygon([1, 2, 2], [1, 1, 2])),
        ("POLYGON 1 1 2 1 2 2 1 1", Polygon([1, 2, 2], [1, 1, 2])),
    ],
    ids=["circle", "spaces", "range", "zero", "cap", "open", "polygon", "closed"],
)
def test_positions(text: str, region: object) -> None:
    assert parse_pos(text) == region


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must begin with CIRCLE"),
        ("BOX 1 2 3 4", "must begin with CIRCLE"),
        ("CIRCLE 1 2", "2 numbers"),
        ("CIRCLE 1 2 3 4", "4 numbers"),
        ("CIRCLE a b c", "'a' is no number"),
        ("CIRCLE nan 2 3", "no number"),
        ("CIRCLE 1_0 2 3", "no number"),
        ("CIRCLE 10 91 1", "latitude"),
        ("CIRCLE 540000 1 1", "longitude must be from 0 to 360"),
        ("CIRCLE 10 1 3600", "radius must be from 0 to 180"),
        ("CIRCLE 10 1 -1", "radius"),
        ("CIRCLE inf 1 1", "longitude"),
        ("RANGE 1 2 5 4", "must rise"),
        ("RANGE 1 2 3", "3 numbers"),
        ("RANGE +Inf 2 3 4", "longitude"),
        ("POLYGON 1 1 2 2", "three or more"),
        ("POLYGON 1 1 2 2 3", "three or more"),
        ("POLYGON 1 1 1 1 2 2", "different points"),
        ("POLYGON 0 0 120 0 240 0", "POS=POLYGON"),
        ("POLYGON " + "1 2 " * 1001, "more than 1000"),
    ],
)
def test_bad_positions(text: str, said: str) -> None:
    with pytest.raises(BadParameterError, match=said):
        parse_pos(text)


def test_a_long_value_is_not_read_to_its_end() -> None:
    with pytest.raises(BadParameterError, match="more than 1000"):
        parse_pos("POLYGON " + "1 " * 1_000_000)


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("5e-7 6e-7", (5e-7, 6e-7)),
        ("5e-7", (5e-7, 5e-7)),
        ("-Inf 1", (-math.inf, 1.0)),
        ("1 +Inf", (1.0, math.inf)),
        ("-inf inf", (-math.inf, math.inf)),
    ],
)
def test_intervals(text: str, limits: tuple[float, float]) -> None:
    assert parse_interval(text, name="BAND", unit="m") == limits


@pytest.mark.parametrize("text", ["", "1 2 3", "2 1", "x 1", "nan 1", "inf inf", "inf"])
def test_bad_intervals(text: str) -> None:
    with pytest.raises(BadParameterError, match="BAND"):
        parse_interval(text, name="BAND", unit="m")


def test_outlines_lie_on_the_border() -> None:
    ra, dec = outline_points(parse_pos("CIRCLE 359.9 60 0.5"), 0.01)
    assert len(ra) > 300
    assert separation_deg(359.9, 60.0, ra, dec) == pytest.approx(np.full(len(ra), 0.5), abs=1e-12)
    assert (ra[0], dec[0]) == (pytest.approx(ra[-1]), pytest.approx(dec[-1]))
    polygon = parse_pos("POLYGON 10 60 20 60 20 70")
    ra, dec = outline_points(polygon, 0.05)
    assert isinstance(polygon, Polygon)
    center_ra, center_dec = 16.0, 63.0
    for shift, inside in ((-1e-6, True), (1e-6, False)):
        moved = ra + shift * (ra - center_ra), dec + shift * (dec - center_dec)
        assert (polygon.contains(*moved) == inside).all()
    assert np.isnan(outline_points(parse_pos("RANGE 0 360 -1 1"), 1.0)[0]).sum() == 1
    assert len(outline_points(parse_pos("CIRCLE 1 1 180"), 1.0)[0]) == 0
    assert len(outline_points(parse_pos("CIRCLE 1 1 90"), 1e-9)[0]) <= 20_001
