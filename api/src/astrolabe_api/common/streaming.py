"""From a generator of bytes in a thread to an answer on the event loop.

The generator runs in a pool's thread until a bounded buffer is full, then it rests until the
client has read on.  When the client goes away the generator is closed within moments, whether it
has sent anything or not.
"""

from __future__ import annotations

import asyncio
import threading
import time
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from enum import Enum

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send
from typing_extensions import override

from astrolabe.core.errors import CancelledError, OverloadError
from astrolabe_api.common.pools import WorkPool
from astrolabe_api.common.requests import BrokenAnswerError, is_head

__all__ = ["ByteStream", "StreamedResponse", "coalesce", "gzip_chunks"]

_BUFFER_BYTES = 4 << 20
_CHUNK_BYTES = 1 << 16
_FLUSH_SECONDS = 0.5


class _State(Enum):
    RUNNING = "running"
    RESTING = "resting"
    ENDED = "ended"


class ByteStream:
    """The bridge between one generator and one client.

    Parameters
    ----------
    pool
        Where `make` runs.
    make
        Does the work that comes before the first byte and can fail; gives the pool to go on in
        (the same one or another) and the generator of the body.
    on_abort
        Called on the event loop when nobody waits any more, to stop what the generator is in.
    """

    def __init__(
        self,
        pool: WorkPool,
        make: Callable[[], tuple[WorkPool, Iterator[bytes]]],
        *,
        on_abort: Callable[[], None] = lambda: None,
    ) -> None:
        self._pool = pool
        self._make = make
        self._on_abort = on_abort
        self._loop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()
        self._lock = threading.Lock()
        self._iterator: Iterator[bytes] | None = None
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._state = _State.RUNNING
        self._error: BaseException | None = None
        self._aborted = False

    def begin(self) -> None:
        """Queue the work.

        Raises
        ------
        OverloadError
            Raised if too much waits already.
        """
        self._pool.submit(self._pump)

    async def next(self) -> bytes | None:
        """Return all that has come since the last call, `None` at the end.

        Raises
        ------
        CancelledError
            Raised if the stream was aborted.
        BaseException
            Whatever ended the generator.
        """
        while True:
            await self._arrived.wait()
            with self._lock:
                self._arrived.clear()
                if self._aborted:
                    raise CancelledError("Nobody waits for the answer any more.")
                data = b"".join(self._chunks)
                self._chunks.clear()
                self._buffered = 0
                resting = self._state is _State.RESTING
                if resting:
                    self._state = _State.RUNNING
                ended = self._state is _State.ENDED
                if ended:
                    self._arrived.set()
            if resting:
                self._pool.resume(self._pump)
            if data:
                return data
            if ended:
                if self._error is not None:
                    raise self._error
                return None

    @property
    def is_over(self) -> bool:
        """Whether the generator has ended well and `next` has given all of it."""
        with self._lock:
            return self._state is _State.ENDED and self._error is None and not self._chunks

    def abort(self) -> None:
        """Stop the generator: nobody waits any more.  Does nothing at the end of the stream."""
        with self._lock:
            if self._aborted or self._state is _State.ENDED:
                return
            self._aborted = True
            self._chunks.clear()
            self._buffered = 0
            resting = self._state is _State.RESTING
            self._state = _State.RUNNING
        self._arrived.set()
        self._on_abort()
        if resting:
            # A generator has to be closed in a thread, and by one thread at a time.
            self._pool.resume(self._pump)
        elif self._pool.withdraw(self._pump):
            self._end(None)

    def _pump(self) -> None:
        """Run the generator until it ends, the buffer is full or nobody waits."""
        try:
            iterator = self._iterator or self._prepare()
            if iterator is None:
                return
            while not self._aborted:
                chunk = next(iterator, None)
                if chunk is None:
                    break
                if self._put(chunk):
                    return
            self._close_generator()
        except BaseException as exc:  # noqa: BLE001 - carried over to the event loop and raised there
            self._end(exc)
        else:
            self._end(None)

    def _prepare(self) -> Iterator[bytes] | None:
        """Make the generator; give it only if it is to run here and now."""
        if self._aborted:
            self._end(None)
            return None
        pool, self._iterator = self._make()
        if pool is self._pool:
            return self._iterator
        self._pool = pool
        pool.submit(self._pump)
        return None

    def _close_generator(self) -> None:
        if isinstance(self._iterator, Generator):
            self._iterator.close()

    def _put(self, chunk: bytes) -> bool:
        """Hand over a chunk; whether the generator has to rest."""
        with self._lock:
            if self._aborted:
                return False
            first = not self._chunks
            self._chunks.append(chunk)
            self._buffered += len(chunk)
            full = self._buffered >= _BUFFER_BYTES
            if full:
                self._state = _State.RESTING
        if first:
            self._wake()
        return full

    def _end(self, error: BaseException | None) -> None:
        with self._lock:
            self._state = _State.ENDED
            self._error = error
        self._wake()

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._arrived.set)
        except RuntimeError:
            # The loop is closed: the server has ended and nobody waits.
            self._aborted = True


class StreamedResponse(Response):
    """An answer whose body comes from a `ByteStream`.

    Nothing is sent before the first chunk is there: an error until then becomes an error document
    with its own status.  While it waits and sends, the client's disconnect is watched for.

    Parameters
    ----------
    stream
        The body.  The response begins it.
    media_type
        Content-Type, sent exactly so.
    headers
        More headers.
    patience_seconds
        How long a client may take in all, in seconds; `None` for ever.
    on_end
        Called when all is over, whatever happened.
    """

    def __init__(
        self,
        stream: ByteStream,
        *,
        media_type: str,
        headers: dict[str, str] | None = None,
        patience_seconds: float | None = None,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(media_type=None, headers=headers)
        # The content type is sent exactly as asked: no charset is added.
        fields = MutableHeaders(raw=self.raw_headers)
        fields["content-type"] = media_type
        del fields["content-length"]
        self._stream = stream
        self._patience = patience_seconds
        self._on_end = on_end
        self._started = False

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        watcher = asyncio.create_task(self._watch(receive))
        try:
            async with asyncio.timeout(self._patience):
                await self._answer(scope, send)
        except TimeoutError as exc:
            if not self._started:
                raise OverloadError(
                    "The platform did not come to this request in time; try again in a moment."
                ) from exc
            raise BrokenAnswerError("the client read too slowly") from exc
        finally:
            watcher.cancel()
            self._stream.abort()
            self._on_end()

    async def _answer(self, scope: Scope, send: Send) -> None:
        self._stream.begin()
        chunk = await self._stream.next()
        self._started = True
        if self._stream.is_over and not is_head(scope):
            # All is there already, as most often: its length can be told, and it goes at once.
            chunk = chunk or b""
            MutableHeaders(raw=self.raw_headers)["content-length"] = str(len(chunk))
            await send(self._start)
            await send({"type": "http.response.body", "body": chunk, "more_body": False})
            return
        await send(self._start)
        if is_head(scope):
            self._stream.abort()
            chunk = None
        while chunk is not None:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            try:
                chunk = await self._stream.next()
            except Exception as exc:
                # The status is out: all that is left is an answer without an end.
                raise BrokenAnswerError(str(exc)) from exc
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    @property
    def _start(self) -> Message:
        return {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._stream.abort()


def coalesce(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Join small chunks to such as are worth a system call; holds nothing back at the end."""
    waiting: list[bytes] = []
    size = 0
    for chunk in chunks:
        waiting.append(chunk)
        size += len(chunk)
        if size >= _CHUNK_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)


def gzip_chunks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Compress as gzip at the fastest level; what has come is flushed now and then."""
    engine = zlib.compressobj(1, zlib.DEFLATED, 31)
    last = 0.0
    for chunk in chunks:
        data = engine.compress(chunk)
        now = time.monotonic()
        if now - last >= _FLUSH_SECONDS:
            data += engine.flush(zlib.Z_SYNC_FLUSH)
            last = now
        if data:
            yield data
    yield engine.flush()
