"""The writer of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from typing_extensions import override

from astrolabe.tables.arrow import AnyArray, list_array
from astrolabe.tables.arrow import compute as pc
from astrolabe.tables.cells import (
    flat_values,
    is_complex,
    joined_rows,
    list_lengths,
    plain,
    timestamp_text,
)
from astrolabe.tables.header_json import column_to_json
from astrolabe.tables.model import Column, ResultHeader
from astrolabe.tables.writers.base import TableWriter
from astrolabe.tables.writers.parallel import OrderedText

__all__ = ["JsonWriter", "json_cells"]

_CONTROL = "[\\x00-\\x1f]"


class JsonWriter(TableWriter):
    """Writes one object: ``metadata`` (the columns), ``infos``, ``data`` (rows), ``status``.

    The status is last: ``OK``, ``OVERFLOW``, or ``ERROR`` with a ``message``.  NaN and null are
    ``null``, infinities the texts ``Infinity`` and ``-Infinity``, complex numbers pairs.
    """

    def __init__(self, header: ResultHeader) -> None:
        super().__init__(header)
        self._first = True
        self._text = OrderedText(self._rows)

    @override
    def start(self) -> Iterator[bytes]:
        metadata = json.dumps([_public(column) for column in self.header.columns])
        infos = json.dumps([{"name": info.name, "value": info.value} for info in self.header.infos])
        yield f'{{"metadata": {metadata},\n"infos": {infos},\n"data": ['.encode()

    @override
    def write(self, batch: pa.RecordBatch) -> Iterator[bytes]:
        return self._joined(self._text.put(batch))

    @override
    def finish(self, *, overflow: bool) -> Iterator[bytes]:
        yield from self._joined(self._text.drain())
        yield f'],\n"status": "{"OVERFLOW" if overflow else "OK"}"}}\n'.encode()

    @override
    def fail(self, message: str) -> Iterator[bytes]:
        self._text.close()
        yield f'],\n"status": "ERROR", "message": {json.dumps(message)}}}\n'.encode()

    @override
    def close(self) -> None:
        self._text.close()

    def _joined(self, texts: Iterator[bytes]) -> Iterator[bytes]:
        for text in texts:
            # Each row begins with a comma, which the first one does not want.
            yield text[1:] if self._first else text
            self._first = False

    def _rows(self, batch: pa.RecordBatch) -> bytes:
        cells = [
            pc.fill_null(json_cells(array, column), "null")
            for column, array in zip(self.header.columns, batch.columns, strict=True)
        ]
        return joined_rows(cells, ",", ",\n[", "]")


def _public(column: Column) -> dict[str, object]:
    hidden = ("principal", "indexed", "std", "nullable")
    return {key: value for key, value in column_to_json(column).items() if key not in hidden}


def json_cells(array: AnyArray, column: Column) -> AnyArray:
    """Return the text of each cell in JSON, null where there is none; NaN is ``null`` too."""
    if column.is_timestamp:
        return _quoted(timestamp_text(array, column.arraysize))
    if column.is_string:
        return _quoted(_escaped(array))
    if not (column.is_array or is_complex(column)):
        return _scalars(array)
    values = _scalars(flat_values(array))
    if is_complex(column) and column.is_array:
        pairs = list_array(np.arange(0, len(values) + 1, 2, dtype=np.int32), values)
        values = _bracketed(pairs)
    lengths = list_lengths(array)
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    cells = _bracketed(list_array(pa.array(offsets), values))
    return pc.if_else(array.is_valid(), cells, None) if array.null_count else cells


def _bracketed(cells: AnyArray) -> AnyArray:
    return pc.binary_join_element_wise("[", pc.binary_join(cells, ","), "]", "")


def _scalars(values: AnyArray) -> AnyArray:
    """Return numbers and booleans as JSON words, ``null`` where there is none."""
    if pa.types.is_boolean(values.type):
        words = pc.if_else(values, "true", "false")
    else:
        words = values.cast(pa.string())
        if pa.types.is_floating(values.type) and not np.isfinite(plain(values, 0.0)).all():
            words = pc.if_else(pc.is_nan(values), "null", words)
            words = pc.if_else(pc.equal(words, "inf"), '"Infinity"', words)
            words = pc.if_else(pc.equal(words, "-inf"), '"-Infinity"', words)
    return pc.fill_null(words, "null")


def _quoted(texts: AnyArray) -> AnyArray:
    return pc.binary_join_element_wise('"', texts, '"', "")


def _escaped(texts: AnyArray) -> AnyArray:
    if pc.any(pc.match_substring_regex(texts, _CONTROL), min_count=0).as_py():
        escaped = [
            None if text is None else json.dumps(text, ensure_ascii=False)[1:-1]
            for text in texts.to_pylist()
        ]
        return pa.array(escaped, pa.string())
    return pc.replace_substring(pc.replace_substring(texts, "\\", "\\\\"), '"', '\\"')
