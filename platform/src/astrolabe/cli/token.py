"""`astrolabe token ...`: tokens."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from astrolabe.cli.options import settings_options

if TYPE_CHECKING:
    from datetime import datetime

    from astrolabe.config import Settings
    from astrolabe.identity.model import TokenInfo

__all__ = ["token"]


@click.group()
def token() -> None:
    """Make, list and revoke tokens."""


@token.command("create")
@click.option("--user", "username", metavar="USER", required=True, help="Whose it is.")
@click.option(
    "--scope",
    "scopes",
    metavar="SCOPE",
    required=True,
    multiple=True,
    help="What it may be used for; any number of times.",
)
@click.option("--name", help="How lists call it.  [default: made from the time]")
@click.option(
    "--expires",
    metavar="WHEN",
    help="When it ends: 90d, 12h, 30m or a time (UTC).  [default: the longest that is allowed]",
)
@settings_options
def create(
    *,
    settings: Settings,
    username: str,
    scopes: tuple[str, ...],
    name: str | None,
    expires: str | None,
) -> None:
    """Make a token and print it, alone, on standard output; it is never shown again."""
    from astrolabe.core.clock import utc_now  # noqa: PLC0415 - keeps --help fast
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - the same
    from astrolabe.identity.authority import OPERATOR  # noqa: PLC0415 - the same

    end = None if expires is None else _time_of(expires)
    label = name or f"command line {utc_now():%Y-%m-%d %H:%M:%S.%f}"
    with ProcessContext.open(settings) as context:
        made = context.tokens.create_for(
            username, name=label, scopes=scopes, expires=end, by=OPERATOR
        )
    click.echo(made.text)


@token.command("list")
@click.option("--user", "username", metavar="USER", required=True, help="Whose.")
@click.option("--all", "with_ended", is_flag=True, help="Also those that have ended.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document, for programs.")
@settings_options
def list_tokens(*, settings: Settings, username: str, with_ended: bool, as_json: bool) -> None:
    """List a user's tokens, without their secrets."""
    from astrolabe.core.clock import format_utc  # noqa: PLC0415 - keeps --help fast
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - the same

    with ProcessContext.open(settings) as context:
        context.users.get(username)
        infos = context.tokens.list(username, with_ended=with_ended)
    if as_json:
        click.echo(json.dumps([_document(info) for info in infos], indent=2))
        return
    for info in infos:
        click.echo(
            f"{info.key}  {info.kind.value:<7}  until {format_utc(info.expires)}"
            f"  {info.name or '(no name)'}  {' '.join(sorted(info.scopes))}"
        )


@token.command("revoke")
@click.argument("key")
@settings_options
def revoke(*, settings: Settings, key: str) -> None:
    """End a token by its key (the part between `al-` and the dot), and all made from it."""
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - keeps --help fast
    from astrolabe.identity.authority import OPERATOR  # noqa: PLC0415 - the same
    from astrolabe.identity.token_text import TokenText  # noqa: PLC0415 - the same

    # Who has the whole token at hand may give it.
    whole = TokenText.parse(key)
    bare = key if whole is None else whole.key
    with ProcessContext.open(settings) as context:
        context.tokens.revoke(bare, by=OPERATOR)


def _time_of(text: str) -> datetime:
    from astrolabe.core.clock import parse_utc, utc_now  # noqa: PLC0415 - keeps --help fast

    match = re.fullmatch(r"(\d{1,6})([dhm])", text)
    if match is not None:
        unit = {"d": "days", "h": "hours", "m": "minutes"}[match[2]]
        return utc_now() + timedelta(**{unit: int(match[1])})
    try:
        return parse_utc(text)
    except ValueError as exc:
        raise click.BadParameter(
            f"{text!r} is neither of the form 90d, 12h or 30m nor an ISO 8601 time",
            param_hint="--expires",
        ) from exc


def _document(info: TokenInfo) -> dict[str, object]:
    from astrolabe.core.clock import format_utc  # noqa: PLC0415 - keeps --help fast

    return {
        "key": info.key,
        "kind": info.kind.value,
        "name": info.name,
        "scopes": sorted(info.scopes),
        "parent": info.parent,
        "created": format_utc(info.created),
        "expires": format_utc(info.expires),
        "revoked": None if info.revoked is None else format_utc(info.revoked),
        "last_used": None if info.last_used is None else format_utc(info.last_used),
        "last_address": info.last_address,
    }
