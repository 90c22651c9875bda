"""`astrolabe serve`: one gateway, alone or under the supervisor."""

from __future__ import annotations

import gc
import importlib
import signal
import socket
from typing import TYPE_CHECKING, Any

import click

from astrolabe.cli.options import settings_options
from astrolabe.cli.parent import end_with_parent

if TYPE_CHECKING:
    from astrolabe.config import Settings

__all__ = ["listen", "local_address", "serve", "with_port"]

_BACKLOG = 2048
_GRACE_SECONDS = 8
_GC_THRESHOLDS = (20_000, 20, 20)


@click.command()
@click.option("--host", "server__host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option(
    "--port",
    "server__port",
    type=click.IntRange(0, 65_535),
    help="Port to listen on; 0 picks a free one.  [default: 8080]",
)
@click.option("--fd", type=int, hidden=True, help="Listening socket that was inherited.")
@click.option("--supervised", is_flag=True, hidden=True, help="End with the supervisor.")
@settings_options
def serve(*, settings: Settings, fd: int | None, supervised: bool) -> None:
    """Serve HTTP: one gateway of a deployment.

    Needs the database, the tables and the results that the settings name; migrates the database
    first. Ends on SIGTERM when the requests that are running have been answered, 8 s at most.
    """
    if supervised:
        end_with_parent()
    import uvicorn  # noqa: PLC0415 - keeps --help fast

    from astrolabe.core.logging import configure_logging  # noqa: PLC0415 - keeps --help fast

    configure_logging(settings.server.log_level, settings.server.log_format)
    listener = (
        socket.socket(fileno=fd)
        if fd is not None
        else listen(settings.server.host, settings.server.port)
    )
    settings = with_port(settings, listener.getsockname()[1])
    # By name: the domain never imports the apps, the command line only starts them.
    create_app: Any = importlib.import_module("astrolabe_api.main").create_app
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(settings),
            loop="uvloop",
            http="httptools",
            lifespan="on",
            log_config=None,
            log_level="warning",  # its starts and ends are in the supervisor's log
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
    )
    # uvicorn raises the signal that ended it once more; ending when asked is no failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    _settle()
    try:
        server.run(sockets=[listener])
    finally:
        # Or DuckDB's binding lists at the end all that was frozen as its leaks.
        gc.unfreeze()
    if not server.started:
        raise SystemExit(1)


def _settle() -> None:
    """Tell the interpreter what kind of process this is."""
    # What has been imported stays for good; to look through it again and again for what could be
    # freed would stop all requests for a tenth of a second.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


def listen(host: str, port: int) -> socket.socket:
    """Open a listening TCP socket.

    Parameters
    ----------
    host
        Address, IPv4 or IPv6.
    port
        Port; 0 picks a free one.

    Raises
    ------
    OSError
        Raised if the port is taken or may not be used; says which.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as exc:
        listener.close()
        raise OSError(
            exc.errno, f"cannot listen on {host}:{port}: {exc.strerror}; choose another with --port"
        ) from exc
    return listener


def local_address(host: str, port: int) -> str:
    """Return the address under which this machine reaches a gateway of its own.

    Parameters
    ----------
    host, port
        What it listens on.
    """
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not listened on
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def with_port(settings: Settings, port: int) -> Settings:
    """Return the settings as they are once the port is known.

    Parameters
    ----------
    settings
        Settings whose port may be 0, for any.
    port
        The one that we got; also in ``public_url``, unless that was set.
    """
    from pydantic import HttpUrl  # noqa: PLC0415 - keeps --help fast

    update: dict[str, Any] = {"port": port}
    if "public_url" not in settings.server.model_fields_set:
        update["public_url"] = HttpUrl(local_address(settings.server.host, port))
    server = settings.server.model_copy(update=update)
    return settings.model_copy(update={"server": server})
