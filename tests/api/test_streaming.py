"""From a generator in a thread to a client that reads, dawdles or leaves."""

from __future__ import annotations

import asyncio
import gzip
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from fastapi import FastAPI, Request
from starlette.responses import Response

from astrolabe.core.errors import BadParameterError, OverloadError
from astrolabe_api.common.errors import ErrorForm, declare_error_form, install_error_handlers
from astrolabe_api.common.middleware import HeadMiddleware, RequestMiddleware
from astrolabe_api.common.pools import WorkPool
from astrolabe_api.common.streaming import ByteStream, StreamedResponse, coalesce, gzip_chunks

from .support import RawClient


@pytest.fixture
def pool() -> Iterator[WorkPool]:
    pool = WorkPool("test", threads=1, waiting=2)
    yield pool
    pool.close()


class Source:
    """Bytes that tell what happened to them."""

    def __init__(self, pool: WorkPool, *, chunks: int = 3, size: int = 10) -> None:
        self.pool = pool
        self.chunks = chunks
        self.size = size
        self.made = 0
        self.stopped = threading.Event()
        self.ended = threading.Event()
        self.on_made: Callable[[int], None] = lambda _: None

    def make(self) -> tuple[WorkPool, Iterator[bytes]]:
        return self.pool, self._bytes()

    def _bytes(self) -> Iterator[bytes]:
        try:
            for number in range(self.chunks):
                self.on_made(number)
                self.made += 1
                yield b"x" * self.size
        finally:
            self.ended.set()


def app_of(source: Source, *, patience_seconds: float | None = None) -> FastAPI:
    app = FastAPI(openapi_url=None)
    install_error_handlers(app, docs_url="https://docs.example/errors")
    declare_error_form(app, "/stream", ErrorForm.VOTABLE)

    @app.api_route("/stream", methods=["GET", "POST"], response_model=None)
    async def stream(request: Request) -> Response:
        await request.body()
        return StreamedResponse(
            ByteStream(source.pool, source.make, on_abort=source.stopped.set),
            media_type="text/csv;header=present",
            patience_seconds=patience_seconds,
        )

    app.add_middleware(HeadMiddleware)
    app.add_middleware(RequestMiddleware, software="astrolabe/test")
    return app


@pytest.mark.asyncio
async def test_all_bytes_arrive_in_order_and_the_type_is_sent_as_it_is(pool: WorkPool) -> None:
    source = Source(pool, chunks=50, size=200_000)
    client = RawClient(app_of(source), path="/stream").start()
    assert len(await client.finish()) == 50 * 200_000
    assert client.is_complete
    headers = dict(client.received[0]["headers"])
    assert headers[b"content-type"] == b"text/csv;header=present"
    assert b"content-length" not in headers


@pytest.mark.asyncio
async def test_an_error_before_the_first_byte_is_an_error_document(pool: WorkPool) -> None:
    source = Source(pool)

    def refuse(_: int) -> None:
        raise BadParameterError("no & such <thing>")

    source.on_made = refuse
    client = RawClient(app_of(source), path="/stream").start()
    body = (await client.finish()).decode()
    assert client.status == 400
    assert '<INFO name="QUERY_STATUS" value="ERROR">no &amp; such &lt;thing&gt;</INFO>' in body


@pytest.mark.asyncio
async def test_an_error_after_the_first_byte_breaks_the_connection(pool: WorkPool) -> None:
    source = Source(pool, chunks=100, size=100)
    sent = threading.Event()

    def break_later(number: int) -> None:
        if number == 3:
            sent.wait(5)
            raise BadParameterError("too late")

    source.on_made = break_later
    client = RawClient(app_of(source), path="/stream").start()
    await client.first_message()
    sent.set()
    await client.finish()
    assert client.status == 200
    assert not client.is_complete


@pytest.mark.asyncio
async def test_a_client_that_leaves_before_the_first_byte_stops_the_work(pool: WorkPool) -> None:
    source = Source(pool)
    running = threading.Event()

    def work(_: int) -> None:
        running.set()
        assert source.stopped.wait(5), "nobody told the work to stop"

    source.on_made = work
    client = RawClient(app_of(source), path="/stream", method="POST").start()
    await asyncio.to_thread(running.wait, 5)
    began = time.monotonic()
    client.leave()
    await client.finish()
    assert await asyncio.to_thread(source.ended.wait, 5)
    assert time.monotonic() - began < 4
    assert source.made <= 1


@pytest.mark.asyncio
async def test_a_client_that_leaves_in_the_middle_stops_the_work(pool: WorkPool) -> None:
    source = Source(pool, chunks=10_000_000, size=1000)
    client = RawClient(app_of(source), path="/stream").start()
    await client.first_message()
    client.leave()
    await client.finish()
    assert await asyncio.to_thread(source.ended.wait, 1.0)
    assert not client.is_complete


@pytest.mark.asyncio
async def test_a_slow_reader_keeps_neither_memory_nor_thread(pool: WorkPool) -> None:
    slow = Source(pool, chunks=40, size=1_000_000)
    buffer_is_full = threading.Event()
    slow.on_made = lambda number: buffer_is_full.set() if number == 3 else None
    client = RawClient(app_of(slow), path="/stream")
    client.may_read.clear()
    client.start()
    assert await asyncio.to_thread(buffer_is_full.wait, 5)
    await asyncio.sleep(0.2)
    assert slow.made <= 10, "rows were made that nobody has read"
    # The pool has one thread, and it is free for others.
    quick = RawClient(app_of(Source(pool)), path="/stream").start()
    assert len(await asyncio.wait_for(quick.finish(), 2)) == 30
    client.may_read.set()
    assert len(await client.finish()) == 40_000_000


@pytest.mark.asyncio
async def test_a_reader_that_rests_for_ever_is_cut_off(pool: WorkPool) -> None:
    source = Source(pool, chunks=100, size=1_000_000)
    client = RawClient(app_of(source, patience_seconds=0.3), path="/stream")
    client.may_read.clear()
    client.start()
    await asyncio.wait_for(client.finish(), 5)
    assert await asyncio.to_thread(source.ended.wait, 2)


@pytest.mark.asyncio
async def test_too_much_waiting_work_is_refused_with_a_time_to_come_back(pool: WorkPool) -> None:
    release, begun = threading.Event(), threading.Event()
    busy = Source(pool)

    def hold(_: int) -> None:
        begun.set()
        assert release.wait(5)

    busy.on_made = hold
    clients = [RawClient(app_of(busy), path="/stream").start()]
    assert await asyncio.to_thread(begun.wait, 5)
    clients += [RawClient(app_of(Source(pool)), path="/stream").start() for _ in range(2)]
    await asyncio.sleep(0.05)
    refused = RawClient(app_of(Source(pool)), path="/stream").start()
    await refused.finish()
    assert refused.status == 503
    assert dict(refused.received[0]["headers"])[b"retry-after"] == b"5"
    release.set()
    for client in clients:
        await client.finish()
        assert client.status == 200


@pytest.mark.asyncio
async def test_waiting_work_whose_client_leaves_never_begins(pool: WorkPool) -> None:
    release = threading.Event()
    busy = Source(pool)
    busy.on_made = lambda _: assert_true(release.wait(5))
    first = RawClient(app_of(busy), path="/stream").start()
    await asyncio.sleep(0.05)
    waiting = Source(pool)
    second = RawClient(app_of(waiting), path="/stream").start()
    await asyncio.sleep(0.05)
    second.leave()
    await asyncio.wait_for(second.finish(), 1)
    release.set()
    await first.finish()
    assert waiting.made == 0


@pytest.mark.asyncio
async def test_head_has_the_headers_and_no_body(pool: WorkPool) -> None:
    source = Source(pool, chunks=1_000_000, size=1000)
    client = RawClient(app_of(source), path="/stream", method="HEAD").start()
    assert await client.finish() == b""
    assert client.status == 200
    assert client.is_complete
    assert await asyncio.to_thread(source.ended.wait, 2)


@pytest.mark.asyncio
async def test_work_may_go_on_in_another_pool(pool: WorkPool) -> None:
    other = WorkPool("other", threads=1, waiting=1)
    names: list[str] = []
    source = Source(other)
    source.pool = pool

    def make() -> tuple[WorkPool, Iterator[bytes]]:
        names.append(threading.current_thread().name)
        return other, iter(source._bytes())

    source.make = make  # type: ignore[method-assign]  # stands in for a query that was checked
    source.on_made = lambda _: names.append(threading.current_thread().name)
    client = RawClient(app_of(source), path="/stream").start()
    await client.finish()
    other.close()
    assert names[0].startswith("test-")
    assert set(names[1:]) == {"other-0"}


def test_a_closed_pool_takes_no_work(pool: WorkPool) -> None:
    pool.close()
    with pytest.raises(OverloadError):
        pool.submit(lambda: None)


def test_small_chunks_are_joined_and_none_is_lost() -> None:
    chunks = [bytes([n % 256]) * 7000 for n in range(40)]
    joined = list(coalesce(chunks))
    assert b"".join(joined) == b"".join(chunks)
    assert len(joined) == 4


def test_gzip_sends_the_first_rows_at_once() -> None:
    compressed = gzip_chunks(iter([b"first row", b"second row"]))
    first = next(compressed)
    rest = b"".join(compressed)
    assert gzip.decompress(first + rest) == b"first rowsecond row"
    import zlib  # noqa: PLC0415 - only here

    assert zlib.decompressobj(31).decompress(first) == b"first row"


def assert_true(value: object) -> None:
    assert value
