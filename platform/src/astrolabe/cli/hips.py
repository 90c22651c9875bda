"""`astrolabe hips make | list | remove`: pictures of collections of images."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import click

from astrolabe.cli.options import settings_options

if TYPE_CHECKING:
    from astrolabe.config import Settings
    from astrolabe.images.hips.making import HipsProgress, HipsReport

__all__ = ["hips"]

_SHOWN_SKIPPED = 20
_LINE_SECONDS = 10.0


@click.group()
def hips() -> None:
    """Make, list and remove pictures of the sky (HiPS)."""


def _three(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[str, ...]:
    bands = () if value is None else tuple(band.strip() for band in value.split(","))
    if bands and (len(bands) != 3 or not all(bands)):
        raise click.BadParameter(f"{value!r} does not name three bands such as i,r,g")
    return bands


@hips.command("make")
@click.argument("collection")
@click.option("--band", help="Only images of this band.")
@click.option(
    "--rgb", metavar="R,G,B", callback=_three, help="In colour: the bands for red, green and blue."
)
@click.option(
    "--id", "hips_id", metavar="ID", help="Its name.  [default: COLLECTION or COLLECTION_BANDS]"
)
@click.option("--title", help="Its title.  [default: that of the collection, with the bands]")
@click.option(
    "--order",
    type=int,
    metavar="N",
    help="The finest order.  [default: the one whose pixels are no larger than the images']",
)
@click.option(
    "--cut",
    "cuts",
    type=(float, float),
    multiple=True,
    metavar="LOW HIGH",
    help="Values that are drawn black and white, once for each band.  [default: chosen once]",
)
@click.option(
    "--picture",
    type=click.Choice(["png", "jpg"]),
    default="png",
    show_default=True,
    help="Form of the pictures.",
)
@click.option("--all", "rebuild", is_flag=True, help="Make every tile anew.")
@click.option(
    "--drop-values",
    is_flag=True,
    help="Of a HiPS in colour, keep only the pictures: less room, but a change makes all anew.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="Tiles that are made at once.",
)
@settings_options
def make(
    *,
    settings: Settings,
    collection: str,
    band: str | None,
    rgb: tuple[str, ...],
    hips_id: str | None,
    title: str | None,
    order: int | None,
    cuts: tuple[tuple[float, float], ...],
    picture: Literal["png", "jpg"],
    rebuild: bool,
    drop_values: bool,
    threads: int,
) -> None:
    """Make a HiPS of the images of COLLECTION, or only what has changed of one that is there.

    The one that is there is shown until the new one is ready.
    """
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - keeps --help fast
    from astrolabe.images.hips.making import HipsRequest  # noqa: PLC0415 - the same

    if band and rgb:
        raise click.UsageError("--band and --rgb say different things")
    request = HipsRequest(
        collection=collection,
        bands=rgb or ((band,) if band else ()),
        hips_id=hips_id,
        title=title,
        order=order,
        picture=picture,
        cuts=cuts,
        rebuild=rebuild,
        keep_values=not drop_values,
        threads=threads,
    )
    began = time.monotonic()
    with ProcessContext.open(settings) as context, _progress() as tell:
        report = context.images.hips.maker.make(request, tell)
    _tell_report(report, time.monotonic() - began)


@hips.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON document, for programs.")
@settings_options
def list_hips(*, settings: Settings, as_json: bool) -> None:
    """List the HiPS of collections."""
    from astrolabe.core.clock import format_utc  # noqa: PLC0415 - keeps --help fast
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - the same

    with ProcessContext.open(settings) as context:
        trees = context.images.hips.trees.all(fresh=True)
    if as_json:
        click.echo(
            json.dumps(
                [
                    {
                        "id": tree.info.hips_id,
                        "collection": tree.info.collection,
                        "bands": list(tree.info.bands),
                        "order": tree.info.order,
                        "formats": list(tree.info.formats),
                        "title": tree.info.title,
                        "changed": format_utc(tree.info.changed),
                        "folder": str(tree.folder),
                    }
                    for tree in trees
                ],
                indent=2,
            )
        )
        return
    width = max((len(tree.info.hips_id) for tree in trees), default=0)
    for tree in trees:
        info = tree.info
        click.echo(
            f"{info.hips_id:<{width}}  order {info.order:>2}  {' '.join(info.formats):<8}  "
            f"{format_utc(info.changed)}  {info.collection} {' '.join(info.bands)}".rstrip()
        )
    if not trees:
        click.echo("There are no HiPS yet; `astrolabe hips make` makes one.", err=True)


@hips.command("remove")
@click.argument("hips_id", metavar="ID")
@settings_options
def remove(*, settings: Settings, hips_id: str) -> None:
    """Remove a HiPS (never the images that it was made of)."""
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - keeps --help fast

    with ProcessContext.open(settings) as context:
        context.images.hips.trees.remove(hips_id)
    click.echo(f"{hips_id}: removed")


def _tell_report(report: HipsReport, seconds: float) -> None:
    for path, reason in report.skipped[:_SHOWN_SKIPPED]:
        click.echo(f"left out: {path}: {reason}", err=True)
    if len(report.skipped) > _SHOWN_SKIPPED:
        click.echo(f"and {len(report.skipped) - _SHOWN_SKIPPED:,} more left out", err=True)
    done = f"{report.tiles:,} tiles made" if report.tiles else "nothing had changed"
    click.echo(
        f"{report.hips_id}: {report.images:,} images, order {report.order}, {done} in "
        f"{seconds:,.1f} s"
    )


@contextmanager
def _progress() -> Iterator[Callable[[HipsProgress], None]]:
    """Give a listener that shows on standard error how far it is."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console  # noqa: PLC0415 - keeps --help fast
    from rich.progress import (  # noqa: PLC0415 - the same
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
    )

    display = Progress(
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    tasks: dict[str, TaskID] = {}
    lock = threading.Lock()

    def tell(progress: HipsProgress) -> None:
        with lock:
            if progress.step not in tasks:
                tasks[progress.step] = display.add_task(progress.step, total=progress.total)
        display.update(tasks[progress.step], completed=progress.done)

    with display:
        yield tell


class _Lines:
    """Writes a line every ten seconds, where there is no terminal."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._said = time.monotonic()

    def __call__(self, progress: HipsProgress) -> None:
        with self._lock:
            now = time.monotonic()
            if now - self._said < _LINE_SECONDS:
                return
            self._said = now
        click.echo(f"{progress.step}: {progress.done:,} of {progress.total:,}", err=True)
