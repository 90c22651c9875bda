"""``ivoa.ObsCore`` through STILTS' validators and pyvo, on a platform with a few images."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import pyvo

from astrolabe.core.clock import utc_now
from astrolabe.images.model import ImageCollection, ImageKey, ImageRecord, PlaneKind
from tests.support.platform import RunningPlatform, running_platform
from tests.support.tiny import open_context

pytestmark = [pytest.mark.client, pytest.mark.timeout(300)]

SQUARE = [10.0, -1.0, 12.0, -1.0, 12.0, 1.0, 10.0, 1.0]
PLACED = {"s_ra": 11.0, "s_dec": 0.0, "s_region": SQUARE, "s_fov": 2.83, "calib_level": 2}
TIMED = {"t_min": 60000.0, "t_max": 60000.5, "obs_creation_date": "2026-02-03T04:05:06Z"}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    home = tmp_path_factory.mktemp("obscore") / "home"
    with open_context(home) as context:
        store = context.images.store
        store.ensure_collection(ImageCollection(name="deep", created=utc_now()))
        for name, values in (("a", PLACED | TIMED), ("b", {"target_name": "Südfeld"})):
            store.put(
                [
                    ImageRecord(
                        key=ImageKey("deep", name),
                        uri=f"/data/{name}.fits",
                        size_bytes=28_800,
                        md5=None,
                        signature="1 1",
                        index_path=name,
                        planes={PlaneKind.IMAGE: 1},
                        obscore=values,
                        imported=utc_now(),
                    )
                ]
            )
        context.images.obscore.publish()
    with running_platform(home) as running:
        yield running


def test_taplint_knows_the_table(platform: RunningPlatform) -> None:
    run = subprocess.run(
        ["stilts", "taplint", f"tapurl={platform.tap}", "stages=CAP TMS MDQ OBS"],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    said = [line for line in run.stdout.splitlines() if line[:2] in {"E-", "F-", "W-"}]
    # docs/reference/taplint.md says why these two.
    known = re.compile(r"E-OBS-TYPX-1 .*s_region: double != REGION|W-CAP-CPSM")
    assert [line for line in said if not known.match(line)] == []
    assert "Checking against ObsCore DM 1.1" in run.stdout
    assert "30/30 required, 30/30 optional" in run.stdout


def test_votlint_is_clean(platform: RunningPlatform, tmp_path: Path) -> None:
    # votlint 3.4.7 itself fails on polygons that are null and on those in BINARY2.
    answer = platform.sync(
        "SELECT * FROM ivoa.ObsCore WHERE s_region IS NOT NULL",
        RESPONSEFORMAT="application/x-votable+xml;serialization=tabledata",
    )
    assert answer.status_code == 200, answer.text
    path = tmp_path / "result.vot"
    path.write_bytes(answer.content)
    run = subprocess.run(
        ["stilts", "votlint", str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (run.returncode, (run.stdout + run.stderr).strip()) == (0, "")


def test_links_have_the_address_that_the_platform_has_now(platform: RunningPlatform) -> None:
    # The fixture published under the default address; the worker does it again at its start.
    links = f"{platform.address}/api/datalink/links?ID=ivo"
    deadline = time.monotonic() + 60
    while True:
        rows = platform.csv("SELECT access_url FROM ivoa.ObsCore")
        if all(row["access_url"].startswith(links) for row in rows):
            break
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert len(rows) == 2


def test_pyvo_finds_footprints(platform: RunningPlatform) -> None:
    service = pyvo.dal.TAPService(platform.tap)
    found = service.run_sync(
        "SELECT obs_id, s_region FROM ivoa.ObsCore"
        " WHERE INTERSECTS(CIRCLE(12.5, 0, 1), s_region) = 1"
    )
    assert found["obs_id"].tolist() == ["a"]
    assert found["s_region"][0].tolist() == SQUARE
