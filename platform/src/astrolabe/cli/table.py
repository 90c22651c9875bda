"""`astrolabe table ...`: tables and their versions."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from astrolabe.cli.lazy_group import LazyGroup
from astrolabe.cli.options import settings_options

if TYPE_CHECKING:
    from astrolabe.catalogs.importing import ImportReport
    from astrolabe.catalogs.publishing import WriteMode
    from astrolabe.config import Settings

__all__ = ["table"]

_ADMINISTRATION = {
    "coverage": "table_admin:coverage",
    "create": "table_admin:create",
    "list": "table_admin:list_tables",
    "path": "table_admin:path",
    "drop": "table_admin:drop",
    "vacuum": "table_admin:vacuum",
    "access": "access:table_access",
}
"""Commands in other modules of `astrolabe.cli`, and what they are called there."""


@click.group(cls=LazyGroup, elsewhere=_ADMINISTRATION)
def table() -> None:
    """Import, list and remove tables."""


def _pairs(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Read ``old=new`` options."""
    renames: dict[str, str] = {}
    for value in values:
        old, equals, new = value.partition("=")
        if not equals or not old or not new:
            raise click.BadParameter(f"{value!r} is not of the form OLD=NEW")
        if old in renames:
            raise click.BadParameter(f"{old!r} is renamed twice")
        renames[old] = new
    return renames


@table.command("import")
@click.argument("sources", metavar="SRC...", nargs=-1, required=True)
@click.option("--schema", required=True, help="Schema that the table belongs to, as dr1.")
@click.option("--table", "table_name", required=True, help="Name of the table, as object.")
@click.option(
    "--format",
    "source_format",
    help="Format of the sources (parquet, csv, fits, votable ...); found by itself if not given.",
)
@click.option(
    "--felis",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Felis file that describes the columns; wins over what the source says.",
)
@click.option("--id", "id_column", help="Column of the main identifier.")
@click.option("--ra", "ra_column", help="Column of right ascension (longitude if galactic).")
@click.option("--dec", "dec_column", help="Column of declination (latitude if galactic).")
@click.option(
    "--frame",
    type=click.Choice(["icrs", "fk5", "galactic"]),
    help="Frame of the positions.  [default: what the source says, else icrs]",
)
@click.option("--epoch", type=float, help="Epoch of the positions, as 2016.0.")
@click.option("--no-position", is_flag=True, help="The table has no positions.")
@click.option("--director", help="Table whose rows these belong to, as dr1.object.")
@click.option("--key", "director_key", help="Column that names the row of --director.")
@click.option(
    "--mode",
    type=click.Choice(["create", "replace", "append"]),
    default="create",
    show_default=True,
    help="Make a new table, put these rows in the place of its rows, or add them.",
)
@click.option(
    "--rename",
    metavar="OLD=NEW",
    multiple=True,
    callback=_pairs,
    help="New name of a column; any number of times.",
)
@click.option(
    "--as-string", metavar="COL", multiple=True, help="Keep a column as text; any number of times."
)
@click.option(
    "--margin",
    "import__margin_arcsec",
    type=float,
    metavar="ARCSEC",
    help="Width of the margin around each partition; 0 writes none.  [default: 10]",
)
@click.option(
    "--rejects",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File (.parquet or .csv) for rows without a valid position.  "
    "[default: rejects.parquet in the version's folder]",
)
@click.option("--wrap", is_flag=True, help="Bring right ascensions outside [0, 360) into it.")
@click.option("--strict", is_flag=True, help="Refuse the import if any row would be rejected.")
@click.option(
    "--memory",
    "import__memory_mb",
    type=click.IntRange(min=64),
    metavar="MB",
    help="Memory for rows in flight.  [default: 2048]",
)
@settings_options
def import_(
    *,
    settings: Settings,
    sources: tuple[str, ...],
    schema: str,
    table_name: str,
    source_format: str | None,
    felis: Path | None,
    id_column: str | None,
    ra_column: str | None,
    dec_column: str | None,
    frame: str | None,
    epoch: float | None,
    no_position: bool,
    director: str | None,
    director_key: str | None,
    mode: WriteMode,
    rename: dict[str, str],
    as_string: tuple[str, ...],
    rejects: Path | None,
    wrap: bool,
    strict: bool,
) -> None:
    """Import files as a table.

    SRC are files, folders or patterns of one format: Parquet, CSV, TSV, ECSV, FITS, VOTable, or a
    HATS catalog. The rows are sorted by their position on the sky and become visible at once when
    all is written; an import that ends before changes nothing.
    """
    from astrolabe.catalogs.importing import (  # noqa: PLC0415 - keeps --help fast
        ImportOptions,
        run_import,
    )
    from astrolabe.cli.progress import show_progress  # noqa: PLC0415 - the same
    from astrolabe.core.logging import configure_logging  # noqa: PLC0415 - the same
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - the same
    from astrolabe.tables.readers import open_source  # noqa: PLC0415 - the same

    configure_logging(settings.server.log_level, settings.server.log_format)
    old_names = {new: old for old, new in rename.items()}
    source = open_source(
        sources,
        format=source_format,
        as_string=tuple(old_names.get(name, name) for name in as_string),
    )
    options = ImportOptions(
        schema=schema,
        table=table_name,
        mode=mode,
        felis=felis,
        id_column=id_column,
        ra_column=ra_column,
        dec_column=dec_column,
        frame=frame,
        epoch=epoch,
        no_position=no_position,
        director=director,
        director_key=director_key,
        rename=rename,
        as_string=as_string,
        margin_arcsec=settings.imports.margin_arcsec,
        rejects=rejects,
        wrap=wrap,
        strict=strict,
        rows_per_file=settings.imports.rows_per_file,
        rows_per_group=settings.imports.rows_per_group,
        compression_level=settings.imports.compression_level,
        memory_mb=settings.imports.memory_mb,
        threads=settings.engine_threads,
        owner="astrolabe table import",
    )
    with (
        _cleaning_up_on_sigterm(),
        ProcessContext.open(settings) as context,
        show_progress(f"{schema}.{table_name}") as tell,
    ):
        report = run_import(source, options, context.catalog, progress=tell)
    _print_report(report)


@contextmanager
def _cleaning_up_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end the import like Ctrl-C, which removes what was begun."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _print_report(report: ImportReport) -> None:
    for warning in report.warnings:
        click.echo(f"astrolabe: note: {warning}", err=True)
    rate = report.rows / max(report.seconds, 1e-9)
    click.echo(
        f"{report.schema}.{report.table}: {report.rows:,} rows imported as version "
        f"{report.version} in {report.seconds:.1f} s ({rate:,.0f} rows/s)"
    )
    if report.total_rows != report.rows:
        click.echo(f"rows in the table: {report.total_rows:,}")
    click.echo(
        f"files: {report.partitions:,} partitions, {report.bytes / 1e6:,.1f} MB; "
        f"margin: {report.margin_rows:,} rows"
    )
    if report.rejects is not None:
        click.echo(f"rejected: {report.rejected:,} rows, kept in {report.rejects}")
    click.echo(f"folder: {report.path}")
