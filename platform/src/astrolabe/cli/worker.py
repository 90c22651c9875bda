"""`astrolabe worker`: runs queued jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from astrolabe.cli.options import settings_options
from astrolabe.cli.parent import end_with_parent

if TYPE_CHECKING:
    from astrolabe.config import Settings

__all__ = ["worker"]


@click.command()
@click.option("--supervised", is_flag=True, hidden=True, help="End with the supervisor.")
@settings_options
def worker(*, settings: Settings, supervised: bool) -> None:
    """Run queued jobs: one worker of a deployment.

    Any number of workers share the queue. A job whose worker dies is run again by another. Ends
    on SIGTERM; jobs that are running then go back into the queue.
    """
    if supervised:
        end_with_parent()
    from astrolabe.core.logging import configure_logging  # noqa: PLC0415 - keeps --help fast
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - keeps --help fast

    configure_logging(
        level=settings.server.log_level, form=settings.server.log_format, role="worker"
    )
    with ProcessContext.open(settings) as context:
        context.worker().run()
