"""Tiny catalogs in a home of their own, imported by the real import."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from typing_extensions import override

from astrolabe.catalogs.cancel import QueryCancel
from astrolabe.catalogs.importing import ImportOptions, run_import
from astrolabe.catalogs.query import QueryRequest
from astrolabe.config import load_settings
from astrolabe.factory import ProcessContext
from astrolabe.identity import ANONYMOUS
from astrolabe.tables.model import Column, Datatype, arrow_type
from astrolabe.tables.source import SourceMeta, TableSource

__all__ = ["MemorySource", "ask", "import_columns", "open_context", "sky_points"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class MemorySource(TableSource):
    """A table in memory as a source of rows."""

    columns: tuple[Column, ...]
    data: pa.Table
    description: str | None = None

    @property
    @override
    def meta(self) -> SourceMeta:
        return SourceMeta(columns=self.columns, description=self.description)

    @override
    def batches(self, *, max_rows: int = 65_536) -> Iterator[pa.RecordBatch]:
        yield from self.data.to_batches(max_chunksize=max_rows)


def open_context(home: Path, **overrides: Mapping[str, Any]) -> ProcessContext:
    """Open a process context of a fresh home, with settings by section."""
    return ProcessContext.open(load_settings(home=home, overrides=dict(overrides)))


def sky_points(
    count: int, *, seed: int = 1, near: tuple[float, float, float] | None = None
) -> tuple[Floats, Floats]:
    """Draw RA and Dec (deg) evenly over the sky, or over a cap ``(ra, dec, radius)``."""
    from astrolabe.demo.sphere import cap_points  # noqa: PLC0415 - only here

    rng = np.random.default_rng(seed)
    return cap_points(rng, count, *(near or (0.0, 0.0, 180.0)))


def import_columns(
    context: ProcessContext,
    schema: str,
    table: str,
    columns: Mapping[str, tuple[Datatype, Any]],
    **options: Any,
) -> None:
    """Import columns given as ``name: (datatype, values)``; positions are ``ra`` and ``dec``."""
    made = tuple(
        Column(
            name=name,
            datatype=datatype,
            arraysize="*" if datatype in (Datatype.CHAR, Datatype.UNICODE_CHAR) else None,
        )
        for name, (datatype, _) in columns.items()
    )
    data = pa.table(
        [
            pa.array(values, type=arrow_type(c))
            for c, (_, values) in zip(made, columns.values(), strict=True)
        ],
        schema=pa.schema([(c.name, arrow_type(c)) for c in made]),
    )
    settings: dict[str, Any] = {
        "margin_arcsec": 0.0,
        "ra_column": "ra",
        "dec_column": "dec",
    } | options
    run_import(
        MemorySource(made, data),
        ImportOptions(schema=schema, table=table, **settings),
        context.catalog,
    )


def ask(context: ProcessContext, query: str, *, maxrec: int | None = None) -> pa.Table:
    """Run a query to its end."""
    running = context.queries.start(
        QueryRequest(query=query, maxrec=maxrec), principal=ANONYMOUS, cancel=QueryCancel()
    )
    schema = pa.schema([(c.name, arrow_type(c)) for c in running.header.columns])
    return pa.Table.from_batches(running, schema=schema)
