"""From a token to a principal: the way that every authenticated request takes."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, or_, select, update

from astrolabe.core.clock import utc_now
from astrolabe.core.database import Database
from astrolabe.core.errors import AstrolabeError, UnauthenticatedError
from astrolabe.core.logging import get_logger
from astrolabe.identity.model import UserStatus
from astrolabe.identity.principal import Principal
from astrolabe.identity.schema import NAME, TOKEN, USER
from astrolabe.identity.scopes import LAB_FORBIDDEN, ScopePolicy
from astrolabe.identity.token_rows import groups_of
from astrolabe.identity.token_text import TokenText, hash_secret, is_token_key, same_hash

__all__ = ["Authenticator"]

_log = get_logger(__name__)

_REFUSED: Final = (
    "The token is expired, was revoked or never was one; log in again or make a new token."
)
_CACHED_TOKENS: Final = 10_000
_TOUCH_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class _Entry:
    """What was read about a token; `principal` is `None` if it does not work."""

    secret_hash: str
    principal: Principal | None
    expires: datetime
    stale_at: float


class Authenticator:
    """Checks tokens; what was read is believed for at most three seconds.

    So a token that was revoked in another process, or whose user was disabled or left a group,
    is refused here within that time; in the process that did it, at once.

    Parameters
    ----------
    database
        The control database.
    policy
        What groups allow.
    cache_seconds
        How long what was read is believed (s); 0 reads at each request.
    flush_seconds
        How often the times of last use are written (s).
    clock
        Monotonic seconds, for tests.
    """

    def __init__(
        self,
        database: Database,
        *,
        policy: ScopePolicy,
        cache_seconds: float = 2.0,
        flush_seconds: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._policy = policy
        self._cache_seconds = cache_seconds
        self._flush_seconds = flush_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._epoch = 0
        self._used: dict[str, tuple[datetime, str | None]] = {}
        self._noted: dict[str, tuple[float, str | None]] = {}
        self._closing = threading.Event()
        self._flusher: threading.Thread | None = None

    def authenticate(self, token_text: str, *, address: str | None) -> Principal:
        """Return who comes with a token.

        Reads the database where the token was not seen for some seconds (about half a
        millisecond on SQLite); `cached` never does.

        Parameters
        ----------
        token_text
            ``al-<key>.<secret>``.
        address
            Where the request came from; kept as the token's last use.

        Raises
        ------
        UnauthenticatedError
            Raised if the token is malformed, unknown, expired or revoked, or its user's account
            is disabled or deleted.
        """
        token = TokenText.parse(token_text)
        if token is None:
            raise UnauthenticatedError(
                "The credential is no token of this platform: those look like al-<key>.<secret>; "
                "passwords of accounts are for the login page only."
            )
        entry = self._entry(token.key)
        return self._accepted(token, entry, address)

    def cached(self, token_text: str, *, address: str | None) -> Principal | None:
        """Return who comes with a token if that is known without reading the database.

        Costs microseconds, so that an event loop may call it; `None` says to call
        `authenticate` in a thread.

        Raises
        ------
        UnauthenticatedError
            Raised as by `authenticate`.
        """
        token = TokenText.parse(token_text)
        entry = None if token is None else self._fresh(token.key)
        if token is None or entry is None:
            return None
        return self._accepted(token, entry, address)

    def is_alive(self, key: str) -> bool:
        """Whether the token with this key still works; for connections that stay open.

        At most `cache_seconds` behind; no use of the token is noted.
        """
        if not is_token_key(key):
            return False
        entry = self._entry(key)
        return entry.principal is not None and utc_now() < entry.expires

    def principal_of(self, key: str) -> Principal | None:
        """Return who a token stands for by its key alone: for signed links.

        `None` if it does not work any more.  The caller has checked something that only the
        platform could have made from the token.
        """
        if not is_token_key(key):
            return None
        entry = self._entry(key)
        return entry.principal if utc_now() < entry.expires else None

    def forget(self, keys: Collection[str] | None = None) -> None:
        """Read tokens anew at their next use; `None` means all of them."""
        with self._lock:
            self._epoch += 1
            if keys is None:
                self._entries.clear()
            else:
                for key in keys:
                    self._entries.pop(key, None)

    def flush(self) -> None:
        """Write the times of last use that are not written yet."""
        with self._lock:
            used, self._used = self._used, {}
        if not used:
            return
        # In one order everywhere: two processes must not wait for each other's rows.
        rows = [
            {"key": key, "time": when, "address": address}
            for key, (when, address) in sorted(used.items())
        ]
        statement = (
            update(TOKEN)
            .where(
                TOKEN.c.token_key == bindparam("key"),
                or_(TOKEN.c.last_used.is_(None), TOKEN.c.last_used < bindparam("time")),
            )
            .values(last_used=bindparam("time"), last_address=bindparam("address"))
        )
        with self._database.write() as connection:
            connection.execute(statement, rows)

    def close(self) -> None:
        """Write what is not written yet and end."""
        self._closing.set()
        if self._flusher is not None:
            self._flusher.join()
        self._flush_or_log()

    def _accepted(self, token: TokenText, entry: _Entry, address: str | None) -> Principal:
        right = same_hash(hash_secret(token.secret), entry.secret_hash)
        if entry.principal is None or not right or utc_now() >= entry.expires:
            raise UnauthenticatedError(_REFUSED)
        self._note_use(token.key, address)
        return entry.principal

    def _fresh(self, key: str) -> _Entry | None:
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or self._clock() >= entry.stale_at:
                return None
            return entry

    def _entry(self, key: str) -> _Entry:
        entry = self._fresh(key)
        if entry is not None:
            return entry
        with self._lock:
            epoch = self._epoch
        # Counted from before the read: what changes meanwhile is not believed any longer.
        stale_at = self._clock() + self._cache_seconds
        entry = self._load(key, stale_at)
        with self._lock:
            # A revocation that came during the read must not be undone by it.
            if epoch == self._epoch and self._cache_seconds > 0:
                self._entries[key] = entry
                self._entries.move_to_end(key)
                while len(self._entries) > _CACHED_TOKENS:
                    self._entries.popitem(last=False)
        return entry

    def _load(self, key: str, stale_at: float) -> _Entry:
        query = (
            select(TOKEN, USER.c.status, NAME.c.number)
            .join(USER, USER.c.username == TOKEN.c.username)
            .join(NAME, NAME.c.name == TOKEN.c.username)
            .where(TOKEN.c.token_key == key)
        )
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
            if row is None:
                return _Entry("", None, utc_now(), stale_at)
            if row.revoked is not None or row.status != UserStatus.ACTIVE:
                return _Entry(row.secret_hash, None, row.expires, stale_at)
            groups = groups_of(connection, row.username)
        scopes = frozenset(row.scopes) & self._policy.allowed(groups)
        if row.kind == "lab":
            scopes -= LAB_FORBIDDEN
        principal = Principal(
            username=row.username,
            groups=groups,
            scopes=scopes,
            uid=row.number,
            token_key=key,
            kind=row.kind,
            authenticated=row.authenticated,
        )
        return _Entry(row.secret_hash, principal, row.expires, stale_at)

    def _note_use(self, key: str, address: str | None) -> None:
        now = self._clock()
        noted = self._noted.get(key)
        # The time need not be exact; a busy client must not mean a write every five seconds.
        if noted is not None and noted[1] == address and now - noted[0] < _TOUCH_SECONDS:
            return
        with self._lock:
            if len(self._noted) >= _CACHED_TOKENS:
                self._noted.clear()
            self._noted[key] = (now, address)
            self._used[key] = (utc_now(), address)
            if self._flusher is None and not self._closing.is_set():
                self._flusher = threading.Thread(
                    target=self._flush_often, name="token-use", daemon=True
                )
                self._flusher.start()

    def _flush_often(self) -> None:
        while not self._closing.wait(self._flush_seconds):
            self._flush_or_log()

    def _flush_or_log(self) -> None:
        try:
            self.flush()
        except AstrolabeError as exc:
            # Losing a time of last use is no reason to end a gateway.
            _log.warning("times of last use were not written", reason=exc.message)
