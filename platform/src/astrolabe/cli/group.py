"""`astrolabe group ...`: groups and their members."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from astrolabe.cli.options import settings_options

if TYPE_CHECKING:
    from astrolabe.config import Settings

__all__ = ["group"]


@click.group()
def group() -> None:
    """Make, list and delete groups, and say who is in them."""


@group.command("create")
@click.argument("name")
@click.option("--owner", metavar="USER", help="Who owns it.  [default: the administrators]")
@click.option("--description", default="", help="What it is for.")
@settings_options
def create(*, settings: Settings, name: str, owner: str | None, description: str) -> None:
    """Make a group."""
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - keeps --help fast
    from astrolabe.identity.authority import OPERATOR  # noqa: PLC0415 - the same

    with ProcessContext.open(settings) as context:
        context.groups.create(name, by=OPERATOR, owner=owner, description=description)


@group.command("list")
@click.option("--user", "username", metavar="USER", help="Only groups that this user is in.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document, for programs.")
@settings_options
def list_groups(*, settings: Settings, username: str | None, as_json: bool) -> None:
    """List groups."""
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - keeps --help fast

    with ProcessContext.open(settings) as context:
        if username is not None:
            context.users.get(username)
            groups = [group for group, _ in context.groups.memberships(username)]
        else:
            groups, cursor = [], None
            while True:
                page, cursor = context.groups.page(cursor=cursor, limit=1000)
                groups += page
                if cursor is None:
                    break
    if as_json:
        documents = [{"name": g.name, "gid": g.gid, "description": g.description} for g in groups]
        click.echo(json.dumps(documents, indent=2))
        return
    for found in groups:
        click.echo(f"{found.name:<31}  {found.gid:>10}  {found.description}".rstrip())


@group.command("show")
@click.argument("name")
@settings_options
def show(*, settings: Settings, name: str) -> None:
    """Show a group with its members and open invitations, as JSON."""
    from astrolabe.core.clock import format_utc  # noqa: PLC0415 - keeps --help fast
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - the same

    with ProcessContext.open(settings) as context:
        found = context.groups.get(name)
        members = context.groups.members(name)
        invitations = context.groups.invitations(group=name)
        scopes = context.scope_policy.given_by(name)
    document = {
        "name": found.name,
        "gid": found.gid,
        "description": found.description,
        "created": format_utc(found.created),
        "created_by": found.created_by,
        "from_claims": found.from_claims,
        "scopes": sorted(scopes),
        "members": [
            {
                "name": member.name,
                "kind": "group" if member.is_group else "user",
                "role": member.role.value,
                "from_claims": member.from_claims,
            }
            for member in members
        ],
        "invitations": [
            {"username": i.username, "role": i.role.value, "expires": format_utc(i.expires)}
            for i in invitations
        ],
    }
    click.echo(json.dumps(document, indent=2))


@group.command("add")
@click.argument("name")
@click.argument("member")
@click.option(
    "--role",
    type=click.Choice(["owner", "admin", "member"]),
    default="member",
    show_default=True,
    help="What the member may do with the group.",
)
@settings_options
def add(*, settings: Settings, name: str, member: str, role: str) -> None:
    """Put a user or a group into a group, or change a member's role."""
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - keeps --help fast
    from astrolabe.identity.authority import OPERATOR  # noqa: PLC0415 - the same
    from astrolabe.identity.model import Role  # noqa: PLC0415 - the same

    with ProcessContext.open(settings) as context:
        context.groups.add(name, member, by=OPERATOR, role=Role(role))


@group.command("remove")
@click.argument("name")
@click.argument("member")
@settings_options
def remove(*, settings: Settings, name: str, member: str) -> None:
    """Take a user or a group out of a group."""
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - keeps --help fast
    from astrolabe.identity.authority import OPERATOR  # noqa: PLC0415 - the same

    with ProcessContext.open(settings) as context:
        context.groups.remove(name, member, by=OPERATOR)


@group.command("delete")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@settings_options
def delete(*, settings: Settings, name: str, yes: bool) -> None:
    """Delete a group for ever; nobody gets its name again."""
    from astrolabe.factory import ProcessContext  # noqa: PLC0415 - keeps --help fast
    from astrolabe.identity.authority import OPERATOR  # noqa: PLC0415 - the same

    if not yes:
        click.confirm(f"Delete the group {name} for ever?", abort=True, err=True)
    with ProcessContext.open(settings) as context:
        context.groups.delete(name, by=OPERATOR)
