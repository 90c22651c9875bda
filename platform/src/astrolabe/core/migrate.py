"""Bring the control database to the revision that this code needs.

The revisions are the files of ``core/migrations/versions``, in one line without branches; a
file is named after its revision (``0001_jobs.py``).  Every command calls `upgrade` at its start,
so the common case, nothing to do, is one query and does not even import Alembic.
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, inspect, text

from astrolabe.core.database import Database
from astrolabe.core.errors import ConflictError

if TYPE_CHECKING:
    from alembic.config import Config

__all__ = ["alembic_config", "current_revision", "known_revisions", "upgrade"]

_SCRIPTS: Final = "astrolabe.core.migrations"
_ADVISORY_LOCK: Final = 0x617374726F6C6162  # "astrolab": one number for all our migrations


def known_revisions() -> tuple[str, ...]:
    """Return the names of all revisions that this code knows, oldest first."""
    folder = resources.files(f"{_SCRIPTS}.versions")
    names = (entry.name for entry in folder.iterdir())
    return tuple(sorted(name[:-3] for name in names if name[:1].isdigit() and name[-3:] == ".py"))


def current_revision(database: Database) -> str | None:
    """Return the database's revision, `None` for an empty database."""
    with database.read() as connection:
        return _revision_of(connection)


def upgrade(database: Database) -> bool:
    """Bring `database` to the newest revision; safe to call from many processes at once.

    Either all missing revisions are applied or none: they share one transaction, which holds the
    write lock (SQLite) or an advisory lock (PostgreSQL).

    Parameters
    ----------
    database
        The control database; may be empty.

    Returns
    -------
    bool
        Whether anything had to be done.

    Raises
    ------
    ConflictError
        Raised if the database is at a revision that this code does not know, because a newer
        version of Astrolabe has migrated it.
    """
    known = known_revisions()
    if _is_current(current_revision(database), known):
        return False
    with database.migration() as connection:
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        # Another process may have done the work while this one waited for the lock.
        if _is_current(_revision_of(connection), known):
            return False
        _apply_missing(connection)
    return True


def _apply_missing(connection: Connection) -> None:
    """Apply what `connection`'s database lacks, in the transaction that is open."""
    # Imported here because it takes longer than everything else that a start does.
    from alembic import command  # noqa: PLC0415 - see above

    command.upgrade(alembic_config(connection), "head")


def alembic_config(connection: Connection) -> Config:
    """Return Alembic's configuration for our revisions, run on an open `connection`."""
    from alembic.config import Config  # noqa: PLC0415 - slow to import, seldom needed

    config = Config()
    config.set_main_option("script_location", _SCRIPTS.replace(".", ":", 1).replace(".", "/"))
    config.attributes["connection"] = connection
    return config


def _revision_of(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.execute(
        text("SELECT version_num FROM alembic_version")
    ).scalar()
    return revision


def _is_current(revision: str | None, known: tuple[str, ...]) -> bool:
    if revision is not None and revision not in known:
        raise ConflictError(
            f"The control database is at revision '{revision}', but this version of Astrolabe "
            f"knows revisions up to '{known[-1]}' only; a newer version has used this database. "
            "Install that version, or restore a backup from before its first start."
        )
    return revision == known[-1]
