"""Quotas: how much each user, and each address without a login, may use."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, NoReturn

from sqlalchemy import Connection, delete, insert, select

from astrolabe.core.clock import utc_now
from astrolabe.core.database import Database
from astrolabe.core.errors import BadParameterError, QuotaExceededError
from astrolabe.core.logging import get_logger
from astrolabe.identity.audit import AuditLog
from astrolabe.identity.authority import actor_name
from astrolabe.identity.leases import DAY, MINUTE, RateLeases
from astrolabe.identity.limits import (
    BYTES,
    INTERACTIVE,
    QUERIES,
    QUOTAS,
    REQUESTS,
    ROWS,
    STORAGE,
    Limits,
    QuotaRule,
    QuotaTable,
    QuotaUse,
    SubjectKind,
    check_quota_name,
)
from astrolabe.identity.policy_schema import QUOTA_RULE
from astrolabe.identity.principal import Principal
from astrolabe.identity.refreshing import Refreshing, raise_policy_generation
from astrolabe.identity.settler import Settler
from astrolabe.identity.slots import Slot, SlotLeases, StorageCount
from astrolabe.identity.subjects import is_interactive, subject_of

__all__ = ["Quotas"]

_log = get_logger(__name__)

_CLEAR_SECONDS: Final = 300.0
_POLL_SECONDS: Final = 0.05
_BLOCKED_RETRY_SECONDS: Final = 300.0
_SHARES: Final = (("", False), (":portal", True))


class Quotas:
    """Keeps all processes together within every quota.  Safe to use from many threads.

    A caller is a user, or where nobody has logged in an address.

    Parameters
    ----------
    database
        The control database.
    audit
        Where changes of rules are written down.
    defaults, anonymous
        Quotas of a user and of an address without a login, by name; `None` is no limit.
    wait_seconds
        How long `slot` waits (s).
    check_seconds
        How old the rules may be (s).
    clock
        Seconds since 1970.
    """

    def __init__(
        self,
        database: Database,
        *,
        audit: AuditLog,
        defaults: Mapping[str, float | None] | None = None,
        anonymous: Mapping[str, float | None] | None = None,
        wait_seconds: float = 10.0,
        check_seconds: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._defaults = dict(defaults or {})
        self._anonymous = dict(anonymous or {})
        self.wait_seconds = wait_seconds
        self._audit = audit
        self._rules = Refreshing(database, _read_rules, check_seconds=check_seconds)
        self._made: tuple[tuple[QuotaRule, ...], QuotaTable] | None = None
        self._rates = RateLeases(database, clock=clock)
        self._slots = SlotLeases(database, clock=clock)
        self._storage = StorageCount(database)
        self._clock = clock
        self._settler = Settler(self._settle)
        self._cleared = 0.0

    def close(self) -> None:
        """Hand back all that this process holds."""
        self._settler.close()
        for part in (self._rates, self._slots):
            try:
                part.settle(everything=True)
            except Exception:  # noqa: BLE001 - leases end by themselves, and closing goes on
                _log.warning("leases not handed back", exc_info=True)

    # --- limits ---------------------------------------------------------------------------------

    def limits(self, principal: Principal) -> Limits:
        """Return the quotas of a caller; a rule that was changed holds within a second."""
        table = self._table()
        if principal.username is None:
            return table.anonymous
        return table.of_user(principal.username, principal.groups)

    def max_rows(self, principal: Principal) -> int | None:
        """Return how many rows one result of a caller may have, `None` for no limit.

        Raises
        ------
        QuotaExceededError
            Raised if the quota is 0.
        """
        rows = self.limits(principal).get(ROWS)
        if rows == 0:
            _refuse_blocked("Queries")
        return None if rows is None else int(rows)

    # --- requests -------------------------------------------------------------------------------

    def admits(self, principal: Principal, service: str, *, address: str | None = None) -> bool:
        """Admit a request if that needs no look at the database.

        For the event loop, where nothing may block: where it says no, ask `check_request`.
        """
        if not self._rules.is_fresh:
            return False
        limit = self.limits(principal).requests(service)
        if limit is None:
            return True
        subject = subject_of(principal, address)
        if subject is None:
            return True
        return limit > 0 and self._rates.take_leased(subject, _requests(principal, service))

    def check_request(
        self, principal: Principal, service: str, *, address: str | None = None
    ) -> None:
        """Count a request to a service.

        Raises
        ------
        QuotaExceededError
            Raised if there were too many in the last minute; tells when to try again.
        """
        limit = self.limits(principal).requests(service)
        subject = subject_of(principal, address)
        if limit is None or subject is None:
            return
        if limit == 0:
            _refuse_blocked(f"Requests to the service {service}")
        resource = _requests(principal, service)
        wait = self._rates.take(subject, resource, 1, meter=MINUTE, limit=int(limit))
        self._settler.wake()
        if wait is not None:
            raise QuotaExceededError(
                f"That is more than {limit:g} requests to the service {service} in a minute; "
                f"try again in {wait:.0f} s.",
                retry_after_seconds=wait,
            )

    # --- queries at once ------------------------------------------------------------------------

    def try_slot(
        self, principal: Principal, *, address: str | None = None, keep: bool = True
    ) -> Slot | None:
        """Return the right to run one query now, `None` if as many run as may.

        Parameters
        ----------
        principal, address
            The caller.
        keep
            Whether this process keeps the slot for a moment afterwards.

        Raises
        ------
        QuotaExceededError
            Raised if the caller may run none at all.
        """
        resource = INTERACTIVE if is_interactive(principal) else QUERIES
        limit = self.limits(principal).get(resource)
        subject = subject_of(principal, address)
        if limit is None or subject is None:
            return Slot()
        if limit == 0:
            _refuse_blocked("Queries")
        whole = int(limit)
        if not self._slots.take_leased(subject, resource, limit=whole):
            self._settler.wake()
            if not self._slots.take(subject, resource, limit=whole):
                return None

        def release() -> None:
            self._slots.release(subject, resource, keep=keep)

        return Slot(release)

    @contextmanager
    def slot(self, principal: Principal, *, address: str | None = None) -> Iterator[Slot]:
        """Hold the right to run one query; wait for it for a while, blocking the thread.

        Raises
        ------
        QuotaExceededError
            Raised if none came free in time.
        """
        give_up = time.monotonic() + self.wait_seconds
        while (slot := self.try_slot(principal, address=address)) is None:
            if time.monotonic() >= give_up:
                raise self.too_many_queries(principal)
            time.sleep(_POLL_SECONDS)
        with slot:
            yield slot

    def too_many_queries(self, principal: Principal) -> QuotaExceededError:
        """Return the error of a query that waited in vain for others of its caller to end."""
        resource = INTERACTIVE if is_interactive(principal) else QUERIES
        limit = self.limits(principal).get(resource)
        return QuotaExceededError(
            f"{limit or 0:g} queries of yours are running, as many as you may run at once, and "
            f"none ended within {self.wait_seconds:g} s; try again, or run the query as an async "
            "job, which waits its turn.",
            retry_after_seconds=5.0,
        )

    # --- bytes and storage ----------------------------------------------------------------------

    def charge_bytes(
        self, principal: Principal, size_bytes: int, *, address: str | None = None
    ) -> None:
        """Count bytes that a query is about to read.

        Raises
        ------
        QuotaExceededError
            Raised if they are more than is left for today; nothing was counted.
        """
        if size_bytes <= 0:
            return
        subject = subject_of(principal, address)
        limit = self.limits(principal).get(BYTES)
        if subject is None:
            return
        if limit is None:
            if principal.username is not None:
                self._rates.note(subject, BYTES, size_bytes, meter=DAY)
                self._settler.wake()
            return
        if limit == 0:
            _refuse_blocked("Queries of tables")
        wait = self._rates.take(subject, BYTES, size_bytes, meter=DAY, limit=int(limit))
        self._settler.wake()
        if wait is not None:
            used = self._rates.used(subject, BYTES, meter=DAY)
            raise QuotaExceededError(
                f"This query reads about {size_bytes:,} bytes; {used:,} of the {limit:,.0f} that "
                "you may read today (UTC) are used. Ask for fewer columns or a smaller region.",
                retry_after_seconds=DAY.end_of(DAY.slot(self._clock())) - self._clock(),
            )

    def charge_storage(self, principal: Principal, size_bytes: int) -> None:
        """Count bytes of files or tables before they are written, negative when they are gone.

        Raises
        ------
        QuotaExceededError
            Raised if there would be too many; nothing was counted.
        """
        limit = self.limits(principal).get(STORAGE)
        self._storage.add(
            subject_of(principal, None) or "nobody",
            size_bytes,
            limit=None if limit is None else int(limit),
        )

    # --- seeing and changing --------------------------------------------------------------------

    def usage(
        self, principal: Principal, *, address: str | None = None, services: tuple[str, ...] = ()
    ) -> tuple[QuotaUse, ...]:
        """Return every quota of a caller with what is used of it.

        Parameters
        ----------
        principal, address
            The caller.
        services
            Services whose requests are told one by one.
        """
        limits = self.limits(principal)
        subject = subject_of(principal, address)
        uses = [
            QuotaUse(
                quota=f"{REQUESTS}.{service}{suffix}",
                about=f"requests to {service} in a minute"
                + (", from the portal" if is_portal else ""),
                limit=limits.requests(service),
                used=None
                if subject is None or limits.requests(service) is None
                else self._rates.used(subject, f"requests.{service}{suffix}", meter=MINUTE),
            )
            for service in services
            for suffix, is_portal in _SHARES
            if principal.username is not None or not is_portal
        ]
        counted: dict[str, float] = {}
        if subject is not None:
            counted[BYTES] = self._rates.used(subject, BYTES, meter=DAY)
            counted[STORAGE] = self._storage.used(subject)
            for resource in (QUERIES, INTERACTIVE):
                if limits.get(resource) is not None:
                    counted[resource] = self._slots.used(subject, resource)
        for quota, about in QUOTAS.items():
            if quota != REQUESTS:
                uses.append(
                    QuotaUse(
                        quota=quota, about=about, limit=limits.get(quota), used=counted.get(quota)
                    )
                )
        return tuple(uses)

    def rules(self) -> tuple[QuotaRule, ...]:
        """Return every rule that is in the database, those that have ended too."""
        return self._rules.get(fresh=True)

    def set_rule(self, rule: QuotaRule, *, by: Principal, address: str | None = None) -> None:
        """Set one quota of one subject; it holds in all processes within two seconds.

        Raises
        ------
        BadParameterError
            Raised if there is no such quota, if the value is negative, or if the subject does not
            fit its kind.
        """
        check_quota_name(rule.quota)
        if rule.value is not None and not 0 <= rule.value < 2**53:
            raise BadParameterError(f"A quota is a number from 0 up, not {rule.value:g}.")
        needs_name = rule.kind in {SubjectKind.GROUP, SubjectKind.USER}
        may_have_name = needs_name or rule.kind is SubjectKind.OVERRIDE
        if (needs_name and not rule.subject) or (rule.subject and not may_have_name):
            raise BadParameterError(
                f"A quota of the kind {rule.kind} {'needs' if needs_name else 'has no'} name."
            )
        if rule.ends is not None and rule.ends.tzinfo is None:
            raise BadParameterError("The end of a rule needs a time zone, such as Z.")
        with self._database.write() as connection:
            # First, since it keeps another writer of the same rule waiting.
            raise_policy_generation(connection)
            _remove(connection, rule.kind, rule.subject, rule.quota)
            connection.execute(
                insert(QUOTA_RULE).values(
                    subject_kind=rule.kind.value,
                    subject=rule.subject,
                    quota=rule.quota,
                    value=rule.value,
                    ends=rule.ends,
                    changed_by=actor_name(by),
                    changed_at=utc_now(),
                )
            )
            ends = None if rule.ends is None else rule.ends.isoformat()
            detail = {"quota": rule.quota, "value": rule.value, "ends": ends}
            target = f"{rule.kind}:{rule.subject}"
            self._audit.record(
                actor_name(by), "quota.set", target, detail, address, connection=connection
            )
        self._rules.get(fresh=True)

    def remove_rule(
        self,
        kind: SubjectKind,
        subject: str,
        quota: str,
        *,
        by: Principal,
        address: str | None = None,
    ) -> bool:
        """Remove a rule; whether there was one."""
        with self._database.write() as connection:
            raise_policy_generation(connection)
            found = _remove(connection, kind, subject, quota)
            if found:
                self._audit.record(
                    actor_name(by),
                    "quota.remove",
                    f"{kind}:{subject}",
                    {"quota": quota},
                    address,
                    connection=connection,
                )
        self._rules.get(fresh=True)
        return found

    def _table(self) -> QuotaTable:
        rules = self._rules.get()
        made = self._made
        now = utc_now()
        if made is None or made[0] is not rules or not made[1].is_valid(now):
            table = QuotaTable(rules, defaults=self._defaults, anonymous=self._anonymous, now=now)
            self._made = made = (rules, table)
        return made[1]

    def _settle(self) -> bool:
        """Settle what is due; return whether there will be more."""
        self._rates.settle()
        self._slots.settle()
        now = time.monotonic()
        if now - self._cleared >= _CLEAR_SECONDS:
            self._rates.clear_stale()
            self._slots.clear_stale()
            self._cleared = now
        return not (self._rates.is_idle and self._slots.is_idle)


def _requests(principal: Principal, service: str) -> str:
    return f"requests.{service}{':portal' if is_interactive(principal) else ''}"


def _refuse_blocked(what: str) -> NoReturn:
    raise QuotaExceededError(
        f"{what} are blocked for you: the quota is 0. Ask the administrators.",
        retry_after_seconds=_BLOCKED_RETRY_SECONDS,
    )


def _remove(connection: Connection, kind: SubjectKind, subject: str, quota: str) -> bool:
    done = connection.execute(
        delete(QUOTA_RULE).where(
            QUOTA_RULE.c.subject_kind == kind.value,
            QUOTA_RULE.c.subject == subject,
            QUOTA_RULE.c.quota == quota,
        )
    )
    return done.rowcount > 0


def _read_rules(connection: Connection) -> tuple[QuotaRule, ...]:
    query = select(QUOTA_RULE).order_by(
        QUOTA_RULE.c.subject_kind, QUOTA_RULE.c.subject, QUOTA_RULE.c.quota
    )
    return tuple(
        QuotaRule(
            kind=SubjectKind(row.subject_kind),
            subject=row.subject,
            quota=row.quota,
            value=row.value,
            ends=row.ends,
            changed_by=row.changed_by,
            changed_at=row.changed_at,
        )
        for row in connection.execute(query)
    )
