"""`astrolabe user ...`: accounts."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from astrolabe.cli.options import settings_options

if TYPE_CHECKING:
    from astrolabe.config import Settings
    from astrolabe.identity.model import User

__all__ = ["user"]


@click.group()
def user() -> None:
    """Make, list, disable and delete accounts."""


@user.command("create")
@click.argument("name")
@click.option("--full-name", default="", help="The person's name.")
@click.option("--email", default="", help="Where to write to.")
@click.option("--group", "groups", multiple=True, help="A group to join; any number of times.")
@click.option(
    "--password-stdin",
    is_flag=True,
    help="Read a password from standard input.  [default: print a one-time login link]",
)
@settings_options
def create(
    *,
    settings: Settings,
    name: str,
    full_name: str,
    email: str,
    groups: tuple[str, ...],
    password_stdin: bool,
) -> None:
    """Make an account, and print the link with which its owner logs in for the first time."""
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - keeps --help fast
    from astrolabe.identity.authority import OPERATOR  # noqa: PLC0415 - the same

    password = _read_password() if password_stdin else None
    with ProcessContext.open(settings) as context:
        context.users.create(
            name,
            password=password,
            full_name=full_name,
            email=email,
            groups=groups,
            by=OPERATOR,
        )
    if password is None:
        click.echo(_login_address(settings, name))


@user.command("list")
@click.option(
    "--status",
    type=click.Choice(["active", "disabled", "deleted", "waiting"]),
    help="Only these.  [default: all but the deleted ones]",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document, for programs.")
@settings_options
def list_users(*, settings: Settings, status: str | None, as_json: bool) -> None:
    """List accounts, and with --status waiting those that wait for approval."""
    from astrolabe.core.clock import format_utc  # noqa: PLC0415 - keeps --help fast
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - the same
    from astrolabe.identity.model import UserStatus  # noqa: PLC0415 - the same

    with ProcessContext.open(settings) as context:
        if status == "waiting":
            documents: list[dict[str, object]] = [
                {
                    "username": pending.requested_name,
                    "status": "waiting",
                    "full_name": pending.full_name,
                    "email": pending.email,
                    "issuer": pending.issuer,
                    "created": format_utc(pending.created),
                }
                for pending in context.openid_accounts.pending()
            ]
        else:
            wanted = None if status is None else UserStatus(status)
            documents, cursor = [], None
            while True:
                page = context.users.page(cursor=cursor, limit=1000, status=wanted)
                documents += [_document(user) for user in page.users]
                cursor = page.next_cursor
                if cursor is None:
                    break
    if as_json:
        click.echo(json.dumps(documents, indent=2))
        return
    for document in documents:
        line = f"{document['username']:<31}  {document['status']:<8}  {document['full_name']}"
        click.echo(line.rstrip())


@user.command("show")
@click.argument("name")
@settings_options
def show(*, settings: Settings, name: str) -> None:
    """Show an account with its groups and scopes, as JSON."""
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - keeps --help fast

    with ProcessContext.open(settings) as context:
        document = _document(context.users.get(name))
        groups = context.groups.of(name)
        document["groups"] = sorted(groups)
        document["scopes"] = sorted(context.scope_policy.allowed(groups))
        document["logins"] = [
            {"issuer": issuer, "subject": subject}
            for issuer, subject in context.openid_accounts.identities(name)
        ]
    click.echo(json.dumps(document, indent=2))


@user.command("disable")
@click.argument("name")
@settings_options
def disable(*, settings: Settings, name: str) -> None:
    """Take an account out of use: its tokens die, its jobs end, its data is kept."""
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - keeps --help fast
    from astrolabe.identity.authority import OPERATOR  # noqa: PLC0415 - the same

    with ProcessContext.open(settings) as context:
        context.users.disable(name, by=OPERATOR)


@user.command("enable")
@click.argument("name")
@settings_options
def enable(*, settings: Settings, name: str) -> None:
    """Put an account into use again; its old tokens stay dead."""
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - keeps --help fast
    from astrolabe.identity.authority import OPERATOR  # noqa: PLC0415 - the same

    with ProcessContext.open(settings) as context:
        context.users.enable(name, by=OPERATOR)


@user.command("delete")
@click.argument("name")
@click.option("--hand-over-to", metavar="USER", help="Who gets its groups and jobs.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@settings_options
def delete(*, settings: Settings, name: str, hand_over_to: str | None, yes: bool) -> None:
    """Delete an account for ever; nobody gets its name again."""
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - keeps --help fast
    from astrolabe.identity.authority import OPERATOR  # noqa: PLC0415 - the same

    if not yes:
        click.confirm(f"Delete the account {name} for ever?", abort=True, err=True)
    with ProcessContext.open(settings) as context:
        context.users.delete(name, hand_over_to=hand_over_to, by=OPERATOR)


@user.command("password")
@click.argument("name")
@settings_options
def password(*, settings: Settings, name: str) -> None:
    """Give an account a new password, read from standard input or asked for."""
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - keeps --help fast
    from astrolabe.identity.authority import OPERATOR  # noqa: PLC0415 - the same

    text = _read_password()
    with ProcessContext.open(settings) as context:
        context.users.set_password(name, text, by=OPERATOR)


@user.command("approve")
@click.argument("name")
@click.option("--refuse", is_flag=True, help="Say no instead.")
@settings_options
def approve(*, settings: Settings, name: str, refuse: bool) -> None:
    """Make the account that somebody asked for after a first login."""
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - keeps --help fast
    from astrolabe.identity.authority import OPERATOR  # noqa: PLC0415 - the same

    with ProcessContext.open(settings) as context:
        if refuse:
            context.openid_accounts.refuse(name, by=OPERATOR)
        else:
            context.openid_accounts.approve(name, by=OPERATOR)


@user.command("login-link")
@click.argument("name")
@settings_options
def login_link(*, settings: Settings, name: str) -> None:
    """Print a link that logs in as this user once; earlier links of his end."""
    click.echo(_login_address(settings, name))


def _login_address(settings: Settings, name: str) -> str:
    from astrolabe.cli.home import read_platform  # noqa: PLC0415 - keeps --help fast
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - the same
    from astrolabe.identity.authority import OPERATOR  # noqa: PLC0415 - the same
    from astrolabe.identity.login_links import login_link_address  # noqa: PLC0415 - the same

    with ProcessContext.open(settings) as context:
        text = context.users.create_login_link(name, by=OPERATOR)
    # A platform that found its own port knows its address better than the settings do.
    running = read_platform(settings.paths.run)
    base = running.get("public_url") if isinstance(running, dict) else None
    return login_link_address(str(base or settings.server.public_url), text)


def _read_password() -> str:
    if sys.stdin.isatty():
        answer: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        return answer
    return sys.stdin.readline().rstrip("\r\n")


def _document(user: User) -> dict[str, object]:
    from astrolabe.core.clock import format_utc  # noqa: PLC0415 - keeps --help fast

    return {
        "username": user.username,
        "uid": user.uid,
        "status": user.status.value,
        "full_name": user.full_name,
        "email": user.email,
        "created": format_utc(user.created),
        "last_login": None if user.last_login is None else format_utc(user.last_login),
        "has_password": user.has_password,
    }
