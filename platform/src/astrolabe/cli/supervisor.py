"""Keeping a few child processes running: started by exec, restarted when they die, ended together.

Children are started anew, never forked: a fork of a process that has threads (Arrow's, DuckDB's)
hangs.  This module knows nothing of what the children do.
"""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

__all__ = ["ChildSpec", "Supervisor"]

_LOG_BYTES = 20_000_000
_LOG_FILES = 3


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """One child: how it is started and what its end means.

    Parameters
    ----------
    name
        Shown before its lines on the console; its log is ``NAME.log``.
    command
        Program and arguments.
    restart
        Whether it should run for ever; one that should not is started once.
    file_descriptors
        Open files that it inherits, such as a listening socket.
    environment
        Variables set beside those of the supervisor.
    """

    name: str
    command: Sequence[str]
    restart: bool = True
    file_descriptors: tuple[int, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


class _Child:
    """A spec and the process that runs it now, if any."""

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.process: subprocess.Popen[bytes] | None = None
        self.reader: threading.Thread | None = None
        self.started_at = 0.0
        self.start_at = 0.0  # do not start before (monotonic, s)
        self.failures = 0  # in a row
        self.finished = False  # one that runs once has run
        self.last_line = ""


class Supervisor:
    """Runs children until told to stop.

    Parameters
    ----------
    logs
        Folder of the children's logs.
    echo
        Called with each line that a child writes (prefixed by its name) and each of our own;
        from several threads.
    first_delay_seconds, longest_delay_seconds
        Wait before a dead child is started again: doubles from the first to the longest.
    stable_seconds
        A child that ran so long is as good as new: its next death counts as its first.
    grace_seconds
        Time that children get to end after SIGTERM before they are killed.
    """

    def __init__(
        self,
        *,
        logs: Path,
        echo: Callable[[str], None],
        first_delay_seconds: float = 0.5,
        longest_delay_seconds: float = 30.0,
        stable_seconds: float = 60.0,
        grace_seconds: float = 10.0,
    ) -> None:
        self._logs = logs
        self._echo = echo
        self._first_delay = first_delay_seconds
        self._longest_delay = longest_delay_seconds
        self._stable = stable_seconds
        self._grace = grace_seconds
        self._children: list[_Child] = []
        self._stopping = False
        self._hurry = False

    @property
    def stopping(self) -> bool:
        """Whether the end has been asked for."""
        return self._stopping

    def add(self, spec: ChildSpec) -> None:
        """Start a child at the next turn of `run`."""
        self._children.append(_Child(spec))

    def stop(self) -> None:
        """Ask for the end; `run` returns when all children have ended."""
        self._stopping = True

    def stop_on_signals(self) -> None:
        """Take SIGTERM, SIGINT and SIGHUP as `stop`; a second one kills at once."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def failures(self) -> dict[str, tuple[int, str]]:
        """Return how often in a row each child has died, and the last line that it wrote."""
        return {c.spec.name: (c.failures, c.last_line) for c in self._children if c.failures}

    def run(self, on_turn: Callable[[], None], on_end: Callable[[str, int], None]) -> None:
        """Run until `stop`: start what should run, notice what has died.

        Parameters
        ----------
        on_turn
            Called about ten times a second.
        on_end
            Called with the name and exit status of a child that runs once, when it has ended.
        """
        try:
            while not self._stopping:
                for child in list(self._children):
                    self._look_after(child, on_end)
                on_turn()
                if not self._stopping:
                    time.sleep(0.1)
        finally:
            self._end_all()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._hurry = self._stopping and number == signal.SIGINT
        self._stopping = True

    def _look_after(self, child: _Child, on_end: Callable[[str, int], None]) -> None:
        now = time.monotonic()
        if child.process is None:
            if not child.finished and now >= child.start_at:
                self._start(child)
            return
        status = child.process.poll()
        if status is None:
            return
        self._reap(child)
        if not child.spec.restart:
            child.finished = True
            on_end(child.spec.name, status)
            return
        child.failures = 1 if now - child.started_at > self._stable else child.failures + 1
        delay = min(self._first_delay * 2 ** (child.failures - 1), self._longest_delay)
        child.start_at = now + delay
        self._echo(
            f"{child.spec.name} ended unexpectedly ({_describe(status)}); starting it again in "
            f"{delay:g} s"
        )

    def _start(self, child: _Child) -> None:
        child.started_at = time.monotonic()
        child.process = subprocess.Popen(
            list(child.spec.command),
            # Its standard input tells it, by closing, that we are gone.
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=child.spec.file_descriptors,
            env={**os.environ, **child.spec.environment},
            # Control-C on the terminal is for the supervisor, which ends them in order.
            start_new_session=True,
        )
        child.reader = threading.Thread(
            target=self._read, args=(child, child.process), name=f"log-{child.spec.name}"
        )
        child.reader.daemon = True
        child.reader.start()

    def _read(self, child: _Child, process: subprocess.Popen[bytes]) -> None:
        """Copy a child's lines to its log and to the console until it closes them."""
        log = logging.handlers.RotatingFileHandler(
            self._logs / f"{child.spec.name}.log",
            maxBytes=_LOG_BYTES,
            backupCount=_LOG_FILES,
            encoding="utf-8",
        )
        if process.stdout is None:
            return
        with contextlib.closing(log):
            for raw in process.stdout:
                line = raw.decode("utf-8", "replace").rstrip()
                if not line:
                    continue
                child.last_line = line
                log.handle(logging.makeLogRecord({"msg": line, "levelno": logging.INFO}))
                self._echo(f"[{child.spec.name}] {line}")

    def _reap(self, child: _Child) -> None:
        process = child.process
        if process is None:
            return
        process.wait()
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
        # What the child started itself must not outlive it, nor keep its output open.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        if child.reader is not None:
            child.reader.join(timeout=2.0)
        if process.stdout is not None and not (child.reader and child.reader.is_alive()):
            process.stdout.close()
        child.process = None

    def _end_all(self) -> None:
        running = [c for c in self._children if c.process is not None]
        for child in running:
            if child.process is not None:
                child.process.terminate()
        deadline = time.monotonic() + self._grace
        for child in running:
            while child.process is not None and child.process.poll() is None:
                if self._hurry or time.monotonic() > deadline:
                    self._echo(f"{child.spec.name} does not end by itself; killing it")
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(child.process.pid, signal.SIGKILL)
                    break
                time.sleep(0.05)
            self._reap(child)


def _describe(status: int) -> str:
    if status >= 0:
        return f"status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"
