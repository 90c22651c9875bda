"""The group of all commands; loads a command's module only when that command is asked for."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import click
from typing_extensions import override

from astrolabe.core.errors import AstrolabeError

__all__ = ["COMMANDS", "LazyGroup", "cli", "main"]

COMMANDS: dict[str, tuple[str, str | None]] = {
    "up": ("astrolabe.cli.up:up", "Run the whole platform on this machine."),
    "serve": ("astrolabe.cli.serve:serve", "Serve HTTP: one gateway of a deployment."),
    "worker": ("astrolabe.cli.worker:worker", "Run queued jobs: one worker of a deployment."),
    "table": ("astrolabe.cli.table:table", "Import, list and remove tables."),
    "image": ("astrolabe.cli.image:image", "Import, list and remove images."),
    "hips": ("astrolabe.cli.hips:hips", "Make, list and remove pictures of the sky (HiPS)."),
    "user": ("astrolabe.cli.user:user", "Make, list, disable and delete accounts."),
    "group": ("astrolabe.cli.group:group", "Make, list and delete groups, and say who is in them."),
    "token": ("astrolabe.cli.token:token", "Make, list and revoke tokens."),
    "audit": ("astrolabe.cli.audit:audit", "Look into the audit log."),
    "release": ("astrolabe.cli.access:release", "Say who may read releases."),
    "quota": (
        "astrolabe.cli.quota:quota",
        "Say how much users, groups and anonymous addresses may use.",
    ),
    "demo-make": ("astrolabe.cli.demo:demo_make", None),
}
"""Name of each command: where it is, and its line in the list (None: not listed)."""


class LazyGroup(click.Group):
    """A group that knows its commands' names and imports a command when it is used.

    `astrolabe --help` and a mistyped command must not wait for the libraries of the platform.
    """

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{COMMANDS[cmd_name][0]} is not a command")
        return command

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, line) for name, (_, line) in COMMANDS.items() if line is not None]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(version("astrolabe-platform"), prog_name="astrolabe")
def cli() -> None:
    """Astrolabe: a science platform for survey astronomy.

    `astrolabe up` starts everything on this machine; the other commands administer a platform
    or run one role of a deployment.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; bad input ends with one clear line and a status that is not zero.

    Parameters
    ----------
    arguments
        The words after `astrolabe`; default those that this process was started with.
    """
    sys.exit(_run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    try:
        status: Any = cli.main(args=arguments, prog_name="astrolabe", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as exc:
        click.echo(exc.format_message(), err=True)
        return exc.exit_code
    except BrokenPipeError:
        # Whoever read our output has had enough; nothing may be flushed into it any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (click.ClickException, click.Abort, KeyboardInterrupt, AstrolabeError, OSError) as exc:
        message, code = _explain(exc)
    except _database_errors() as exc:
        message, code = f"database: {getattr(exc, 'orig', None) or exc}", 1
    else:
        return status if isinstance(status, int) else 0
    click.echo(f"astrolabe: {' '.join(message.split())}", err=True)
    return code


def _explain(exc: BaseException) -> tuple[str, int]:
    """Return what to say about an error, and the exit status."""
    if isinstance(exc, click.ClickException):
        context = exc.ctx if isinstance(exc, click.UsageError) else None
        hint = f" (see `{context.command_path} --help`)" if context else ""
        return exc.format_message().rstrip(".") + hint, exc.exit_code
    if isinstance(exc, click.Abort | KeyboardInterrupt):
        return "interrupted", 130
    if isinstance(exc, OSError):
        where = f": {exc.filename}" if exc.filename else ""
        return f"{exc.strerror or exc}{where}", 1
    return str(exc), 1


def _database_errors() -> tuple[type[Exception], ...]:
    # Looked up when something was raised: importing it would cost every start.
    module = sys.modules.get("sqlalchemy.exc")
    return (module.OperationalError, module.InterfaceError) if module is not None else ()


if __name__ == "__main__":
    main()
