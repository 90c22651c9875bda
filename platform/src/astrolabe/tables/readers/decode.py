"""Building Arrow columns from what the text and binary forms hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from astrolabe.tables.arrow import AnyArray, fixed_list_array, list_array
from astrolabe.tables.arrow import compute as pc

__all__ = ["fixed_lists", "lists", "scalars", "text_cells", "timestamps", "trimmed_bytes"]

Bools = npt.NDArray[np.bool_]

_TIMESTAMP = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d:\d\d(\.\d{1,6})?Z?)?$"


def scalars(values: npt.NDArray[Any], missing: Bools | None) -> AnyArray:
    """Return numbers or booleans, null where `missing`."""
    if not values.dtype.isnative:
        values = values.astype(values.dtype.newbyteorder("="))
    return pa.array(np.ascontiguousarray(values), mask=missing)


def fixed_lists(
    values: npt.NDArray[Any], elements_missing: Bools | None, cells_missing: Bools | None
) -> AnyArray:
    """Return the rows of `values`, (rows, elements), as arrays of one size."""
    rows, size = values.shape
    flat = scalars(values.reshape(rows * size), _flat(elements_missing))
    mask = None if cells_missing is None else pa.array(cells_missing)
    return fixed_list_array(flat, size, mask=mask)


def lists(values: AnyArray, counts: npt.NDArray[np.int64], cells_missing: Bools | None) -> AnyArray:
    """Return elements cut into arrays of `counts` elements."""
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int32)
    mask = None if cells_missing is None else pa.array(cells_missing)
    return list_array(pa.array(offsets), values, mask=mask)


def text_cells(cells: AnyArray) -> AnyArray:
    """Return bytes as text: UTF-8, or Latin-1 where they are not UTF-8."""
    try:
        return cells.cast(pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        decoded = [None if cell is None else _decoded(cell) for cell in cells.to_pylist()]
        return pa.array(decoded, pa.string())


def trimmed_bytes(cells: Sequence[bytes]) -> list[bytes]:
    """Cut each cell at its first zero byte, which ends a string."""
    return [cell.split(b"\0", 1)[0] if b"\0" in cell else cell for cell in cells]


def timestamps(texts: AnyArray) -> AnyArray | None:
    """Return DALI timestamps, or `None` if not every text is one to the microsecond."""
    trimmed = pc.utf8_trim_whitespace(texts)
    trimmed = pc.if_else(pc.equal(trimmed, ""), None, trimmed)
    if not pc.all(pc.match_substring_regex(trimmed, _TIMESTAMP), min_count=0).as_py():
        return None
    try:
        return pc.utf8_rtrim(trimmed, "Z").cast(pa.timestamp("us"))
    except pa.ArrowInvalid:
        return None


def _flat(mask: Bools | None) -> Bools | None:
    return None if mask is None or not mask.any() else mask.reshape(-1)


def _decoded(cell: bytes) -> str:
    try:
        return cell.decode()
    except UnicodeDecodeError:
        return cell.decode("latin-1")
