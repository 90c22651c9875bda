"""A real S3 server on this machine, and a wire in front of it that counts what it sends."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

__all__ = ["CountingWire", "s3_server"]

_READY_SECONDS = 60.0


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def s3_server(folder: Path) -> Iterator[int]:
    """Run SeaweedFS with its data in a folder; yield the port of its S3."""
    folder.mkdir(parents=True, exist_ok=True)
    # A port plus 10,000 is used for gRPC, so low ones are asked for.
    ports = {name: 10_000 + free_port() % 20_000 for name in ("master", "volume", "filer", "s3")}
    weed = Path(sys.executable).with_name("weed")
    command = [
        str(weed), "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        "-master.telemetry=false", "-filer", "-s3", "-s3.port.iceberg=0", "-s3.port.lance=0",
        *(f"-{name}.port={port}" for name, port in ports.items()),
        "-master.volumeSizeLimitMB=1024", "-volume.max=20",
    ]  # fmt: skip
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        _wait(ports["s3"], process)
        yield ports["s3"]
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=20)
        process.kill()
        process.wait()


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"weed ended with status {process.returncode}")
        with suppress(httpx.HTTPError):
            # A bucket can be made only once all parts know each other.
            if httpx.put(f"http://127.0.0.1:{port}/ready", timeout=5).status_code == 200:
                return
        time.sleep(0.3)
    raise SystemExit("weed did not start")


class CountingWire:
    """Passes connections on to a server and counts the bytes that come back.

    Parameters
    ----------
    port
        Of the server.
    """

    def __init__(self, port: int) -> None:
        self.received = 0
        """Bytes that the server sent, with the headers of its answers."""
        self._port = port
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._port))
            for end in (client, server):
                # Nothing waits for more to send, as on a wire.
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for pair in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pass_on, args=pair, daemon=True).start()

    def _pass_on(self, of: socket.socket, to: socket.socket, counted: bool) -> None:  # noqa: FBT001 - the two ways of one wire
        with suppress(OSError):
            while data := of.recv(1 << 16):
                if counted:
                    with self._lock:
                        self.received += len(data)
                to.sendall(data)
        for end in (of, to):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
