"""`astrolabe table create | list | path | coverage | drop | vacuum`: tables and their versions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from astrolabe.cli.options import settings_options

if TYPE_CHECKING:
    from astrolabe.catalogs.cleaning import VacuumReport
    from astrolabe.catalogs.view import TableEntry
    from astrolabe.config import Settings

__all__ = ["coverage", "create", "drop", "list_tables", "path", "vacuum"]


@click.command("create")
@click.option(
    "--felis",
    "felis_file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Felis file (YAML) that describes the schema.",
)
@click.option("--schema", help="Name of the schema.  [default: the one in the file]")
@settings_options
def create(*, settings: Settings, felis_file: Path, schema: str | None) -> None:
    """Create the tables of a Felis file, without rows.

    All of them are created or none. `astrolabe table import --mode replace` fills one.
    """
    from astrolabe.catalogs.felis import read_felis  # noqa: PLC0415 - keeps --help fast
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - the same

    described = read_felis(felis_file, schema)
    with ProcessContext.open(settings) as context:
        context.catalog.create_tables(described)
    columns = sum(len(table.columns) for table in described.tables)
    click.echo(f"{described.name}: {len(described.tables):,} tables, {columns:,} columns")


@click.command("list")
@click.option("--schema", help="Only tables of this schema.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document, for programs.")
@settings_options
def list_tables(*, settings: Settings, schema: str | None, as_json: bool) -> None:
    """List tables with their rows, size and version."""
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - keeps --help fast

    with ProcessContext.open(settings) as context:
        view = context.catalog.view()
    entries = [
        view.entries[table.schema, table.name]
        for described in view.schemas
        for table in described.tables
        if schema is None or described.name.lower() == schema.lower()
    ]
    if as_json:
        click.echo(json.dumps([_summary(entry) for entry in entries], indent=2))
        return
    width = max((len(entry.meta.qualified_name) for entry in entries), default=0)
    for entry in entries:
        megabytes = entry.row.size_bytes / 1e6
        click.echo(
            f"{entry.meta.qualified_name:<{width}}  {entry.row.row_count:>15,} rows"
            f"  {megabytes:>12,.1f} MB  {len(entry.meta.columns):>5} columns"
            f"  version {entry.row.version}"
        )
    if not entries:
        click.echo("There are no tables yet; `astrolabe table import` makes one.", err=True)


@click.command("path")
@click.argument("name", metavar="SCHEMA.TABLE")
@click.option("--collection", is_flag=True, help="The HATS collection (with margin) instead.")
@settings_options
def path(*, settings: Settings, name: str, collection: bool) -> None:
    """Print the folder of a table's current version: a HATS catalog.

    A later import makes another folder; the collection's folder stays the same, and
    `lsdb.open_catalog` opens either.
    """
    from astrolabe.core.errors import NotFoundError  # noqa: PLC0415 - keeps --help fast
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - the same

    with ProcessContext.open(settings) as context:
        found = context.catalog.find(*_split(name))
    if found.catalog_root is None:
        raise NotFoundError(f"{name} has no rows, and so no files yet.")
    click.echo(found.collection_root if collection else found.catalog_root)


@click.command("coverage")
@click.argument("names", metavar="SCHEMA.TABLE...", nargs=-1)
@click.option("--all", "all_tables", is_flag=True, help="All tables.")
@settings_options
def coverage(*, settings: Settings, names: tuple[str, ...], all_tables: bool) -> None:
    """Count where tables have rows, for their coverage (MOC) and their HiPS of densities.

    Imports do so by themselves; this is for tables that were imported before they did. Tables that
    have counts are left alone, and so are those without positions.
    """
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - keeps --help fast

    if bool(names) == all_tables:
        raise click.UsageError("name the tables to count, or all of them with --all")
    with ProcessContext.open(settings) as context:
        wanted = [_split(name) for name in names]
        if all_tables:
            wanted = sorted(context.catalog.view(fresh=True).entries)
        for schema, table in wanted:
            context.catalog.find(schema, table)
        for schema, table in wanted:
            done = context.catalog.add_counts(schema, table)
            says = {True: "counted", False: "has counts already", None: "has no rows with places"}
            click.echo(f"{schema}.{table}: {says[done]}")


@click.command("drop")
@click.argument("names", metavar="SCHEMA.TABLE...", nargs=-1)
@click.option("--schema", help="All tables of this schema.")
@settings_options
def drop(*, settings: Settings, names: tuple[str, ...], schema: str | None) -> None:
    """Remove tables: all of those named, or none.

    Nobody sees them any more at once; queries that run read on. Their files go with
    `astrolabe table vacuum`.
    """
    from astrolabe.core.errors import NotFoundError  # noqa: PLC0415 - keeps --help fast
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - the same

    if bool(names) == (schema is not None):
        raise click.UsageError("name the tables to drop, or a whole schema with --schema")
    with ProcessContext.open(settings) as context:
        wanted = [_split(name) for name in names]
        if schema is not None:
            found = next((s for s in context.catalog.view().schemas if s.name == schema), None)
            if found is None:
                raise NotFoundError(f"There is no schema {schema}.")
            wanted = [(schema, table.name) for table in found.tables]
        context.catalog.drop(wanted)
    for one in wanted:
        click.echo(f"dropped {'.'.join(one)}")


@click.command("vacuum")
@click.option(
    "--keep-hours",
    type=click.FloatRange(min=0),
    default=5.0,
    show_default=True,
    help="Keep versions that were replaced or dropped less than so many hours ago: queries may "
    "still read them.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@settings_options
def vacuum(*, settings: Settings, keep_hours: float, dry_run: bool) -> None:
    """Remove the files of versions that nobody can see any more, and say which."""
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - keeps --help fast

    with ProcessContext.open(settings) as context:
        report = context.catalog.vacuum(retention_seconds=keep_hours * 3600, dry_run=dry_run)
    _print_report(report, dry_run=dry_run)


def _summary(entry: TableEntry) -> dict[str, object]:
    return {
        "table": entry.meta.qualified_name,
        "rows": entry.row.row_count,
        "bytes": entry.row.size_bytes,
        "columns": len(entry.meta.columns),
        "version": entry.row.version,
        "release": entry.row.release,
    }


def _print_report(report: VacuumReport, *, dry_run: bool) -> None:
    verb = "would remove" if dry_run else "removed"
    for folder in report.removed:
        size = "" if dry_run else f", {folder.freed_bytes / 1e6:,.1f} MB"
        click.echo(
            f"{verb} {folder.name} version {folder.version} ({folder.reason}{size}): {folder.path}"
        )
    for row, reason in report.kept:
        name = row.collection.replace("/", ".")
        click.echo(f"kept {name} version {row.version}: {reason}")
    for name in report.busy:
        click.echo(f"left {name} alone: it is being written")
    if not (report.removed or report.kept or report.busy):
        click.echo("nothing to remove")


def _split(name: str) -> tuple[str, str]:
    schema, dot, table = name.partition(".")
    if not dot or not schema or not table or "." in table:
        raise click.BadParameter(f"{name!r} is not of the form SCHEMA.TABLE")
    return schema, table
