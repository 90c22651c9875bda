"""A front that ends TLS, as an ingress does, with a certificate of an authority of our own."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import trustme

__all__ = ["TestAuthority", "tls_front"]

_CHUNK = 65_536


@dataclass(frozen=True)
class TestAuthority:
    """A certificate authority that nobody but our tests trusts.

    Parameters
    ----------
    certificate
        File with its certificate (PEM), for OpenSSL's clients.
    trust_store
        The same for Java's; its password is ``changeit``.
    server
        What the front shows.
    """

    __test__ = False

    certificate: Path
    trust_store: Path
    server: ssl.SSLContext

    @classmethod
    def make(cls, folder: Path, *, host: str = "localhost") -> TestAuthority:
        """Make an authority and a certificate of it for `host`."""
        authority = trustme.CA()
        certificate, trust_store = folder / "ca.pem", folder / "trust.p12"
        authority.cert_pem.write_to_path(certificate)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(host, "127.0.0.1").configure_cert(context)
        into = ["-keystore", str(trust_store), "-storetype", "PKCS12", "-storepass", "changeit"]
        subprocess.run(
            ["keytool", "-importcert", "-noprompt", "-file", str(certificate), *into],
            check=True,
            capture_output=True,
            timeout=60,
        )
        return cls(certificate, trust_store, context)


@contextmanager
def tls_front(port: int, backend_port: int, server: ssl.SSLContext) -> Iterator[None]:
    """Listen with TLS on `port` and pass everything on to `backend_port`."""
    ready, loop, over = threading.Event(), asyncio.new_event_loop(), asyncio.Event()
    open_now: set[asyncio.Task[None]] = set()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, ssl.SSLError):
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", backend_port)
            await asyncio.gather(_pipe(reader, to_writer), _pipe(to_reader, writer))

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = loop.create_task(relay(reader, writer))
        open_now.add(task)
        task.add_done_callback(open_now.discard)

    async def serve() -> None:
        listening = await asyncio.start_server(accept, "127.0.0.1", port, ssl=server)
        ready.set()
        await over.wait()
        listening.close()
        for task in tuple(open_now):
            task.cancel()
        await asyncio.gather(*open_now, return_exceptions=True)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), name="tls-front")
    thread.start()
    try:
        if not ready.wait(20):
            raise AssertionError("the TLS front did not start")
        yield
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(20)
        loop.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
    finally:
        with suppress(OSError, ssl.SSLError, RuntimeError):
            writer.close()
