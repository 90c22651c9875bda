"""The demo survey through STILTS: queries, its TAP validator and its VOTable validator."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.support.platform import RunningPlatform

pytestmark = [pytest.mark.client, pytest.mark.timeout(900)]

# Checks of services that nothing here is: docs/reference/taplint.md says more. This platform has no
# images; test_obscore.py checks ObsCore on one that has.
EXPECTED_FAILURES = (
    re.compile(r"ivoa\.obsplan", re.IGNORECASE),
    re.compile(r"No table with name ivoa\.ObsCore"),
)

GEOMETRIES = (
    "SELECT TOP 3 POINT(coord_ra, coord_dec) AS p, CIRCLE(coord_ra, coord_dec, 0.1) AS c "
    "FROM demo.object"
)


def stilts(*arguments: str, seconds: float = 300) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["stilts", *arguments], capture_output=True, text=True, timeout=seconds, check=False
    )


def read_csv(path: Path) -> list[list[str]]:
    return [line.split(",") for line in path.read_text().splitlines()]


@pytest.mark.parametrize("interface", ["tap1.1", "cap"])
def test_sync_query(demo_platform: RunningPlatform, tmp_path: Path, interface: str) -> None:
    out = tmp_path / "out.csv"
    run = stilts(
        "tapquery",
        f"tapurl={demo_platform.tap}",
        f"interface={interface}",
        "sync=true",
        "adql=SELECT TOP 5 objectId, coord_ra FROM demo.object",
        f"out={out}",
        "ofmt=csv",
    )
    assert run.returncode == 0, run.stderr
    assert len(read_csv(out)) == 6


def test_async_query_with_upload(demo_platform: RunningPlatform, tmp_path: Path) -> None:
    mine, out = tmp_path / "mine.csv", tmp_path / "out.csv"
    mine.write_text("ra,dec\n150.1,2.2\n150.3,2.3\n")
    run = stilts(
        "tapquery",
        f"tapurl={demo_platform.tap}",
        "sync=false",
        "poll=200",
        "nupload=1",
        f"upload1={mine}",
        "ufmt1=csv",
        "upname1=mine",
        "adql=SELECT u.ra, COUNT(*) AS n FROM TAP_UPLOAD.mine AS u JOIN demo.object AS o ON "
        "1=CONTAINS(POINT(o.coord_ra, o.coord_dec), CIRCLE(u.ra, u.dec, 0.05)) GROUP BY u.ra",
        f"out={out}",
        "ofmt=csv",
    )
    assert run.returncode == 0, run.stderr
    rows = read_csv(out)
    assert len(rows) == 3
    assert all(int(row[1]) > 20 for row in rows[1:])


def test_taplint_finds_no_error(demo_platform: RunningPlatform) -> None:
    run = stilts("taplint", f"tapurl={demo_platform.tap}", "maxtable=30", seconds=600)
    lines = run.stdout.splitlines()
    errors = [line for line in lines if line.startswith("E-")]
    failures = [
        line
        for line in lines
        if line.startswith("F-") and not any(known.search(line) for known in EXPECTED_FAILURES)
    ]
    assert errors == []
    assert failures == []
    documented = Path("docs/reference/taplint.md").read_text()
    warnings = {match[0] for line in lines if (match := re.match(r"W-\w+-\w+", line))}
    assert {code for code in warnings if code not in documented} == set()
    # A run that tested nothing would find nothing either.
    assert re.search(r"^I-QGE", run.stdout, re.MULTILINE)
    assert re.search(r"^I-UPL-QJOB", run.stdout, re.MULTILINE)


@pytest.mark.parametrize("encoding", ["tabledata", "binary", "binary2"])
@pytest.mark.parametrize(
    "query",
    [
        "SELECT TOP 50 * FROM demo.object",
        "SELECT TOP 50 * FROM demo.source",
        "SELECT TOP 50 * FROM demo.visit",
        "SELECT * FROM TAP_SCHEMA.columns",
        GEOMETRIES,
    ],
)
def test_votlint_is_clean(
    demo_platform: RunningPlatform, tmp_path: Path, encoding: str, query: str
) -> None:
    response = demo_platform.sync(
        query, RESPONSEFORMAT=f"application/x-votable+xml;serialization={encoding}"
    )
    assert response.status_code == 200, response.text
    path = tmp_path / "result.vot"
    path.write_bytes(response.content)
    run = stilts("votlint", str(path))
    assert run.returncode == 0, run.stderr
    assert (run.stdout + run.stderr).strip() == ""


def test_votlint_is_clean_on_errors_too(demo_platform: RunningPlatform, tmp_path: Path) -> None:
    response = demo_platform.sync("SELECT & FROM <demo>")
    assert response.status_code == 400
    path = tmp_path / "error.vot"
    path.write_bytes(response.content)
    run = stilts("votlint", str(path))
    assert (run.stdout + run.stderr).strip() == ""


def test_gzip_is_sent_to_who_asks(demo_platform: RunningPlatform) -> None:
    with httpx.stream(
        "GET",
        f"{demo_platform.tap}/sync",
        params={"LANG": "ADQL", "QUERY": "SELECT TOP 1000 * FROM demo.object"},
        headers={"Accept-Encoding": "gzip"},
    ) as response:
        assert response.headers["Content-Encoding"] == "gzip"
        packed = b"".join(response.iter_raw())
    assert packed[:2] == b"\x1f\x8b"
