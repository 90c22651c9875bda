"""Rows of delimited text as strings, streamed: what CSV, TSV and ECSV have in common."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.csv as pa_csv

from astrolabe.tables.readers.base import Refusal, first_line
from astrolabe.tables.readers.detect import is_gzip

__all__ = ["TextLayout", "find_layout", "read_start", "string_batches"]

_START = 1024 * 1024
_BLOCK = 8 * 1024 * 1024
_DELIMITERS = (",", ";", "\t", "|")


@dataclass(frozen=True, slots=True)
class TextLayout:
    """How a text file is divided.

    Parameters
    ----------
    delimiter
        One character.
    skip_lines
        Lines before the first row: comments and the line of names.
    names
        Of the columns.
    """

    delimiter: str
    skip_lines: int
    names: tuple[str, ...]


def read_start(path: Path, refuse: Refusal) -> list[str]:
    """Return the first lines of a file (up to 1 MB), without a byte order mark."""
    try:
        with gzip.open(path, "rb") if is_gzip(path) else path.open("rb") as file:
            data = file.read(_START)
    except (OSError, EOFError, zlib.error) as exc:
        raise refuse(f"cannot be read: {exc}") from exc
    whole = len(data) < _START
    text = data.decode("utf-8-sig", errors="replace")
    lines = text.splitlines()
    if not whole and len(lines) > 1:
        # The last line may be cut.
        lines.pop()
    return lines


def find_layout(path: Path, delimiter: str | None, refuse: Refusal) -> TextLayout:
    """Find the delimiter and the line of names.

    Lines at the start that begin with ``#`` are comments; the last of them has the names if it
    fits the first row and no other line of names follows.

    Raises
    ------
    Exception
        Raised as `refuse` makes it if there is no line of names.
    """
    lines = read_start(path, refuse)
    first = 0
    while first < len(lines) and (not lines[first].strip() or lines[first].startswith("#")):
        first += 1
    if first == len(lines):
        raise refuse("has no line with the names of its columns")
    delimiter = delimiter or _sniff(lines[first : first + 20])
    names = _split(lines[first], delimiter)
    comment = lines[first - 1].lstrip("# ") if first else ""
    if _all_numbers(names):
        commented = _split(comment, delimiter)
        if len(commented) != len(names) or _all_numbers(commented):
            raise refuse(
                f"line {first + 1} holds numbers where the names of the columns are expected"
            )
        return TextLayout(delimiter, first, tuple(commented))
    return TextLayout(delimiter, first + 1, tuple(names))


def string_batches(
    path: Path, layout: TextLayout, columns: Sequence[int] | None, refuse: Refusal
) -> Iterator[pa.RecordBatch]:
    """Yield rows with all cells as strings; an empty cell without quotes is null.

    Parameters
    ----------
    path
        Of the file, which may be compressed with gzip.
    layout
        Of the file.
    columns
        Places of the columns to give; all if `None`.
    refuse
        Makes the error where a row has another number of cells than the line of names.
    """
    names = [str(index) for index in range(len(layout.names))]
    problem: list[str] = []

    def bad_row(row: pa_csv.InvalidRow) -> Literal["error"]:
        where = "a row" if row.number is None else f"line {row.number}"
        problem.append(
            f"{where} has {row.actual_columns} cells where {row.expected_columns} are expected: "
            f"{_shown(row.text)}"
        )
        return "error"

    # The stubs know neither streams without compression nor that CSV is read from one.
    open_stream: Any = pa.input_stream
    try:
        with (
            open_stream(str(path), compression="gzip" if is_gzip(path) else None) as file,
            pa_csv.open_csv(
                file,
                read_options=pa_csv.ReadOptions(
                    column_names=names,
                    skip_rows=layout.skip_lines,
                    block_size=_BLOCK,
                    use_threads=False,
                ),
                parse_options=pa_csv.ParseOptions(
                    delimiter=layout.delimiter,
                    newlines_in_values=True,
                    invalid_row_handler=bad_row,
                ),
                convert_options=pa_csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()),
                    include_columns=None if columns is None else [names[i] for i in columns],
                    null_values=[""],
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                ),
            ) as reader,
        ):
            yield from reader
    except (pa.ArrowInvalid, OSError) as exc:
        if problem:
            raise refuse(problem[0]) from exc
        if str(exc).startswith(("Empty CSV file", "Could not skip initial")):
            # Nothing follows the line of names.
            return
        raise refuse(_reason(exc)) from exc


def _reason(exc: BaseException) -> str:
    text = first_line(exc)
    if "UTF8" in text or "UTF-8" in text:
        return f"is not UTF-8 text: {text}"
    if "straddling" in text:
        return f"has a row longer than {_BLOCK} bytes or a quote that never ends"
    return f"is broken: {text}"


def _sniff(lines: list[str]) -> str:
    """Return the delimiter that divides the lines most often and alike."""
    best, most = ",", 0
    for delimiter in _DELIMITERS:
        counts = [len(_split(line, delimiter)) - 1 for line in lines if line.strip()]
        alike = counts[0] if counts and len(set(counts[:2])) == 1 else 0
        if alike > most:
            best, most = delimiter, alike
    return best


def _split(line: str, delimiter: str) -> list[str]:
    try:
        row = next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        row = line.split(delimiter)
    return [name.strip() for name in row]


def _all_numbers(words: list[str]) -> bool:
    return bool(words) and all(_is_number(word) for word in words)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
