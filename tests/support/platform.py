"""A real platform in processes of its own, started as a user starts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

__all__ = ["RunningPlatform", "run_astrolabe", "running_platform"]

_READY_SECONDS = 90.0
_DEMO_SECONDS = 400.0


@dataclass(frozen=True, slots=True)
class RunningPlatform:
    """A platform that answers.

    Parameters
    ----------
    home
        Its state.
    address
        ``http://127.0.0.1:PORT``.
    process
        The supervisor.
    """

    home: Path
    address: str
    process: subprocess.Popen[bytes]

    @property
    def tap(self) -> str:
        """Base address of the TAP service."""
        return f"{self.address}/api/tap"

    def sync(self, query: str, **parameters: str) -> httpx.Response:
        """Run a query by POST."""
        form = {"LANG": "ADQL", "QUERY": query, **parameters}
        return httpx.post(f"{self.tap}/sync", data=form, timeout=120)

    def csv(self, query: str, **parameters: str) -> list[dict[str, str]]:
        """Run a query and read its CSV."""
        response = self.sync(query, RESPONSEFORMAT="csv", **parameters)
        assert response.status_code == 200, response.text
        lines = response.text.splitlines()
        names = [name.strip('"') for name in lines[0].split(",")]
        return [
            dict(zip(names, (cell.strip('"') for cell in line.split(",")), strict=True))
            for line in lines[1:]
        ]

    def child_pids(self, command: str) -> list[int]:
        """Return the processes of this platform whose command line has the word `command`."""
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    words = (folder / "cmdline").read_bytes().decode().split("\0")
                except OSError:
                    continue
                if str(self.home) in words and command in words:
                    found.append(int(folder.name))
        return found


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment without settings of ours, and with `extra`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ASTROLABE_")}
    return kept | dict(extra or {})


def run_astrolabe(
    *arguments: str,
    check: bool = True,
    extra: Mapping[str, str] | None = None,
    stdin: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run the command `astrolabe` to its end."""
    result = subprocess.run(
        [sys.executable, "-m", "astrolabe.cli.main", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        env=environment(extra),
        timeout=600,
        check=False,
    )
    if check and result.returncode != 0:
        raise AssertionError(f"astrolabe {' '.join(arguments)}: {result.stderr}")
    return result


@contextmanager
def running_platform(
    home: Path, *, demo: bool = False, extra: Mapping[str, str] | None = None
) -> Iterator[RunningPlatform]:
    """Start `astrolabe up` on a free port and wait until it answers; end it afterwards."""
    log = (home.parent / f"{home.name}-up.log").open("ab")
    command = [sys.executable, "-m", "astrolabe.cli.main", "up", "--home", str(home)]
    # The survey's images take a processor for minutes; tests of images bring their own.
    command += ["--port", "0", "--no-demo-images" if demo else "--no-demo"]
    process = subprocess.Popen(
        command, stdout=log, stderr=subprocess.STDOUT, env=environment(extra)
    )
    try:
        address = _wait_for_address(home, process)
        platform = RunningPlatform(home=home, address=address, process=process)
        seconds = _DEMO_SECONDS if demo else _READY_SECONDS
        _wait_until(lambda: _is_healthy(address), process, seconds, "answer")
        yield platform
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            log.close()


def _wait_for_address(home: Path, process: subprocess.Popen[bytes]) -> str:
    place = home / "run" / "platform.json"

    def read() -> str | None:
        try:
            content = json.loads(place.read_text())
        except (OSError, ValueError):
            return None
        return str(content["address"]) if content["pid"] == process.pid else None

    _wait_until(lambda: read() is not None, process, _READY_SECONDS, "start")
    address = read()
    assert address is not None
    return address


def _is_healthy(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def _wait_until(
    condition: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float, what: str
) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None:
            raise AssertionError(f"the platform ended with status {process.returncode}")
        if time.monotonic() > deadline:
            raise AssertionError(f"the platform did not {what} within {seconds:g} s")
        time.sleep(0.1)
