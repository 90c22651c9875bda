"""`astrolabe up`: the whole platform on one machine, under one supervisor."""

from __future__ import annotations

import errno
import http.client
import json
import logging
import logging.handlers
import os
import shutil
import socket
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from astrolabe.cli.home import HomeLock, read_platform, remove_platform, write_platform
from astrolabe.cli.options import settings_options
from astrolabe.cli.serve import listen, local_address, with_port
from astrolabe.cli.supervisor import ChildSpec, Supervisor
from astrolabe.core.errors import ConflictError, InternalError, NotFoundError

if TYPE_CHECKING:
    from astrolabe.config import Settings

__all__ = ["demo_images_state_file", "demo_state_file", "up"]

_LATER_PARTS = frozenset({"demo", "images"})
"""Parts of health that the platform can be used without."""
_GIVE_UP_AFTER = 5
"""Deaths in a row of one child, before the platform was ever ready, that end a start."""
_PORT_WAIT_SECONDS = 12.0
"""How long the gateways of a killed supervisor may still hold their port."""


@click.command()
@click.option(
    "--port",
    "server__port",
    type=click.IntRange(0, 65_535),
    help="Port to listen on; 0 picks a free one.  [default: 8080]",
)
@click.option("--demo/--no-demo", default=True, help="Make the demo survey in an empty home.")
@click.option(
    "--demo-images/--no-demo-images",
    default=True,
    help="Draw the demo survey's images too, in the background.",
)
@click.option(
    "--notebooks/--no-notebooks", default=True, help="Start the notebook hub where it is installed."
)
@click.option(
    "--gateways",
    "server__gateways",
    type=click.IntRange(1, 64),
    help="Processes that serve HTTP.  [default: 1]",
)
@settings_options
def up(*, settings: Settings, demo: bool, demo_images: bool, notebooks: bool) -> None:
    """Run the whole platform on this machine.

    Starts the gateways and a worker, keeps them running and prints the address and a link that logs
    in as its owner once. An empty home
    gets a simulated survey to try queries on. Control-C or SIGTERM ends everything.
    """
    del notebooks  # accepted from the first version on; there is no hub yet
    os.umask(0o077)  # for the children too: what they write is their owner's
    settings.paths.make()
    lock = HomeLock(settings.paths.run)
    try:
        with closing(_Console(settings.paths.logs / "supervisor.log")) as console:
            _Platform(settings, console, demo=demo, images=demo and demo_images).run()
    finally:
        lock.release()


def demo_state_file(home: Path) -> Path:
    """Return the file that says how far the demo survey of a home has come.

    It holds ``{"state": "making"}`` or ``{"state": "ready"}``.
    """
    return home / "demo.json"


def demo_images_state_file(home: Path) -> Path:
    """Return the file that says how far the images of the demo survey have come, likewise."""
    return home / "demo-images.json"


class _Console:
    """Lines for the terminal and the supervisor's log, from any thread."""

    def __init__(self, log: Path) -> None:
        self._log = logging.handlers.RotatingFileHandler(
            log, maxBytes=20_000_000, backupCount=3, encoding="utf-8"
        )
        self._lock = threading.Lock()

    def say(self, line: str) -> None:
        """Write a line of our own, also to the log."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._log.handle(logging.makeLogRecord({"msg": f"{stamp} {line}", "levelno": 20}))
        self.show(line)

    def show(self, line: str) -> None:
        """Write a line to the terminal; without one the platform runs on."""
        with self._lock, suppress(OSError, ValueError):
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

    def close(self) -> None:
        """Close the log."""
        self._log.close()


class _Platform:
    """One run of the platform: what is started, and when it is ready."""

    def __init__(self, settings: Settings, console: _Console, *, demo: bool, images: bool) -> None:
        self._settings = settings
        self._console = console
        self._supervisor = Supervisor(logs=settings.paths.logs, echo=self._echo)
        self._answering = threading.Event()  # all parts but the demo
        self._announced = False
        self._with_demo = demo and _needs_demo(settings)
        self._wants_images = images
        self._with_images = images and not self._with_demo and _needs_demo_images(settings)
        self._demo_environment: dict[str, str] = {}
        self._failure: str | None = None
        self._login_link: str | None = None

    def run(self) -> None:
        """Run until told to stop.

        Raises
        ------
        InternalError
            Raised if the platform could not be started.
        """
        settings = self._settings
        self._supervisor.stop_on_signals()
        self._login_link = _prepare(settings)
        with closing(_listen(settings)) as listener:
            host, port = listener.getsockname()[:2]
            address = local_address(host, port)
            self._settings = settings = with_port(settings, port)
            self._add_children(listener)
            _announce(settings, address)
            watch = threading.Thread(
                target=self._watch_health, args=(address,), name="health", daemon=True
            )
            watch.start()
            try:
                self._supervisor.run(lambda: self._on_turn(address), self._on_end)
            finally:
                remove_platform(settings.paths.run)
        if self._failure is not None:
            raise InternalError(self._failure)
        self._console.say("Astrolabe has ended")

    def _echo(self, line: str) -> None:
        # A child's own lines are in its log already.
        (self._console.show if line.startswith("[") else self._console.say)(line)

    def _add_children(self, listener: socket.socket) -> None:
        settings = self._settings
        environment = {
            "PYTHONUNBUFFERED": "1",
            "ASTROLABE_SERVER__PORT": str(settings.server.port),
            "ASTROLABE_SERVER__PUBLIC_URL": str(settings.server.public_url),
        }
        if settings.server.log_format == "auto" and sys.stdout.isatty():
            environment["ASTROLABE_SERVER__LOG_FORMAT"] = "text"
        gateways = settings.server.gateways
        metrics = dict(environment)
        if gateways > 1:
            folder = settings.paths.run / "metrics"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700)
            metrics["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
        for number in range(1, gateways + 1):
            descriptor = listener.fileno()
            self._supervisor.add(
                ChildSpec(
                    name="gateway" if gateways == 1 else f"gateway-{number}",
                    command=_command(settings, "serve", "--fd", str(descriptor)),
                    file_descriptors=(descriptor,),
                    environment=metrics,
                )
            )
        self._supervisor.add(
            ChildSpec(name="worker", command=_command(settings, "worker"), environment=environment)
        )
        self._demo_environment = environment
        if self._with_demo:
            self._add_demo("demo")
        elif self._with_images:
            self._add_demo("demo-images", "--images")

    def _add_demo(self, name: str, *arguments: str) -> None:
        """Start what makes the demo's tables, or its images."""
        self._supervisor.add(
            ChildSpec(
                name=name,
                command=_command(self._settings, "demo-make", *arguments),
                restart=False,
                environment=self._demo_environment,
            )
        )

    def _watch_health(self, address: str) -> None:
        place = address.removeprefix("http://")
        begun = time.monotonic()
        while not self._supervisor.stopping:
            # Not urllib: it would ask the proxy that the environment names.
            connection = http.client.HTTPConnection(place, timeout=30)
            with closing(connection), suppress(OSError, ValueError, http.client.HTTPException):
                connection.request("GET", "/health")
                answer = connection.getresponse()
                parts = json.loads(answer.read())["parts"]
                if all(p["state"] == "ok" for name, p in parts.items() if name not in _LATER_PARTS):
                    self._answering.set()
                if answer.status == 200:
                    return
            time.sleep(0.1 if time.monotonic() - begun < 10 else 1.0)

    def _on_turn(self, address: str) -> None:
        if self._answering.is_set():
            if not self._announced:
                self._announced = True
                self._console.say(f"Astrolabe is ready: {address}")
                self._show_login_link()
                self._console.say(f"TAP, for TOPCAT, pyvo and STILTS: {address}/api/tap")
                if self._with_demo:
                    self._console.say("The demo survey is being made; this takes a minute or two")
            return
        for name, (deaths, line) in self._supervisor.failures().items():
            if deaths >= _GIVE_UP_AFTER and self._failure is None:
                log = self._settings.paths.logs / f"{name}.log"
                self._failure = f"{name} does not start: {line} (see {log})"
                self._supervisor.stop()

    def _show_login_link(self) -> None:
        if self._login_link is None:
            return
        from astrolabe.identity.login_links import login_link_address  # noqa: PLC0415 - keeps --help fast

        link = login_link_address(str(self._settings.server.public_url), self._login_link)
        # Not in the log: whoever has the link is the owner.
        self._console.show(f"Log in as owner (the link works once): {link}")

    def _on_end(self, name: str, status: int) -> None:
        if name == "demo-images":
            self._on_images_end(status)
            return
        if name != "demo":
            return
        if status == 0:
            self._console.say("The demo survey is ready: try SELECT TOP 5 * FROM demo.object")
            if self._wants_images and _needs_demo_images(self._settings):
                self._console.say("Its images are being made in the background")
                self._add_demo("demo-images", "--images")
        else:
            log = self._settings.paths.logs / "demo.log"
            self._console.say(
                f"The demo survey was not made (see {log}); the next start tries again"
            )

    def _on_images_end(self, status: int) -> None:
        if status == 0:
            self._console.say("The images of the demo survey are ready: see ivoa.ObsCore")
        else:
            log = self._settings.paths.logs / "demo-images.log"
            self._console.say(
                f"The images of the demo survey were not made (see {log}); the next start goes on"
            )


def _needs_demo(settings: Settings) -> bool:
    """Whether the home has no tables of its own, or a demo that was not finished.

    This is a look at files only, to keep a start fast; the maker asks the catalog.
    """
    try:
        state = json.loads(demo_state_file(settings.home).read_text(encoding="utf-8"))
        return bool(state.get("state") != "ready")
    except (OSError, ValueError, AttributeError):
        return not any(entry.is_dir() for entry in settings.paths.tables.iterdir())


def _needs_demo_images(settings: Settings) -> bool:
    """Whether the home's tables are the demo's, and its images are not all there."""
    states = []
    for path in (demo_state_file(settings.home), demo_images_state_file(settings.home)):
        try:
            states.append(json.loads(path.read_text(encoding="utf-8")).get("state"))
        except (OSError, ValueError, AttributeError):
            states.append(None)
    return bool(states[0] == "ready" and states[1] != "ready")


def _prepare(settings: Settings) -> str | None:
    """Bring the control database up to date; return the text of a login link for the owner.

    There is none where the owner's account has ended.
    """
    from astrolabe.core.database import Database  # noqa: PLC0415 - keeps --help fast
    from astrolabe.core.migrate import upgrade  # noqa: PLC0415 - keeps --help fast
    from astrolabe.identity.assembly import PeopleServices  # noqa: PLC0415 - keeps --help fast
    from astrolabe.identity.authority import PLATFORM  # noqa: PLC0415 - keeps --help fast
    from astrolabe.identity.users import OWNER  # noqa: PLC0415 - keeps --help fast

    with closing(Database(settings.database_url)) as database:
        upgrade(database)
        users = PeopleServices(database, settings.auth).users
        users.ensure_owner()
        try:
            return users.create_login_link(OWNER, by=PLATFORM)
        except (ConflictError, NotFoundError):
            return None


def _listen(settings: Settings) -> socket.socket:
    """Open the socket that all gateways share; connections survive the end of one of them."""
    server = settings.server
    # After SIGKILL of a supervisor its gateways need a moment to notice.
    left = read_platform(settings.paths.run)
    deadline = time.monotonic() + (_PORT_WAIT_SECONDS if left else 0.0)
    while True:
        try:
            return listen(server.host, server.port)
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise
        time.sleep(0.2)


def _announce(settings: Settings, address: str) -> None:
    from astrolabe.core.clock import format_utc, utc_now  # noqa: PLC0415 - keeps --help fast

    write_platform(
        settings.paths.run,
        {
            "pid": os.getpid(),
            "address": address,
            "public_url": str(settings.server.public_url),
            "ports": {"gateway": settings.server.port},
            "started": format_utc(utc_now()),
        },
    )


def _command(settings: Settings, name: str, *arguments: str) -> list[str]:
    command = [
        sys.executable,
        "-P",  # a file in the folder that we were started in must not pass for a library
        "-m",
        "astrolabe.cli.main",
        name,
        "--home",
        str(settings.home),
    ]
    config = click.get_current_context().params.get("config_file")
    if config is not None:
        command += ["--config", str(Path(config).absolute())]
    return [*command, "--supervised", *arguments]
