"""The Parquet files of a table, and the partition index made from their footers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from astrolabe.catalogs.model import PartitionIndex
from astrolabe.tables.model import HEALPIX_COLUMN, Column, storage_type

__all__ = [
    "FileSettings",
    "PartitionFile",
    "WrittenFile",
    "build_index",
    "field_metadata",
    "file_schema",
    "partition_path",
    "repetitive_columns",
    "row_schema",
]

_LAST_CELL = (12 << 58) - 1


def row_schema(columns: Sequence[Column]) -> pa.Schema:
    """Return the Arrow schema of rows on their way into files, without the position column."""
    return pa.schema(
        [pa.field(c.name, storage_type(c), metadata=field_metadata(c)) for c in columns]
    )


def file_schema(rows: pa.Schema) -> pa.Schema:
    """Return the schema of a file of `rows` sorted by position: ``_healpix_29`` comes first."""
    position = pa.field(
        HEALPIX_COLUMN,
        pa.int64(),
        metadata={"description": "HEALPix index of the position: order 29, NESTED, ICRS"},
    )
    return pa.schema([position, *rows])


def field_metadata(column: Column) -> dict[str, str]:
    """Return what a Parquet field says of its column, keyed as in VOTable."""
    values = {
        "datatype": str(column.datatype),
        "arraysize": column.arraysize,
        "unit": column.unit,
        "ucd": column.ucd,
        "utype": column.utype,
        "xtype": column.xtype,
        "description": column.description,
        "precision": column.precision,
    }
    return {key: value for key, value in values.items() if value is not None}


def repetitive_columns(sample: pa.Table) -> list[str]:
    """Return the columns of `sample` that are worth a dictionary in each row group.

    With small row groups a dictionary never grows past the size where the writer gives it up by
    itself, so columns of distinct values would become larger and slower to read.
    """
    chosen = []
    for name, column in zip(sample.column_names, sample.columns, strict=True):
        kind = column.type
        if pa.types.is_nested(kind) or pa.types.is_boolean(kind):
            continue
        if pc.count_distinct(column).as_py() * 4 <= max(len(column), 16):
            chosen.append(name)
    return chosen


def _encodings(schema: pa.Schema, dictionary_columns: Collection[str]) -> dict[str, str]:
    """Return the encodings of the columns without a dictionary.

    Decompression is most of the work of reading a row group.  The bytes of a mantissa do not
    compress: kept apart from those of the exponents (Parquet's BYTE_STREAM_SPLIT) they cost
    nothing to decompress, and integers packed to the bits that they need cost less than a plain
    copy.  A row group is read three times as fast as with plain values, and is smaller.
    """
    chosen = {}
    for field in schema:
        if field.name in dictionary_columns:
            continue
        if pa.types.is_floating(field.type):
            chosen[field.name] = "BYTE_STREAM_SPLIT"
        elif pa.types.is_integer(field.type) or pa.types.is_timestamp(field.type):
            chosen[field.name] = "DELTA_BINARY_PACKED"
    return chosen


def partition_path(order: int, pixel: int) -> str:
    """Return the path of a partition's file below ``dataset/``, as HATS has it."""
    return f"Norder={order}/Dir={pixel // 10_000 * 10_000}/Npix={pixel}.parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSettings:
    """How files are written.

    Parameters
    ----------
    rows_per_group
        Rows of a row group.
    compression_level
        Of zstd.
    dictionary_columns
        Columns that get a dictionary.
    """

    rows_per_group: int
    compression_level: int
    dictionary_columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WrittenFile:
    """One data file that is complete.

    Parameters
    ----------
    order, pixel
        Its HEALPix pixel.
    path
        Relative to ``dataset/``.
    footer
        Its metadata, with `path` set in it.
    size_bytes
        Of the whole file.
    """

    order: int
    pixel: int
    path: str
    footer: pq.FileMetaData
    size_bytes: int

    @property
    def start(self) -> int:
        """First cell at order 29 of its pixel."""
        return self.pixel << (2 * (29 - self.order))

    @staticmethod
    def read(dataset: Path, *, order: int, pixel: int, path: str) -> WrittenFile:
        """Read the footer of a file that exists already."""
        footer = pq.read_metadata(dataset / path)
        footer.set_file_path(path)
        size = (dataset / path).stat().st_size
        return WrittenFile(order=order, pixel=pixel, path=path, footer=footer, size_bytes=size)


class PartitionFile:
    """Writes one partition's file, piece by piece.

    Parameters
    ----------
    dataset
        The folder ``dataset/``.
    path
        Relative to it.
    order, pixel
        The partition.
    schema
        Of the file; the first column is ``_healpix_29`` where rows are `positioned`.
    """

    def __init__(
        self,
        dataset: Path,
        path: str,
        *,
        order: int,
        pixel: int,
        schema: pa.Schema,
        settings: FileSettings,
        positioned: bool = True,
    ) -> None:
        self._target = dataset / path
        self._path = path
        self._order, self._pixel = order, pixel
        self._schema = schema
        self._settings = settings
        self._footers: list[pq.FileMetaData] = []
        self._target.parent.mkdir(parents=True, exist_ok=True)
        # Some columns with a dictionary, some without; the stubs know only of all or none.
        encodings: Any = {
            "use_dictionary": list(settings.dictionary_columns) or False,
            "column_encoding": _encodings(schema, settings.dictionary_columns),
        }
        self._writer = pq.ParquetWriter(
            self._target,
            schema,
            compression="zstd",
            compression_level=settings.compression_level,
            write_statistics=True,
            sorting_columns=[pq.SortingColumn(0)] if positioned else None,
            metadata_collector=self._footers,
            **encodings,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _exc: BaseException | None,
        _tb: TracebackType | None,
    ) -> None:
        if kind is None:
            self._writer.close()

    def write(self, keys: npt.NDArray[np.int64] | None, rows: pa.Table) -> None:
        """Write rows, with their positions (n,) first where the file has them.

        All pieces but the last should be multiples of the row group.
        """
        columns: list[pa.ChunkedArray[Any] | pa.Array[Any]] = list(rows.columns)
        if keys is not None:
            columns.insert(0, pa.array(keys))
        table = pa.Table.from_arrays(columns, schema=self._schema)
        self._writer.write_table(table, row_group_size=self._settings.rows_per_group)

    def finished(self) -> WrittenFile:
        """Return the complete file, after the context has ended."""
        footer = self._footers[0]
        footer.set_file_path(self._path)
        return WrittenFile(
            order=self._order,
            pixel=self._pixel,
            path=self._path,
            footer=footer,
            size_bytes=self._target.stat().st_size,
        )


def build_index(
    files: Iterable[WrittenFile], *, id_column: str | None, positioned: bool, prefix: str = ""
) -> PartitionIndex:
    """Make the partition index of a version from the footers of its files.

    Parameters
    ----------
    files
        All data files, in any order.
    id_column
        Main identifier; its limits are kept if it is an integer column.
    positioned
        Whether the first column is ``_healpix_29``.
    prefix
        Put before each path (``dataset/``).
    """
    ordered = sorted(files, key=lambda file: (file.start, file.path))
    groups = _GroupArrays()
    healpix_min, healpix_max, first_group = [], [], [0]
    for file in ordered:
        before = len(groups.rows)
        groups.add(file, id_column=id_column, positioned=positioned)
        first_group.append(len(groups.rows))
        healpix_min.append(min(groups.healpix_min[before:], default=0))
        healpix_max.append(max(groups.healpix_max[before:], default=_LAST_CELL))
    integer_ids = bool(groups.id_min) and None not in groups.id_min
    return PartitionIndex(
        paths=tuple(prefix + file.path for file in ordered),
        order=np.array([file.order for file in ordered], dtype=np.uint8),
        pixel=_int64(file.pixel for file in ordered),
        rows=_int64(file.footer.num_rows for file in ordered),
        size_bytes=_int64(file.size_bytes for file in ordered),
        healpix_min=_int64(healpix_min),
        healpix_max=_int64(healpix_max),
        first_group=_int64(first_group),
        group_rows=_int64(groups.rows),
        group_bytes=_int64(groups.bytes),
        group_healpix_min=_int64(groups.healpix_min),
        group_healpix_max=_int64(groups.healpix_max),
        group_id_min=_int64(groups.id_min) if integer_ids else None,
        group_id_max=_int64(groups.id_max) if integer_ids else None,
    )


class _GroupArrays:
    """Lists that become the row group arrays of the index."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.bytes: list[int] = []
        self.healpix_min: list[int] = []
        self.healpix_max: list[int] = []
        self.id_min: list[int | None] = []
        self.id_max: list[int | None] = []

    def add(self, file: WrittenFile, *, id_column: str | None, positioned: bool) -> None:
        footer = file.footer
        id_position = _column_positions(footer).get(id_column or "")
        count = footer.num_row_groups
        # A row group ends where the next begins; this spares asking every column of every group.
        starts = [_group_start(footer.row_group(i)) for i in range(count)]
        if count:
            last = footer.row_group(count - 1)
            columns = (last.column(c) for c in range(footer.num_columns))
            starts.append(starts[-1] + sum(c.total_compressed_size for c in columns))
        for i in range(count):
            group = footer.row_group(i)
            self.rows.append(group.num_rows)
            self.bytes.append(starts[i + 1] - starts[i])
            low, high = _limits(group.column(0)) if positioned else (0, _LAST_CELL)
            self.healpix_min.append(0 if low is None else low)
            self.healpix_max.append(_LAST_CELL if high is None else high)
            id_low, id_high = (
                (None, None) if id_position is None else _limits(group.column(id_position))
            )
            self.id_min.append(id_low)
            self.id_max.append(id_high)


def _column_positions(footer: pq.FileMetaData) -> Mapping[str, int]:
    return {footer.schema.column(i).path: i for i in range(footer.num_columns)}


def _group_start(group: pq.RowGroupMetaData) -> int:
    column = group.column(0)
    if column.has_dictionary_page and column.dictionary_page_offset is not None:
        return min(int(column.dictionary_page_offset), int(column.data_page_offset))
    return int(column.data_page_offset)


def _limits(column: pq.ColumnChunkMetaData) -> tuple[int | None, int | None]:
    """Return the smallest and largest value of an integer column chunk, if they are known."""
    statistics = column.statistics
    if statistics is None or not statistics.has_min_max:
        return None, None
    low, high = statistics.min, statistics.max
    return (low, high) if isinstance(low, int) and isinstance(high, int) else (None, None)


def _int64(values: Iterable[int | None]) -> npt.NDArray[np.int64]:
    return np.array(list(values), dtype=np.int64)
