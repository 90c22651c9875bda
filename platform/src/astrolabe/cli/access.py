"""`astrolabe table access`, `release access` and `image access`: who may read what."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from astrolabe.cli.options import settings_options

if TYPE_CHECKING:
    from datetime import datetime

    from astrolabe.config import Settings
    from astrolabe.factory import ProcessContext
    from astrolabe.identity.access import AccessRule, Resource

__all__ = ["apply_rule", "image_access", "release", "rule_options", "table_access"]

_Result = TypeVar("_Result")


def rule_options(function: Callable[..., _Result]) -> Callable[..., _Result]:
    """Give a command the options that make a rule."""
    options = (
        click.option("--public", "access", flag_value="public", help="Everybody may read."),
        click.option("--users", "access", flag_value="users", help="Users with data rights may."),
        click.option("--group", metavar="GROUP", help="Members of the group may read."),
        click.option("--private", "access", flag_value="private", help="Only the owner may read."),
        click.option("--inherit", is_flag=True, help="Remove the rule: what is above decides."),
        click.option("--owner", metavar="USER", help="Who may also write and change the rule."),
        click.option(
            "--embargo",
            metavar="TIME",
            help="Until then (UTC) only the group and the owner may read, here and below.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


@click.command("access")
@click.argument("name", metavar="SCHEMA[.TABLE]")
@rule_options
@settings_options
def table_access(*, settings: Settings, name: str, **asked: Any) -> None:  # noqa: ANN401 - options
    """Say who may read a schema or a table; without an option, show it.

    A table without a rule of its own has its schema's. A rule may be made before there is a table
    of that name, which is then hidden from its first moment.
    """
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - keeps --help fast
    from astrolabe.identity.access import Resource  # noqa: PLC0415 - the same

    kind = "table" if "." in name else "schema"
    resource = Resource.parse(kind, name)
    with ProcessContext.open(settings) as context:
        apply_rule(context, resource, **asked)
        view = context.catalog.view()
        known = {key for s, t in view.entries for key in (s.lower(), f"{s}.{t}".lower())}
    if resource.name not in known:
        click.echo(f"There is no {kind} {name} yet; the rule waits for one.", err=True)


@click.group()
def release() -> None:
    """Say who may read releases."""


@release.command("access")
@click.argument("name", metavar="RELEASE")
@rule_options
@settings_options
def release_access(*, settings: Settings, name: str, **asked: Any) -> None:  # noqa: ANN401 - options
    """Say who may read the tables of a release; without an option, show it.

    A rule of a table or its schema comes before that of the release, but for an embargo, which
    holds for all of it.
    """
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - keeps --help fast
    from astrolabe.identity.access import Resource  # noqa: PLC0415 - the same

    with ProcessContext.open(settings) as context:
        apply_rule(context, Resource.of_release(name), **asked)


@click.command("access")
@click.argument("name", metavar="COLLECTION")
@rule_options
@click.option(
    "--listed/--not-listed",
    default=None,
    help="Whether everybody may see what images there are, though not their pixels.",
)
@settings_options
def image_access(*, settings: Settings, name: str, **asked: Any) -> None:  # noqa: ANN401 - options
    """Say who may read a collection of images; without an option, show it.

    A collection without a rule of its own has its release's. A rule may be made before there is a
    collection of that name, which is then hidden from its first moment.
    """
    from astrolabe.core.errors import NotFoundError  # noqa: PLC0415 - keeps --help fast
    from astrolabe.core.logging import configure_logging  # noqa: PLC0415 - the same
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - the same
    from astrolabe.identity.access import Resource  # noqa: PLC0415 - the same
    from astrolabe.images.model import check_collection_name  # noqa: PLC0415 - the same

    configure_logging(settings.server.log_level, settings.server.log_format)
    resource = Resource.of_collection(check_collection_name(name))
    with ProcessContext.open(settings) as context:
        apply_rule(context, resource, **asked)
        try:
            context.images.store.collection(name)
        except NotFoundError:
            click.echo(f"There is no collection {name} yet; the rule waits for one.", err=True)
            return
        if any(value for value in asked.values()) or asked["listed"] is not None:
            # Rows of ObsCore say who may have the pixels.
            context.images.obscore.publish()


def apply_rule(
    context: ProcessContext,
    resource: Resource,
    *,
    access: str | None,
    group: str | None,
    inherit: bool,
    owner: str | None,
    embargo: str | None,
    listed: bool | None = None,
) -> None:
    """Make the rule that the options ask for, and say what holds now."""
    from astrolabe.identity.access import Access, AccessRule  # noqa: PLC0415 - keeps --help fast
    from astrolabe.identity.authority import OPERATOR  # noqa: PLC0415 - the same

    given = (access, group, owner, embargo, listed)
    wanted = any(value is not None for value in given)
    if inherit and wanted:
        raise click.UsageError("--inherit goes with no other option")
    if access == "private" and group is not None and embargo is None:
        raise click.UsageError("--private and --group say different things")
    if inherit:
        context.rights.remove_rule(resource, by=OPERATOR)
    elif wanted:
        if group is not None:
            context.groups.get(group)
        if owner is not None:
            context.users.get(owner)
        ends = None if embargo is None else _time(embargo)
        # With an embargo the group may read until its end, and the access is for the time after.
        after = Access.GROUP if access is None and group is not None else None
        present = context.rights.policy(fresh=True).rule_of(resource)
        rule = AccessRule(
            access=after or (present.access if access is None else Access(access)),
            group=group or (present.group if access is None else None),
            owner=owner or present.owner,
            embargo_until=ends,
            listed=present.listed if listed is None else listed,
        )
        context.rights.set_rule(resource, rule, by=OPERATOR)
    _show(context, resource)


def _show(context: ProcessContext, resource: Resource) -> None:
    own = context.rights.find(resource)
    rule = context.rights.policy(fresh=True).rule_of(resource)
    words = [f"{resource.kind} {resource.name}: {_described(rule)}"]
    if own is None:
        words.append("(inherited)")
    click.echo(" ".join(words))


def _described(rule: AccessRule) -> str:
    from astrolabe.core.clock import format_utc  # noqa: PLC0415 - keeps --help fast

    text = rule.access.value
    if rule.group is not None:
        text += f" {rule.group}" if rule.access == "group" else f", before that group {rule.group}"
    if rule.owner is not None:
        text += f", owner {rule.owner}"
    if rule.listed:
        text += ", listed"
    if rule.embargo_until is not None:
        text += f", embargo until {format_utc(rule.embargo_until)}"
    return text


def _time(text: str) -> datetime:
    from astrolabe.core.clock import parse_utc  # noqa: PLC0415 - keeps --help fast

    try:
        return parse_utc(text)
    except ValueError as exc:
        raise click.BadParameter(f"{text!r} is not a time such as 2027-01-31") from exc
