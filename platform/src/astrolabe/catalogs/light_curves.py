"""Tables of measurements over time that belong to the rows of another table: light curves."""

from __future__ import annotations

from dataclasses import dataclass

from astrolabe.catalogs.per_view import PerView
from astrolabe.catalogs.view import StoredView
from astrolabe.tables.model import Column, TableMeta

__all__ = ["LightCurveTable", "find_columns", "light_curve_tables"]

_TIME_UCD = "time.epoch"
_BAND_UCDS = ("instr.filter", "instr.bandpass")


@dataclass(frozen=True, slots=True, kw_only=True)
class LightCurveTable:
    """A table with the light curves of another table's rows.

    Parameters
    ----------
    meta
        The table.
    key
        Raw name of its column that holds the id of the other table's row.
    time
        Its main time column, if there is one.
    band
        Its column with the name of a filter band, if there is one.
    """

    meta: TableMeta
    key: str
    time: Column | None
    band: Column | None


def light_curve_tables(view: StoredView, director: TableMeta) -> tuple[LightCurveTable, ...]:
    """Return the tables of `view` with light curves of the rows of `director`.

    A table has them if its rows belong to those of `director` by its main identifier and it has
    a column with the UCD ``time.epoch``.  Those with the most rows come first: measurements at
    every visit before single detections.
    """
    return _TABLES.of(view).get(director.qualified_name, ())


def find_columns(meta: TableMeta) -> tuple[Column | None, Column | None]:
    """Return the main time column of a table and that of its filter bands, as their UCDs tell."""
    return _with_ucd(meta, (_TIME_UCD,)), _with_ucd(meta, _BAND_UCDS)


def _find(view: StoredView) -> dict[str, tuple[LightCurveTable, ...]]:
    found: dict[str, list[LightCurveTable]] = {}
    for entry in view.entries.values():
        time, band = find_columns(entry.meta)
        if time is None:
            continue
        for link in entry.links:
            schema, _, name = link.table.partition(".")
            director = view.entries.get((schema, name))
            if director is None or director.meta.id_column != link.director_key:
                continue
            found.setdefault(link.table, []).append(
                LightCurveTable(meta=entry.meta, key=link.key, time=time, band=band)
            )
    return {
        table: tuple(sorted(tables, key=lambda t: -(t.meta.row_count or 0)))
        for table, tables in found.items()
    }


_TABLES: PerView[dict[str, tuple[LightCurveTable, ...]]] = PerView(_find)  # type: ignore[arg-type]  # only ever asked with a StoredView


def _with_ucd(meta: TableMeta, wanted: tuple[str, ...]) -> Column | None:
    """Return the first column with a wanted word in its UCD, principal ones before others."""
    fitting = [
        column
        for column in meta.columns
        if any(word.strip().lower() in wanted for word in (column.ucd or "").split(";"))
    ]
    return min(fitting, key=lambda column: not column.principal, default=None)
