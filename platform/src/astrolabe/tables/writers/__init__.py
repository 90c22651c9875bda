"""Writers of results, one a form."""

from __future__ import annotations

from astrolabe.tables.formats import OutputFormat
from astrolabe.tables.model import ResultHeader
from astrolabe.tables.writers.base import CannotReportError, TableWriter
from astrolabe.tables.writers.delimited import DelimitedWriter
from astrolabe.tables.writers.votable import VOTableWriter
from astrolabe.tables.writers.votable_document import Serialization, error_document

__all__ = ["CannotReportError", "TableWriter", "error_document", "open_writer"]


def open_writer(output: OutputFormat, header: ResultHeader) -> TableWriter:
    """Return a writer of `output` for a result with `header`.

    Compression (of ``votable_gzip`` or as HTTP agreed) is left to the caller.
    """
    match output.name:
        case "votable/b2":
            return VOTableWriter(header, Serialization.BINARY2)
        case "votable/b":
            return VOTableWriter(header, Serialization.BINARY)
        case "votable/td":
            return VOTableWriter(header, Serialization.TABLEDATA)
        case "csv":
            return DelimitedWriter(header, delimiter=",")
        case "tsv":
            return DelimitedWriter(header, delimiter="\t")
        case _:
            raise LookupError(f"no writer for {output.name}")
