"""Writing all partitions of a version, several at once."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from astrolabe.catalogs.importing.files import (
    FileSettings,
    PartitionFile,
    WrittenFile,
    file_schema,
    partition_path,
)
from astrolabe.catalogs.importing.margin import MarginCatalog
from astrolabe.catalogs.importing.partitions import Partitions
from astrolabe.catalogs.importing.runs import Run, RunSlice, gather

__all__ = ["PartitionWriter", "RowsOfPartition", "Tell", "write_sequence"]


class Tell(Protocol):
    """Is told how many rows were just written."""

    def __call__(self, rows: int) -> None:
        """Take note; may raise to stop the writing."""


class RowsOfPartition(Protocol):
    """Gives the runs that hold a partition's rows."""

    def __call__(self, start: int, stop: int) -> Sequence[Run]:
        """Return the runs that may have keys in ``[start, stop)``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionWriter:
    """Writes partitions from sorted runs.

    Parameters
    ----------
    dataset
        The folder ``dataset/``.
    rows : pyarrow.Schema
        Of the rows, without ``_healpix_29``.
    settings
        How files are written.
    piece_rows
        Rows that one thread holds at once.
    threads
        Partitions written at once.
    margin
        Is told of every row.
    tell
        Called with the rows just written and, from time to time, must raise to stop everything.
    """

    dataset: Path
    rows: pa.Schema
    settings: FileSettings
    piece_rows: int
    threads: int
    margin: MarginCatalog | None
    tell: Tell

    def write(
        self, partitions: Partitions, wanted: npt.NDArray[np.int64], runs_of: RowsOfPartition
    ) -> list[WrittenFile]:
        """Write the partitions of these indices; return their files.

        Raises
        ------
        OSError
            Raised if a file cannot be written.
        """
        schema = file_schema(self.rows)
        lock = threading.Lock()
        stop = threading.Event()

        def write_one(index: int) -> WrittenFile | None:
            if stop.is_set():
                return None
            start, end = int(partitions.start[index]), int(partitions.stop[index])
            order, pixel = int(partitions.order[index]), int(partitions.pixel[index])
            whole = gather(runs_of(start, end), start, end)
            file = PartitionFile(
                self.dataset,
                partition_path(order, pixel),
                order=order,
                pixel=pixel,
                schema=schema,
                settings=self.settings,
            )
            with file:
                self._write_pieces(index, whole, file, lock, stop)
            return file.finished()

        # The largest first, so that the threads end at about the same time.
        sequence = wanted[np.argsort(-partitions.rows[wanted], kind="stable")]
        futures: list[Future[WrittenFile | None]] = []
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="write-partition")
        try:
            futures += [pool.submit(write_one, int(index)) for index in sequence]
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            # After an error, or an interruption of this thread, the others must end soon.
            if not all(future.done() and future.exception() is None for future in futures):
                stop.set()
            pool.shutdown(cancel_futures=True)
        done = [future.result() for future in futures if not future.cancelled()]
        return [file for file in done if file is not None]

    def _write_pieces(
        self,
        index: int,
        whole: RunSlice,
        file: PartitionFile,
        lock: threading.Lock,
        stop: threading.Event,
    ) -> None:
        for keys, table in whole.pieces(self.piece_rows):
            if stop.is_set():
                return
            file.write(keys, table)
            if self.margin is not None:
                self.margin.add(index, keys, table)
            with lock:
                self.tell(len(keys))


def write_sequence(
    dataset: Path,
    runs: Sequence[Run],
    *,
    rows: pa.Schema,
    settings: FileSettings,
    rows_per_file: int,
    piece_rows: int,
    tell: Tell,
    first_part: int = 0,
) -> list[WrittenFile]:
    """Write a table without positions as ``part.N.parquet``, in the order of its rows."""
    whole = gather(runs, 0, np.iinfo(np.int64).max)
    piece_rows = min(piece_rows, rows_per_file)
    files: list[WrittenFile] = []
    for start in range(0, len(whole), rows_per_file):
        path = f"part.{first_part + len(files)}.parquet"
        file = PartitionFile(
            dataset, path, order=0, pixel=0, schema=rows, settings=settings, positioned=False
        )
        stop = min(start + rows_per_file, len(whole))
        with file:
            for first in range(start, stop, piece_rows):
                last = min(first + piece_rows, stop)
                file.write(None, whole.piece(first, last))
                tell(last - first)
        files.append(file.finished())
    return files
