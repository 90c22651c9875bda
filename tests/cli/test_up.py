"""`astrolabe up` as a user meets it: real processes, real ports."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from astrolabe.config import load_settings
from astrolabe.core.errors import UnauthenticatedError
from astrolabe.factory import ProcessContext
from tests.support.platform import environment, run_astrolabe, running_platform

pytestmark = [pytest.mark.server, pytest.mark.timeout(180)]


def _wait_for(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_a_platform_says_where_it_is_and_lets_no_second_one_in(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running_platform(home) as platform:
        content = json.loads((home / "run" / "platform.json").read_text(encoding="utf-8"))
        assert content["pid"] == platform.process.pid
        assert content["address"] == platform.address
        assert content["ports"]["gateway"] == httpx.URL(platform.address).port
        assert home.stat().st_mode & 0o777 == 0o700
        assert (home / "control.db").stat().st_mode & 0o077 == 0

        second = run_astrolabe("up", "--home", str(home), "--port", "0", check=False)
        assert second.returncode != 0
        assert second.stderr.count("\n") == 1
        assert f"process {platform.process.pid}" in second.stderr
        assert _answers(platform.address)

        begun = time.monotonic()
        platform.process.send_signal(signal.SIGTERM)
        assert platform.process.wait(timeout=20) == 0
        assert time.monotonic() - begun < 15
        assert not platform.child_pids("serve")
        assert not platform.child_pids("worker")
    assert not (home / "run" / "platform.json").exists()
    # The end is one line, without what libraries have to say of memory.
    said = (tmp_path / "home-up.log").read_text(encoding="utf-8").splitlines()
    assert said[-1] == "Astrolabe has ended"
    assert not [line for line in said if "leaked" in line]


def test_links_follow_the_port_that_was_found(tmp_path: Path) -> None:
    with running_platform(tmp_path / "home") as platform:
        capabilities = httpx.get(f"{platform.tap}/capabilities").text
        assert f"{platform.tap}</accessURL>" in capabilities


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = run_astrolabe(
            "up", "--home", str(tmp_path / "home"), "--port", str(port), check=False
        )
    assert done.returncode == 1
    assert done.stderr.startswith(f"astrolabe: cannot listen on 127.0.0.1:{port}")
    assert done.stderr.count("\n") == 1


def test_several_gateways_share_a_port_and_one_may_die(tmp_path: Path) -> None:
    with running_platform(tmp_path / "home", extra={"ASTROLABE_SERVER__GATEWAYS": "2"}) as platform:
        _wait_for(lambda: len(platform.child_pids("serve")) == 2, 30)
        victim = platform.child_pids("serve")[0]
        os.kill(victim, signal.SIGKILL)
        for _ in range(20):
            assert platform.csv("SELECT COUNT(*) AS n FROM TAP_SCHEMA.tables")
        _wait_for(lambda: len(set(platform.child_pids("serve")) - {victim}) == 2, 30)
        assert "killed by SIGKILL" in (platform.home / "logs" / "supervisor.log").read_text(
            encoding="utf-8"
        )


def test_after_a_killed_supervisor_the_same_port_works_again(tmp_path: Path) -> None:
    home = tmp_path / "home"
    command = [sys.executable, "-m", "astrolabe.cli.main", "up", "--home", str(home), "--no-demo"]
    command += ["--port", str(_free_port())]
    address = f"http://127.0.0.1:{command[-1]}"
    with (tmp_path / "log").open("wb") as log:
        first = subprocess.Popen(command, stdout=log, stderr=log, env=environment())
        try:
            _wait_for(lambda: _answers(address), 90)
        finally:
            first.kill()
            first.wait()
        second = subprocess.Popen(command, stdout=log, stderr=log, env=environment())
        try:
            _wait_for(lambda: f'"pid": {second.pid}' in _platform_file(home), 90)
            _wait_for(lambda: _answers(address), 90)
        finally:
            second.send_signal(signal.SIGTERM)
            assert second.wait(timeout=20) == 0


def _platform_file(home: Path) -> str:
    try:
        return (home / "run" / "platform.json").read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def test_a_home_may_be_moved_and_the_next_start_is_quick(tmp_path: Path) -> None:
    catalog = tmp_path / "stars.csv"
    rows = [f"{i},{10 + i * 0.01},{-5 + i * 0.01}" for i in range(200)]
    catalog.write_text("id,ra,dec\n" + "\n".join(rows) + "\n", encoding="utf-8")
    home = tmp_path / "home"
    run_astrolabe(
        "table", "import", str(catalog), "--home", str(home), "--schema", "mine",
        "--table", "stars", "--id", "id", "--ra", "ra", "--dec", "dec",
    )  # fmt: skip
    query = "SELECT COUNT(*) AS n FROM mine.stars WHERE ra < 11"
    with running_platform(home) as platform:
        before = platform.csv(query)
    moved = tmp_path / "elsewhere" / "home"
    moved.parent.mkdir()
    shutil.move(home, moved)
    with running_platform(moved) as platform:
        assert platform.csv(query) == before == [{"n": "100"}]
        # The promise is 10 s on an idle machine; this one may be busy with other tests.
        assert _processor_seconds(platform.child_pids("serve")) < 8


def _processor_seconds(pids: list[int]) -> float:
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])  # utime and stime, proc(5)
    return ticks / os.sysconf("SC_CLK_TCK")


def test_a_gateway_that_cannot_start_ends_the_start_with_its_reason(tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = run_astrolabe(
        "up", "--home", str(home), "--port", "0", "--no-demo", check=False,
        extra={"PYTHONPATH": str(_broken_app(tmp_path))},
    )  # fmt: skip
    assert done.returncode == 1
    assert "gateway does not start" in done.stderr
    assert "the app is broken" in done.stderr
    assert done.stderr.count("\n") == 1


def _broken_app(folder: Path) -> Path:
    package = folder / "broken" / "astrolabe_api"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("", encoding="utf-8")
    (package / "main.py").write_text("raise RuntimeError('the app is broken')", encoding="utf-8")
    return package.parent


def test_the_owners_link_is_shown_on_the_terminal_and_in_no_log(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running_platform(home) as platform:
        shown = tmp_path / "home-up.log"
        _wait_for(lambda: "Log in as owner" in shown.read_text(encoding="utf-8"), 30)
        line = next(
            line
            for line in shown.read_text(encoding="utf-8").splitlines()
            if line.startswith("Log in as owner")
        )
        address, _, text = line.rpartition(" ")[2].partition("#")
        assert address == f"{platform.address}/auth/link"
        for log in (home / "logs").iterdir():
            assert text not in log.read_text(encoding="utf-8")
        with ProcessContext.open(load_settings(home=home, config_file=None, overrides={})) as own:
            assert own.users.redeem_login_link(text, address=None).username == "owner"
            with pytest.raises(UnauthenticatedError):
                own.users.redeem_login_link(text, address=None)
            assert own.groups.of("owner") == {"admins"}
