"""Casting what an engine or a file gives to exactly the Arrow types of the declared columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from astrolabe.core.errors import AdqlTypeError
from astrolabe.tables.arrow import AnyArray, AnyType, fixed_list_array, list_array
from astrolabe.tables.arrow import compute as pc
from astrolabe.tables.model import Column, arrow_type

__all__ = ["conform", "fit", "is_ascii", "result_schema"]


def result_schema(columns: Sequence[Column]) -> pa.Schema:
    """Return the Arrow schema of batches that hold `columns`."""
    return pa.schema([pa.field(column.name, arrow_type(column)) for column in columns])


def conform(batch: pa.RecordBatch, columns: Sequence[Column]) -> pa.RecordBatch:
    """Return `batch` with exactly the names and types of `columns`, matched by position.

    Parameters
    ----------
    batch
        Rows as an engine gives them.
    columns
        The declared columns, as many as `batch` has.

    Raises
    ------
    AdqlTypeError
        Raised if a value does not fit the declared type (overflow, a fraction in an integer, an
        array of another length); the message names the column.
    """
    if batch.num_columns != len(columns):
        raise AdqlTypeError(
            f"The result has {batch.num_columns} columns where {len(columns)} were declared."
        )
    arrays = []
    for column, array in zip(columns, batch.columns, strict=True):
        try:
            arrays.append(fit(array, arrow_type(column)))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as exc:
            size = "" if column.arraysize is None else f"[{column.arraysize}]"
            raise AdqlTypeError(
                f"A value of column {column.name!r} does not fit its type "
                f"{column.datatype}{size}: {_first_line(exc)}"
            ) from exc
    return pa.RecordBatch.from_arrays(arrays, schema=result_schema(columns))


def fit(array: AnyArray, target: AnyType) -> AnyArray:
    """Cast `array` to `target` without ever changing a value that was exact.

    Integers are checked, floating-point numbers are rounded to the target's precision, timestamps
    lose their zone (the instant stays, in UTC) and what is finer than a microsecond.

    Raises
    ------
    pyarrow.ArrowInvalid
        Raised if a value does not fit.
    """
    if array.type == target:
        return array
    if isinstance(array, pa.ExtensionArray):
        return fit(array.storage, target)
    if pa.types.is_dictionary(array.type):
        return fit(array.dictionary_decode(), target)
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), target)
    return _fit_plain(array, target)


def is_ascii(array: AnyArray) -> bool:
    """Whether all strings of `array` are ASCII, as VOTable 1.5 wants in ``char`` columns."""
    return bool(pc.all(pc.string_is_ascii(array), min_count=0).as_py())


def _fit_plain(array: AnyArray, target: AnyType) -> AnyArray:
    if pa.types.is_timestamp(target):
        return _fit_timestamp(array, target)
    if _is_list(target):
        return _fit_list(array, target)
    if pa.types.is_string(target):
        return _fit_string(array)
    if pa.types.is_boolean(target) and pa.types.is_integer(array.type):
        return _fit_boolean(array)
    # Only a float target may round; into integers every value is checked.
    return array.cast(target, safe=not pa.types.is_floating(target))


def _is_list(kind: AnyType) -> bool:
    return (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _fit_boolean(array: AnyArray) -> AnyArray:
    limits = pc.min_max(array).as_py()
    if limits["min"] is not None and (limits["min"] < 0 or limits["max"] > 1):
        raise pa.ArrowInvalid("only 0 and 1 can be read as false and true")
    return array.cast(pa.bool_())


def _fit_timestamp(array: AnyArray, target: AnyType) -> AnyArray:
    kind = array.type
    if pa.types.is_timestamp(kind):
        zoned = array.cast(pa.timestamp(target.unit, kind.tz), safe=False)
        return zoned.view(pa.int64()).view(target)
    if pa.types.is_date(kind):
        return array.cast(target)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return array.cast(target)
    raise pa.ArrowInvalid(f"{kind} is no timestamp")


def _fit_string(array: AnyArray) -> AnyArray:
    if pa.types.is_timestamp(array.type) and array.type.tz is not None:
        array = _fit_timestamp(array, pa.timestamp("us"))
    return array.cast(pa.string())


def _fit_list(array: AnyArray, target: AnyType) -> AnyArray:
    """Cast lists of any kind; an array of another length than a fixed one is an error."""
    if not _is_list(array.type):
        raise pa.ArrowInvalid(f"{array.type} is no array")
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
    missing = array.is_null()
    values = fit(array.flatten(), target.value_type)
    if not pa.types.is_fixed_size_list(target):
        if pa.types.is_fixed_size_list(array.type) and array.null_count:
            # Flattening dropped the null cells, so they hold no values here.
            lengths = np.where(missing.to_numpy(zero_copy_only=False), 0, lengths)
        offsets = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64))).astype(np.int32)
        return list_array(
            pa.array(offsets), values, type=target, mask=missing if array.null_count else None
        )
    size = target.list_size
    valid = ~missing.to_numpy(zero_copy_only=False)
    wrong = np.flatnonzero(valid & (lengths != size))
    if len(wrong):
        raise pa.ArrowInvalid(f"an array has {lengths[wrong[0]]} elements instead of {size}")
    if array.null_count:
        starts = np.cumsum(np.where(valid, size, 0)) - np.where(valid, size, 0)
        places = starts[:, None] + np.arange(size)
        indices = pa.array(places.ravel(), mask=np.repeat(~valid, size))
        values = values.take(indices)
    return fixed_list_array(values, type=target, mask=missing if array.null_count else None)


def _first_line(exc: BaseException) -> str:
    text = str(exc).strip()
    return text.splitlines()[0] if text else type(exc).__name__
