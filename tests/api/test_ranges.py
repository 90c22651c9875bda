"""Results of jobs in parts: ranges, conditions, and files that appear as a whole or not at all."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest
import pytest_asyncio
from fastapi import FastAPI

from astrolabe.catalogs.results import StoredResult
from astrolabe.core.errors import CancelledError, NotFoundError
from astrolabe.tables.model import Column, Datatype, ResultHeader

from .conftest import ROWS, serving
from .support import RawClient
from .test_async import create, wait_for_end

pytestmark = pytest.mark.timeout(90)

PLAIN = {"Accept-Encoding": "identity"}


@pytest_asyncio.fixture
async def result(client: httpx.AsyncClient, worker: None) -> str:  # noqa: ARG001 - it runs the job
    """Address of a result with all rows of a table."""
    query = "SELECT objectId, ra, mag, name FROM dr1.object"
    job = await create(client, QUERY=query, FORMAT="csv", PHASE="RUN")
    assert await wait_for_end(client, job) == "COMPLETED"
    return f"{job}/results/result"


def files_of(home: Path, address: str) -> set[str]:
    folder = home / "results" / address.split("/")[4]
    return {path.name.partition("-")[0] for path in folder.iterdir()}


@pytest.mark.asyncio
async def test_a_download_is_taken_up_where_it_broke_off(
    client: httpx.AsyncClient, result: str, home: Path
) -> None:
    whole = await client.get(result, headers=PLAIN)
    assert whole.status_code == 200
    assert whole.headers["accept-ranges"] == "bytes"
    assert len(whole.text.splitlines()) == ROWS + 1
    # What is read once from the beginning leaves no second copy.
    assert files_of(home, result) == {"result.parquet"}
    rest = await client.get(
        result, headers={"Range": "bytes=1000-", "If-Range": whole.headers["etag"]}
    )
    size = len(whole.content)
    assert rest.status_code == 206
    assert rest.headers["content-range"] == f"bytes 1000-{size - 1}/{size}"
    assert rest.headers["content-length"] == str(size - 1000)
    assert rest.headers["content-type"] == "text/csv;header=present"
    assert "content-encoding" not in rest.headers
    assert rest.content == whole.content[1000:]
    assert files_of(home, result) == {"result.parquet", "rendered"}
    again = await client.get(result, headers=PLAIN)
    assert again.content == whole.content
    assert again.headers["content-length"] == str(size)
    assert again.headers["etag"] == whole.headers["etag"] == rest.headers["etag"]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("given", "part"),
    [
        ("bytes=0-0", slice(0, 1)),
        ("bytes=5-9", slice(5, 10)),
        ("BYTES = 5 - 9", slice(5, 10)),
        ("bytes=5-999999999999", slice(5, None)),
        ("bytes=-7", slice(-7, None)),
        ("bytes=-999999999999", slice(0, None)),
    ],
)
async def test_ranges(client: httpx.AsyncClient, result: str, given: str, part: slice) -> None:
    whole = (await client.get(result, headers=PLAIN)).content
    answer = await client.get(result, headers={"Range": given})
    assert answer.status_code == 206
    assert answer.content == whole[part]
    first, last, size = part.indices(len(whole))[0], 0, len(whole)
    last = first + len(answer.content) - 1
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{size}"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "given",
    ["bytes=9-5", "bytes=a-b", "rows=0-5", "bytes=-", "bytes=0-1,5-9", "bytes=" + "9" * 50 + "-"],
)
async def test_what_is_no_range_that_we_serve_is_answered_with_all(
    client: httpx.AsyncClient, result: str, given: str
) -> None:
    answer = await client.get(result, headers={"Range": given})
    assert answer.status_code == 200
    assert len(answer.text.splitlines()) == ROWS + 1


@pytest.mark.asyncio
@pytest.mark.parametrize("given", ["bytes=99999999-", "bytes=-0"])
async def test_a_range_behind_the_end(client: httpx.AsyncClient, result: str, given: str) -> None:
    size = len((await client.get(result, headers=PLAIN)).content)
    answer = await client.get(result, headers={"Range": given})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{size}"
    assert str(size) in answer.text


@pytest.mark.asyncio
async def test_a_range_of_another_version_is_answered_with_all(
    client: httpx.AsyncClient, result: str
) -> None:
    zipped = await client.get(result)
    assert zipped.headers["content-encoding"] == "gzip"
    for condition in ('"other"', zipped.headers["etag"], "Sun, 22 Nov 2026 12:00:00 GMT"):
        headers = {"Range": "bytes=5-9", "If-Range": condition}
        answer = await client.get(result, headers=headers)
        assert answer.status_code == 200
        assert len(answer.text.splitlines()) == ROWS + 1


@pytest.mark.asyncio
async def test_who_has_it_already_gets_no_second_copy(
    client: httpx.AsyncClient, result: str
) -> None:
    for headers in (PLAIN, {"Accept-Encoding": "gzip"}):
        etag = (await client.get(result, headers=headers)).headers["etag"]
        for known in (etag, f'"x", W/{etag}', "*"):
            answer = await client.get(result, headers=headers | {"If-None-Match": known})
            assert (answer.status_code, answer.content) == (304, b"")
            assert answer.headers["etag"] == etag
    other = await client.get(result, headers=PLAIN | {"If-None-Match": etag})
    assert other.status_code == 200


@pytest.mark.asyncio
async def test_head_tells_the_size(client: httpx.AsyncClient, result: str) -> None:
    for name in ("csv", "parquet"):
        address = f"{result}?RESPONSEFORMAT={name}"
        head = await client.head(address, headers=PLAIN | {"Range": "bytes=0-5"})
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["accept-ranges"] == "bytes"
        whole = await client.get(address, headers=PLAIN)
        assert head.headers["content-length"] == str(len(whole.content))
        assert head.headers["etag"] == whole.headers["etag"]


@pytest.mark.asyncio
async def test_a_parquet_result_is_read_from_its_end(
    client: httpx.AsyncClient, result: str
) -> None:
    address = f"{result}?RESPONSEFORMAT=parquet"
    tail = await client.get(address, headers={"Range": "bytes=-8"})
    assert tail.content[4:] == b"PAR1"
    length = int.from_bytes(tail.content[:4], "little") + 8
    footer = await client.get(address, headers={"Range": f"bytes=-{length}"})
    metadata = pq.read_metadata(io.BytesIO(footer.content))
    assert metadata.num_rows == ROWS
    assert metadata.metadata is not None
    assert b"IVOA.VOTable-Parquet.content" in metadata.metadata
    whole = await client.get(address)
    assert "content-encoding" not in whole.headers
    assert whole.content.endswith(footer.content)
    assert pq.read_table(io.BytesIO(whole.content)).column("ra").null_count == 0


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["votable", "fits", "json", "tsv", "arrow", "ecsv"])
async def test_other_forms_come_as_a_whole(
    client: httpx.AsyncClient, result: str, name: str
) -> None:
    address = f"{result}?RESPONSEFORMAT={name}"
    answer = await client.get(address, headers={"Range": "bytes=0-5"})
    assert (answer.status_code, answer.headers["accept-ranges"]) == (200, "none")
    assert len(answer.content) > 1000
    assert "etag" not in answer.headers


@pytest.mark.asyncio
async def test_many_parts_at_once(client: httpx.AsyncClient, result: str, home: Path) -> None:
    whole = (await client.get(result, headers=PLAIN)).content
    at = range(0, len(whole), len(whole) // 15)
    parts = await asyncio.gather(
        *(client.get(result, headers={"Range": f"bytes={i}-{i + at.step - 1}"}) for i in at)
    )
    assert [part.status_code for part in parts] == [206] * len(at)
    assert b"".join(part.content for part in parts) == whole
    folder = home / "results" / result.split("/")[4]
    assert len(list(folder.iterdir())) == 2


@pytest.mark.asyncio
@pytest.mark.usefixtures("worker")
async def test_a_client_that_leaves_leaves_no_file(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    async with serving(app) as client:
        job = await create(client, QUERY="SELECT ra FROM dr1.object", PHASE="RUN")
        assert await wait_for_end(client, job) == "COMPLETED"
        begun, gone = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        real = StoredResult.batches

        def slow(stored: StoredResult, *, max_rows: int = 100) -> Iterator[object]:
            for batch in real(stored, max_rows=max_rows):
                loop.call_soon_threadsafe(begun.set)
                asyncio.run_coroutine_threadsafe(gone.wait(), loop).result(10)
                yield batch

        monkeypatch.setattr(StoredResult, "batches", slow)
        raw = RawClient(
            app,
            path=f"{job}/results/result",
            query="RESPONSEFORMAT=csv",
            headers=[("Range", "bytes=0-9")],
        ).start()
        await begun.wait()
        raw.leave()
        await raw.finish()
        gone.set()
        folder = home / "results" / job.rpartition("/")[2]
        for _ in range(100):
            if len(list(folder.iterdir())) == 1:
                break
            await asyncio.sleep(0.05)
        assert [path.name for path in folder.iterdir()] == ["result.parquet"]


def test_a_form_is_kept_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    folder.mkdir()
    (folder / "result.parquet").write_bytes(b"")
    header = ResultHeader(columns=(Column(name="a", datatype=Datatype.INT),))
    stored = StoredResult(path=folder / "result.parquet", header=header, overflow=False)

    def broken() -> Iterator[bytes]:
        yield b"abc"
        assert len(list(folder.iterdir())) == 2
        assert stored.kept("form") is None
        raise CancelledError("enough")

    with pytest.raises(CancelledError):
        stored.keep("form", broken)
    assert len(list(folder.iterdir())) == 1
    path = stored.keep("form", lambda: [b"abc", b"def"])
    assert path.read_bytes() == b"abcdef"
    assert stored.keep("form", broken) == stored.kept("form") == path
    with pytest.raises(NotFoundError):
        StoredResult(path=tmp_path / "gone" / "result.parquet", header=header, overflow=False).keep(
            "form", lambda: [b"abc"]
        )
