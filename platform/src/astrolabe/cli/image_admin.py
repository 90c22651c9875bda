"""`astrolabe image list | collections | show | remove | publish`: what images there are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from astrolabe.cli.options import settings_options

if TYPE_CHECKING:
    from astrolabe.config import Settings
    from astrolabe.images.model import ImageCollection, ImageRecord

__all__ = ["collections", "list_images", "publish", "remove", "show"]


@click.command("collections")
@click.option("--json", "as_json", is_flag=True, help="One JSON document, for programs.")
@settings_options
def collections(*, settings: Settings, as_json: bool) -> None:
    """List collections with the number of their images."""
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - keeps --help fast

    with ProcessContext.open(settings) as context:
        store = context.images.store
        rows = [(collection, store.count(collection.name)) for collection in store.collections()]
    if as_json:
        click.echo(json.dumps([_described(c, count) for c, count in rows], indent=2))
        return
    width = max((len(collection.name) for collection, _ in rows), default=0)
    for collection, count in rows:
        release = f"  release {collection.release}" if collection.release else ""
        click.echo(f"{collection.name:<{width}}  {count:>12,} images{release}  {collection.title}")
    if not rows:
        click.echo("There are no images yet; `astrolabe image import` makes some.", err=True)


@click.command("list")
@click.option("--collection", metavar="NAME", help="Only images of this collection.")
@click.option(
    "--limit", type=click.IntRange(min=1), help="So many at most.  [default: all there are]"
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document a line, for programs.")
@settings_options
def list_images(
    *, settings: Settings, collection: str | None, limit: int | None, as_json: bool
) -> None:
    """List images with their band, position and file."""
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - keeps --help fast

    with ProcessContext.open(settings) as context:
        if collection is not None:
            context.images.store.collection(collection)
        shown = 0
        for records in context.images.store.scan(collection):
            for record in records:
                if limit is not None and shown == limit:
                    return
                shown += 1
                line = json.dumps(_summary(record)) if as_json else _line(record)
                click.echo(line)


@click.command("show")
@click.argument("name", metavar="COLLECTION/ID")
@settings_options
def show(*, settings: Settings, name: str) -> None:
    """Print all that is known of an image, as JSON."""
    from astrolabe.core.clock import format_utc  # noqa: PLC0415 - keeps --help fast
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - the same
    from astrolabe.images.model import ImageKey  # noqa: PLC0415 - the same

    key = ImageKey.parse_path(name)
    with ProcessContext.open(settings) as context:
        record = context.images.store.get(key)
        did = record.key.did(context.images.authority)
    document = {
        **_summary(record),
        "id": did,
        "md5": record.md5,
        "planes": {kind.value: hdu for kind, hdu in record.planes.items()},
        "progenitors": list(record.progenitors),
        "released": None if record.released is None else format_utc(record.released),
        "imported": format_utc(record.imported),
        "obscore": dict(record.obscore),
    }
    click.echo(json.dumps(document, indent=2))


@click.command("remove")
@click.argument("names", metavar="COLLECTION[/ID]...", nargs=-1, required=True)
@settings_options
def remove(*, settings: Settings, names: tuple[str, ...]) -> None:
    """Remove images, or whole collections, from the platform.

    Their files stay where they are, but for unpacked copies that an import made. All of what is
    named is removed, or nothing.
    """
    from astrolabe.core.logging import configure_logging  # noqa: PLC0415 - keeps --help fast
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - the same
    from astrolabe.images.importing.removal import remove_images  # noqa: PLC0415 - the same

    configure_logging(settings.server.log_level, settings.server.log_format)
    with ProcessContext.open(settings) as context:
        gone = remove_images(names, context.images)
    click.echo(f"removed {gone:,} image{'' if gone == 1 else 's'}")


@click.command("publish")
@click.option("--anew", is_flag=True, help="Write all rows again, even if nothing has changed.")
@settings_options
def publish(*, settings: Settings, anew: bool) -> None:
    """Make the table ivoa.ObsCore show the images that there are.

    An import does so at its end; this is for one that was interrupted.
    """
    from astrolabe.core.logging import configure_logging  # noqa: PLC0415 - keeps --help fast
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - the same

    configure_logging(settings.server.log_level, settings.server.log_format)
    with ProcessContext.open(settings) as context:
        report = context.images.obscore.publish(anew=anew)
    done = "unchanged" if report.mode is None else f"{report.rows:,} rows written"
    click.echo(
        f"ivoa.ObsCore: {done}, {report.total_rows:,} rows in all, version {report.version}, "
        f"in {report.seconds:.1f} s"
    )


def _described(collection: ImageCollection, count: int) -> dict[str, object]:
    return {
        "collection": collection.name,
        "images": count,
        "title": collection.title,
        "description": collection.description,
        "documentation": collection.documentation,
        "release": collection.release,
    }


def _summary(record: ImageRecord) -> dict[str, Any]:
    return {
        "image": record.key.path,
        "uri": record.uri,
        "bytes": record.size_bytes,
        "band": record.obscore.get("band"),
        "ra": record.obscore.get("s_ra"),
        "dec": record.obscore.get("s_dec"),
        "t_min": record.obscore.get("t_min"),
    }


def _line(record: ImageRecord) -> str:
    ra, dec = record.obscore.get("s_ra"), record.obscore.get("s_dec")
    place = "without position" if ra is None or dec is None else f"{ra:.5f} {dec:+.5f}"
    band = record.obscore.get("band") or "-"
    megabytes = record.size_bytes / 1e6
    return f"{record.key.path}  {band}  {place}  {megabytes:,.1f} MB  {record.uri}"
