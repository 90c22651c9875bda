"""Arrow for code that learns only at run time what a column holds.

The stubs of pyarrow tell arrays apart by their elements, which cannot be known where one function
handles every kind of column.  Such code names arrays and types by the aliases here and takes its
compute functions from here, so that nothing is promised that is not known.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as _compute

__all__ = [
    "AnyArray",
    "AnyField",
    "AnyType",
    "buffer",
    "compute",
    "fixed_list_array",
    "list_array",
]

AnyArray: TypeAlias = Any
"""A `pyarrow.Array` of any kind."""

AnyType: TypeAlias = Any
"""A `pyarrow.DataType` of any kind."""

AnyField: TypeAlias = Any
"""A `pyarrow.Field` of any kind."""

compute: Any = _compute
"""The module `pyarrow.compute`."""

buffer: Any = pa.py_buffer
"""Makes an Arrow buffer of a contiguous NumPy array, without a copy."""

list_array: Any = pa.ListArray.from_arrays
"""Makes lists of offsets and values."""

fixed_list_array: Any = pa.FixedSizeListArray.from_arrays
"""Makes lists of one size of their values."""
