"""The control database: one SQLAlchemy engine a process, on SQLite or PostgreSQL.

SQLite runs in WAL mode and every writing transaction begins with ``BEGIN IMMEDIATE``: with
Python's deferred default most read-then-write transactions of several processes fail at once.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, DateTime, Dialect, MetaData, TypeDecorator, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.types import TypeEngine
from typing_extensions import override

from astrolabe.core.errors import InternalError, OverloadError, StorageFullError

__all__ = ["METADATA", "Database", "UtcDateTime"]

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)
"""Every store's tables; the migrations create them."""

_BUSY_SECONDS: Final = 10.0


class UtcDateTime(TypeDecorator[datetime]):
    """A time column: aware UTC `datetime` in Python, whichever database is below.

    SQLite keeps no zone and PostgreSQL answers in the session's, so both are turned to UTC here.
    """

    impl = DateTime
    cache_ok = True

    @override
    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(DateTime(timezone=True))

    @override
    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise InternalError(
                f"The time {value.isoformat()} has no zone; times in the database are aware UTC."
            )
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    @override
    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Database:
    """Connections to the control database.

    JSON columns refuse NaN and infinities on both databases (PostgreSQL has none).

    Parameters
    ----------
    url
        SQLAlchemy URL: ``sqlite:////path/control.db`` or ``postgresql+psycopg://...``.
    """

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        to_json = partial(json.dumps, allow_nan=False)
        if self.is_sqlite:
            self.engine = create_engine(
                parsed,
                connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False},
                pool_size=8,
                json_serializer=to_json,
            )
            event.listen(self.engine, "connect", _set_up_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        else:
            # PgBouncer's transaction pooling loses prepared statements.
            self.engine = create_engine(
                parsed,
                connect_args={"prepare_threshold": None},
                pool_size=8,
                max_overflow=8,
                pool_pre_ping=True,
                json_serializer=to_json,
            )
        self._closed = False
        event.listen(self.engine, "checkin", self._on_checkin)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that only reads."""
        with self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that writes; commits at the end, rolls back on an error.

        Raises
        ------
        StorageFullError
            Raised if the database's disk is full.
        OverloadError
            Raised if other writers kept the database locked for ten seconds.
        """
        with _translated(), self.engine.connect() as plain:
            connection = plain.execution_options(astrolabe_write=True)
            with connection.begin():
                yield connection

    @contextmanager
    def migration(self) -> Iterator[Connection]:
        """Open a transaction that may rebuild tables; for `astrolabe.core.migrate` only.

        SQLite changes a table by copying it and dropping the old one, which would delete all
        rows that refer to it: foreign keys are not enforced meanwhile but checked at the end.

        Raises
        ------
        InternalError
            Raised if rows refer to others that are not there; nothing was changed.
        StorageFullError, OverloadError
            Raised as by `write`.
        """
        if not self.is_sqlite:
            with self.write() as connection:
                yield connection
            return
        with _translated(), self.engine.connect() as plain:
            driver: Any = plain.connection.driver_connection
            # Inside a transaction this would do nothing.
            driver.execute("PRAGMA foreign_keys=OFF")
            try:
                connection = plain.execution_options(astrolabe_write=True)
                with connection.begin():
                    yield connection
                    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
                    if broken is not None:
                        raise InternalError(
                            f"A migration broke references of table '{broken[0]}' to "
                            f"'{broken[2]}'; nothing was changed."
                        )
            finally:
                driver.execute("PRAGMA foreign_keys=ON")

    def close(self) -> None:
        """Close every connection: idle ones now, one that a thread still uses when it is done."""
        self._closed = True
        self.engine.dispose()

    def _on_checkin(self, connection: object, record: ConnectionPoolEntry) -> None:
        # A pool that was disposed of takes connections back and would leave them open.
        if self._closed and connection is not None:
            record.invalidate()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OperationalError as exc:
        reason = _meaning_of(exc)
        if reason is None:
            raise
        raise reason from exc


def _meaning_of(exc: OperationalError) -> StorageFullError | OverloadError | None:
    code = getattr(exc.orig, "sqlite_errorcode", None)
    state = getattr(exc.orig, "sqlstate", None)
    if code == sqlite3.SQLITE_FULL or state == "53100":
        return StorageFullError("The control database's disk is full; nothing was changed.")
    # Extended codes keep the primary one in their low byte.
    if code is not None and code & 0xFF == sqlite3.SQLITE_BUSY:
        return OverloadError("The control database is busy; try again in a moment.")
    return None


def _set_up_sqlite(connection: Any, _record: ConnectionPoolEntry) -> None:  # noqa: ANN401 - DBAPI
    # The driver must not begin transactions by itself: _begin_sqlite does.
    connection.isolation_level = None
    cursor = connection.cursor()
    _enter_wal(cursor)
    for pragma in (
        "synchronous=NORMAL",
        f"busy_timeout={int(_BUSY_SECONDS * 1000)}",
        "foreign_keys=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _enter_wal(cursor: sqlite3.Cursor) -> None:
    # SQLite does not call the busy handler while it changes the journal mode of a new file,
    # so several processes that open it first at once have to wait by themselves.
    give_up = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(0.01)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    writing = connection.get_execution_options().get("astrolabe_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
