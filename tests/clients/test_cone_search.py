"""The demo survey's cone searches through pyvo and STILTS."""

from __future__ import annotations

import subprocess
from pathlib import Path

import astropy.units as u
import httpx
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from pyvo.dal import DALQueryError, DALServiceError, SCSService, conesearch

from tests.support.platform import RunningPlatform

pytestmark = [pytest.mark.client, pytest.mark.timeout(600)]

CENTRE = SkyCoord(150.1, 2.2, unit="deg")
RADIUS = 0.1 * u.deg
TABLES = ("demo.object", "demo.source", "demo.forced_source", "demo.visit", "demo.bright_stars")


def address(platform: RunningPlatform, table: str = "demo.object") -> str:
    return f"{platform.address}/api/scs/{table}"


def ids_by_tap(platform: RunningPlatform, radius_deg: float = 0.1) -> list[int]:
    rows = platform.csv(
        "SELECT objectId FROM demo.object WHERE "
        f"CONTAINS(POINT(coord_ra, coord_dec), CIRCLE(150.1, 2.2, {radius_deg})) = 1"
    )
    return sorted(int(row["objectId"]) for row in rows)


def stilts(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["stilts", *arguments], capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.parametrize("verbosity", [1, 2, 3])
def test_pyvo_finds_what_tap_finds(demo_platform: RunningPlatform, verbosity: int) -> None:
    service = SCSService(address(demo_platform))
    result = service.search(CENTRE, RADIUS, verbosity=verbosity)
    wanted = ids_by_tap(demo_platform)
    assert len(wanted) > 100
    assert sorted(int(i) for i in result["objectId"]) == wanted
    record = result[0]
    assert record.id == result["objectId"][0]
    assert record.pos.separation(CENTRE) <= RADIUS
    assert record.pos.frame.name == "icrs"


def test_pyvo_reads_every_column_of_every_table(demo_platform: RunningPlatform) -> None:
    for table in TABLES:
        service = SCSService(address(demo_platform, table))
        found = service.search(CENTRE, 0.5 * u.deg, verbosity=3, MAXREC=50)
        by_tap = demo_platform.sync(f"SELECT TOP 1 * FROM {table}", RESPONSEFORMAT="csv")
        names = [name.strip('"') for name in by_tap.text.splitlines()[0].split(",")]
        assert list(found.to_table().colnames) == names, table
        assert service.columns, table


def test_pyvo_values_are_those_of_tap(demo_platform: RunningPlatform) -> None:
    found = conesearch(address(demo_platform), CENTRE, RADIUS, verbosity=3).to_table()
    flux = dict(zip(found["objectId"], found["r_psfFlux"], strict=True))
    rows = demo_platform.csv(
        "SELECT objectId, r_psfFlux FROM demo.object WHERE "
        "CONTAINS(POINT(coord_ra, coord_dec), CIRCLE(150.1, 2.2, 0.1)) = 1"
    )
    for row in rows:
        value = flux[row["objectId"]]
        if row["r_psfFlux"]:
            assert np.float32(row["r_psfFlux"]) == np.float32(value)
        else:
            assert np.ma.is_masked(value) or np.isnan(value)


def test_pyvo_shows_what_was_wrong(demo_platform: RunningPlatform) -> None:
    with pytest.raises(DALQueryError, match="SR must be between 0 and 180"):
        SCSService(address(demo_platform)).search(CENTRE, 181 * u.deg)
    with pytest.raises((DALQueryError, DALServiceError), match=r"demo\.nothing"):
        SCSService(address(demo_platform, "demo.nothing")).search(CENTRE, RADIUS)


def test_pyvo_takes_an_empty_answer(demo_platform: RunningPlatform) -> None:
    assert len(conesearch(address(demo_platform), SkyCoord(0, -80, unit="deg"), RADIUS)) == 0


@pytest.mark.parametrize("verbosity", ["1", "3"])
@pytest.mark.parametrize("suffix", ["", "?"])
def test_stilts_finds_what_tap_finds(
    demo_platform: RunningPlatform, tmp_path: Path, verbosity: str, suffix: str
) -> None:
    mine, out = tmp_path / "mine.csv", tmp_path / "out.csv"
    # The second position has nothing near it.
    mine.write_text("my_ra,my_dec\n150.1,2.2\n10.0,-80.0\n")
    run = stilts(
        "coneskymatch",
        f"in={mine}",
        "ifmt=csv",
        # CSV columns are read as floats; the test needs the very numbers that TAP was asked for.
        "ra=my_ra<100?10.0:150.1",
        "dec=my_dec<0?-80.0:2.2",
        "sr=0.1",
        "find=all",
        "servicetype=cone",
        "usefoot=false",
        f"serviceurl={address(demo_platform)}{suffix}",
        f"verb={verbosity}",
        f"out={out}",
        "ofmt=csv",
    )
    assert run.returncode == 0, run.stderr
    header, *lines = out.read_text().splitlines()
    place = header.split(",").index("objectId")
    assert sorted(int(line.split(",")[place]) for line in lines) == ids_by_tap(demo_platform)


def test_stilts_shows_what_was_wrong(demo_platform: RunningPlatform, tmp_path: Path) -> None:
    mine = tmp_path / "mine.csv"
    mine.write_text("a\n1\n")
    run = stilts(
        "coneskymatch",
        f"in={mine}",
        "ifmt=csv",
        "ra=150.1",
        "dec=2.2",
        "sr=200",
        "servicetype=cone",
        "usefoot=false",
        f"serviceurl={address(demo_platform)}",
        "out=-",
    )
    assert run.returncode != 0
    assert "SR must be between 0 and 180" in run.stderr


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("extra", [{}, {"SR": "0"}, {"DEC": "95"}])
def test_votlint_is_clean(
    demo_platform: RunningPlatform, tmp_path: Path, table: str, extra: dict[str, str]
) -> None:
    asked = {"RA": "150.1", "DEC": "2.2", "SR": "0.5", "VERB": "3", "MAXREC": "50", **extra}
    response = httpx.get(address(demo_platform, table), params=asked, timeout=60)
    path = tmp_path / "answer.vot"
    path.write_bytes(response.content)
    run = stilts("votlint", "ucd=true", "unit=true", str(path))
    assert run.returncode == 0, run.stderr
    assert (run.stdout + run.stderr).strip() == ""
