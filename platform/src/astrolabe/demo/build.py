"""Making the demo survey: once for each home, in under two minutes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from typing_extensions import override

from astrolabe.catalogs.importing import ImportOptions, run_import
from astrolabe.catalogs.store import CatalogStore
from astrolabe.core.logging import get_logger
from astrolabe.demo import columns, measure
from astrolabe.demo.bright_stars import BrightStars
from astrolabe.demo.survey import SEED, DemoSize, Survey, make_survey
from astrolabe.tables.model import Column, CoordinateSystem
from astrolabe.tables.source import SourceMeta, TableSource

__all__ = ["SCHEMA", "demo_is_wanted", "make_demo"]

SCHEMA = "demo"

_log = get_logger(__name__)

ImportSettings = Callable[[ImportOptions], ImportOptions]


class _Progress(Protocol):
    def __call__(self, table: str, rows: int) -> None: ...


def demo_is_wanted(state_file: Path, store: CatalogStore) -> bool:
    """Tell whether to make the demo: the home is empty, or making it was cut short.

    Parameters
    ----------
    state_file
        Says how far the demo of this home has come; see `make_demo`.
    """
    if state_file.exists():
        return bool(json.loads(state_file.read_text(encoding="utf-8")).get("state") != "ready")
    return not any(schema.tables for schema in store.view().schemas)


def make_demo(
    store: CatalogStore,
    *,
    folder: Path,
    state_file: Path,
    size: DemoSize | None = None,
    adjust: ImportSettings = lambda options: options,
    progress: _Progress = lambda table, rows: None,  # noqa: ARG005 - the default does nothing
) -> None:
    """Simulate the survey and import its tables; tables that are there already stay.

    Parameters
    ----------
    store
        Where the tables go, schema `SCHEMA`.
    folder
        Where the truth is kept.
    state_file
        Gets ``{"state": "making"}`` at first and ``{"state": "ready"}`` at the end; a demo that
        was cut short is finished at the next start.
    adjust
        Applies the installation's settings to the options of each import.
    progress
        Told each finished table and its rows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    used = size or DemoSize()
    _mark(state_file, "making", used)
    survey = make_survey(used)
    _keep_truth(survey, folder)
    for name, source, options in _tables(survey):
        if store.view().table(SCHEMA, name) is None:
            report = run_import(source, adjust(options), store)
            progress(name, report.rows)
            _log.info("demo_table", table=f"{SCHEMA}.{name}", rows=report.rows)
    _mark(state_file, "ready", used)


def _mark(state_file: Path, state: str, size: DemoSize) -> None:
    content = {"state": state, "seed": SEED, "objects": size.objects, "visits": size.visits}
    partial = state_file.with_suffix(".part")
    partial.write_text(json.dumps(content) + "\n", encoding="utf-8")
    partial.replace(state_file)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Made(TableSource):
    """A table that is computed batch by batch."""

    meta: SourceMeta
    rows: Callable[[], Iterable[pa.RecordBatch]]

    @override
    def batches(self, *, max_rows: int = 65_536) -> Iterator[pa.RecordBatch]:
        for batch in self.rows():
            for start in range(0, batch.num_rows, max_rows):
                yield batch.slice(start, max_rows)


def _tables(survey: Survey) -> Iterator[tuple[str, TableSource, ImportOptions]]:
    truth, visits = survey.truth, survey.visits
    yield (
        "visit",
        _made(
            "visit",
            "Visits of the simulated survey, one row a pointing",
            columns.VISIT,
            lambda: measure.visit_table(visits).to_batches(),
        ),
        _options("visit", id_column="visit", ra_column="ra", dec_column="dec"),
    )
    yield (
        "object",
        _made(
            "object",
            "Objects of the simulated survey, measured in coadds of all visits",
            columns.OBJECT,
            lambda: measure.object_table(truth, visits).to_batches(),
        ),
        _options("object", id_column="objectId"),
    )
    yield (
        "bright_stars",
        BrightStars(),
        _options("bright_stars", id_column="hip", ra_column="ra", dec_column="dec"),
    )
    yield (
        "source",
        _made(
            "source",
            "Detections in the single visits of the simulated survey, moving objects included",
            columns.SOURCE,
            lambda: measure.source_batches(truth, survey.asteroids, visits),
        ),
        _options(
            "source", id_column="sourceId", director=f"{SCHEMA}.object", director_key="objectId"
        ),
    )
    yield (
        "forced_source",
        _made(
            "forced_source",
            "Fluxes at the position of every object in every visit that covers it",
            columns.FORCED_SOURCE,
            lambda: measure.forced_source_batches(truth, visits),
        ),
        _options(
            "forced_source",
            id_column="forcedSourceId",
            director=f"{SCHEMA}.object",
            director_key="objectId",
        ),
    )


def _made(
    name: str,
    description: str,
    made: tuple[Column, ...],
    rows: Callable[[], Iterable[pa.RecordBatch]],
) -> _Made:
    meta = SourceMeta(
        columns=made,
        name=name,
        description=description,
        coordinate_system=CoordinateSystem(epoch=2025.0),
    )
    return _Made(meta=meta, rows=rows)


def _options(
    table: str,
    *,
    id_column: str,
    ra_column: str = "coord_ra",
    dec_column: str = "coord_dec",
    director: str | None = None,
    director_key: str | None = None,
) -> ImportOptions:
    return ImportOptions(
        schema=SCHEMA,
        table=table,
        id_column=id_column,
        ra_column=ra_column,
        dec_column=dec_column,
        director=director,
        director_key=director_key,
        strict=True,
        owner="demo",
    )


def _keep_truth(survey: Survey, folder: Path) -> None:
    """Write the truth for later images and alerts of the same sky."""
    for name, part in (
        ("truth", survey.truth),
        ("asteroids", survey.asteroids),
        ("visits", survey.visits),
    ):
        values = {}
        for field in part.__dataclass_fields__:
            value = getattr(part, field)
            if isinstance(value, np.ndarray):
                values[field] = (
                    pa.FixedSizeListArray.from_arrays(pa.array(value.ravel()), value.shape[1])
                    if value.ndim == 2
                    else value
                )
        partial = folder / f"{name}.parquet.part"
        pq.write_table(pa.table(values), partial, compression="zstd")
        partial.replace(folder / f"{name}.parquet")
