"""`astrolabe demo-make`: what `astrolabe up` starts in an empty home."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from astrolabe.cli.options import settings_options
from astrolabe.cli.parent import end_with_parent
from astrolabe.cli.up import demo_images_state_file, demo_state_file

if TYPE_CHECKING:
    from astrolabe.catalogs.importing import ImportOptions
    from astrolabe.config import Settings

__all__ = ["demo_make"]

_IMAGES_NICE = 15
"""Priority of making images: the platform is in use meanwhile."""


@click.command(hidden=True)
@click.option("--supervised", is_flag=True, hidden=True, help="End with the supervisor.")
@click.option("--images", is_flag=True, help="Make the images of a survey whose tables are there.")
@settings_options
def demo_make(*, settings: Settings, supervised: bool, images: bool) -> None:
    """Make the tables of the demo survey if the home is empty, or its images; then end."""
    if supervised:
        end_with_parent()
    if images:
        _make_images(settings)
    else:
        _make_tables(settings)


def _make_images(settings: Settings) -> None:
    """Draw the images with what the processors have left over."""
    os.nice(_IMAGES_NICE)
    from astrolabe.core.logging import configure_logging  # noqa: PLC0415 - keeps --help fast
    from astrolabe.demo.image_build import (  # noqa: PLC0415 - the same
        demo_size,
        images_are_wanted,
        make_demo_images,
    )
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - the same

    configure_logging(settings.server.log_level, settings.server.log_format)
    tables_state = demo_state_file(settings.home)
    state_file = demo_images_state_file(settings.home)
    if images_are_wanted(state_file, tables_state):
        with ProcessContext.open(settings) as context:
            make_demo_images(
                context.images,
                state_file=state_file,
                survey_size=demo_size(tables_state),
                progress=click.echo,
            )


def _make_tables(settings: Settings) -> None:
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
