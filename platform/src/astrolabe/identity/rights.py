"""Rights: one function says whether a user may do something with a resource.

Rules are kept in the control database; each process has a copy that is a second old at most.
What has no rule of its own inherits: a table from its schema and its release, a path from the
folder above.  Schemas ``user_NAME`` and ``group_NAME`` belong to whom they name; everything else
without a rule has the default access of the settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, select, update

from astrolabe.core.clock import utc_now
from astrolabe.core.database import Database
from astrolabe.core.errors import (
    BadParameterError,
    ForbiddenError,
    NotFoundError,
    UnauthenticatedError,
)
from astrolabe.identity.access import (
    PUBLIC,
    USERS,
    Access,
    AccessRule,
    Action,
    Grant,
    Resource,
    ResourceKind,
)
from astrolabe.identity.audit import AuditLog
from astrolabe.identity.authority import PLATFORM, actor_name
from astrolabe.identity.policy_schema import ACCESS_RULE
from astrolabe.identity.principal import Principal
from astrolabe.identity.refreshing import Refreshing, raise_policy_generation

__all__ = ["ADMIN_SCOPE", "Policy", "Rights", "StoredRule"]

ADMIN_SCOPE: Final = "admin:platform"
"""Who holds it may change every rule; it does not let anybody read."""

_ANONYMOUS_GRANTS: Final = frozenset({PUBLIC})
_USER_PREFIX: Final = "user_"
_GROUP_PREFIX: Final = "group_"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRule:
    """A rule with what it is about and who made it."""

    resource: Resource
    rule: AccessRule
    changed_by: str | None
    changed_at: datetime


class Policy:
    """All rules as they hold at one time; immutable.

    Parameters
    ----------
    rules
        By kind and name.
    default
        The access of what has no rule.
    data_rights_group
        Whose members have data rights; `None` if every user has.
    now
        The time at which embargoes are looked at.
    """

    def __init__(
        self,
        rules: Mapping[tuple[str, str], AccessRule],
        *,
        default: Access,
        data_rights_group: str | None,
        now: datetime,
    ) -> None:
        self._rules = rules
        self._default = AccessRule(access=default)
        self._now = now
        ends = [r.embargo_until for r in rules.values() if r.embargo_until is not None]
        self._valid_until = min((end for end in ends if end > now), default=None)
        self._grants = lru_cache(maxsize=4096)(self._make_grants)
        self._data_rights_group = data_rights_group

    def is_valid(self, now: datetime) -> bool:
        """Whether no embargo has ended since the policy was made."""
        return self._valid_until is None or now < self._valid_until

    def rule_of(self, resource: Resource) -> AccessRule:
        """Return the rule that holds for a resource, its own or inherited, without embargoes."""
        for place in (resource, *resource.above()):
            rule = self._rules.get((place.kind, place.name)) or _implied(place)
            if rule is not None:
                return rule
        return self._default

    def has_rule(self, resource: Resource) -> bool:
        """Whether somebody has made a rule for a resource or for what it inherits from."""
        return any((p.kind, p.name) in self._rules for p in (resource, *resource.above()))

    def listers(self, resource: Resource) -> frozenset[Grant]:
        """Return the grants of which one is needed to see that a resource is there."""
        if self.rule_of(resource).listed:
            return frozenset({PUBLIC})
        return self.readers(resource)

    def readers(self, resource: Resource) -> frozenset[Grant]:
        """Return the grants of which one is needed to read a resource now."""
        grants = self.rule_of(resource).grants(embargoed=False)
        for place in (resource, *resource.above()):
            rule = self._rules.get((place.kind, place.name))
            embargo = None if rule is None else rule.embargo_until
            if rule is not None and embargo is not None and self._now < embargo:
                # The group and the owner named there, and whoever owns the thing itself.
                return rule.grants(embargoed=True) | {g for g in grants if g[0] == "user"}
        return grants

    def grants_of(self, principal: Principal) -> frozenset[Grant]:
        """Return the grants that a caller holds."""
        if principal.username is None:
            return _ANONYMOUS_GRANTS
        return self._grants(principal.username, principal.groups)

    def may(self, principal: Principal, action: Action, resource: Resource) -> bool:
        """Whether a caller may do something; see `Rights.may`."""
        if principal is PLATFORM:
            return True
        match action:
            case "read":
                return self._may_read(principal, resource)
            case "list":
                return self.rule_of(resource).listed or self._may_read(principal, resource)
            case "write":
                return self._may_change(principal, resource, by_group=True)
            case "manage":
                return self._may_change(principal, resource, by_group=False)

    def _may_read(self, principal: Principal, resource: Resource) -> bool:
        released = resource.released
        if released is not None and released <= utc_now() and self.rule_of(resource).listed:
            return True
        return not self.readers(resource).isdisjoint(self.grants_of(principal))

    def _may_change(self, principal: Principal, resource: Resource, *, by_group: bool) -> bool:
        if principal.username is None:
            return False
        if ADMIN_SCOPE in principal.scopes:
            return True
        if self.rule_of(resource).owner == principal.username:
            return True
        group = _implied_group(resource)
        return by_group and group is not None and group in principal.groups

    def _make_grants(self, username: str, groups: frozenset[str]) -> frozenset[Grant]:
        grants: set[Grant] = {PUBLIC, ("user", username)}
        grants.update(("group", group) for group in groups)
        if self._data_rights_group is None or self._data_rights_group in groups:
            grants.add(USERS)
        return frozenset(grants)


class Rights:
    """Who may do what.  Safe to use from many threads and processes.

    Parameters
    ----------
    database
        The control database.
    default_access
        Access of what has no rule: public, users or private.
    data_rights_group
        The group whose members are meant by the access ``users``; `None` for every user.
    audit
        Where changes of rules are written down.
    check_seconds
        How old the rules may be (s).
    """

    def __init__(
        self,
        database: Database,
        *,
        default_access: str = "public",
        data_rights_group: str | None = None,
        audit: AuditLog,
        check_seconds: float = 1.0,
    ) -> None:
        self._database = database
        self._default = Access(default_access)
        self._data_rights_group = data_rights_group or None
        self._audit = audit
        self._rules = Refreshing(database, _read_rules, check_seconds=check_seconds)
        self._made: tuple[Mapping[tuple[str, str], StoredRule], Policy] | None = None

    # --- asking ---------------------------------------------------------------------------------

    def policy(self, *, fresh: bool = False) -> Policy:
        """Return all rules as they hold now; the same object until something changes."""
        stored = self._rules.get(fresh=fresh)
        made = self._made
        now = utc_now()
        if made is None or made[0] is not stored or not made[1].is_valid(now):
            policy = Policy(
                {key: found.rule for key, found in stored.items()},
                default=self._default,
                data_rights_group=self._data_rights_group,
                now=now,
            )
            self._made = made = (stored, policy)
        return made[1]

    def may(self, principal: Principal, action: Action, resource: Resource) -> bool:
        """Whether a caller may do something with a resource: the one function that says so.

        Parameters
        ----------
        principal
            Who asks.
        action
            ``read``; ``list``, see that it is there; ``write``, change what is in it (its owner,
            members of the group whose schema it is, administrators); ``manage``, change the rule
            (its owner, administrators).
        resource
            What it is about.

        Notes
        -----
        What the credential may be used for, its scopes, is asked at the service's door.
        The platform itself (`PLATFORM`, that very object) may read all.
        Administrators may change every rule, but may read no more than others: a token of theirs
        must not be the key to everybody's private tables.
        """
        return self.policy().may(principal, action, resource)

    def require(self, principal: Principal, action: Action, resource: Resource) -> None:
        """Make sure that a caller may do something.

        Raises
        ------
        UnauthenticatedError
            Raised if an anonymous caller may not.
        NotFoundError
            Raised if the caller may not even see that it is there.
        ForbiddenError
            Raised if he may see but not do it.
        """
        if self.may(principal, action, resource):
            return
        if principal.is_anonymous:
            raise UnauthenticatedError("Log in to use this address.")
        if not self.may(principal, "list", resource):
            raise NotFoundError(f"There is no {resource.kind} {resource.name[:200]!r}.")
        raise ForbiddenError(f"You may not {action} the {resource.kind} {resource.name[:200]!r}.")

    @property
    def anonymous_may_miss(self) -> bool:
        """Whether something may be there that an anonymous caller does not see by default."""
        return self._default is not Access.PUBLIC

    def rules(self) -> tuple[StoredRule, ...]:
        """Return every rule, sorted by kind and name."""
        stored = self._rules.get(fresh=True)
        return tuple(stored[key] for key in sorted(stored))

    def find(self, resource: Resource) -> StoredRule | None:
        """Return the resource's own rule, `None` if it inherits."""
        return self._rules.get(fresh=True).get((resource.kind, resource.name))

    # --- changing -------------------------------------------------------------------------------

    def set_rule(
        self, resource: Resource, rule: AccessRule, *, by: Principal, address: str | None = None
    ) -> None:
        """Give a resource a rule of its own; other processes know it within two seconds.

        Parameters
        ----------
        resource, rule
            What it is about, and the rule in the place of an earlier one.
        by, address
            Who changes it, and from where, for the record; whether he may is asked with `may`
            before.

        Raises
        ------
        BadParameterError
            Raised if a rule for a group names none, or if a date has no zone.
        """
        if rule.access is Access.GROUP and rule.group is None:
            raise BadParameterError("Access for a group needs the name of the group.")
        if rule.embargo_until is not None and rule.embargo_until.tzinfo is None:
            raise BadParameterError("The end of an embargo needs a time zone, such as Z.")
        with self._database.write() as connection:
            # First, since it keeps another writer of the same rule waiting.
            raise_policy_generation(connection)
            _remove(connection, resource)
            connection.execute(
                insert(ACCESS_RULE).values(
                    kind=resource.kind.value,
                    name=resource.name,
                    access=rule.access.value,
                    group_name=rule.group,
                    owner=rule.owner,
                    embargo_until=rule.embargo_until,
                    listed=rule.listed,
                    changed_by=actor_name(by),
                    changed_at=utc_now(),
                )
            )
            self._record(connection, by, address, "access.set", resource, _shown(rule))
        self.policy(fresh=True)

    def remove_rule(self, resource: Resource, *, by: Principal, address: str | None = None) -> None:
        """Let a resource inherit; no error if it has no rule of its own."""
        with self._database.write() as connection:
            raise_policy_generation(connection)
            if not _remove(connection, resource):
                return
            self._record(connection, by, address, "access.remove", resource, {})
        self.policy(fresh=True)

    def hand_over(self, old_owner: str, new_owner: str | None, *, by: Principal) -> int:
        """Give all rules of an owner to another one, his own schema too; return how many.

        Parameters
        ----------
        old_owner
            A user.
        new_owner
            `None` leaves them without owner: nobody reads what was private any more.
        by
            Who does it, for the record.
        """
        change = {"owner": new_owner, "changed_by": actor_name(by), "changed_at": utc_now()}
        own_schema = Resource.of_schema(f"{_USER_PREFIX}{old_owner}")
        with self._database.write() as connection:
            raise_policy_generation(connection)
            changed = connection.execute(
                update(ACCESS_RULE).where(ACCESS_RULE.c.owner == old_owner).values(**change)
            ).rowcount
            has_rule = select(ACCESS_RULE.c.name).where(
                ACCESS_RULE.c.kind == own_schema.kind.value, ACCESS_RULE.c.name == own_schema.name
            )
            if connection.execute(has_rule).first() is None:
                connection.execute(
                    insert(ACCESS_RULE).values(
                        kind=own_schema.kind.value,
                        name=own_schema.name,
                        access=Access.PRIVATE.value,
                        listed=False,
                        **change,
                    )
                )
                changed += 1
            detail = {"from": old_owner, "to": new_owner, "rules": changed}
            self._record(connection, by, None, "access.hand-over", own_schema, detail)
        self.policy(fresh=True)
        return changed

    def _record(
        self,
        connection: Connection,
        by: Principal,
        address: str | None,
        action: str,
        resource: Resource,
        detail: Mapping[str, Any],
    ) -> None:
        target = f"{resource.kind}:{resource.name}"
        self._audit.record(actor_name(by), action, target, detail, address, connection=connection)


def _implied(resource: Resource) -> AccessRule | None:
    """Return the rule of a schema that belongs to whom its name says."""
    if resource.kind is not ResourceKind.SCHEMA:
        return None
    if resource.name.startswith(_USER_PREFIX):
        owner = resource.name.removeprefix(_USER_PREFIX)
        return AccessRule(access=Access.PRIVATE, owner=owner)
    if resource.name.startswith(_GROUP_PREFIX):
        group = resource.name.removeprefix(_GROUP_PREFIX)
        return AccessRule(access=Access.GROUP, group=group)
    return None


def _implied_group(resource: Resource) -> str | None:
    """Return the group in whose schema a schema or a table is."""
    if resource.kind not in {ResourceKind.SCHEMA, ResourceKind.TABLE}:
        return None
    schema = resource.name.partition(".")[0]
    is_groups = schema.startswith(_GROUP_PREFIX)
    return schema.removeprefix(_GROUP_PREFIX) if is_groups else None


def _remove(connection: Connection, resource: Resource) -> bool:
    done = connection.execute(
        delete(ACCESS_RULE).where(
            ACCESS_RULE.c.kind == resource.kind.value, ACCESS_RULE.c.name == resource.name
        )
    )
    return done.rowcount > 0


def _read_rules(connection: Connection) -> Mapping[tuple[str, str], StoredRule]:
    return {
        (row.kind, row.name): StoredRule(
            resource=Resource(ResourceKind(row.kind), row.name),
            rule=AccessRule(
                access=Access(row.access),
                group=row.group_name,
                owner=row.owner,
                embargo_until=row.embargo_until,
                listed=row.listed,
            ),
            changed_by=row.changed_by,
            changed_at=row.changed_at,
        )
        for row in connection.execute(select(ACCESS_RULE))
    }


def _shown(rule: AccessRule) -> dict[str, Any]:
    embargo = rule.embargo_until
    return {
        "access": rule.access.value,
        "group": rule.group,
        "owner": rule.owner,
        "embargo_until": None if embargo is None else embargo.isoformat(),
        "listed": rule.listed,
    }
