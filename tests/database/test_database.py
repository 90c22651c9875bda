"""The control database under several writers, and its column types."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import JSON, Column, Integer, MetaData, Table, insert, select, text, update
from sqlalchemy.exc import IntegrityError, OperationalError, StatementError

from astrolabe.core.database import Database, UtcDateTime
from astrolabe.core.errors import InternalError, OverloadError, StorageFullError

SCRATCH = Table(
    "scratch",
    MetaData(),
    Column("key", Integer, primary_key=True),
    Column("number", Integer),
    Column("time", UtcDateTime),
    Column("data", JSON),
)


@pytest.fixture
def scratch(database: Database) -> Database:
    with database.write() as connection:
        SCRATCH.create(connection)
        connection.execute(insert(SCRATCH).values(key=1, number=0))
    return database


@pytest.mark.parametrize(
    "when",
    [
        datetime(2026, 11, 22, 13, 0, 0, 123456, tzinfo=UTC),
        datetime(2026, 7, 1, 0, 30, tzinfo=timezone(timedelta(hours=5, minutes=30))),
        datetime(1999, 12, 31, 23, 59, 59, tzinfo=timezone(timedelta(hours=-8))),
    ],
)
def test_times_come_back_as_the_same_instant_in_utc(scratch: Database, when: datetime) -> None:
    with scratch.write() as connection:
        if not scratch.is_sqlite:
            connection.execute(text("SET LOCAL TIME ZONE 'Asia/Tokyo'"))
        connection.execute(update(SCRATCH).values(time=when))
        back = connection.execute(select(SCRATCH.c.time)).scalar_one()
        assert back == when
        assert back.tzinfo is UTC
        found = connection.execute(
            select(SCRATCH.c.key).where(
                SCRATCH.c.time > when - timedelta(seconds=1), SCRATCH.c.time <= when
            )
        )
        assert found.scalar_one() == 1


def test_a_time_without_a_zone_is_refused(scratch: Database) -> None:
    with scratch.write() as connection, pytest.raises(StatementError) as caught:
        connection.execute(update(SCRATCH).values(time=datetime(2026, 1, 1)))  # noqa: DTZ001 - the case
    assert isinstance(caught.value.orig, InternalError)


def test_not_a_number_is_refused_in_json(scratch: Database) -> None:
    # PostgreSQL's driver writes JSON by itself, so that SQLAlchemy does not wrap the error.
    with scratch.write() as connection, pytest.raises((StatementError, ValueError), match="JSON"):
        connection.execute(update(SCRATCH).values(data={"mean": float("nan")}))


def test_read_then_write_of_many_threads_loses_nothing(scratch: Database) -> None:
    def count_up() -> None:
        for _ in range(20):
            with scratch.write() as connection:
                number = connection.execute(select(SCRATCH.c.number).with_for_update()).scalar_one()
                connection.execute(update(SCRATCH).values(number=number + 1))

    threads = [threading.Thread(target=count_up) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with scratch.read() as connection:
        assert connection.execute(select(SCRATCH.c.number)).scalar_one() == 120


def test_an_error_rolls_everything_back(scratch: Database) -> None:
    def change() -> None:
        with scratch.write() as connection:
            connection.execute(update(SCRATCH).values(number=5))
            connection.execute(insert(SCRATCH).values(key=1))

    with pytest.raises(IntegrityError):
        change()
    with scratch.read() as connection:
        assert connection.execute(select(SCRATCH.c.number)).scalar_one() == 0


def test_a_reader_sees_the_state_of_its_begin_while_a_writer_works(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'control.db'}")
    with database.write() as connection:
        SCRATCH.create(connection)
        connection.execute(insert(SCRATCH).values(key=1, number=0))
    with database.write() as writer, database.read() as reader:
        writer.execute(update(SCRATCH).values(number=1))
        assert reader.execute(select(SCRATCH.c.number)).scalar_one() == 0
    database.close()


def test_a_database_that_stays_locked_is_an_overload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("astrolabe.core.database._BUSY_SECONDS", 0.2)
    database = Database(f"sqlite:///{tmp_path / 'control.db'}")
    with database.write(), pytest.raises(OverloadError, match="busy"), database.write():
        pass
    database.close()


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'control.db'}")
    with database.write() as connection:
        SCRATCH.create(connection)

    def fill() -> None:
        with database.write() as connection:
            # SQLite's own limit gives the same error as a disk without room.
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
            connection.execute(insert(SCRATCH).values(key=2, data="x" * 100_000))

    with pytest.raises(StorageFullError, match="nothing was changed"):
        fill()
    with database.read() as connection:
        assert connection.execute(select(SCRATCH.c.key)).all() == []
    database.close()


def test_other_errors_of_the_database_pass_through(database: Database) -> None:
    with pytest.raises(Exception, match="nosuchtable") as caught, database.write() as connection:
        connection.execute(text("SELECT * FROM nosuchtable"))
    assert isinstance(caught.value, OperationalError) is database.is_sqlite


def test_a_connection_in_use_at_the_end_is_closed_when_it_is_done(database: Database) -> None:
    with database.read() as connection:
        driver = connection.connection.dbapi_connection
        assert driver is not None
        database.close()
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1
    if database.is_sqlite:
        with pytest.raises(Exception, match="closed"):
            driver.cursor()
    else:
        assert driver.closed
