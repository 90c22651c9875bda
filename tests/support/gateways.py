"""Several gateways of one deployment: `astrolabe serve --config FILE`, on PostgreSQL."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.support.platform import environment

__all__ = ["free_port", "running_gateways", "write_config"]

_READY_SECONDS = 90.0


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_config(folder: Path, **sections: Mapping[str, Any]) -> Path:
    """Write the settings of a deployment but for its database, whose address holds a password.

    Parameters
    ----------
    folder
        Where the file and the home are.
    sections
        More settings by section.
    """
    content: dict[str, Any] = {
        "home": str(folder / "home"),
        "engine": {"memory_fraction": 0.05, "threads": 1, "workers": 4},
        "server": {"public_url": "http://astrolabe.example"},
    }
    for name, values in sections.items():
        content[name] = {**content.get(name, {}), **values}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


@contextmanager
def running_gateways(config: Path, count: int, *, database_url: str) -> Iterator[tuple[str, ...]]:
    """Start gateways of the deployment `config`, give their addresses, and end them."""
    database = {
        "ASTROLABE_DATABASE__URL": database_url,
        "ASTROLABE_DATABASE__CATALOG_URL": database_url,
    }
    with ExitStack() as stack:
        addresses = []
        for number in range(count):
            port = free_port()
            log = stack.enter_context((config.parent / f"gateway-{number}.log").open("wb"))
            command = [sys.executable, "-m", "astrolabe.cli.main", "serve"]
            process = subprocess.Popen(
                [*command, "--config", str(config), "--port", str(port)],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment(database),
            )
            stack.callback(_end, process)
            addresses.append(f"http://127.0.0.1:{port}")
            _wait_for(addresses[-1], process)
        yield tuple(addresses)


def _wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        assert process.poll() is None, f"the gateway ended with status {process.returncode}"
        assert time.monotonic() < deadline, "the gateway did not answer"
        try:
            if httpx.get(f"{address}/api/tap/availability", timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
