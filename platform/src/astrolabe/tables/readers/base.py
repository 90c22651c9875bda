"""What all readers have in common: refusals that name the file, batches of bounded size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from astrolabe.core.errors import ImportRefusedError, UploadInvalidError
from astrolabe.tables.arrow import AnyArray
from astrolabe.tables.conform import fit, result_schema
from astrolabe.tables.model import Column, arrow_type
from astrolabe.tables.source import SourceMeta, TableSource

__all__ = [
    "ConcatenatedSource",
    "Refusal",
    "batch_of",
    "first_line",
    "refuse_import",
    "refuse_upload",
    "sliced",
    "unique_names",
]

Refusal = Callable[[str], Exception]
"""Makes the error to raise from what is wrong."""


def refuse_import(path: Path | str) -> Refusal:
    """Return what makes an `ImportRefusedError` that names `path`."""
    return lambda what: ImportRefusedError(f"{path}: {what}")


def refuse_upload(name: str) -> Refusal:
    """Return what makes an `UploadInvalidError` that names the uploaded table."""
    return lambda what: UploadInvalidError(f"{name}: {what}")


def first_line(exc: BaseException) -> str:
    """Return the first line of what an error says, for a message of one sentence."""
    text = str(exc).strip()
    return text.splitlines()[0] if text else type(exc).__name__


def sliced(batch: pa.RecordBatch, max_rows: int) -> Iterator[pa.RecordBatch]:
    """Yield `batch` in pieces of at most `max_rows`; nothing of an empty one."""
    for first in range(0, batch.num_rows, max_rows):
        yield batch.slice(first, max_rows)


def batch_of(
    arrays: Iterable[AnyArray], columns: Sequence[Column], refuse: Refusal
) -> pa.RecordBatch:
    """Return a batch of exactly the declared types.

    Raises
    ------
    Exception
        Raised as `refuse` makes it if a value does not fit; the message names the column.
    """
    fitted = []
    for array, column in zip(arrays, columns, strict=True):
        try:
            fitted.append(fit(array, arrow_type(column)))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as exc:
            hint = ""
            if pa.types.is_uint64(array.type):
                hint = f"; read it as text with --as-string {column.name}"
            raise refuse(
                f"a value of column {column.name!r} does not fit {column.datatype}: "
                f"{first_line(exc)}{hint}"
            ) from exc
    return pa.RecordBatch.from_arrays(fitted, schema=result_schema(columns))


def unique_names(names: Sequence[str], refuse: Refusal) -> None:
    """Refuse names that are empty or occur twice."""
    seen: set[str] = set()
    for index, name in enumerate(names, start=1):
        if not name.strip():
            raise refuse(f"column {index} has no name")
        if name in seen:
            raise refuse(f"two columns are called {name!r}")
        seen.add(name)


class ConcatenatedSource:
    """Several sources with the same columns, one after another.

    Parameters
    ----------
    sources
        At least one.
    names
        Of the files, for messages.

    Raises
    ------
    ImportRefusedError
        Raised if the columns differ; the message names the file and the column.
    """

    def __init__(self, sources: Sequence[TableSource], names: Sequence[str]) -> None:
        self._sources = tuple(sources)
        first = sources[0].meta
        for source, name in zip(sources[1:], names[1:], strict=True):
            difference = _difference(first.columns, source.meta.columns)
            if difference is not None:
                raise ImportRefusedError(f"{name}: {difference} in {names[0]}")
        counts = [source.meta.row_count for source in sources]
        self._meta = SourceMeta(
            columns=first.columns,
            name=first.name,
            description=first.description,
            coordinate_system=first.coordinate_system,
            row_count=None if None in counts else sum(count or 0 for count in counts),
            notes=tuple(dict.fromkeys(note for source in sources for note in source.meta.notes)),
        )

    @property
    def meta(self) -> SourceMeta:
        """The metadata of the first source, with the rows of all."""
        return self._meta

    def batches(self, *, max_rows: int = 65_536) -> Iterator[pa.RecordBatch]:
        """Yield the rows of all sources in order."""
        for source in self._sources:
            yield from source.batches(max_rows=max_rows)


def _difference(first: Sequence[Column], other: Sequence[Column]) -> str | None:
    wanted = {c.name: c for c in first}
    found = {c.name: c for c in other}
    for name in wanted:
        if name not in found:
            return f"has no column {name!r}, which is"
    for name, column in found.items():
        if name not in wanted:
            return f"has a column {name!r}, which is not"
        if arrow_type(column) != arrow_type(wanted[name]):
            return (
                f"column {name!r} is {column.datatype}[{column.arraysize or 1}] and "
                f"{wanted[name].datatype}[{wanted[name].arraysize or 1}]"
            )
    if [c.name for c in first] != [c.name for c in other]:
        return "has its columns in another order than"
    return None
