"""What all writers of results have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import pyarrow as pa

from astrolabe.tables.model import ResultHeader

__all__ = ["CannotReportError", "TableWriter"]


class CannotReportError(RuntimeError):
    """The form has no place for an error after its start: the connection must be broken."""


class TableWriter(ABC):
    """Writes one result, piece by piece.

    The order of calls is `start`, any number of `write`, then either `finish` or `fail`; `close`
    last, in every case.  Each gives the bytes that are ready; memory does not grow with the rows.

    Parameters
    ----------
    header
        The columns and what is said of the result as a whole.
    """

    def __init__(self, header: ResultHeader) -> None:
        self.header = header

    @abstractmethod
    def start(self) -> Iterator[bytes]:
        """Yield what stands before the first row."""

    @abstractmethod
    def write(self, batch: pa.RecordBatch) -> Iterator[bytes]:
        """Yield `batch`, whose columns have exactly the types of `arrow_type`.

        Raises
        ------
        AdqlTypeError
            Raised if a value cannot be told in this form without changing it.
        """

    @abstractmethod
    def finish(self, *, overflow: bool) -> Iterator[bytes]:
        """Yield what stands after the last row; `overflow` tells that rows were left out."""

    def fail(self, message: str) -> Iterator[bytes]:
        """Yield an ending that tells of an error.

        Raises
        ------
        CannotReportError
            Raised if the form has no place for it.
        """
        raise CannotReportError(message)

    def close(self) -> None:  # noqa: B027 - most writers hold nothing
        """Free what the writer holds."""
