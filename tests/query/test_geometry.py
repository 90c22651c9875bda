"""Geometry of queries against brute force with astropy, and pruned against unpruned."""

from __future__ import annotations

from typing import Any

import astropy.units as u
import numpy as np
import pyarrow as pa
import pytest
from astropy.coordinates import SkyCoord, angular_separation
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from astrolabe.catalogs import query as query_module
from astrolabe.catalogs.engine import FileScan, Scan
from astrolabe.catalogs.planning import plan_query
from astrolabe.factory import ProcessContext
from tests.support.tiny import ask

CONES = [
    (10.0, 20.0, 5.0),
    (0.0, 90.0, 2.0),
    (123.0, 89.0, 2.5),
    (0.0, -90.0, 1.0),
    (0.0, 5.0, 1.5),
    (359.9, 5.0, 1.0),
    (180.0, 0.0, 90.0),
    (45.0, -30.0, 179.0),
    (200.0, 10.0, 180.0),
    (50.0, 50.0, 0.0),
]
FORMS = [
    "1 = CONTAINS(POINT('ICRS', ra, dec), CIRCLE('ICRS', {0}, {1}, {2}))",
    "CONTAINS(POINT(ra, dec), CIRCLE({0}, {1}, {2})) = 1",
    "CONTAINS(POINT(ra, dec), CIRCLE(POINT({0}, {1}), {2})) = 1",
    "0 <> CONTAINS(POINT(ra, dec), CIRCLE({0}, {1}, {2}))",
    "NOT (0 = CONTAINS(POINT(ra, dec), CIRCLE({0}, {1}, {2})))",
    "INTERSECTS(POINT(ra, dec), CIRCLE({0}, {1}, {2})) = 1",
    "1 = INTERSECTS(CIRCLE({0}, {1}, {2}), POINT(ra, dec))",
    "DISTANCE(POINT(ra, dec), POINT({0}, {1})) <= {2}",
    "DISTANCE(ra, dec, {0}, {1}) <= {2}",
    "{2} >= DISTANCE({0}, {1}, ra, dec)",
    "DISTANCE(POINT({0}, {1}), POINT(ra, dec)) BETWEEN 0 AND {2}",
]


@pytest.fixture(scope="module")
def stars(context: ProcessContext) -> dict[str, Any]:
    table = ask(context, "SELECT id, ra, dec FROM s.star")
    return {name: table[name].to_numpy() for name in table.column_names}


def ids(table: pa.Table) -> set[int]:
    found: list[Any] = table["id"].to_pylist()
    return set(found)


def separation(stars: dict[str, Any], ra: float, dec: float) -> Any:
    return np.degrees(
        angular_separation(
            np.radians(ra), np.radians(dec), np.radians(stars["ra"]), np.radians(stars["dec"])
        )
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("cone", CONES)
def test_every_form_of_a_cone_gives_the_stars_within(
    context: ProcessContext, stars: dict[str, Any], cone: tuple[float, ...], form: str
) -> None:
    ra, dec, radius = cone
    found = ids(ask(context, f"SELECT id FROM s.star WHERE {form.format(ra, dec, radius)}"))
    distance = separation(stars, ra, dec)
    assert found >= set(stars["id"][distance < radius - 1e-9].tolist())
    assert found <= set(stars["id"][distance <= radius + 1e-9].tolist())


def test_a_cone_around_a_star_finds_it_however_small(
    context: ProcessContext, stars: dict[str, Any]
) -> None:
    for row in range(0, len(stars["id"]), 997):
        ra, dec = float(stars["ra"][row]), float(stars["dec"][row])
        for radius in (0.0, 1e-12, 1e-9):
            text = f"CONTAINS(POINT(ra, dec), CIRCLE({ra!r}, {dec!r}, {radius}))=1"
            found = ids(ask(context, f"SELECT id FROM s.star WHERE {text}"))
            assert int(stars["id"][row]) in found


POLYGONS = [
    [(10, 10), (20, 10), (20, 20), (10, 20)],
    [(10, 20), (20, 20), (20, 10), (10, 10)],  # the other way round
    [(350, -5), (10, -5), (10, 15), (350, 15)],  # across RA 0
    [(0, 85), (90, 85), (180, 85), (270, 85)],  # the north pole inside
    [(270, -86), (180, -86), (90, -86), (0, -86)],  # the south pole inside
    [(0, 0), (40, 0), (40, 40), (20, 10), (0, 40)],  # not convex
    [(100, 0), (100.001, 0), (100.0005, 0.001)],  # tiny
    [(0, -30), (120, -30), (240, -30)],  # almost a hemisphere
    [(lon, 25 if lon % 60 else -2) for lon in range(0, 360, 30)],  # in no hemisphere
]


def inside_polygon(stars: dict[str, Any], vertices: list[tuple[float, float]]) -> Any:
    """Count crossings of the great circle arc from a point far outside: another algorithm."""
    points = SkyCoord(stars["ra"] * u.deg, stars["dec"] * u.deg).cartesian.xyz.value.T
    corners = SkyCoord(np.array(vertices) * u.deg).cartesian.xyz.value.T
    # The interior is the smaller side: the antipode of the vertices' mean is outside.
    outside = -corners.mean(axis=0) + np.array([1e-4, 2e-4, 3e-4])
    outside /= np.linalg.norm(outside)
    crossings = np.zeros(len(points), dtype=int)
    for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        normal = np.cross(a, b)
        other = np.cross(points, outside)
        split = np.sign(points @ normal) != np.sign(outside @ normal)
        meets = np.sign(other @ a) != np.sign(other @ b)
        line = np.cross(np.broadcast_to(normal, other.shape), other)
        line *= np.sign(np.einsum("ij,j->i", line, a + b))[:, None]
        on_arc = np.einsum("ij,ij->i", line, points + outside) > 0
        crossings += split & meets & on_arc
    return crossings % 2 == 1


@pytest.mark.parametrize("vertices", POLYGONS)
def test_polygons(
    context: ProcessContext, stars: dict[str, Any], vertices: list[tuple[float, float]]
) -> None:
    flat = ", ".join(f"{ra}, {dec}" for ra, dec in vertices)
    points = ", ".join(f"POINT({ra}, {dec})" for ra, dec in vertices)
    wanted = set(stars["id"][inside_polygon(stars, vertices)].tolist())
    for polygon in (f"POLYGON({flat})", f"POLYGON('ICRS', {flat})", f"POLYGON({points})"):
        text = f"SELECT id FROM s.star WHERE 1 = CONTAINS(POINT(ra, dec), {polygon})"
        assert ids(ask(context, text)) == wanted


@pytest.mark.parametrize(
    ("box", "low", "high", "width"),
    [
        ((0.0, 5.0, 4.0, 2.0), 4.0, 6.0, 4.0),
        ((359.0, 0.0, 6.0, 10.0), -5.0, 5.0, 6.0),
        ((180.0, 0.0, 360.0, 180.0), -90.0, 90.0, 360.0),
        ((0.0, 88.0, 360.0, 10.0), 83.0, 90.0, 360.0),
        ((0.0, 0.0, 200.0, 40.0), -20.0, 20.0, 200.0),
    ],
)
def test_boxes(
    context: ProcessContext,
    stars: dict[str, Any],
    box: tuple[float, float, float, float],
    low: float,
    high: float,
    width: float,
) -> None:
    text = "SELECT id FROM s.star WHERE 1 = CONTAINS(POINT(ra, dec), BOX({}, {}, {}, {}))"
    found = ids(ask(context, text.format(*box)))
    offset = np.abs((stars["ra"] - box[0] + 180) % 360 - 180)
    # A side along a great circle bulges a little past the parallel it starts and ends on.
    bulge = 0.0 if width >= 180 else 0.02 * (high - low)
    within = (offset < width / 2 - 1e-9) | (width >= 360)
    surely = within & (stars["dec"] > low + bulge) & (stars["dec"] < high - bulge)
    perhaps = (
        (offset <= width / 2 + 1e-9) & (stars["dec"] > low - bulge) & (stars["dec"] < high + bulge)
    )
    assert found >= set(stars["id"][surely].tolist())
    assert found <= set(stars["id"][perhaps].tolist())


pytestmark = pytest.mark.timeout(120)

angle = st.floats(0, 359.999)
latitude = st.floats(-90, 90)


@pytest.fixture
def unpruned(context: ProcessContext, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a query with every file and row group read."""

    def everything(
        checked: Any, view: Any, memory: Any, *, row_limit: int | None, **_options: Any
    ) -> Any:
        plan = plan_query(checked, view, memory, row_limit=row_limit)
        scans: dict[str, Scan] = {}
        for key in plan.scans:
            source = next(s for s in checked.tables if s.key == key)
            version = view.table(source.table.schema, source.table.name)
            paths = tuple(f"{version.root}/{path}" for path in version.index.paths)
            scans[key] = FileScan(paths=paths)
        return type(plan)(query=checked, scans=scans, row_limit=row_limit)

    def run(text: str) -> pa.Table:
        with monkeypatch.context() as patch:
            patch.setattr(query_module, "plan_query", everything)
            return ask(context, text)

    return run


@pytest.mark.slow
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(ra=angle, dec=latitude, radius=st.floats(0, 60), limit=latitude)
def test_pruned_answers_equal_the_full_scan(
    context: ProcessContext, unpruned: Any, ra: float, dec: float, radius: float, limit: float
) -> None:
    text = (
        "SELECT id FROM s.star WHERE (1 = CONTAINS(POINT(ra, dec), "
        f"CIRCLE({ra}, {dec}, {radius})) AND dec > {limit}) "
        f"OR DISTANCE(ra, dec, {(ra + 90) % 360}, {-dec}) < {radius / 10}"
    )
    assert ids(ask(context, text)) == ids(unpruned(text))


@pytest.mark.slow
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(ra=angle, dec=st.floats(-80, 80), width=st.floats(0.01, 60), height=st.floats(0.01, 30))
def test_pruned_boxes_and_ranges_equal_the_full_scan(
    context: ProcessContext, unpruned: Any, ra: float, dec: float, width: float, height: float
) -> None:
    box = (
        f"SELECT id FROM s.star WHERE 1=CONTAINS(POINT(ra, dec), BOX({ra},{dec},{width},{height}))"
    )
    assert ids(ask(context, box)) == ids(unpruned(box))
    ranges = (
        f"SELECT id FROM s.star WHERE ra BETWEEN {ra} AND {ra + width} "
        f"AND dec >= {dec} AND dec < {dec + height}"
    )
    assert ids(ask(context, ranges)) == ids(unpruned(ranges))
