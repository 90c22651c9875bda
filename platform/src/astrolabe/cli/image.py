"""`astrolabe image ...`: collections of images."""

from __future__ import annotations

import csv
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from astrolabe.cli.access import apply_rule, rule_options
from astrolabe.cli.lazy_group import LazyGroup
from astrolabe.cli.options import settings_options

if TYPE_CHECKING:
    from datetime import datetime

    from astrolabe.config import Settings
    from astrolabe.factory import ProcessContext
    from astrolabe.images.importing import ButlerQuery, HeaderMapping, ImageImportReport
    from astrolabe.images.importing.planes import PlaneNames
    from astrolabe.images.importing.sources import FoundFile

__all__ = ["image"]

_ADMINISTRATION = {
    "list": "image_admin:list_images",
    "collections": "image_admin:collections",
    "show": "image_admin:show",
    "remove": "image_admin:remove",
    "access": "access:image_access",
    "publish": "image_admin:publish",
}
"""Commands in other modules of `astrolabe.cli`, and what they are called there."""

_SHOWN_REFUSED = 20


@click.group(cls=LazyGroup, elsewhere=_ADMINISTRATION)
def image() -> None:
    """Import, list and remove images."""


def _planes(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> PlaneNames:
    """Read ``kind=NAME,NAME`` options."""
    from astrolabe.images.model import PlaneKind  # noqa: PLC0415 - keeps --help fast

    found: dict[PlaneKind, tuple[str, ...]] = {}
    for value in values:
        kind, equals, names = value.partition("=")
        if not equals or kind not in set(PlaneKind):
            raise click.BadParameter(
                f"{value!r} is not of the form image=NAME, mask=NAME or variance=NAME"
            )
        found[PlaneKind(kind)] = tuple(name for name in names.split(",") if name)
    return found


def _date(_ctx: click.Context, _param: click.Parameter, value: str | None) -> datetime | None:
    from astrolabe.core.clock import parse_utc  # noqa: PLC0415 - keeps --help fast

    if value is None:
        return None
    try:
        return parse_utc(value)
    except ValueError as exc:
        raise click.BadParameter(f"{value!r} is not a time such as 2027-01-31") from exc


@image.command("import")
@click.argument("sources", metavar="SRC...", nargs=-1, required=True)
@click.option("--collection", required=True, metavar="NAME", help="Collection that they join.")
@click.option(
    "--mapping",
    "mapping_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML file that says how headers become columns of ObsCore.",
)
@click.option(
    "--planes",
    metavar="KIND=NAME[,NAME]",
    multiple=True,
    callback=_planes,
    help="Names (or numbers) of the HDUs of a kind of plane: image, mask or variance; any number "
    "of times.",
)
@click.option("--calib-level", type=click.IntRange(0, 4), help="Calibration level of all images.")
@click.option("--subtype", help="Data product subtype of all images, as coadd or visit.")
@click.option("--title", help="Title of the collection.")
@click.option("--description", help="What the collection is.")
@click.option("--documentation", metavar="URL", help="Address of a page about the collection.")
@click.option("--release", help="Release that the collection belongs to.")
@rule_options
@click.option(
    "--listed/--not-listed",
    default=None,
    help="Whether everybody may see what images there are, though not their pixels.",
)
@click.option(
    "--released",
    metavar="TIME",
    callback=_date,
    help="When the images become public (UTC) whose headers do not say so.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Processes that read files.  [default: one a processor]",
)
@click.option("--refresh", is_flag=True, help="Import files again that have not changed.")
@click.option("--replace", is_flag=True, help="Take the place of images of the same ids.")
@click.option(
    "--unpack",
    is_flag=True,
    help="Keep unpacked copies of files that are compressed as a whole (.gz, .bz2, .xz), instead "
    "of refusing them.",
)
@click.option(
    "--checksum/--no-checksum",
    default=None,
    help="Compute the MD5 of each file, which reads all of it.  [default: of local files]",
)
@click.option("--strict", is_flag=True, help="Import nothing if a single file is refused.")
@click.option(
    "--refused",
    "refused_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="CSV file for the names of all files that were skipped, with the reasons.",
)
@click.option(
    "--butler-collection",
    metavar="NAME[,NAME]",
    help="SRC is a Butler repository; import datasets of these of its collections.",
)
@click.option("--dataset-type", metavar="TYPE", help="Dataset type in the Butler repository.")
@click.option("--where", default="", help="Expression that chooses datasets of the repository.")
@click.option(
    "--obscore-config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Configuration file of lsst-dax-obscore for the repository.",
)
@settings_options
@click.pass_context
def import_(
    ctx: click.Context,
    /,
    *,
    settings: Settings,
    sources: tuple[str, ...],
    refused_file: Path | None,
    butler_collection: str | None,
    dataset_type: str | None,
    where: str,
    obscore_config: Path | None,
    **asked: Any,  # noqa: ANN401 - the options of images and of rules
) -> None:
    """Import FITS files as images of a collection.

    SRC are files, folders, patterns or s3://bucket/prefix. Files that are there already and have
    not changed are passed over. Files that cannot be imported are named with the reason and
    skipped; the status is then 3.
    """
    from astrolabe.cli.image_progress import show_image_progress  # noqa: PLC0415 - keeps --help fast
    from astrolabe.core.logging import configure_logging  # noqa: PLC0415 - the same
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - the same
    from astrolabe.images.importing import (  # noqa: PLC0415 - the same
        ImageImportOptions,
        find_butler_files,
        run_image_import,
    )
    from astrolabe.images.model import check_collection_name  # noqa: PLC0415 - the same

    configure_logging(settings.server.log_level, settings.server.log_format)
    collection = check_collection_name(asked.pop("collection"))
    mapping = _mapping(asked)
    rule = {
        name: asked.pop(name)
        for name in ("access", "group", "inherit", "owner", "embargo", "listed")
    }
    options = ImageImportOptions(collection=collection, mapping=mapping, **asked)
    query = _butler_query(sources, butler_collection, dataset_type, where, obscore_config)
    with _cleaning_up_on_sigterm(), ProcessContext.open(settings) as context:
        _set_rule(context, collection, rule)
        files: Sequence[str | FoundFile] = sources
        if query is not None:
            files = list(find_butler_files(query, context.images.files))
        with show_image_progress(collection) as tell:
            report = run_image_import(files, options, context.images, progress=tell)
    _print_report(report)
    if refused_file is not None:
        _write_refused(report, refused_file)
    if report.refused:
        ctx.exit(1 if report.abandoned else 3)


def _mapping(asked: dict[str, Any]) -> HeaderMapping:
    """Take the options that are about the mapping out of `asked`; return it."""
    from astrolabe.images.importing import HeaderMapping, read_mapping  # noqa: PLC0415 - as above

    path = asked.pop("mapping_file")
    mapping = HeaderMapping.default() if path is None else read_mapping(path)
    planes = asked.pop("planes")
    if planes:
        mapping = mapping.with_planes(planes)
    constants = {
        "calib_level": asked.pop("calib_level"),
        "dataproduct_subtype": asked.pop("subtype"),
    }
    given = {name: value for name, value in constants.items() if value is not None}
    return mapping.with_columns(given) if given else mapping


def _butler_query(
    sources: tuple[str, ...],
    collection: str | None,
    dataset_type: str | None,
    where: str,
    config: Path | None,
) -> ButlerQuery | None:
    """Return which datasets are meant, if SRC is a Butler repository."""
    from astrolabe.images.importing import ButlerQuery  # noqa: PLC0415 - keeps --help fast

    if collection is None and dataset_type is None and not where and config is None:
        return None
    if collection is None or dataset_type is None or len(sources) != 1:
        raise click.UsageError(
            "a Butler repository needs one SRC, --butler-collection and --dataset-type"
        )
    return ButlerQuery(
        repository=sources[0],
        collection=collection,
        dataset_type=dataset_type,
        where=where,
        config=config,
    )


def _set_rule(context: ProcessContext, collection: str, rule: dict[str, Any]) -> None:
    """Say who may read the collection before there is an image in it, if that was asked."""
    from astrolabe.identity.access import Resource  # noqa: PLC0415 - keeps --help fast

    if any(value not in {None, False} for value in rule.values()) or rule["listed"] is not None:
        apply_rule(context, Resource.of_collection(collection), **rule)


@contextmanager
def _cleaning_up_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end the import like Ctrl-C, which ends its processes."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _print_report(report: ImageImportReport) -> None:
    for note, count in report.notes:
        click.echo(f"astrolabe: note: {note} ({_files(count)})", err=True)
    for refused in report.refused[:_SHOWN_REFUSED]:
        click.echo(f"astrolabe: skipped {refused.uri}: {refused.reason}", err=True)
    if len(report.refused) > _SHOWN_REFUSED:
        rest = len(report.refused) - _SHOWN_REFUSED
        click.echo(f"astrolabe: skipped {_files(rest)} more; --refused FILE lists all", err=True)
    if report.abandoned:
        click.echo(
            f"{report.collection}: nothing imported, since {_files(len(report.refused))} would "
            "be skipped (--strict)"
        )
        return
    rate = report.files / max(report.seconds, 1e-9)
    click.echo(
        f"{report.collection}: {_images(report.images)} imported from {_files(report.files)} "
        f"({report.bytes / 1e6:,.1f} MB) in {report.seconds:.1f} s ({rate:,.0f} files/s)"
    )
    click.echo(
        f"unchanged: {_files(report.unchanged)}; skipped: {_files(len(report.refused))}; "
        f"without position: {_images(report.without_position)}"
    )
    click.echo(f"images in the collection: {report.total_images:,}")


def _write_refused(report: ImageImportReport, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["file", "reason"])
        writer.writerows((refused.uri, refused.reason) for refused in report.refused)


def _images(count: int) -> str:
    return f"{count:,} image" if count == 1 else f"{count:,} images"


def _files(count: int) -> str:
    return f"{count:,} file" if count == 1 else f"{count:,} files"
