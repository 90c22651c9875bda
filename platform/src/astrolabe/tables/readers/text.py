"""The reader of CSV and TSV: types are found by looking at every row first."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from enum import IntEnum
from pathlib import Path

import pyarrow as pa

from astrolabe.core.errors import ImportRefusedError
from astrolabe.tables.arrow import AnyArray, AnyType
from astrolabe.tables.arrow import compute as pc
from astrolabe.tables.model import Column, Datatype
from astrolabe.tables.readers.base import batch_of, first_line, refuse_import, sliced, unique_names
from astrolabe.tables.readers.decode import timestamps
from astrolabe.tables.readers.delimited import TextLayout, find_layout, string_batches
from astrolabe.tables.source import SourceMeta

__all__ = ["TextSource"]

_MISSING = pa.array(["", "nan", "null", "none", "na", "n/a", "--"])
_EXACT_IN_DOUBLE = 2**53
_LONG_INTEGER = r"^[+-]?\d{16,}$"


class _Kind(IntEnum):
    """What all the values of a column so far can be read as."""

    NOTHING = 0
    BOOLEAN = 1
    INTEGER = 2
    NUMBER = 3
    TIMESTAMP = 4
    TEXT = 5


_COLUMNS: dict[_Kind, tuple[Datatype, str | None, str | None]] = {
    _Kind.NOTHING: (Datatype.CHAR, "*", None),
    _Kind.BOOLEAN: (Datatype.BOOLEAN, None, None),
    _Kind.INTEGER: (Datatype.LONG, None, None),
    _Kind.NUMBER: (Datatype.DOUBLE, None, None),
    _Kind.TIMESTAMP: (Datatype.CHAR, "*", "timestamp"),
    _Kind.TEXT: (Datatype.CHAR, "*", None),
}


class TextSource:
    """One or more files of delimited text with a line of names.

    A column is boolean (``true``, ``false``), an integer of 64 bits, a double, a timestamp
    (``2026-11-22T13:00:00``) or text, whichever fits every row of every file.  An integer that a
    double cannot hold exactly is never read as one: such a column is text if it does not fit 64
    bits.  Empty cells are null; in columns of numbers so are NaN, null, none, NA, N/A and --.

    Parameters
    ----------
    paths
        Of the files, which may be compressed with gzip.
    delimiter
        One character; the one of ``, ; | `` and tab that fits, if not given.
    as_string
        Names of columns to be read as text.

    Raises
    ------
    ImportRefusedError
        Raised if a file is broken; the message names the file and the line.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        delimiter: str | None = None,
        as_string: Collection[str] = (),
    ) -> None:
        self._files = [(path, find_layout(path, delimiter, refuse_import(path))) for path in paths]
        names = _common_names(self._files)
        missing = sorted(set(as_string) - set(names))
        if missing:
            raise ImportRefusedError(f"{paths[0]}: has no column {missing[0]!r} to read as text")
        kinds, rows = self._look(names, as_string)
        self._kinds = kinds
        columns = []
        for name, kind in zip(names, kinds, strict=True):
            datatype, arraysize, xtype = _COLUMNS[kind]
            columns.append(Column(name=name, datatype=datatype, arraysize=arraysize, xtype=xtype))
        self._meta = SourceMeta(columns=tuple(columns), row_count=rows)

    @property
    def meta(self) -> SourceMeta:
        """The declared columns and table metadata."""
        return self._meta

    def batches(self, *, max_rows: int = 65_536) -> Iterator[pa.RecordBatch]:
        """Yield the rows in order."""
        for path, layout in self._files:
            refuse = refuse_import(path)
            for batch in string_batches(path, layout, None, refuse):
                for rows in sliced(batch, max_rows):
                    try:
                        arrays = [
                            _read(array, kind)
                            for array, kind in zip(rows.columns, self._kinds, strict=True)
                        ]
                    except pa.ArrowInvalid as exc:
                        raise refuse(f"changed while it was read: {first_line(exc)}") from exc
                    yield batch_of(arrays, self._meta.columns, refuse)

    def _look(self, names: Sequence[str], as_string: Collection[str]) -> tuple[list[_Kind], int]:
        """Return what each column can be read as, and the number of rows."""
        guesses = [_Guess(text=name in as_string) for name in names]
        rows = 0
        for path, layout in self._files:
            for batch in string_batches(path, layout, None, refuse_import(path)):
                rows += batch.num_rows
                for guess, array in zip(guesses, batch.columns, strict=True):
                    guess.look(array)
        return [guess.kind for guess in guesses], rows


class _Guess:
    """What a column can be read as, after some of its rows."""

    def __init__(self, *, text: bool) -> None:
        self.kind = _Kind.TEXT if text else _Kind.NOTHING
        self._inexact = False

    def look(self, cells: AnyArray) -> None:
        """Widen the guess so that `cells` can be read."""
        if self.kind is _Kind.TEXT or cells.null_count == len(cells):
            return
        found = self._kind_of(cells)
        if found is self.kind or found is _Kind.NOTHING:
            return
        if self.kind is _Kind.NOTHING:
            self.kind = found
        elif {found, self.kind} == {_Kind.INTEGER, _Kind.NUMBER}:
            self.kind = _Kind.NUMBER
        else:
            self.kind = _Kind.TEXT
        if self.kind is _Kind.NUMBER and self._inexact:
            self.kind = _Kind.TEXT

    def _kind_of(self, cells: AnyArray) -> _Kind:
        if self.kind in (_Kind.NOTHING, _Kind.INTEGER, _Kind.NUMBER):
            found = self._number_kind_of(cells)
            if found is not None:
                return found
        if self.kind in (_Kind.NOTHING, _Kind.BOOLEAN) and _booleans(cells) is not None:
            return _Kind.BOOLEAN
        if self.kind in (_Kind.NOTHING, _Kind.TIMESTAMP) and _times(cells) is not None:
            return _Kind.TIMESTAMP
        return _Kind.TEXT

    def _number_kind_of(self, cells: AnyArray) -> _Kind | None:
        """Return what numbers `cells` are, TEXT if a double would change one, `None` if none."""
        if self.kind is not _Kind.NUMBER:
            integers = _try(cells, pa.int64())
            if integers is not None:
                if integers.null_count == len(integers):
                    return _Kind.NOTHING
                self._inexact = self._inexact or _beyond_double(integers)
                return _Kind.INTEGER
            if _all_integers(cells):
                # They do not fit 64 bits, and a double would round them.
                return _Kind.TEXT
        if _try(cells, pa.float64()) is None:
            return None
        self._inexact = self._inexact or _long_integers(cells)
        return _Kind.TEXT if self._inexact else _Kind.NUMBER


def _common_names(files: Sequence[tuple[Path, TextLayout]]) -> list[str]:
    first_path, first = files[0]
    names = [name or f"col{index}" for index, name in enumerate(first.names, start=1)]
    unique_names(names, refuse_import(first_path))
    for path, layout in files[1:]:
        if layout.names != first.names:
            raise ImportRefusedError(
                f"{path}: its columns {', '.join(layout.names)} are not those of {first_path}"
            )
    return names


def _read(cells: AnyArray, kind: _Kind) -> AnyArray:
    if kind in (_Kind.TEXT, _Kind.NOTHING):
        return cells
    match kind:
        case _Kind.BOOLEAN:
            values = _booleans(cells)
        case _Kind.TIMESTAMP:
            values = _times(cells)
        case _:
            values = _try(cells, pa.int64() if kind is _Kind.INTEGER else pa.float64())
    if values is None:
        raise pa.ArrowInvalid(f"a value is no {kind.name.lower()}")
    return values


def _try(cells: AnyArray, target: AnyType) -> AnyArray | None:
    """Return numbers, or `None` if a cell is none; plain digits are the fast way."""
    try:
        numbers = cells.cast(target)
    except pa.ArrowInvalid:
        trimmed = pc.utf8_trim_whitespace(cells)
        missing = pc.is_in(pc.utf8_lower(trimmed), _MISSING)
        plain = pc.replace_substring_regex(pc.if_else(missing, None, trimmed), r"^\+(\d|\.)", r"\1")
        try:
            numbers = plain.cast(target)
        except pa.ArrowInvalid:
            return None
    if pa.types.is_integer(target):
        # Arrow reads hexadecimal digits, which could not be told from what they became.
        hexadecimal = (pc.match_substring(cells, letter) for letter in "xX")
        if any(_some(found) for found in hexadecimal):
            return None
    return numbers


def _some(test: AnyArray) -> bool:
    return bool(pc.any(test, min_count=0).as_py())


def _beyond_double(integers: AnyArray) -> bool:
    limits = pc.min_max(integers).as_py()
    if limits["min"] is None or max(-limits["min"], limits["max"]) <= _EXACT_IN_DOUBLE:
        return False
    doubles = integers.cast(pa.float64(), safe=False)
    # Beyond the range of 64 bits the way back fails; such a double is not exact either.
    try:
        back = doubles.cast(pa.int64())
    except pa.ArrowInvalid:
        return True
    return not bool(pc.all(pc.equal(back, integers), min_count=0).as_py())


def _all_integers(cells: AnyArray) -> bool:
    words = pc.utf8_trim_whitespace(cells)
    return bool(pc.all(pc.match_substring_regex(words, r"^[+-]?\d+$"), min_count=0).as_py())


def _long_integers(cells: AnyArray) -> bool:
    """Whether a cell among decimals is an integer that a double does not hold exactly."""
    trimmed = pc.utf8_trim_whitespace(cells)
    long = trimmed.filter(pc.fill_null(pc.match_substring_regex(trimmed, _LONG_INTEGER), False))
    return any(int(float(word)) != int(word) for word in long.to_pylist())


def _booleans(cells: AnyArray) -> AnyArray | None:
    words = pc.utf8_lower(pc.utf8_trim_whitespace(cells))
    true = pc.equal(words, "true")
    known = pc.or_(true, pc.equal(words, "false"))
    return true if pc.all(known, min_count=0).as_py() else None


def _times(cells: AnyArray) -> AnyArray | None:
    """Return timestamps; a date alone stays text, so that it comes back as it was."""
    if not pc.all(pc.match_substring(cells, ":"), min_count=0).as_py():
        return None
    return timestamps(cells)
