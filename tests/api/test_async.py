"""Async jobs through the front door: every address of UWS."""

from __future__ import annotations

import asyncio
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from .conftest import ADDRESS
from .test_sync import status_infos, votable
from .xsd import assert_valid

pytestmark = pytest.mark.timeout(90)

ASYNC = "/api/tap/async"
QUERY = "SELECT TOP 20 objectId, name FROM dr1.object"
UWS = "{http://www.ivoa.net/xml/UWS/v1.0}"
NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"
HREF = "{http://www.w3.org/1999/xlink}href"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")


@pytest.fixture(scope="session")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("xsd")


async def create(client: httpx.AsyncClient, **more: str) -> str:
    """Create a job; return its path."""
    response = await client.post(ASYNC, data={"LANG": "ADQL", "QUERY": QUERY} | more)
    assert response.status_code == 303, response.text
    location = response.headers["location"]
    assert location.startswith(f"{ADDRESS}{ASYNC}/")
    return str(location.removeprefix(ADDRESS))


async def wait_for_end(client: httpx.AsyncClient, job: str) -> str:
    for _ in range(20):
        phase = (await client.get(f"{job}/phase", params={"WAIT": "-1"})).text
        if phase not in ("PENDING", "QUEUED", "EXECUTING"):
            return phase
    raise AssertionError(f"the job is still {phase}")


@pytest.mark.asyncio
async def test_a_new_job_is_pending_and_documented(
    client: httpx.AsyncClient, schemas: Path
) -> None:
    job = await create(client, REQUEST="doQuery", RUNID="mine <&>", MAXREC="7")
    response = await client.get(job)
    assert response.headers["content-type"] == "application/xml"
    assert response.text.partition("?>")[2].lstrip().startswith('<uws:job version="1.1"')
    root = assert_valid(response.content, schemas)
    assert root.findtext(f"{UWS}jobId") == job.rsplit("/", 1)[1]
    assert root.findtext(f"{UWS}phase") == "PENDING"
    assert root.findtext(f"{UWS}runId") == "mine <&>"
    for name in ("ownerId", "quote", "startTime", "endTime"):
        element = root.find(UWS + name)
        assert element is not None
        assert element.get(NIL) == "true"
    sent = {p.get("id"): p.text for p in root.iter(f"{UWS}parameter")}
    assert sent == {"LANG": "ADQL", "QUERY": QUERY, "REQUEST": "doQuery", "MAXREC": "7"}
    assert len(job.rsplit("/", 1)[1]) == 26, "128 bits"


@pytest.mark.asyncio
async def test_children_say_what_the_document_says(
    client: httpx.AsyncClient, schemas: Path
) -> None:
    job = await create(client)
    root = assert_valid((await client.get(job)).content, schemas)
    for child, name in (
        ("phase", "phase"),
        ("quote", "quote"),
        ("executionduration", "executionDuration"),
        ("destruction", "destruction"),
        ("owner", "ownerId"),
    ):
        response = await client.get(f"{job}/{child}")
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/plain")
        assert response.text == (root.findtext(UWS + name) or "")
        assert (await client.head(f"{job}/{child}")).status_code == 200
    assert TIME.match((await client.get(f"{job}/destruction")).text)
    for child in ("parameters", "results"):
        response = await client.get(f"{job}/{child}")
        assert assert_valid(response.content, schemas).tag == UWS + child
    assert (await client.get(f"{job}/error")).status_code == 404
    assert (await client.get(f"{job}/results/result")).status_code == 404
    assert (await client.get(f"{job}/nothing")).status_code == 404


@pytest.mark.asyncio
@pytest.mark.usefixtures("worker")
async def test_a_job_runs_and_its_result_comes_in_any_form(
    client: httpx.AsyncClient, schemas: Path
) -> None:
    job = await create(client, MAXREC="10", FORMAT="csv")
    response = await client.post(f"{job}/phase", data={"phase": "RUN"})
    assert (response.status_code, response.headers["location"]) == (303, ADDRESS + job)
    assert await wait_for_end(client, job) == "COMPLETED"
    root = assert_valid((await client.get(job)).content, schemas)
    (result,) = root.iter(f"{UWS}result")
    assert result.get("id") == "result"
    assert result.get("mime-type") == "text/csv;header=present"
    assert result.get(HREF) == f"{ADDRESS}{job}/results/result"
    assert TIME.match(root.findtext(f"{UWS}endTime") or "")
    as_csv = await client.get(f"{job}/results/result")
    assert as_csv.headers["content-type"] == "text/csv;header=present"
    assert len(as_csv.text.splitlines()) == 11
    as_votable = await client.get(f"{job}/results/result?RESPONSEFORMAT=votable")
    assert status_infos(votable(as_votable)) == [("OK", ""), ("OVERFLOW", "")]
    assert (await client.get(f"{job}/results/other")).status_code == 404
    assert (await client.get(f"{job}/error")).status_code == 404
    head = await client.head(f"{job}/results/result")
    assert (head.status_code, head.content) == (200, b"")
    again = await client.post(f"{job}/phase", data={"PHASE": "RUN"})
    assert again.status_code == 409


@pytest.mark.asyncio
@pytest.mark.usefixtures("worker")
async def test_a_failed_job_tells_why_in_three_places(client: httpx.AsyncClient) -> None:
    job = await create(client, QUERY="SELECT nothing FROM dr1.object", PHASE="RUN")
    assert await wait_for_end(client, job) == "ERROR"
    document = (await client.get(job)).text
    assert '<uws:errorSummary type="fatal" hasDetail="true">' in document
    error = await client.get(f"{job}/error")
    assert error.status_code == 200
    (info,) = status_infos(votable(error))
    assert info[0] == "ERROR"
    assert "nothing" in info[1]
    result = await client.get(f"{job}/results/result")
    assert result.status_code == 400
    assert status_infos(votable(result)) == [info]
    problem = await client.get(f"{job}/error", headers={"Accept": "application/json"})
    assert problem.json()["code"] == "unknown-column"


@pytest.mark.asyncio
@pytest.mark.usefixtures("worker")
async def test_a_result_can_be_uploaded_by_its_address(client: httpx.AsyncClient) -> None:
    job = await create(client, PHASE="RUN")
    assert await wait_for_end(client, job) == "COMPLETED"
    response = await client.post(
        "/api/tap/sync",
        data={
            "LANG": "ADQL",
            "QUERY": "SELECT COUNT(*) AS n FROM TAP_UPLOAD.old",
            "UPLOAD": f"old,{ADDRESS}{job}/results/result",
            "FORMAT": "csv",
        },
    )
    assert response.text.split() == ["n", "20"], response.text


@pytest.mark.asyncio
@pytest.mark.usefixtures("worker")
async def test_an_upload_may_come_after_the_job(client: httpx.AsyncClient, app: FastAPI) -> None:
    response = await client.post(ASYNC)
    assert response.status_code == 303, "a job may be created without any parameter"
    job = response.headers["location"].removeprefix(ADDRESS)
    table = (
        "<VOTABLE><RESOURCE><TABLE><FIELD name='n' datatype='int'/><DATA><TABLEDATA>"
        "<TR><TD>4</TD></TR></TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"
    )
    await client.post(f"{job}/parameters", data={"LANG": "ADQL"})
    await client.post(
        f"{job}/parameters", data={"UPLOAD": "t1,param:t1"}, files={"t1": ("t1", table)}
    )
    await client.post(
        f"{job}/parameters", data={"UPLOAD": "t2,param:t2"}, files={"t2": ("t2", table)}
    )
    response = await client.post(
        job, data={"query": "SELECT a.n + b.n AS s FROM TAP_UPLOAD.t1 a, TAP_UPLOAD.t2 b"}
    )
    assert response.status_code == 303
    await client.post(f"{job}/phase", data={"PHASE": "RUN"})
    phase = await wait_for_end(client, job)
    assert phase == "COMPLETED", (await client.get(f"{job}/error")).text
    result = await client.get(f"{job}/results/result?FORMAT=csv")
    assert result.text.split() == ["s", "8"]
    late = await client.post(f"{job}/parameters", data={"QUERY": QUERY})
    assert late.status_code == 409
    await client.delete(job)
    state: Any = app.state.api
    assert not (state.settings.paths.uploads / job.rsplit("/", 1)[1]).exists()


@pytest.mark.asyncio
@pytest.mark.parametrize("way", ["delete", "action"])
async def test_a_destroyed_job_is_gone(client: httpx.AsyncClient, way: str) -> None:
    job = await create(client)
    if way == "delete":
        response = await client.delete(job)
    else:
        response = await client.post(job, data={"ACTION": "DELETE"})
    assert (response.status_code, response.headers["location"]) == (303, ADDRESS + ASYNC)
    for path in (job, f"{job}/phase", f"{job}/results/result"):
        assert (await client.get(path)).status_code == 404
    assert (await client.delete(job)).status_code == 404
    assert (await client.post(f"{job}/phase", data={"PHASE": "RUN"})).status_code == 404


@pytest.mark.asyncio
async def test_abort(client: httpx.AsyncClient) -> None:
    job = await create(client)
    response = await client.post(f"{job}/phase", data={"PHASE": "ABORT"})
    assert response.status_code == 303
    assert (await client.get(f"{job}/phase")).text == "ABORTED"
    assert (await client.get(f"{job}/results/result")).status_code == 404


@pytest.mark.asyncio
async def test_limits_of_a_job_can_be_changed(client: httpx.AsyncClient) -> None:
    job = await create(client)
    await client.post(f"{job}/executionduration", data={"EXECUTIONDURATION": "30"})
    assert (await client.get(f"{job}/executionduration")).text == "30"
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    wanted = tomorrow.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    await client.post(f"{job}/destruction", data={"DESTRUCTION": wanted})
    assert (await client.get(f"{job}/destruction")).text == f"{wanted[:23]}Z"
    await client.post(f"{job}/destruction", data={"DESTRUCTION": "9999-01-01T00:00:00Z"})
    assert (await client.get(f"{job}/destruction")).text < "9000"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("child", "sent"),
    [
        ("phase", {"PHASE": "WALK"}),
        ("phase", {}),
        ("executionduration", {"EXECUTIONDURATION": "long"}),
        ("executionduration", {"EXECUTIONDURATION": "-5"}),
        ("executionduration", {}),
        ("destruction", {"DESTRUCTION": "tomorrow"}),
        ("destruction", {}),
        ("", {"ACTION": "EXPLODE"}),
    ],
)
async def test_bad_changes_are_refused(
    client: httpx.AsyncClient, child: str, sent: dict[str, str]
) -> None:
    job = await create(client)
    response = await client.post(f"{job}/{child}".rstrip("/"), data=sent)
    assert response.status_code == 400
    assert status_infos(votable(response))[0][0] == "ERROR"
    assert (await client.get(f"{job}/phase")).text == "PENDING"


@pytest.mark.asyncio
async def test_wait_blocks_until_the_phase_changes(client: httpx.AsyncClient) -> None:
    job = await create(client)
    began = time.monotonic()
    waiting = asyncio.create_task(client.get(job, params={"WAIT": "-1", "PHASE": "PENDING"}))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    await client.post(f"{job}/phase", data={"PHASE": "ABORT"})
    response = await waiting
    assert "<uws:phase>ABORTED" in response.text
    assert time.monotonic() - began < 10


@pytest.mark.asyncio
@pytest.mark.parametrize("wait", [{"WAIT": "1"}, {"wait": "1", "PHASE": "PENDING"}])
async def test_wait_ends_in_time(client: httpx.AsyncClient, wait: dict[str, str]) -> None:
    job = await create(client)
    began = time.monotonic()
    assert (await client.get(f"{job}/phase", params=wait)).text == "PENDING"
    assert 0.9 < time.monotonic() - began < 10


@pytest.mark.asyncio
async def test_wait_does_not_block_for_what_cannot_change(client: httpx.AsyncClient) -> None:
    job = await create(client)
    began = time.monotonic()
    await client.get(job, params={"WAIT": "-1", "PHASE": "EXECUTING"})
    await client.post(f"{job}/phase", data={"PHASE": "ABORT"})
    await client.get(job, params={"WAIT": "-1"})
    assert time.monotonic() - began < 10
    assert (await client.get(job, params={"WAIT": "soon"})).status_code == 400
    assert (await client.get(job, params={"WAIT": "1", "PHASE": "NEVER"})).status_code == 400


@pytest.mark.asyncio
async def test_wait_as_the_form_of_a_get(client: httpx.AsyncClient) -> None:
    job = await create(client)
    began = time.monotonic()
    response = await client.request("GET", f"{job}/phase", data={"WAIT": "1"})
    assert response.text == "PENDING"
    assert time.monotonic() - began > 0.9


@pytest.mark.asyncio
async def test_anonymous_jobs_are_in_no_list(client: httpx.AsyncClient, schemas: Path) -> None:
    job = await create(client)
    response = await client.get(
        ASYNC, params=[("PHASE", "PENDING"), ("PHASE", "ERROR"), ("LAST", "3")]
    )
    root = assert_valid(response.content, schemas)
    assert root.tag == f"{UWS}jobs"
    assert len(root) == 0
    assert job.rsplit("/", 1)[1] not in response.text
    after = await client.get(ASYNC, params={"AFTER": "2026-01-01T00:00:00.000000Z"})
    assert after.status_code == 200
    assert (await client.get(ASYNC, params={"AFTER": "then"})).status_code == 400
    assert (await client.get(ASYNC, params={"LAST": "-1"})).status_code == 400
    assert (await client.get(ASYNC, params={"PHASE": "NEVER"})).status_code == 400
    listed = await client.get("/api/jobs")
    assert listed.json() == {"jobs": [], "next_cursor": None}


@pytest.mark.asyncio
@pytest.mark.parametrize("job", ["a" * 26, "..", "x y", "%00", "ä"])
async def test_unknown_jobs(client: httpx.AsyncClient, job: str) -> None:
    for method in ("GET", "DELETE", "HEAD"):
        response = await client.request(method, f"{ASYNC}/{job}")
        assert response.status_code in (404, 405), (method, response.text)
    response = await client.post(f"{ASYNC}/{job}/parameters", files={"f": b"data"})
    assert response.status_code in (400, 404)


@pytest.mark.asyncio
async def test_a_bad_creation_leaves_no_upload(client: httpx.AsyncClient, app: FastAPI) -> None:
    response = await client.post(
        ASYNC, data={"EXECUTIONDURATION": "-1", "UPLOAD": "t,param:t"}, files={"t": b"data"}
    )
    assert response.status_code == 400
    state: Any = app.state.api
    assert not list(state.settings.paths.uploads.glob("*/*"))
