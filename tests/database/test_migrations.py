"""The migrations: complete, repeatable, safe for several processes, honest about the future."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

import astrolabe
from astrolabe.core.database import METADATA, Database
from astrolabe.core.errors import ConflictError, InternalError
from astrolabe.core.migrate import alembic_config, current_revision, known_revisions, upgrade

pytestmark = pytest.mark.usefixtures("real_migrations")


def _import_all_schemas() -> None:
    """Import every module that adds tables, and nothing else: the others take seconds."""
    (root,) = map(Path, astrolabe.__path__)
    for path in root.rglob("*.py"):
        source = path.read_text("utf-8")
        if "METADATA" in source and "Table(" in source:
            importlib.import_module(".".join(path.relative_to(root.parent).with_suffix("").parts))


def _differences(connection: Connection) -> list[object]:
    _import_all_schemas()
    context = MigrationContext.configure(
        connection, opts={"compare_type": True, "compare_server_default": True}
    )
    return list(compare_metadata(context, METADATA))


def test_migrations_make_exactly_the_tables_of_the_code(database: Database) -> None:
    with database.read() as connection:
        assert _differences(connection) == []
        assert "job" in inspect(connection).get_table_names()


def test_comparison_would_notice_a_difference(database: Database) -> None:
    with database.write() as connection:
        connection.execute(text("DROP INDEX ix_job_claim"))
        connection.execute(text("ALTER TABLE job DROP COLUMN run_id"))
    with database.read() as connection:
        assert len(_differences(connection)) == 2


@pytest.mark.parametrize("start", known_revisions())
def test_upgrade_from_each_revision(empty_database_url: str, start: str) -> None:
    database = Database(empty_database_url)
    with database.write() as connection:
        command.upgrade(alembic_config(connection), start)
    assert current_revision(database) == start
    assert upgrade(database) is (start != known_revisions()[-1])
    with database.read() as connection:
        assert _differences(connection) == []
    database.close()


def test_revisions_are_one_line_in_the_order_of_their_names(database: Database) -> None:
    with database.read() as connection:
        script = ScriptDirectory.from_config(alembic_config(connection))
    line = [revision.revision for revision in script.walk_revisions()][::-1]
    assert tuple(line) == known_revisions()
    assert script.get_heads() == [known_revisions()[-1]]


def test_upgrade_twice_changes_nothing(database: Database) -> None:
    assert upgrade(database) is False


def test_a_newer_database_is_refused_and_both_revisions_are_named(database: Database) -> None:
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999_future'"))
    with pytest.raises(ConflictError) as caught:
        upgrade(database)
    assert "9999_future" in caught.value.message
    assert known_revisions()[-1] in caught.value.message
    assert current_revision(database) == "9999_future"


_UPGRADE = """
import sys
from astrolabe.core.database import Database
from astrolabe.core.migrate import upgrade
sys.stdin.readline()
database = Database(sys.argv[1])
print(upgrade(database))
database.close()
"""


@pytest.mark.timeout(60)
def test_of_several_processes_one_migrates(empty_database_url: str) -> None:
    children = [
        subprocess.Popen(
            [sys.executable, "-c", _UPGRADE, empty_database_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    answers = []
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    for child in children:
        out, err = child.communicate(timeout=50)
        assert child.returncode == 0, err
        answers.append(out.strip())
    assert sorted(answers) == ["False", "False", "False", "True"]


def test_a_failing_revision_leaves_nothing_behind(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(empty_database_url)

    def fail(config: Config, revision: str) -> None:
        run_upgrade(config, revision)
        raise OSError("the disk went away")

    run_upgrade = command.upgrade
    monkeypatch.setattr(command, "upgrade", fail)
    with pytest.raises(OSError, match="went away"):
        upgrade(database)
    assert current_revision(database) is None
    monkeypatch.undo()
    assert upgrade(database) is True
    database.close()


def test_upgrade_with_nothing_to_do_does_not_import_alembic(database_url: str) -> None:
    code = (
        "import sys; from astrolabe.core.database import Database\n"
        "from astrolabe.core.migrate import upgrade\n"
        "d = Database(sys.argv[1]); assert upgrade(d) is False; d.close()\n"
        "assert not [m for m in sys.modules if m.split('.')[0] == 'alembic']\n"
    )
    subprocess.run([sys.executable, "-c", code, database_url], check=True)


def test_a_table_that_others_refer_to_can_be_rebuilt(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'control.db'}")
    with database.write() as connection:
        connection.execute(text("CREATE TABLE parent (id INTEGER PRIMARY KEY, old TEXT)"))
        connection.execute(
            text("CREATE TABLE child (id INTEGER REFERENCES parent(id) ON DELETE CASCADE)")
        )
        connection.execute(text("INSERT INTO parent VALUES (1, 'x')"))
        connection.execute(text("INSERT INTO child VALUES (1)"))
    with database.migration() as connection:
        operations = Operations(MigrationContext.configure(connection))
        with operations.batch_alter_table("parent", recreate="always") as batch:
            batch.drop_column("old")
    with database.read() as connection:
        assert connection.execute(text("SELECT id FROM child")).scalar_one() == 1
        assert connection.execute(text("PRAGMA foreign_keys")).scalar_one() == 1
    with pytest.raises(InternalError, match="'child'"), database.migration() as connection:
        connection.execute(text("DELETE FROM parent"))
    with database.read() as connection:
        assert connection.execute(text("SELECT id FROM parent")).scalar_one() == 1
    database.close()
