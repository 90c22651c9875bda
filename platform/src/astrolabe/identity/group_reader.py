"""Reading groups, their members and invitations."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, Select, or_, select

from astrolabe.core.clock import utc_now
from astrolabe.core.database import Database
from astrolabe.core.errors import NotFoundError
from astrolabe.identity import membership
from astrolabe.identity.audit import page_limit
from astrolabe.identity.authority import may_administer_users
from astrolabe.identity.model import Group, Invitation, Member, Role
from astrolabe.identity.principal import Principal
from astrolabe.identity.schema import GROUP, INVITATION, MEMBER, NAME
from astrolabe.identity.token_rows import groups_of

__all__ = ["GroupReader", "all_groups", "group_of", "invitation_of"]


class GroupReader:
    """What there is to know about groups.

    Parameters
    ----------
    database
        The control database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, username: str) -> frozenset[str]:
        """Return the groups that a user is in, himself or through a nested group."""
        with self._database.read() as connection:
            return groups_of(connection, username)

    def get(self, name: str, *, by: Principal | None = None) -> Group:
        """Return a group.

        Parameters
        ----------
        name
            Its name.
        by
            Who asks; others' groups are there for administrators only.  `None`: the platform.

        Raises
        ------
        NotFoundError
            Raised if there is none that the caller may see.
        """
        with self._database.read() as connection:
            self.check_visible(connection, name, by)
            row = connection.execute(all_groups().where(GROUP.c.group_name == name)).one_or_none()
        if row is None:
            raise NotFoundError(f"There is no group {name[:64]}.")
        return group_of(row)

    def page(
        self, *, cursor: str | None = None, limit: int = 100
    ) -> tuple[tuple[Group, ...], str | None]:
        """Return a page of all groups in the order of their names, and the next cursor.

        Raises
        ------
        BadParameterError
            Raised if `limit` is not one.
        """
        count = page_limit(limit)
        query = all_groups().order_by(GROUP.c.group_name).limit(count + 1)
        if cursor is not None:
            query = query.where(GROUP.c.group_name > cursor)
        with self._database.read() as connection:
            groups = tuple(group_of(row) for row in connection.execute(query))
        return groups[:count], groups[count - 1].name if len(groups) > count else None

    def memberships(self, username: str) -> tuple[tuple[Group, Role], ...]:
        """Return the groups that a user is in, with his role in each.

        In a group that he is in through a nested one he is a plain member.
        """
        direct = select(MEMBER.c.group_name).where(MEMBER.c.member == username)
        query = (
            all_groups()
            .add_columns(MEMBER.c.member, MEMBER.c.role)
            .join(MEMBER, MEMBER.c.group_name == GROUP.c.group_name)
            .where(or_(MEMBER.c.member == username, MEMBER.c.member.in_(direct)))
            .order_by(GROUP.c.group_name)
        )
        found: dict[str, tuple[Group, Role]] = {}
        with self._database.read() as connection:
            for row in connection.execute(query):
                if row.member == username or row.group_name not in found:
                    found[row.group_name] = (group_of(row), Role(row.role))
        return tuple(found.values())

    def members(self, name: str, *, by: Principal | None = None) -> tuple[Member, ...]:
        """Return the direct members of a group, owners first.

        Raises
        ------
        NotFoundError
            Raised if there is no group that the caller may see.
        """
        query = (
            select(MEMBER, NAME.c.kind)
            .join(NAME, NAME.c.name == MEMBER.c.member)
            .where(MEMBER.c.group_name == name)
        )
        with self._database.read() as connection:
            self.check_visible(connection, name, by)
            members = [_member_of(row) for row in connection.execute(query)]
        order = list(Role)
        return tuple(sorted(members, key=lambda m: (order.index(m.role), m.name)))

    def invitations(
        self, *, username: str | None = None, group: str | None = None
    ) -> tuple[Invitation, ...]:
        """Return invitations that wait for an answer: to a user, to a group or all."""
        query = select(INVITATION).where(INVITATION.c.expires > utc_now())
        if username is not None:
            query = query.where(INVITATION.c.username == username)
        if group is not None:
            query = query.where(INVITATION.c.group_name == group)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(INVITATION.c.created))
            return tuple(invitation_of(row) for row in rows)

    def check_visible(self, connection: Connection, name: str, by: Principal | None) -> None:
        """Check that the caller may know that a group exists.

        Raises
        ------
        NotFoundError
            Raised if there is none that he may.
        """
        seen = by is None or may_administer_users(by)
        if not seen and by is not None and by.username is not None:
            seen = name in groups_of(connection, by.username)
        if not seen or not membership.is_group(connection, name):
            raise NotFoundError(f"There is no group {name[:64]}.")


def all_groups() -> Select[*tuple[Any, ...]]:
    """Return the query of all groups, with their numbers."""
    return select(GROUP, NAME.c.number).join(NAME, NAME.c.name == GROUP.c.group_name)


def group_of(row: Row[*tuple[Any, ...]]) -> Group:
    """Return the group of a row of `all_groups`."""
    return Group(
        name=row.group_name,
        gid=row.number,
        description=row.description,
        created=row.created,
        created_by=row.created_by,
        from_claims=row.from_claims,
    )


def _member_of(row: Row[*tuple[Any, ...]]) -> Member:
    return Member(
        name=row.member,
        is_group=row.kind == "group",
        role=Role(row.role),
        from_claims=row.from_claims,
        added=row.added,
    )


def invitation_of(row: Row[*tuple[Any, ...]]) -> Invitation:
    """Return the invitation of a whole row of its table."""
    return Invitation(
        invitation_id=row.invitation_id,
        group=row.group_name,
        username=row.username,
        role=Role(row.role),
        invited_by=row.invited_by,
        created=row.created,
        expires=row.expires,
    )
