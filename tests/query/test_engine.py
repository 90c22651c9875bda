"""The embedded engine: streams, stops, and can touch nothing but its plans' files."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest

from astrolabe.catalogs.cancel import QueryCancel
from astrolabe.catalogs.engines.plan_files import PlanFileSystem, plan_address
from astrolabe.catalogs.query import QueryRequest
from astrolabe.core.errors import (
    AstrolabeError,
    CancelledError,
    InternalError,
    QueryTimeoutError,
)
from astrolabe.factory import ProcessContext
from astrolabe.identity import ANONYMOUS
from astrolabe.tables.model import Datatype
from tests.support.tiny import ask, import_columns, open_context

ENDLESS = (
    "SELECT COUNT(*) AS n FROM s.star AS a, s.star AS b, s.star AS c "
    "WHERE SIN(a.mag * b.mag * c.mag) > 2"
)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_parquet('{file}')",
        "SELECT * FROM read_parquet('plan://{file}')",
        "SELECT * FROM '{file}'",
        "COPY (SELECT 1) TO '{folder}/out.csv'",
        "COPY (SELECT 1) TO 'plan://{folder}/out.parquet'",
        "ATTACH '{folder}/other.db' AS other",
        "SET enable_external_access = true",
        "SET memory_limit = '100GB'",
        "INSTALL httpfs",
        "LOAD httpfs",
    ],
)
def test_the_engine_can_open_and_change_nothing(
    context: ProcessContext, tmp_path: Path, statement: str
) -> None:
    view = context.catalog.view()
    version = view.table("s", "star")
    assert version is not None
    file = f"{version.root}/{version.index.paths[0]}"
    cursor = context.duckdb._connection.cursor()
    reason = r"(?i)permission|disabled|locked|no running plan|refused|No files found"
    with pytest.raises(Exception, match=reason):
        cursor.execute(statement.format(file=file, folder=tmp_path)).fetchall()
    assert list(tmp_path.iterdir()) == []


def test_a_plan_file_is_open_to_its_plan_only(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(b"0123456789")
    files = PlanFileSystem()
    address = plan_address(str(path))
    with pytest.raises(FileNotFoundError):
        files.info(address)
    with files.listing([str(path)]), files.listing([str(path)]):
        assert files.info(address)["size"] == 10
        with pytest.raises(PermissionError):
            files.open(address, "wb")
    assert not files.exists(address)


def test_a_plan_file_serves_many_threads(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(bytes(range(256)) * 4096)
    files = PlanFileSystem()
    wrong: list[int] = []

    def read(file: object, start: int) -> None:
        for offset in range(start, 1_000_000, 4099):
            file.seek(offset)  # type: ignore[attr-defined]
            if file.read(1)[0] != offset % 256:  # type: ignore[attr-defined]
                wrong.append(offset)

    with files.listing([str(path)]):
        file = files.open(plan_address(str(path)))
        threads = [threading.Thread(target=read, args=(file, start)) for start in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        file.close()
    assert wrong == []


def test_a_query_stops_at_its_time_limit(context: ProcessContext) -> None:
    cancel = QueryCancel(seconds=0.3, advice="Run it async.")
    begin = time.monotonic()
    with pytest.raises(QueryTimeoutError, match=r"limit of 0\.3 s.*Run it async"):
        context.queries.start(QueryRequest(query=ENDLESS), principal=ANONYMOUS, cancel=cancel)
    assert time.monotonic() - begin < 5


def test_a_query_stops_when_nobody_waits_for_it(context: ProcessContext) -> None:
    cancel = QueryCancel()
    threading.Timer(0.3, cancel.cancel).start()
    with pytest.raises(CancelledError):
        context.queries.start(QueryRequest(query=ENDLESS), principal=ANONYMOUS, cancel=cancel)


def test_closing_a_stream_ends_the_query(context: ProcessContext) -> None:
    running = context.queries.start(
        QueryRequest(query="SELECT a.id FROM s.star AS a, s.star AS b", maxrec=90_000_000),
        principal=ANONYMOUS,
        cancel=QueryCancel(),
    )
    first = next(iter(running))
    assert first.num_rows > 0
    running.close()
    assert list(running) == []


def test_rows_come_before_the_query_is_done(context: ProcessContext) -> None:
    cancel = QueryCancel(seconds=8)
    running = context.queries.start(
        QueryRequest(query="SELECT a.id FROM s.star AS a, s.star AS b", maxrec=100_000_000),
        principal=ANONYMOUS,
        cancel=cancel,
    )
    rows = sum(batch.num_rows for _, batch in zip(range(5), running, strict=False))
    running.close()
    assert rows > 1_000


@pytest.mark.parametrize("maxrec", [0, 1, 999, 1000, 1001])
def test_overflow_only_when_there_was_one_row_more(context: ProcessContext, maxrec: int) -> None:
    running = context.queries.start(
        QueryRequest(query="SELECT TOP 1000 id FROM s.star", maxrec=maxrec),
        principal=ANONYMOUS,
        cancel=QueryCancel(),
    )
    rows = sum(batch.num_rows for batch in running)
    assert rows == min(maxrec, 1000)
    assert running.overflow == (maxrec < 1000)


def test_types_come_back_as_they_were_declared(context: ProcessContext) -> None:
    table = ask(context, 'SELECT TOP 1 id, ra, mag, n, "size", name FROM s.star')
    assert table.schema.types == [
        pa.int64(), pa.float64(), pa.float32(), pa.int16(), pa.int32(), pa.string(),
    ]  # fmt: skip


def test_ids_of_nineteen_digits_are_exact(context: ProcessContext) -> None:
    wanted = (1 << 60) + 12_345
    table = ask(context, f"SELECT id FROM s.star WHERE id = {wanted}")
    assert table["id"].to_pylist() == [wanted]


@pytest.mark.parametrize(
    "query", ["SELECT COUNT(*) AS n FROM s.star", "SELECT COUNT(*) AS n FROM s.star WHERE ra >= 0"]
)
def test_counts_agree_with_and_without_metadata(context: ProcessContext, query: str) -> None:
    assert ask(context, query)["n"].to_pylist() == [20_000]


def test_an_overflowing_sum_is_an_error_and_not_a_wrong_number(context: ProcessContext) -> None:
    with pytest.raises(AstrolabeError, match=r"(?i)fit|overflow"):
        ask(context, "SELECT SUM(id) AS s FROM s.star")


@pytest.mark.parametrize(
    "query",
    [
        "SELECT mag, COUNT(*) AS n FROM s.star GROUP BY mag",
        "SELECT FLOOR(mag) AS m, COUNT(*) AS n FROM s.star GROUP BY FLOOR(mag) ORDER BY FLOOR(mag)",
        "SELECT mag + 1 AS m, COUNT(*) AS n FROM s.star GROUP BY mag HAVING mag > 20 ORDER BY mag",
        "SELECT mag, SUM(mag) AS n FROM s.star GROUP BY mag",
    ],
)
def test_floats_are_grouped_by(context: ProcessContext, query: str) -> None:
    assert ask(context, query).num_rows > 5


def test_a_damaged_file_is_our_fault_and_told_plainly(tmp_path: Path) -> None:
    with open_context(tmp_path / "home") as damaged:
        import_columns(
            damaged,
            "s",
            "t",
            {"ra": (Datatype.DOUBLE, [1.0, 2.0]), "dec": (Datatype.DOUBLE, [1.0, 2.0])},
        )
        version = damaged.catalog.view().table("s", "t")
        assert version is not None
        path = Path(version.root) / version.index.paths[0]
        path.chmod(0o600)
        path.write_bytes(path.read_bytes()[:60])
        with pytest.raises(InternalError, match="cannot be read"):
            ask(damaged, "SELECT ra FROM s.t")
