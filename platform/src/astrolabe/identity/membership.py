"""Memberships within one transaction; who may change them is for `astrolabe.identity.groups`."""

from __future__ import annotations

from sqlalchemy import Connection, delete, func, insert, select

from astrolabe.core.clock import utc_now
from astrolabe.core.errors import ConflictError, NotFoundError
from astrolabe.identity.model import Role, UserStatus
from astrolabe.identity.names import NameRegistry
from astrolabe.identity.schema import GROUP, INVITATION, MEMBER, NAME, USER
from astrolabe.identity.scopes import ADMIN_GROUP

__all__ = [
    "administrators",
    "check_nesting",
    "check_not_last_administrator",
    "drop_group",
    "end_invitations",
    "hand_over_groups",
    "is_active_user",
    "is_group",
    "lock_groups",
    "make_group",
    "nested_in",
    "owned_groups",
    "put_member",
    "role_of",
    "take_member",
]


def lock_groups(connection: Connection, *names: str) -> None:
    """Keep others from changing these groups until the transaction ends.

    Raises
    ------
    NotFoundError
        Raised if there is no such group.
    """
    query = (
        select(GROUP.c.group_name)
        .where(GROUP.c.group_name.in_(names))
        .order_by(GROUP.c.group_name)
        .with_for_update(key_share=True)
    )
    missing = set(names).difference(connection.execute(query).scalars())
    if missing:
        raise NotFoundError(f"There is no group {min(missing)[:64]}.")


def is_group(connection: Connection, name: str) -> bool:
    """Whether a group of this name exists."""
    query = select(GROUP.c.group_name).where(GROUP.c.group_name == name)
    return connection.execute(query).first() is not None


def is_active_user(connection: Connection, name: str) -> bool:
    """Whether an account of this name exists and works."""
    query = select(USER.c.username).where(
        USER.c.username == name, USER.c.status == UserStatus.ACTIVE
    )
    return connection.execute(query).first() is not None


def role_of(connection: Connection, group: str, member: str | None) -> Role | None:
    """Return the role of a direct member, `None` if it is not one."""
    role = connection.execute(
        select(MEMBER.c.role).where(MEMBER.c.group_name == group, MEMBER.c.member == member)
    ).scalar()
    return None if role is None else Role(role)


def nested_in(connection: Connection, group: str) -> tuple[str, ...]:
    """Return the groups that a group is a member of."""
    query = select(MEMBER.c.group_name).where(MEMBER.c.member == group)
    return tuple(connection.execute(query).scalars())


def owned_groups(connection: Connection, username: str) -> tuple[str, ...]:
    """Return the groups that a user owns."""
    query = (
        select(MEMBER.c.group_name)
        .where(MEMBER.c.member == username, MEMBER.c.role == Role.OWNER)
        .order_by(MEMBER.c.group_name)
    )
    return tuple(connection.execute(query).scalars())


def administrators(connection: Connection) -> frozenset[str]:
    """Return the users that hold every scope and whose accounts work."""
    nested = (
        select(GROUP.c.group_name)
        .join(MEMBER, MEMBER.c.member == GROUP.c.group_name)
        .where(MEMBER.c.group_name == ADMIN_GROUP)
    )
    query = (
        select(USER.c.username)
        .join(MEMBER, MEMBER.c.member == USER.c.username)
        .where(
            USER.c.status == UserStatus.ACTIVE,
            (MEMBER.c.group_name == ADMIN_GROUP) | MEMBER.c.group_name.in_(nested),
        )
    )
    return frozenset(connection.execute(query).scalars())


def check_not_last_administrator(connection: Connection, username: str) -> None:
    """Check that the platform keeps an administrator without this user.

    Raises
    ------
    ConflictError
        Raised if it would not.
    """
    lock_groups(connection, ADMIN_GROUP)
    if administrators(connection) == {username}:
        raise ConflictError(f"{username} is the last administrator; make somebody else one first.")


def end_invitations(connection: Connection, *, invited_by: str, group: str | None = None) -> None:
    """End what somebody who has lost his say has invited others to."""
    query = delete(INVITATION).where(INVITATION.c.invited_by == invited_by)
    connection.execute(query if group is None else query.where(INVITATION.c.group_name == group))


def hand_over_groups(
    connection: Connection, username: str, heir: str, *, added_by: str, but: frozenset[str]
) -> None:
    """Make `heir` an owner of the groups that a user owns, but not of those in or under `but`.

    Raises
    ------
    NotFoundError
        Raised if there is no such heir.
    """
    if not is_active_user(connection, heir):
        raise NotFoundError(f"There is no user {heir[:64]} to hand the account over to.")
    for group in owned_groups(connection, username):
        if but.isdisjoint({group, *nested_in(connection, group)}):
            put_member(connection, group, heir, role=Role.OWNER, added_by=added_by)


def make_group(
    connection: Connection,
    names: NameRegistry,
    name: str,
    *,
    description: str,
    created_by: str | None,
    from_claims: bool = False,
) -> None:
    """Register a group without members; its name's form has been checked.

    Raises
    ------
    ConflictError
        Raised if the name is or was taken.
    """
    names.take(connection, name, "group")
    connection.execute(
        insert(GROUP).values(
            group_name=name,
            description=description,
            created=utc_now(),
            created_by=created_by,
            from_claims=from_claims,
        )
    )


def drop_group(connection: Connection, names: NameRegistry, name: str) -> None:
    """Remove a group, its memberships on both sides and its invitations; the name stays taken."""
    connection.execute(delete(MEMBER).where(MEMBER.c.member == name))
    connection.execute(delete(GROUP).where(GROUP.c.group_name == name))
    names.retire(connection, name)


def put_member(
    connection: Connection,
    group: str,
    member: str,
    *,
    role: Role,
    added_by: str | None,
    from_claims: bool = False,
) -> None:
    """Make `member` a member with this role, or give it this role; ends its invitation."""
    take_member(connection, group, member)
    connection.execute(
        insert(MEMBER).values(
            group_name=group,
            member=member,
            role=role,
            from_claims=from_claims,
            added=utc_now(),
            added_by=added_by,
        )
    )
    connection.execute(
        delete(INVITATION).where(INVITATION.c.group_name == group, INVITATION.c.username == member)
    )


def take_member(connection: Connection, group: str, member: str) -> bool:
    """End a membership; returns whether there was one."""
    done = connection.execute(
        delete(MEMBER).where(MEMBER.c.group_name == group, MEMBER.c.member == member)
    )
    return done.rowcount > 0


def check_nesting(connection: Connection, group: str, inner: str) -> None:
    """Check that `inner` may become a member of `group`: nesting is one level deep.

    Raises
    ------
    ConflictError
        Raised if it may not.
    """
    has_groups = (
        select(func.count())
        .select_from(MEMBER)
        .join(NAME, NAME.c.name == MEMBER.c.member)
        .where(MEMBER.c.group_name == inner, NAME.c.kind == "group")
    )
    if group == inner:
        raise ConflictError("A group cannot be a member of itself.")
    if connection.execute(has_groups).scalar_one():
        raise ConflictError(
            f"{inner} has groups as members itself; groups are nested one level deep only."
        )
    if nested_in(connection, group):
        raise ConflictError(
            f"{group} is a member of another group; groups are nested one level deep only."
        )
