"""The result store: rows of async queries as Parquet, rendered at each GET in any format.

A result file appears by rename only, so that nobody ever reads half of one; its header and its
OVERFLOW flag are in the job's row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree

import pyarrow as pa
import pyarrow.parquet as pq

from astrolabe.catalogs.query import RunningQuery
from astrolabe.core.errors import NotFoundError
from astrolabe.core.ids import new_request_id
from astrolabe.core.storage import full_disk_is_storage_full
from astrolabe.jobs.model import Job, JobResult
from astrolabe.tables.conform import conform
from astrolabe.tables.header_json import header_from_json, header_to_json
from astrolabe.tables.model import ResultHeader, arrow_type
from astrolabe.tables.source import SourceMeta

__all__ = ["RESULT_ID", "ResultStore", "StoredResult"]

RESULT_ID = "result"
"""The id of a query's result (TAP 1.1, section 2.7.2)."""

_ROWS_PER_BATCH = 50_000
_ROWS_PER_GROUP = 200_000


class StoredResult:
    """One stored result; also a `TableSource`, so that a result can be uploaded again.

    Parameters
    ----------
    path
        The Parquet file.
    header
        Description of the columns.
    overflow
        Whether there were more rows.
    """

    def __init__(self, *, path: Path, header: ResultHeader, overflow: bool) -> None:
        self.path = path
        self.header = header
        self.overflow = overflow

    @property
    def meta(self) -> SourceMeta:
        """The columns, as a source of rows describes them."""
        return SourceMeta(
            columns=self.header.columns,
            name=self.header.table_name,
            description=self.header.description,
            coordinate_system=self.header.coordinate_system,
        )

    def batches(self, *, max_rows: int = _ROWS_PER_BATCH) -> Iterator[pa.RecordBatch]:
        """Yield the rows; memory does not grow with their number."""
        with pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(batch_size=max_rows, use_threads=False):
                yield conform(batch, self.header.columns)

    def kept(self, name: str) -> Path | None:
        """Return the file of a form of this result that `keep` wrote, `None` without it."""
        path = self.path.with_name(name)
        return path if path.exists() else None

    def keep(self, name: str, chunks: Callable[[], Iterable[bytes]]) -> Path:
        """Return the file of a form of this result, written beside it the first time.

        Parameters
        ----------
        name
            Of the file; all that makes two forms differ must be in it.
        chunks
            Gives the bytes of the form.  What it raises ends the writing, and nothing is kept.

        Raises
        ------
        StorageFullError
            Raised if the disk is full; nothing is left behind.
        NotFoundError
            Raised if the job was destroyed meanwhile.
        """
        final = self.path.with_name(name)
        if final.exists():
            return final
        # Two that write the same form at once do not meet; the last one's rename stands.
        partial = final.with_name(f"{name}.{new_request_id()}.part")
        try:
            with full_disk_is_storage_full("the result", clean_up=(partial,)):
                with partial.open("xb") as file:
                    for chunk in chunks():
                        file.write(chunk)
                partial.replace(final)
        except FileNotFoundError as exc:
            raise NotFoundError("The job was destroyed.") from exc
        return final


class ResultStore:
    """Keeps results below one folder, one folder a job.

    Parameters
    ----------
    root
        The folder of all results.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def write(self, job_id: str, running: RunningQuery) -> JobResult:
        """Write a running query's rows to the end and return the result that names them.

        Raises
        ------
        StorageFullError
            Raised if the disk is full; nothing is left behind.
        """
        folder = self._folder(job_id)
        final = folder / f"{RESULT_ID}.parquet"
        partial = folder / f"{RESULT_ID}.parquet.part"
        schema = pa.schema([(c.name, arrow_type(c)) for c in running.header.columns])
        with full_disk_is_storage_full("the result", clean_up=(partial,)):
            folder.mkdir(parents=True, exist_ok=True)
            with pq.ParquetWriter(partial, schema, compression="zstd") as writer:
                for rows in _grouped(running, schema):
                    writer.write_table(rows, row_group_size=_ROWS_PER_GROUP)
            partial.replace(final)
        return JobResult(
            result_id=RESULT_ID,
            path=final.name,
            mime_type="application/x-votable+xml",
            row_count=running.row_count,
            metadata={"header": header_to_json(running.header), "overflow": running.overflow},
        )

    def open(self, job: Job, result_id: str = RESULT_ID) -> StoredResult:
        """Open a job's result.

        Raises
        ------
        NotFoundError
            Raised if the job has no such result, or its file is gone.
        """
        path = self.file(job, result_id)
        result = next(r for r in job.results if r.result_id == result_id)
        return StoredResult(
            path=path,
            header=header_from_json(result.metadata["header"]),
            overflow=bool(result.metadata["overflow"]),
        )

    @contextmanager
    def writing(self, job_id: str, name: str) -> Iterator[Path]:
        """Give a place for a file of a job's results; it appears under `name` at the end.

        Parameters
        ----------
        job_id
            The job.
        name
            Of the file in the job's folder, as `JobResult.path` will say it.

        Raises
        ------
        StorageFullError
            Raised if the disk is full; nothing is left behind.
        """
        folder = self._folder(job_id)
        partial = folder / f"{name}.part"
        with full_disk_is_storage_full("the result", clean_up=(partial,)):
            folder.mkdir(parents=True, exist_ok=True)
            yield partial
            partial.replace(folder / name)

    def file(self, job: Job, result_id: str) -> Path:
        """Return the file that a job wrote with `writing`.

        Raises
        ------
        NotFoundError
            Raised if the job has no such result, or its file is gone.
        """
        result = next((r for r in job.results if r.result_id == result_id), None)
        path = None if result is None else self._folder(job.job_id) / result.path
        if path is None or not path.exists():
            raise NotFoundError(f"Job {job.job_id} has no result called {result_id!r}.")
        return path

    def delete(self, job_id: str) -> None:
        """Remove everything that a job left."""
        rmtree(self._folder(job_id), ignore_errors=True)

    def _folder(self, job_id: str) -> Path:
        if not job_id.isalnum():
            raise NotFoundError(f"There is no job {job_id!r}.")
        return self._root / job_id


def _grouped(running: RunningQuery, schema: pa.Schema) -> Iterator[pa.Table]:
    """Collect small batches so that a result has few row groups."""
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in running:
        waiting.append(batch)
        rows += batch.num_rows
        if rows >= _ROWS_PER_GROUP:
            yield pa.Table.from_batches(waiting, schema=schema)
            waiting, rows = [], 0
    if waiting:
        yield pa.Table.from_batches(waiting, schema=schema)
