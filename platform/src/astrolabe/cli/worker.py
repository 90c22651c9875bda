"""`astrolabe worker`: runs queued jobs."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import click

from astrolabe.cli.options import settings_options
from astrolabe.cli.parent import end_with_parent
from astrolabe.core.errors import InternalError

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

    configure_logging(settings.server.log_level, settings.server.log_format)
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _frame: stopping.append(got))
    with ProcessContext.open(settings) as context, context.worker() as running:
        # Links in ObsCore hold the platform's address, which may be another one than before.
        context.images.obscore.refresh()
        while not stopping:
            if not running.is_alive:
                raise InternalError("a thread of the worker has ended")
            context.identity_upkeep.turn()
            # Not an Event: setting one in a signal's handler may lock up its waiter.
            time.sleep(0.1)
