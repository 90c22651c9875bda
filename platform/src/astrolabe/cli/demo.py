"""`astrolabe demo-make`: what `astrolabe up` starts in an empty home."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from astrolabe.cli.options import settings_options
from astrolabe.cli.parent import end_with_parent
from astrolabe.cli.up import demo_state_file

if TYPE_CHECKING:
    from astrolabe.catalogs.importing import ImportOptions
    from astrolabe.config import Settings

__all__ = ["demo_make"]


@click.command(hidden=True)
@click.option("--supervised", is_flag=True, hidden=True, help="End with the supervisor.")
@settings_options
def demo_make(*, settings: Settings, supervised: bool) -> None:
    """Make the demo survey if the home is empty, then end."""
    if supervised:
        end_with_parent()
    from astrolabe.core.logging import configure_logging  # noqa: PLC0415 - keeps --help fast
    from astrolabe.demo.build import demo_is_wanted, make_demo  # noqa: PLC0415 - the same
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - the same

    configure_logging(settings.server.log_level, settings.server.log_format)

    def adjust(options: ImportOptions) -> ImportOptions:
        imports = settings.imports
        return replace(
            options,
            rows_per_file=imports.rows_per_file,
            rows_per_group=imports.rows_per_group,
            compression_level=imports.compression_level,
            memory_mb=imports.memory_mb,
            margin_arcsec=imports.margin_arcsec,
        )

    state_file = demo_state_file(settings.home)
    with ProcessContext.open(settings) as context:
        if demo_is_wanted(state_file, context.catalog):
            make_demo(
                context.catalog,
                folder=settings.home / "demo",
                state_file=state_file,
                adjust=adjust,
                progress=lambda table, rows: click.echo(f"demo.{table}: {rows} rows"),
            )
