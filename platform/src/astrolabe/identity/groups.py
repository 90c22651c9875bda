"""Groups: who is in them and who may say so."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row, delete, insert, select, update

from astrolabe.core.clock import utc_now
from astrolabe.core.database import Database
from astrolabe.core.errors import (
    BadParameterError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
)
from astrolabe.core.ids import new_job_id
from astrolabe.identity import membership
from astrolabe.identity.audit import AuditLog
from astrolabe.identity.authority import (
    OPERATOR,
    actor_name,
    may_administer_users,
    require_recent_login,
    require_scope,
    require_user,
)
from astrolabe.identity.group_reader import GroupReader, invitation_of
from astrolabe.identity.model import Group, Invitation, Role
from astrolabe.identity.names import NameRegistry, check_name
from astrolabe.identity.principal import Principal
from astrolabe.identity.schema import GROUP, INVITATION, MEMBER, NAME
from astrolabe.identity.scopes import ADMIN_GROUP, ScopePolicy

__all__ = ["GroupService"]

_INVITATION_LIFE: Final = timedelta(days=30)
_DESCRIPTION_LENGTH: Final = 1000


class GroupService(GroupReader):
    """Makes, changes and ends groups.

    Owners may do everything with their group; admins invite and remove members; members see who
    else is in it and may leave.  Users join by an invitation that they accept; administrators of
    the platform add them directly.  A group that gives scopes is changed only by who holds these
    scopes and has logged in lately.

    Parameters
    ----------
    database
        The control database.
    names
        Gives names and gids.
    policy
        What groups allow.
    audit
        Where changes are written down.
    groups_per_user
        Groups that one user may own.
    """

    def __init__(
        self,
        database: Database,
        *,
        names: NameRegistry,
        policy: ScopePolicy,
        audit: AuditLog,
        groups_per_user: int,
    ) -> None:
        super().__init__(database)
        self._names = names
        self._policy = policy
        self._audit = audit
        self._groups_per_user = groups_per_user
        self._listeners: list[Callable[[], None]] = []

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each change of memberships that this process makes."""
        self._listeners.append(listener)

    def create(
        self,
        name: str,
        *,
        by: Principal,
        description: str = "",
        owner: str | None = None,
        address: str | None = None,
    ) -> Group:
        """Make a group.

        Parameters
        ----------
        name
            Its name, which nobody may have had before.
        by
            Who makes it, with the scope ``user:group``.
        description
            What it is for.
        owner
            Who owns it; default `by`.  Only administrators may name another one.
        address
            Where the request came from.

        Raises
        ------
        BadParameterError
            Raised if the name or the description is not allowed.
        ConflictError
            Raised if the name is or was taken, or the user owns too many groups.
        ForbiddenError
            Raised if the caller may not make it.
        NotFoundError
            Raised if there is no such owner.
        """
        username = require_user(by)
        check_name(name, what="group")
        text = _checked_description(description)
        administrator = may_administer_users(by, holding=self._policy.given_by(name))
        if not administrator:
            require_scope(by, "user:group")
        if name in self._policy.groups or (owner is not None and owner != username):
            if not administrator:
                raise ForbiddenError(f"Only an administrator may make the group {name} so.")
            require_recent_login(by)
        first = owner if owner is not None else None if by.kind == OPERATOR.kind else username
        with self._database.write() as connection:
            if first is not None and not membership.is_active_user(connection, first):
                raise NotFoundError(f"There is no user {first[:64]}.")
            if first is not None and not administrator:
                self._check_limit(connection, first)
            membership.make_group(
                connection, self._names, name, description=text, created_by=username
            )
            if first is not None:
                membership.put_member(connection, name, first, role=Role.OWNER, added_by=username)
            self._record(connection, by, "group.create", name, {"owner": first}, address)
        self._tell()
        return self.get(name)

    def describe(
        self, name: str, description: str, *, by: Principal, address: str | None = None
    ) -> Group:
        """Say anew what a group is for.

        Raises
        ------
        NotFoundError, ForbiddenError
            Raised if the caller may not see or not change the group.
        BadParameterError
            Raised if the text is too long.
        """
        text = _checked_description(description)
        with self._database.write() as connection:
            self._manage(connection, name, by, Role.ADMIN)
            connection.execute(
                update(GROUP).where(GROUP.c.group_name == name).values(description=text)
            )
            self._record(connection, by, "group.describe", name, {}, address)
        return self.get(name)

    def add(
        self,
        group: str,
        member: str,
        *,
        by: Principal,
        role: Role = Role.MEMBER,
        address: str | None = None,
    ) -> None:
        """Make a user or a group a member at once, or change a member's role.

        Users are added so by administrators of the platform only; owners invite them.  A group
        is nested by who manages both groups.

        Raises
        ------
        NotFoundError
            Raised if there is no such group that the caller may see, or no such member.
        ForbiddenError
            Raised if the caller may not.
        ConflictError
            Raised if groups would be nested more than one level deep, or the last owner would go.
        BadParameterError
            Raised if a nested group is to have a role.
        """
        with self._database.write() as connection:
            if membership.is_group(connection, member):
                self._nest(connection, group, member, by, role)
            else:
                self._put_user(connection, group, member, by, role)
            detail = {"member": member, "role": role}
            self._record(connection, by, "group.add", group, detail, address)
        self._tell()

    def remove(self, group: str, member: str, *, by: Principal, address: str | None = None) -> None:
        """End a membership; members may leave by themselves.

        Raises
        ------
        NotFoundError
            Raised if there is no such group that the caller may see, or no such member.
        ForbiddenError
            Raised if the caller may not.
        ConflictError
            Raised if the last owner would go, or the membership comes from a provider.
        """
        with self._database.write() as connection:
            role = membership.role_of(connection, group, member)
            if by.username == member and role is not None:
                require_scope(by, "user:group")
                membership.lock_groups(connection, group)
            else:
                self._manage(connection, group, by, _needed(role))
            if role is None:
                raise NotFoundError(f"{member[:64]} is no member of {group}.")
            self._check_last_owner(connection, group, member, by)
            _check_not_from_claims(connection, group, member)
            membership.take_member(connection, group, member)
            membership.end_invitations(connection, invited_by=member, group=group)
            self._record(connection, by, "group.remove", group, {"member": member}, address)
        self._tell()

    def delete(self, name: str, *, by: Principal, address: str | None = None) -> None:
        """End a group; its name is never used again, what belongs to it is kept.

        Raises
        ------
        NotFoundError, ForbiddenError
            Raised if the caller may not see it or does not own it.
        ConflictError
            Raised if it is the administrators' group.
        """
        with self._database.write() as connection:
            self._manage(connection, name, by, Role.OWNER)
            if name == ADMIN_GROUP:
                raise ConflictError("The administrators' group cannot be deleted.")
            membership.drop_group(connection, self._names, name)
            self._record(connection, by, "group.delete", name, {}, address)
        self._tell()

    def invite(
        self,
        group: str,
        username: str,
        *,
        by: Principal,
        role: Role = Role.MEMBER,
        address: str | None = None,
    ) -> Invitation:
        """Ask a user to join; a second invitation takes the place of the first.

        Raises
        ------
        NotFoundError
            Raised if there is no such group that the caller may see, or no such user.
        ForbiddenError
            Raised if the caller may not; only owners invite owners and admins.
        ConflictError
            Raised if the user is a member already.
        """
        now = utc_now()
        with self._database.write() as connection:
            self._manage(connection, group, by, _needed(role))
            if not membership.is_active_user(connection, username):
                raise NotFoundError(f"There is no user {username[:64]}.")
            if membership.role_of(connection, group, username) is not None:
                raise ConflictError(f"{username} is in {group} already.")
            connection.execute(
                delete(INVITATION).where(
                    INVITATION.c.group_name == group, INVITATION.c.username == username
                )
            )
            row = connection.execute(
                insert(INVITATION)
                .values(
                    invitation_id=new_job_id(),
                    group_name=group,
                    username=username,
                    role=role,
                    invited_by=actor_name(by),
                    created=now,
                    expires=now + _INVITATION_LIFE,
                )
                .returning(INVITATION)
            ).one()
            detail = {"member": username, "role": role}
            self._record(connection, by, "group.invite", group, detail, address)
        return invitation_of(row)

    def accept(self, invitation_id: str, *, by: Principal, address: str | None = None) -> Group:
        """Join the group of an invitation.

        Raises
        ------
        NotFoundError
            Raised if there is no such invitation to the caller.
        """
        require_scope(by, "user:group")
        with self._database.write() as connection:
            row = _invitation(connection, invitation_id)
            if row is None or row.username != by.username:
                raise NotFoundError("There is no such invitation, or it has expired.")
            membership.put_member(
                connection,
                row.group_name,
                row.username,
                role=Role(row.role),
                added_by=row.invited_by,
            )
            detail = {"member": row.username, "role": row.role, "invited_by": row.invited_by}
            self._record(connection, by, "group.accept", row.group_name, detail, address)
            name: str = row.group_name
        self._tell()
        return self.get(name)

    def decline(self, invitation_id: str, *, by: Principal, address: str | None = None) -> None:
        """End an invitation: the invited user says no, or who manages the group withdraws it.

        Raises
        ------
        NotFoundError
            Raised if there is no such invitation that the caller may know of.
        """
        with self._database.write() as connection:
            row = _invitation(connection, invitation_id)
            if row is None:
                raise NotFoundError("There is no such invitation, or it has expired.")
            if row.username == by.username:
                require_scope(by, "user:group")
            else:
                self._manage(connection, row.group_name, by, Role.ADMIN)
            connection.execute(
                delete(INVITATION).where(INVITATION.c.invitation_id == invitation_id)
            )
            detail = {"member": row.username}
            self._record(connection, by, "group.decline", row.group_name, detail, address)

    def _put_user(
        self, connection: Connection, group: str, member: str, by: Principal, role: Role
    ) -> None:
        present = membership.role_of(connection, group, member)
        self._manage(connection, group, by, Role.OWNER)
        if not membership.is_active_user(connection, member):
            raise NotFoundError(f"There is no user or group {member[:64]}.")
        if present is None and not may_administer_users(by):
            raise ForbiddenError(f"Only administrators add users at once; invite {member} instead.")
        if present is not None:
            _check_not_from_claims(connection, group, member)
        if role is not Role.OWNER:
            self._check_last_owner(connection, group, member, by)
        membership.put_member(connection, group, member, role=role, added_by=actor_name(by))

    def _nest(
        self, connection: Connection, group: str, inner: str, by: Principal, role: Role
    ) -> None:
        if role is not Role.MEMBER:
            raise BadParameterError("A nested group is a plain member: give its members roles.")
        membership.lock_groups(connection, group, inner)
        self._manage(connection, group, by, Role.ADMIN)
        self._manage(connection, inner, by, Role.ADMIN)
        membership.check_nesting(connection, group, inner)
        membership.put_member(connection, group, inner, role=role, added_by=actor_name(by))

    def _manage(self, connection: Connection, group: str, by: Principal, needed: Role) -> None:
        """Check that the caller may change a group, and lock it."""
        self.check_visible(connection, group, by)
        membership.lock_groups(connection, group)
        given = self._policy.given_by(group).union(
            *(self._policy.given_by(outer) for outer in membership.nested_in(connection, group))
        )
        role = membership.role_of(connection, group, by.username)
        own = role is Role.OWNER or (role is Role.ADMIN and needed is not Role.OWNER)
        if own:
            require_scope(by, "user:group")
        if (not own and not may_administer_users(by)) or not by.scopes >= given:
            raise ForbiddenError(
                f"Only {'an owner' if needed is Role.OWNER else 'an owner or admin'} of the group "
                f"{group} may do this, with every scope that the group gives."
            )
        if given or not own:
            require_recent_login(by)

    def _check_limit(self, connection: Connection, owner: str) -> None:
        # Locks the owner's row: two requests at once must not both be the last allowed one.
        connection.execute(select(NAME).where(NAME.c.name == owner).with_for_update(key_share=True))
        count = len(membership.owned_groups(connection, owner))
        if count >= self._groups_per_user:
            raise ConflictError(
                f"{owner} owns {count} groups, as many as one user may; ask an administrator."
            )

    def _check_last_owner(
        self, connection: Connection, group: str, member: str, by: Principal
    ) -> None:
        if membership.role_of(connection, group, member) is not Role.OWNER:
            return
        owners = select(MEMBER.c.member).where(
            MEMBER.c.group_name == group, MEMBER.c.role == Role.OWNER, MEMBER.c.member != member
        )
        last = connection.execute(owners).first() is None
        if last and (group == ADMIN_GROUP or not may_administer_users(by)):
            raise ConflictError(
                f"{member} is the last owner of {group}; make somebody else an owner first."
            )

    def _record(
        self,
        connection: Connection,
        by: Principal,
        action: str,
        group: str,
        detail: dict[str, Any],
        address: str | None,
    ) -> None:
        self._audit.record(actor_name(by), action, group, detail, address, connection=connection)

    def _tell(self) -> None:
        for listener in tuple(self._listeners):
            listener()


def _needed(role: Role | None) -> Role:
    """Return the role that is needed to give or take `role`: admins deal with members only."""
    return Role.OWNER if role in {Role.OWNER, Role.ADMIN} else Role.ADMIN


def _invitation(connection: Connection, invitation_id: str) -> Row[*tuple[Any, ...]] | None:
    return connection.execute(
        select(INVITATION)
        .where(INVITATION.c.invitation_id == invitation_id, INVITATION.c.expires > utc_now())
        .with_for_update()
    ).one_or_none()


def _check_not_from_claims(connection: Connection, group: str, member: str) -> None:
    query = select(MEMBER.c.from_claims).where(
        MEMBER.c.group_name == group, MEMBER.c.member == member
    )
    if connection.execute(query).scalar():
        raise ConflictError(
            f"The login provider says that {member} is in {group}; change it there."
        )


def _checked_description(description: str) -> str:
    text = description.strip()
    if len(text) > _DESCRIPTION_LENGTH:
        raise BadParameterError(f"A description has at most {_DESCRIPTION_LENGTH} characters.")
    return text
