"""The supervisor, with real processes: restarts, back-off, order at the end, nothing left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest

from astrolabe.cli.supervisor import ChildSpec, Supervisor


def _python(code: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(code)]


def _wait_for(condition: Callable[[], bool], seconds: float = 8.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"


class _Running:
    """A supervisor that runs in a thread of this process."""

    def __init__(self, logs: Path, *specs: ChildSpec, grace_seconds: float = 3.0) -> None:
        self.lines: list[str] = []
        self.ended: list[tuple[str, int]] = []
        self.supervisor = Supervisor(
            logs=logs,
            echo=self.lines.append,
            first_delay_seconds=0.05,
            longest_delay_seconds=0.2,
            grace_seconds=grace_seconds,
        )
        for spec in specs:
            self.supervisor.add(spec)
        self.thread = threading.Thread(
            target=self.supervisor.run,
            args=(lambda: None, lambda name, status: self.ended.append((name, status))),
        )

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.supervisor.stop()
        self.thread.join(timeout=8)
        assert not self.thread.is_alive()

    def pids(self, name: str) -> list[int]:
        marks = [line for line in self.lines if line.startswith(f"[{name}] pid ")]
        return [int(line.split()[-1]) for line in marks]


SLEEPER = "import os, time; print('pid', os.getpid(), flush=True); time.sleep(60)"


def test_a_dead_child_is_started_again_with_growing_delays(tmp_path: Path) -> None:
    spec = ChildSpec(name="a", command=_python("import sys; print('oh'); sys.exit(3)"))
    with _Running(tmp_path, spec) as running:
        _wait_for(lambda: sum("ended unexpectedly" in line for line in running.lines) >= 4)
        deaths = [line for line in running.lines if "ended unexpectedly" in line]
        count, last_line = running.supervisor.failures()["a"]
    assert "(status 3); starting it again in 0.05 s" in deaths[0]
    assert deaths[1].endswith("0.1 s")
    assert deaths[2].endswith("0.2 s")
    assert deaths[3].endswith("0.2 s")
    assert count >= 4
    assert last_line == "oh"


def test_a_killed_child_comes_back(tmp_path: Path) -> None:
    with _Running(tmp_path, ChildSpec(name="a", command=_python(SLEEPER))) as running:
        _wait_for(lambda: len(running.pids("a")) == 1)
        os.kill(running.pids("a")[0], signal.SIGKILL)
        _wait_for(lambda: len(running.pids("a")) == 2)
        assert any("killed by SIGKILL" in line for line in running.lines)
    assert not _alive(running.pids("a")[1])


def test_one_that_runs_once_is_reported_and_not_repeated(tmp_path: Path) -> None:
    spec = ChildSpec(
        name="once", command=_python("print('done'); raise SystemExit(7)"), restart=False
    )
    with _Running(tmp_path, spec) as running:
        _wait_for(lambda: bool(running.ended))
        time.sleep(0.4)
    assert running.ended == [("once", 7)]
    assert (tmp_path / "once.log").read_text(encoding="utf-8") == "done\n"


def test_lines_go_to_the_log_and_to_the_console(tmp_path: Path) -> None:
    code = "import sys; print('to out'); print('to err', file=sys.stderr)"
    with _Running(tmp_path, ChildSpec(name="a", command=_python(code), restart=False)) as running:
        _wait_for(lambda: bool(running.ended))
    assert {"[a] to out", "[a] to err"} <= set(running.lines)
    log = (tmp_path / "a.log").read_text(encoding="utf-8")
    assert sorted(log.split("\n")) == ["", "to err", "to out"]


def test_one_that_ignores_sigterm_is_killed_with_all_it_started(tmp_path: Path) -> None:
    code = """
        import os, signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        inner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        print("pid", inner.pid, flush=True)
        print("pid", os.getpid(), flush=True)
        time.sleep(60)
    """
    spec = ChildSpec(name="stubborn", command=_python(code))
    with _Running(tmp_path, spec, grace_seconds=0.5) as running:
        _wait_for(lambda: len(running.pids("stubborn")) == 2)
        begun = time.monotonic()
    assert time.monotonic() - begun < 4
    assert any("killing it" in line for line in running.lines)
    _wait_for(lambda: not any(_alive(pid) for pid in running.pids("stubborn")))


def test_files_and_variables_are_handed_on(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    spec = ChildSpec(
        name="a",
        command=_python(f"import os; os.write({write_end}, os.environ['GREETING'].encode())"),
        restart=False,
        file_descriptors=(write_end,),
        environment={"GREETING": "hello"},
    )
    try:
        with _Running(tmp_path, spec) as running:
            _wait_for(lambda: bool(running.ended))
        assert os.read(read_end, 100) == b"hello"
    finally:
        os.close(read_end)
        os.close(write_end)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_children_end_however_the_supervisor_ends(tmp_path: Path, number: signal.Signals) -> None:
    child = """
        import os, time
        from astrolabe.cli.parent import end_with_parent
        end_with_parent()
        print("pid", os.getpid(), flush=True)
        time.sleep(60)
    """
    parent = f"""
        import sys
        from pathlib import Path
        from astrolabe.cli.supervisor import ChildSpec, Supervisor
        supervisor = Supervisor(
            logs=Path({str(tmp_path)!r}), echo=lambda line: print(line, flush=True)
        )
        supervisor.stop_on_signals()
        command = [sys.executable, "-c", {textwrap.dedent(child)!r}]
        supervisor.add(ChildSpec(name="a", command=command))
        supervisor.run(lambda: None, lambda name, status: None)
    """
    with subprocess.Popen(_python(parent), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline().split()[-1])
        assert _alive(pid)
        process.send_signal(number)
        process.wait(timeout=8)
        _wait_for(lambda: not _alive(pid))
        assert process.returncode == (-number if number == signal.SIGKILL else 0)
