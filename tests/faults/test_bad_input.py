"""Bad requests over real HTTP: each is refused with what was wrong, and the platform goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from xml.etree import ElementTree as ET

import httpx
import pytest

from tests.support.platform import RunningPlatform, running_platform

from .small_table import ROWS, make_home

pytestmark = [pytest.mark.server, pytest.mark.timeout(180)]

VOTABLE = "{http://www.ivoa.net/xml/VOTable/v1.3}"
UWS = "{http://www.ivoa.net/xml/UWS/v1.0}"
DEEP = 10_000


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    with running_platform(make_home(tmp_path_factory.mktemp("bad"))) as running:
        yield running


def reason(response: httpx.Response) -> str:
    """Return the message of an error document, which holds nothing else."""
    (resource,) = ET.fromstring(response.content).findall(f"{VOTABLE}RESOURCE")  # noqa: S314 - ours
    assert resource.get("type") == "results"
    assert resource.find(f"{VOTABLE}TABLE") is None
    statuses = [i for i in resource.findall(f"{VOTABLE}INFO") if i.get("name") == "QUERY_STATUS"]
    assert [status.get("value") for status in statuses] == ["ERROR"]
    return statuses[0].text or ""


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("", "QUERY"),
        ("SELECT", "line 1"),
        ("SELECT id FROM s.t WHERE", "line 1"),
        ("SELECT id FROM s.t WHERE (ra > 1", "line 1"),
        ("SELECT id\nFROM s.t\nWHERE ra >< 1", "line 3"),
        ("SELECT 'never ends FROM s.t", "line 1"),
        ('SELECT "never ends FROM s.t', "line 1"),
        ("SELECT id FROM s.t; DROP TABLE s.t", "line 1"),
        (f"SELECT id FROM s.t WHERE {'NOT ' * DEEP}ra > 1", "NOT"),
        (f"SELECT{' -' * DEEP} 1 FROM s.t", "sign"),
        ("DELETE FROM s.t", "SELECT"),
        ("SELECT id FROM s.t LIMIT 5", "TOP"),
        ("SELECT \x00 FROM s.t", ""),
        ("SELECT idd FROM s.t", "id"),
        ("SELECT id FROM s.tt", "s.t"),
        ("SELECT id FROM nowhere.t", "nowhere.t"),
        ("SELECT b.id FROM s.t AS a", "line 1, column 8"),
        ("SELECT NO_SUCH(ra) FROM s.t", "NO_SUCH"),
        ("SELECT * FROM read_parquet('/etc/passwd')", "line 1"),
        ("SELECT * FROM '/etc/passwd'", "line 1"),
    ],
)
def test_a_query_that_is_wrong_is_told_where(
    platform: RunningPlatform, query: str, told: str
) -> None:
    response = platform.sync(query)
    assert response.status_code == 400
    message = reason(response)
    assert told in message
    assert "Traceback" not in message
    assert "sqlglot" not in message.lower()


@pytest.mark.parametrize(
    "query",
    [
        f"SELECT {'(' * DEEP}id{')' * DEEP} FROM s.t",
        f"SELECT id FROM s.t WHERE {'(' * DEEP}ra > 1{')' * DEEP}",
        f"SELECT id FROM s.t WHERE {'NOT (' * DEEP}ra > 1{')' * DEEP}",
        f"SELECT {'- (' * DEEP}1{')' * DEEP} FROM s.t",
        f"SELECT {'ABS(' * DEEP}ra{')' * DEEP} FROM s.t",
        f"SELECT id FROM {'(SELECT id FROM ' * DEEP}s.t{')' * DEEP}",
        f"SELECT {'(' * DEEP}",
    ],
)
def test_a_query_nested_too_deeply_is_refused_at_once(
    platform: RunningPlatform, query: str
) -> None:
    began = time.monotonic()
    response = platform.sync(query)
    assert time.monotonic() - began < 10
    assert response.status_code == 400
    assert "nest" in reason(response)
    assert platform.sync("SELECT TOP 1 id FROM s.t").status_code == 200


def test_a_long_flat_query_is_not_nested(platform: RunningPlatform) -> None:
    ids = ",".join(str(i) for i in range(0, 2 * ROWS, 2))
    rows = platform.csv(f"SELECT COUNT(*) AS n FROM s.t WHERE id IN ({ids})")
    assert int(rows[0]["n"]) == ROWS // 2


@pytest.mark.parametrize("maxrec", ["-1", "1.5", "many", "1e3"])
def test_a_maxrec_that_is_no_count(platform: RunningPlatform, maxrec: str) -> None:
    response = platform.sync("SELECT id FROM s.t", MAXREC=maxrec)
    assert response.status_code == 400
    assert "MAXREC" in reason(response)


@pytest.mark.parametrize("maxrec", ["-1", "many"])
def test_a_job_with_a_maxrec_that_is_no_count_fails_with_the_reason(
    platform: RunningPlatform, maxrec: str
) -> None:
    form = {"LANG": "ADQL", "QUERY": "SELECT id FROM s.t", "MAXREC": maxrec, "PHASE": "RUN"}
    created = httpx.post(f"{platform.tap}/async", data=form)
    # A job's parameters may still change while it is pending, so they are judged when it runs.
    assert created.status_code == 303
    url = created.headers["Location"]
    ended = httpx.get(url, params={"WAIT": "30", "PHASE": "QUEUED"}, timeout=60)
    while (phase := httpx.get(f"{url}/phase").text) in {"QUEUED", "EXECUTING"}:
        ended = httpx.get(url, params={"WAIT": "30", "PHASE": phase}, timeout=60)
    assert phase == "ERROR", ended.text
    response = httpx.get(f"{url}/error")
    assert "MAXREC" in reason(response)


UNKNOWN = ("a" * 26, "7" * 26, "nothing", "0", "..%2F..", "%00", "x" * 5_000, "é")


@pytest.mark.parametrize("job", UNKNOWN)
@pytest.mark.parametrize(
    "child", ["", "/phase", "/results", "/results/result", "/error", "/parameters", "/owner"]
)
def test_an_unknown_job_is_not_found(platform: RunningPlatform, job: str, child: str) -> None:
    response = httpx.get(f"{platform.tap}/async/{job}{child}", timeout=30)
    assert response.status_code == 404
    assert "Traceback" not in response.text


@pytest.mark.parametrize("job", UNKNOWN[:3])
def test_an_unknown_job_cannot_be_changed(platform: RunningPlatform, job: str) -> None:
    url = f"{platform.tap}/async/{job}"
    answers = [
        httpx.delete(url),
        httpx.post(url, data={"ACTION": "DELETE"}),
        httpx.post(f"{url}/phase", data={"PHASE": "RUN"}),
        httpx.post(f"{url}/parameters", data={"QUERY": "SELECT 1 FROM s.t"}),
        httpx.post(f"{url}/destruction", data={"DESTRUCTION": "2030-01-01T00:00:00Z"}),
    ]
    assert [answer.status_code for answer in answers] == [404] * len(answers)


def test_an_anonymous_job_is_reached_by_its_id_and_never_listed(platform: RunningPlatform) -> None:
    form = {"LANG": "ADQL", "QUERY": "SELECT TOP 1 id FROM s.t", "RUNID": "secret"}
    created = httpx.post(f"{platform.tap}/async", data=form)
    assert created.status_code == 303
    url = created.headers["Location"]
    assert httpx.get(url).status_code == 200
    identifier = url.rpartition("/")[2]
    assert len(identifier) >= 26  # 128 bits as base 32
    for parameters in ({}, {"PHASE": "PENDING"}, {"LAST": "10"}, {"AFTER": "2000-01-01T00:00:00"}):
        listed = httpx.get(f"{platform.tap}/async", params=parameters)
        assert listed.status_code == 200
        assert ET.fromstring(listed.content).findall(f"{UWS}jobref") == []  # noqa: S314 - ours
        assert identifier not in listed.text
        assert "secret" not in listed.text
    common = httpx.get(f"{platform.address}/api/jobs")
    assert identifier not in common.text
    assert "secret" not in common.text
