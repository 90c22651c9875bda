"""Showing how far an import is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
from typing_extensions import override

if TYPE_CHECKING:
    from astrolabe.catalogs.importing import ImportProgress, ProgressListener

__all__ = ["show_progress"]

_WORDS = {
    "read": "reading and sorting",
    "write": "writing partitions",
    "margin": "writing the margin",
    "index": "indexing keys",
    "publish": "publishing",
}
_LINE_SECONDS = 10.0
_SURE_SECONDS = 1.0  # before that a rate means nothing


@contextmanager
def show_progress(name: str) -> Iterator[ProgressListener]:
    """Give a listener that shows on standard error how far the import of a table is.

    Parameters
    ----------
    name
        Of the table, put before each line where there is no terminal.
    """
    if sys.stderr.isatty():
        with _bars() as listener:
            yield listener
    else:
        yield _Lines(name)


class _Lines:
    """Writes a line when a step begins to take long, and every ten seconds from then on."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._step = ""
        self._started = self._said = time.monotonic()

    def __call__(self, progress: ImportProgress) -> None:
        now = time.monotonic()
        if progress.step != self._step:
            self._step = progress.step
            self._started = now
        if now - self._said < _LINE_SECONDS:
            return
        self._said = now
        text = f"{self._name}: {_WORDS[progress.step]}: {progress.rows:,} rows"
        if progress.total:
            text += f" of {progress.total:,}"
        if now - self._started >= _SURE_SECONDS and progress.rows:
            rate = progress.rows / (now - self._started)
            text += f", {rate:,.0f} rows/s"
            if progress.total:
                text += f", about {(progress.total - progress.rows) / rate:.0f} s left"
        click.echo(text, err=True)


@contextmanager
def _bars() -> Iterator[ProgressListener]:
    from rich.console import Console  # noqa: PLC0415 - keeps --help fast
    from rich.progress import (  # noqa: PLC0415 - the same
        BarColumn,
        Progress,
        ProgressColumn,
        Task,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text  # noqa: PLC0415 - the same

    class Rate(ProgressColumn):
        @override
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.0f} rows/s")

    display = Progress(
        TextColumn("{task.description:<20}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} rows"),
        Rate(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    tasks: dict[str, TaskID] = {}

    def listener(progress: ImportProgress) -> None:
        if progress.step not in tasks:
            tasks[progress.step] = display.add_task(_WORDS[progress.step], total=progress.total)
        display.update(tasks[progress.step], completed=progress.rows, total=progress.total)

    with display:
        yield listener
