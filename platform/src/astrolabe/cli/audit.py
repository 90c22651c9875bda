"""`astrolabe audit list`: what was done, and by whom."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from astrolabe.cli.options import settings_options

if TYPE_CHECKING:
    from datetime import datetime

    from astrolabe.config import Settings

__all__ = ["audit"]


@click.group()
def audit() -> None:
    """Look into the audit log."""


@audit.command("list")
@click.option("--actor", help="Only what this user did; `operator` is the command line.")
@click.option("--action", help="Only this action (`user.disable`), or all of a kind (`user.`).")
@click.option("--target", help="Only what was done to this user, group or other thing.")
@click.option("--since", help="Only from this time on (UTC).")
@click.option("--until", help="Only before this time (UTC).")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="Most lines."
)
@click.option("--cursor", help="Continue where a page ended, with its last line's number.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document, for programs.")
@settings_options
def list_entries(
    *,
    settings: Settings,
    actor: str | None,
    action: str | None,
    target: str | None,
    since: str | None,
    until: str | None,
    limit: int,
    cursor: str | None,
    as_json: bool,
) -> None:
    """List what was done, the newest first."""
    from astrolabe.core.clock import format_utc  # noqa: PLC0415 - keeps --help fast
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - the same

    with ProcessContext.open(settings) as context:
        page = context.audit.page(
            actor=actor,
            action=action,
            target=target,
            since=_time_of(since, "--since"),
            until=_time_of(until, "--until"),
            cursor=cursor,
            limit=limit,
        )
    if as_json:
        entries = [
            {
                "entry_id": entry.entry_id,
                "time": format_utc(entry.time),
                "actor": entry.actor,
                "action": entry.action,
                "target": entry.target,
                "detail": entry.detail,
                "address": entry.address,
            }
            for entry in page.entries
        ]
        click.echo(json.dumps({"entries": entries, "next_cursor": page.next_cursor}, indent=2))
        return
    for entry in page.entries:
        detail = json.dumps(entry.detail, ensure_ascii=False) if entry.detail else ""
        line = (
            f"{entry.entry_id:>8}  {format_utc(entry.time)}  {entry.actor:<16} "
            f"{entry.action:<18} {entry.target}  {detail}"
        )
        click.echo(line.rstrip())
    if page.next_cursor is not None:
        click.echo(f"There is more: --cursor {page.next_cursor}", err=True)


def _time_of(text: str | None, option: str) -> datetime | None:
    from astrolabe.core.clock import parse_utc  # noqa: PLC0415 - keeps --help fast

    if text is None:
        return None
    try:
        return parse_utc(text)
    except ValueError as exc:
        raise click.BadParameter(f"{text!r} is no ISO 8601 time", param_hint=option) from exc
