"""Tables that were written before rows were counted by place, and `astrolabe table coverage`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from astrolabe.catalogs import counting
from astrolabe.catalogs.count_map import CountMap
from astrolabe.catalogs.locks import Lease
from astrolabe.catalogs.publishing import WriteMode
from astrolabe.catalogs.versions import retire_current
from astrolabe.catalogs.view import TableEntry
from astrolabe.cli.main import main
from astrolabe.core.errors import ConflictError, InternalError, NotFoundError
from astrolabe.factory import ProcessContext
from astrolabe.tables.model import Datatype
from tests.support.tiny import import_columns, open_context, sky_points

COUNT = 3000
ALT_ORDERS = "hats_skymap_alt_orders"


@pytest.fixture
def context(tmp_path: Path) -> Iterator[ProcessContext]:
    """A home with a table of several files, and one without positions."""
    with open_context(tmp_path / "home") as context:
        fill(context)
        yield context


def fill(context: ProcessContext, *, seed: int = 1, mode: WriteMode = "create") -> None:
    ra, dec = sky_points(COUNT, seed=seed)
    columns = {"id": (Datatype.LONG, np.arange(COUNT))}
    places = {"ra": (Datatype.DOUBLE, ra), "dec": (Datatype.DOUBLE, dec)}
    import_columns(
        context,
        "tiny",
        "object",
        columns | places,
        ra_column="ra",
        dec_column="dec",
        rows_per_file=500,
        rows_per_group=100,
        mode=mode,
    )
    if mode == "create":
        import_columns(
            context, "tiny", "plain", columns, ra_column=None, dec_column=None, no_position=True
        )


def forget_counts(context: ProcessContext) -> tuple[TableEntry, CountMap]:
    """Make the table one of an earlier time; return it with its true counts."""
    entry = context.catalog.view(fresh=True).entries["tiny", "object"]
    root = Path(entry.root)
    true = CountMap.read(root)
    assert true is not None
    (root / "skymap.10.fits").unlink()
    for name in ("hats.properties", "properties"):
        lines = (root / name).read_text("utf-8").splitlines()
        kept = [line for line in lines if not line.startswith(ALT_ORDERS)]
        (root / name).write_text("\n".join(kept) + "\n", "utf-8")
    return entry, true


def files(root: Path) -> dict[str, tuple[int, int]]:
    """Return every file of a version, with what changes when it is written."""
    return {
        str(path.relative_to(root.parent)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in root.parent.rglob("*")
        if path.is_file()
    }


def test_counts_come_of_the_files(
    context: ProcessContext, capsys: pytest.CaptureFixture[str]
) -> None:
    entry, true = forget_counts(context)
    assert len(entry.load_index().paths) > 3
    with pytest.raises(NotFoundError, match=r"astrolabe table coverage tiny\.object"):
        context.images.hips.tables.of(entry)
    home = str(context.settings.home)
    assert run(home, "tiny.object", capsys=capsys) == "tiny.object: counted\n"
    found = CountMap.read(Path(entry.root))
    assert found is not None
    np.testing.assert_array_equal(found.cells, true.cells)
    np.testing.assert_array_equal(found.counts, true.counts)
    for name in ("hats.properties", "properties"):
        assert f"{ALT_ORDERS}=10\n" in (Path(entry.root) / name).read_text("utf-8")
    assert context.images.hips.tables.of(entry).moc.sky_fraction > 0
    # Again, nothing is left to do, and nothing is touched.
    before = files(Path(entry.root))
    told = run(home, "--all", capsys=capsys)
    assert "tiny.object: has counts already" in told
    assert "tiny.plain: has no rows with places" in told
    assert files(Path(entry.root)) == before


def run(home: str, *arguments: str, capsys: pytest.CaptureFixture[str], status: int = 0) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["table", "coverage", *arguments, "--home", home])
    printed = capsys.readouterr()
    assert ended.value.code == status, printed.err
    return printed.err if status else printed.out


def test_what_goes_wrong_leaves_the_table_as_it_was(
    context: ProcessContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry, _ = forget_counts(context)
    before = files(Path(entry.root))
    # Somebody else writes the table.
    with (
        context.catalog.begin_write("tiny", "object", mode="replace"),
        pytest.raises(ConflictError, match=r"Somebody else is writing tiny\.object"),
    ):
        context.catalog.add_counts("tiny", "object")
    counted = counting._counted

    def dropped_meanwhile(catalog: Path, table: TableEntry, lease: Lease) -> CountMap:
        counts = counted(catalog, table, lease)
        with context.database.write() as connection:
            retire_current(connection, table.row.table_key)
        return counts

    with monkeypatch.context() as patched:
        patched.setattr(counting, "_counted", lambda *_: CountMap())
        with pytest.raises(InternalError, match="hold 0 rows, but it was written with 3,000"):
            context.catalog.add_counts("tiny", "object")
        assert files(Path(entry.root)) == before
        patched.setattr(counting, "_counted", dropped_meanwhile)
        with pytest.raises(ConflictError, match="replaced or dropped meanwhile"):
            context.catalog.add_counts("tiny", "object")
    assert files(Path(entry.root)) == before


def test_the_counts_of_an_append_begin_with_those_that_were_added(
    context: ProcessContext,
) -> None:
    forget_counts(context)
    assert context.catalog.add_counts("tiny", "object") is True
    fill(context, seed=2, mode="append")
    entry = context.catalog.view(fresh=True).entries["tiny", "object"]
    counts = CountMap.read(Path(entry.root))
    assert counts is not None
    assert counts.counts.sum() == 2 * COUNT


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        ((), 2, "name the tables"),
        (("a.b", "--all"), 2, "name the tables"),
        (("object",), 2, "SCHEMA.TABLE"),
        (("tiny.nothing",), 1, "no table tiny.nothing"),
    ],
    ids=["none", "both", "no-schema", "unknown"],
)
def test_bad_input_is_one_clear_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    status: int,
    says: str,
) -> None:
    assert says in run(str(tmp_path / "home"), *arguments, capsys=capsys, status=status)
