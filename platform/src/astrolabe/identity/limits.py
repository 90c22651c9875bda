"""Quotas as values: which there are, and which hold for a user.

Of each quota the *largest* counts among the default and those of the user's groups.  A user's own
value takes the place of that, smaller or larger, and an override the place of all until it ends.
Zero blocks; no value is no limit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from astrolabe.core.errors import BadParameterError

__all__ = [
    "BYTES",
    "INTERACTIVE",
    "QUERIES",
    "QUOTAS",
    "REQUESTS",
    "ROWS",
    "STORAGE",
    "Limits",
    "QuotaRule",
    "QuotaTable",
    "QuotaUse",
    "SubjectKind",
    "check_quota_name",
]

REQUESTS: Final = "requests_per_minute"
QUERIES: Final = "concurrent_queries"
INTERACTIVE: Final = "interactive_queries"
BYTES: Final = "bytes_per_day"
ROWS: Final = "rows"
STORAGE: Final = "storage_bytes"

QUOTAS: Final[Mapping[str, str]] = MappingProxyType(
    {
        REQUESTS: "requests to one service in a minute",
        QUERIES: "queries and jobs of programs at once",
        INTERACTIVE: "queries and jobs of the portal at once",
        BYTES: "bytes read from tables in a day (UTC)",
        ROWS: "rows of one result",
        STORAGE: "bytes of files and tables",
        "labs": "labs at once",
        "lab_cpus": "processors of all labs",
        "lab_memory_bytes": "bytes of memory of all labs",
        "lab_gpus": "GPUs of all labs",
    }
)
"""Every quota and what it counts.  ``requests_per_minute.SERVICE`` is that of one service."""

_SERVICE_QUOTA: Final = re.compile(rf"{REQUESTS}\.[a-z][a-z0-9-]{{0,31}}\Z")

Value = float | None


class SubjectKind(StrEnum):
    """Whose quota a rule sets."""

    DEFAULT = "default"
    ANONYMOUS = "anonymous"
    GROUP = "group"
    USER = "user"
    OVERRIDE = "override"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaRule:
    """One quota of one subject.

    Parameters
    ----------
    kind
        ``default`` takes the place of the settings for every user, ``anonymous`` for each address
        without a login; ``override`` is a user's, or everybody's, until it ends.
    subject
        Name of the group or user; empty for the kinds that need none, and for an override of
        everybody.
    quota
        A name in `QUOTAS`.
    value
        The quota; `None` is no limit, 0 blocks.
    ends
        When the rule ends; `None` for never.
    """

    kind: SubjectKind
    subject: str = ""
    quota: str
    value: Value
    ends: datetime | None = None
    changed_by: str | None = None
    changed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaUse:
    """A quota as its user sees it.

    Parameters
    ----------
    quota
        Its name; of requests with the service (``requests_per_minute.tap``).
    limit
        `None` for no limit.
    used
        `None` where that is not counted.
    """

    quota: str
    about: str
    limit: float | None
    used: float | None


@dataclass(frozen=True, slots=True)
class Limits:
    """The quotas that hold for one subject; treat them as read-only."""

    values: Mapping[str, Value]
    _requests: dict[str, Value]

    @classmethod
    def of(cls, values: Mapping[str, Value]) -> Limits:
        """Return the limits with these values; a quota that is missing has no limit."""
        prefix = f"{REQUESTS}."
        services = {k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix)}
        return cls(values, services)

    def get(self, quota: str) -> Value:
        """Return a quota, `None` for no limit."""
        return self.values.get(quota)

    def requests(self, service: str) -> Value:
        """Return the requests a minute to a service."""
        if service in self._requests:
            return self._requests[service]
        return self.values.get(REQUESTS)


class QuotaTable:
    """All rules of quotas as they hold at one time; immutable.

    Parameters
    ----------
    rules
        As the database has them; those that have ended do not count.
    defaults, anonymous
        The settings' quotas of a user, and of an address without a login.
    now
        The time at which ends are looked at.
    """

    def __init__(
        self,
        rules: Iterable[QuotaRule],
        *,
        defaults: Mapping[str, Value],
        anonymous: Mapping[str, Value],
        now: datetime,
    ) -> None:
        living = [rule for rule in rules if rule.ends is None or rule.ends > now]
        self._valid_until = min((r.ends for r in living if r.ends is not None), default=None)
        self._by_subject: dict[tuple[SubjectKind, str], dict[str, Value]] = {}
        for rule in living:
            self._by_subject.setdefault((rule.kind, rule.subject), {})[rule.quota] = rule.value
        self._defaults = _laid_over(defaults, self._of(SubjectKind.DEFAULT))
        nameless = _laid_over(anonymous, self._of(SubjectKind.ANONYMOUS))
        self.anonymous = Limits.of(_laid_over(nameless, self._of(SubjectKind.OVERRIDE)))
        """What holds for each address without a login."""
        self._made: dict[tuple[str, frozenset[str]], Limits] = {}

    def is_valid(self, now: datetime) -> bool:
        """Whether no rule has ended since the table was made."""
        return self._valid_until is None or now < self._valid_until

    def of_user(self, username: str, groups: frozenset[str]) -> Limits:
        """Return what holds for a user."""
        key = (username, groups)
        found = self._made.get(key)
        if found is None:
            if len(self._made) >= _KEPT_LIMITS:
                self._made.clear()
            found = self._made[key] = self._make(username, groups)
        return found

    def _make(self, username: str, groups: frozenset[str]) -> Limits:
        sources: list[Mapping[str, Value]] = [self._defaults]
        sources += [given for g in groups if (given := self._of(SubjectKind.GROUP, g))]
        largest: dict[str, Value] = {}
        for name in {name for source in sources for name in source}:
            values = [_value_in(source, name) for source in sources if _has(source, name)]
            known = [value for value in values if value is not None]
            largest[name] = max(known) if len(known) == len(values) else None
        own = _laid_over(largest, self._of(SubjectKind.USER, username))
        everybody = _laid_over(own, self._of(SubjectKind.OVERRIDE))
        return Limits.of(_laid_over(everybody, self._of(SubjectKind.OVERRIDE, username)))

    def _of(self, kind: SubjectKind, subject: str = "") -> Mapping[str, Value]:
        return self._by_subject.get((kind, subject), {})


_KEPT_LIMITS: Final = 4096


def _laid_over(below: Mapping[str, Value], above: Mapping[str, Value]) -> dict[str, Value]:
    """Return `below` with the values of `above`; requests to all services hide those to one."""
    kept = dict(below)
    if REQUESTS in above:
        kept = {name: value for name, value in kept.items() if not _SERVICE_QUOTA.match(name)}
    return kept | dict(above)


def _has(source: Mapping[str, Value], name: str) -> bool:
    return name in source or (REQUESTS in source and bool(_SERVICE_QUOTA.match(name)))


def _value_in(source: Mapping[str, Value], name: str) -> Value:
    return source[name] if name in source else source[REQUESTS]


def check_quota_name(name: str) -> str:
    """Return `name` if there is such a quota.

    Raises
    ------
    BadParameterError
        Raised if there is none.
    """
    if name not in QUOTAS and not _SERVICE_QUOTA.match(name):
        raise BadParameterError(
            f"There is no quota {name[:100]!r}; there are {', '.join(QUOTAS)}, and "
            f"{REQUESTS}.SERVICE for one service."
        )
    return name
