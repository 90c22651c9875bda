"""Writers of results, one a form."""

from __future__ import annotations

from collections.abc import Callable

from astrolabe.tables.formats import OutputFormat
from astrolabe.tables.model import ResultHeader
from astrolabe.tables.writers.arrow_files import ArrowWriter, ParquetWriter
from astrolabe.tables.writers.base import CannotReportError, TableWriter
from astrolabe.tables.writers.delimited import DelimitedWriter
from astrolabe.tables.writers.ecsv import EcsvWriter
from astrolabe.tables.writers.fits import FitsWriter
from astrolabe.tables.writers.json_rows import JsonWriter
from astrolabe.tables.writers.votable import VOTableWriter
from astrolabe.tables.writers.votable_document import Serialization, error_document

__all__ = ["CannotReportError", "TableWriter", "error_document", "open_writer"]


_WRITERS: dict[str, Callable[[ResultHeader], TableWriter]] = {
    "votable/b2": lambda header: VOTableWriter(header, Serialization.BINARY2),
    "votable/b": lambda header: VOTableWriter(header, Serialization.BINARY),
    "votable/td": lambda header: VOTableWriter(header, Serialization.TABLEDATA),
    "csv": lambda header: DelimitedWriter(header, delimiter=","),
    "tsv": lambda header: DelimitedWriter(header, delimiter="\t"),
    "fits": FitsWriter,
    "ecsv": EcsvWriter,
    "parquet": ParquetWriter,
    "arrow": ArrowWriter,
    "json": JsonWriter,
}


def open_writer(output: OutputFormat, header: ResultHeader) -> TableWriter:
    """Return a writer of `output` for a result with `header`.

    Compression (of ``votable_gzip`` or as HTTP agreed) is left to the caller.
    """
    return _WRITERS[output.name](header)
