"""The reader of Parquet files."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from astrolabe.core.errors import ImportRefusedError
from astrolabe.tables.model import Column
from astrolabe.tables.readers.arrow_columns import columns_of_schema, flattened
from astrolabe.tables.readers.base import batch_of, first_line, refuse_import, sliced
from astrolabe.tables.readers.parquet_meta import FileMeta, metadata_of_file
from astrolabe.tables.source import SourceMeta

__all__ = ["ParquetSource"]


class ParquetSource:
    """One or more Parquet files of the same schema, read in the order given.

    Parameters
    ----------
    paths
        Of the files.
    as_string
        Names of columns to be read as text.
    internal
        Names of columns that belong to the layout of the files and not to the table.
    name
        Of the table, if something else than the files says it.

    Raises
    ------
    ImportRefusedError
        Raised if a file is broken or has other columns than the first one.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        as_string: Collection[str] = (),
        internal: Collection[str] = (),
        name: str | None = None,
    ) -> None:
        self._paths = tuple(paths)
        first, rows = self._open_all()
        schema = first.schema
        said = metadata_of_file(first.metadata)
        found = columns_of_schema(
            schema, declared=said.columns, as_string=as_string, internal=internal
        )
        missing = sorted(set(as_string) - {c.name for c in found.columns})
        if missing:
            raise ImportRefusedError(f"{paths[0]}: has no column {missing[0]!r} to read as text")
        if not found.columns:
            raise ImportRefusedError(f"{paths[0]}: has no column that a table can hold")
        self._meta = _source_meta(found.columns, found.notes, said, rows, name)

    @property
    def meta(self) -> SourceMeta:
        """The declared columns and table metadata."""
        return self._meta

    def batches(self, *, max_rows: int = 65_536) -> Iterator[pa.RecordBatch]:
        """Yield the rows of all files in order."""
        for path in self._paths:
            yield from self._batches_of(path, max_rows)

    def _batches_of(self, path: Path, max_rows: int) -> Iterator[pa.RecordBatch]:
        refuse = refuse_import(path)
        columns = self._meta.columns
        names = [column.name for column in columns]
        try:
            with pq.ParquetFile(path, pre_buffer=False) as file:
                for batch in file.iter_batches(
                    batch_size=max_rows, columns=names, use_threads=False
                ):
                    arrays = [flattened(batch.column(name)) for name in names]
                    yield from sliced(batch_of(arrays, columns, refuse), max_rows)
        except (OSError, pa.ArrowException) as exc:
            raise refuse(f"is broken: {first_line(exc)}") from exc

    def _open_all(self) -> tuple[_Footer, int]:
        """Read all footers: types must agree before the first row is read."""
        first: _Footer | None = None
        rows = 0
        for path in self._paths:
            footer = _Footer(path)
            rows += footer.rows
            if first is None:
                first = footer
            else:
                _check_same(first.schema, footer.schema, path, self._paths[0])
        if first is None:
            raise ImportRefusedError("there is no Parquet file to read")
        return first, rows


class _Footer:
    def __init__(self, path: Path) -> None:
        try:
            with pq.ParquetFile(path) as file:
                self.schema: pa.Schema = file.schema_arrow
                self.rows: int = file.metadata.num_rows
                self.metadata: dict[bytes, bytes] = dict(file.metadata.metadata or {})
        except (OSError, pa.ArrowException) as exc:
            raise refuse_import(path)(f"is not a readable Parquet file: {first_line(exc)}") from exc
        names = self.schema.names
        for name in names:
            if names.count(name) > 1:
                raise refuse_import(path)(f"two columns are called {name!r}")


def _check_same(first: pa.Schema, other: pa.Schema, path: Path, first_path: Path) -> None:
    refuse = refuse_import(path)
    for field in first:
        if field.name not in other.names:
            raise refuse(f"has no column {field.name!r}, which is in {first_path}")
        kind = other.field(field.name).type
        if kind != field.type and not pa.types.is_null(kind):
            raise refuse(
                f"column {field.name!r} is {kind}, but {field.type} in {first_path}; "
                "all files of a table must have the same types"
            )
    for name in other.names:
        if name not in first.names:
            raise refuse(f"has a column {name!r}, which is not in {first_path}")


def _source_meta(
    columns: tuple[Column, ...],
    notes: tuple[str, ...],
    said: FileMeta,
    rows: int,
    name: str | None,
) -> SourceMeta:
    return SourceMeta(
        columns=columns,
        name=name or said.name,
        description=said.description,
        coordinate_system=said.coordinate_system,
        row_count=rows,
        notes=notes,
    )
