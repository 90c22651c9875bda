"""Showing how far an import of images is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from astrolabe.images.importing import ImageImportProgress, ImageProgressListener

__all__ = ["show_image_progress"]

_WORDS = {"find": "looking for files", "read": "reading files", "publish": "publishing ObsCore"}
_LINE_SECONDS = 10.0


@contextmanager
def show_image_progress(name: str) -> Iterator[ImageProgressListener]:
    """Give a listener that shows on standard error how far the import of a collection is.

    Parameters
    ----------
    name
        Of the collection, put before each line where there is no terminal.
    """
    if sys.stderr.isatty():
        with _bars() as listener:
            yield listener
    else:
        yield _Lines(name)


class _Lines:
    """Writes a line every ten seconds."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._said = time.monotonic()

    def __call__(self, progress: ImageImportProgress) -> None:
        now = time.monotonic()
        if now - self._said < _LINE_SECONDS:
            return
        self._said = now
        text = f"{self._name}: {_WORDS[progress.step]}: {progress.files:,} files"
        if progress.total:
            text += f" of {progress.total:,}"
        click.echo(f"{text}, {progress.images:,} images", err=True)


@contextmanager
def _bars() -> Iterator[ImageProgressListener]:
    from rich.console import Console  # noqa: PLC0415 - keeps --help fast
    from rich.progress import (  # noqa: PLC0415 - the same
        BarColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
    )

    display = Progress(
        TextColumn("{task.description:<20}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} files, {task.fields[images]:,} images"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    tasks: dict[str, TaskID] = {}

    def listener(progress: ImageImportProgress) -> None:
        if progress.step not in tasks:
            tasks[progress.step] = display.add_task(
                _WORDS[progress.step], total=progress.total, images=progress.images
            )
        display.update(
            tasks[progress.step],
            completed=progress.files,
            total=progress.total,
            images=progress.images,
        )

    with display:
        yield listener
