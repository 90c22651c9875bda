"""`astrolabe quota ...`: how much users may use."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import click

from astrolabe.cli.options import settings_options

if TYPE_CHECKING:
    from astrolabe.config import Settings
    from astrolabe.identity.limits import SubjectKind

__all__ = ["quota"]

_Result = TypeVar("_Result")


@click.group()
def quota() -> None:
    """Say how much users, groups and anonymous addresses may use."""


def _subject_options(function: Callable[..., _Result]) -> Callable[..., _Result]:
    """Give a command the options that name whose quota it is."""
    options = (
        click.option("--user", metavar="USER", help="Of this user."),
        click.option("--group", metavar="GROUP", help="Of every member of this group."),
        click.option("--anonymous", is_flag=True, help="Of every address without a login."),
        click.option(
            "--override",
            is_flag=True,
            help="Above all other rules: of everybody, or with --user of that user.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


@quota.command("set")
@click.argument("name", metavar="QUOTA")
@click.argument("value", metavar="NUMBER|none")
@_subject_options
@click.option("--hours", type=click.FloatRange(min=0, min_open=True), help="Only for so long.")
@settings_options
def set_quota(
    *,
    settings: Settings,
    name: str,
    value: str,
    user: str | None,
    group: str | None,
    anonymous: bool,
    override: bool,
    hours: float | None,
) -> None:
    """Set a quota; without an option, the default of every user.

    It holds in every process within two seconds. 0 blocks, none is no limit.
    """
    from astrolabe.core.clock import utc_now  # noqa: PLC0415 - keeps --help fast
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - the same
    from astrolabe.identity.authority import OPERATOR  # noqa: PLC0415 - the same
    from astrolabe.identity.limits import QuotaRule  # noqa: PLC0415 - the same

    kind, subject = _subject(user=user, group=group, anonymous=anonymous, override=override)
    rule = QuotaRule(
        kind=kind,
        subject=subject,
        quota=name,
        value=_number(value),
        ends=None if hours is None else utc_now() + timedelta(hours=hours),
    )
    with ProcessContext.open(settings) as context:
        if user is not None:
            context.users.get(user)
        if group is not None:
            context.groups.get(group)
        context.quotas.set_rule(rule, by=OPERATOR)


@quota.command("unset")
@click.argument("name", metavar="QUOTA")
@_subject_options
@settings_options
def unset(
    *,
    settings: Settings,
    name: str,
    user: str | None,
    group: str | None,
    anonymous: bool,
    override: bool,
) -> None:
    """Remove what `quota set` with the same options set."""
    from astrolabe.core.errors import NotFoundError  # noqa: PLC0415 - keeps --help fast
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - the same
    from astrolabe.identity.authority import OPERATOR  # noqa: PLC0415 - the same

    kind, subject = _subject(user=user, group=group, anonymous=anonymous, override=override)
    with ProcessContext.open(settings) as context:
        if not context.quotas.remove_rule(kind, subject, name, by=OPERATOR):
            raise NotFoundError(f"No such rule: {name} of {kind} {subject}".rstrip() + ".")


@quota.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON document, for programs.")
@settings_options
def list_rules(*, settings: Settings, as_json: bool) -> None:
    """List every rule beside the settings, those that have ended too."""
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - keeps --help fast

    with ProcessContext.open(settings) as context:
        rules = context.quotas.rules()
    documents = [
        {
            "kind": rule.kind.value,
            "subject": rule.subject,
            "quota": rule.quota,
            "value": rule.value,
            "ends": None if rule.ends is None else rule.ends.isoformat(),
        }
        for rule in rules
    ]
    if as_json:
        click.echo(json.dumps(documents, indent=2))
        return
    for entry in documents:
        ends = "" if entry["ends"] is None else f"  until {entry['ends']}"
        click.echo(
            f"{entry['kind']:<10} {entry['subject']:<31} {entry['quota']:<32} "
            f"{_shown(entry['value'])}{ends}"
        )


@quota.command("show")
@click.argument("user", metavar="USER")
@click.option("--json", "as_json", is_flag=True, help="One JSON document, for programs.")
@settings_options
def show(*, settings: Settings, user: str, as_json: bool) -> None:
    """Show every quota that holds for a user, and what is used of it."""
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - keeps --help fast
    from astrolabe.identity import Principal  # noqa: PLC0415 - the same

    with ProcessContext.open(settings) as context:
        context.users.get(user)
        principal = Principal(username=user, groups=context.groups.of(user))
        uses = context.quotas.usage(principal, services=("tap", "scs"))
    if as_json:
        documents = [{"quota": u.quota, "limit": u.limit, "used": u.used} for u in uses]
        click.echo(json.dumps(documents, indent=2))
        return
    for use in uses:
        used = "-" if use.used is None else f"{use.used:,.0f}"
        click.echo(f"{use.quota:<32} {used:>20} of {_shown(use.limit):<20} {use.about}")


def _subject(
    *, user: str | None, group: str | None, anonymous: bool, override: bool
) -> tuple[SubjectKind, str]:
    from astrolabe.identity.limits import SubjectKind  # noqa: PLC0415 - keeps --help fast

    if override and not (group or anonymous):
        return SubjectKind.OVERRIDE, user or ""
    if override or sum((user is not None, group is not None, anonymous)) > 1:
        raise click.UsageError("name one of --user, --group and --anonymous")
    if user is not None:
        return SubjectKind.USER, user
    if group is not None:
        return SubjectKind.GROUP, group
    return (SubjectKind.ANONYMOUS if anonymous else SubjectKind.DEFAULT), ""


def _number(value: str) -> float | None:
    if value == "none":
        return None
    try:
        return float(value)
    except ValueError as exc:
        raise click.BadParameter(f"{value!r} is neither a number nor none") from exc


def _shown(value: object) -> str:
    return f"{value:,.10g}" if isinstance(value, float | int) else "none"
