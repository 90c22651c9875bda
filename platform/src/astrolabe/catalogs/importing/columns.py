"""The columns that a table will have, and how each is made from the source's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from astrolabe.catalogs.importing.options import ImportOptions
from astrolabe.catalogs.importing.positions import (
    PositionColumns,
    find_positions,
    normalise_frame,
)
from astrolabe.core.errors import ImportRefusedError
from astrolabe.tables.model import (
    HEALPIX_COLUMN,
    Column,
    CoordinateSystem,
    Datatype,
    ForeignKey,
    TableMeta,
)
from astrolabe.tables.source import SourceMeta

__all__ = ["ColumnPlan", "PlannedColumn", "plan_columns"]

_MAIN_RA_UCD = "pos.eq.ra;meta.main"
_MAIN_DEC_UCD = "pos.eq.dec;meta.main"
_MAIN_ID_UCD = "meta.id;meta.main"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedColumn:
    """One column of the table.

    Parameters
    ----------
    column
        As it will be declared.
    source
        Index of the source's column; `None` for a position that is computed, or a column that the
        source lacks and that is filled with nulls.
    computed
        ``ra`` or ``dec`` if the column is the computed position.
    """

    column: Column
    source: int | None
    computed: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnPlan:
    """What becomes of a source's columns.

    Parameters
    ----------
    meta
        Of the table, without a row count.
    columns
        In the order of ``meta.columns``.
    positions
        Where the position is taken from, `None` for a table without positions.
    position_sources
        Indices of the source's two columns.
    warnings
        What the importer should know.
    """

    meta: TableMeta
    columns: tuple[PlannedColumn, ...]
    positions: PositionColumns | None
    position_sources: tuple[int, int] | None
    warnings: tuple[str, ...] = ()


def plan_columns(
    source: SourceMeta,
    options: ImportOptions,
    *,
    described: TableMeta | None = None,
    existing: TableMeta | None = None,
) -> ColumnPlan:
    """Decide on the table's columns.

    Parameters
    ----------
    source
        What the source declares.
    options
        Renames, positions, identifier, keys.
    described
        What a Felis file says of the table; wins over the source.
    existing
        The table that rows are appended to; its columns are final.

    Raises
    ------
    ImportRefusedError
        Raised if names clash, a named column does not exist, no position is found, or the columns
        do not fit the table that they are appended to.
    """
    named = _renamed(source.columns, options)
    _refuse_clashes([c.name for c in named.values()])
    warnings: list[str] = []
    if existing is not None:
        described = existing
    planned = (
        [PlannedColumn(column=c, source=i) for i, c in named.items()]
        if described is None
        else _overlaid(named, described, warnings, final=existing is not None)
    )
    frame = _frame(source, options)
    positions = _find(planned, options, frame, existing)
    if positions is not None:
        planned = _with_positions(planned, positions, existing, warnings)
    meta = _table_meta(planned, positions, source, options, described, existing)
    by_name = {p.column.name: p for p in planned}
    indices = None
    if positions is not None:
        pair = by_name[positions.lon].source, by_name[positions.lat].source
        if pair[0] is None or pair[1] is None:
            raise ImportRefusedError(
                f"The source lacks the position columns {positions.lon!r} and {positions.lat!r}; "
                "name its own with --rename or --ra and --dec."
            )
        indices = pair[0], pair[1]
    return ColumnPlan(
        meta=meta,
        columns=tuple(planned),
        positions=positions,
        position_sources=indices,
        warnings=tuple(warnings),
    )


def _renamed(columns: Sequence[Column], options: ImportOptions) -> dict[int, Column]:
    names = {c.name for c in columns}
    for old in options.rename:
        if old not in names:
            raise ImportRefusedError(
                f"--rename names the column {old!r}, which the source does not have."
            )
    kept: dict[int, Column] = {}
    for i, column in enumerate(columns):
        name = options.rename.get(column.name, column.name)
        if name == HEALPIX_COLUMN:
            continue  # computed again from the position: a source's own may be of another order
        if not name.strip() or any(ord(ch) < 32 for ch in name):
            raise ImportRefusedError(
                f"Column {i + 1} of the source has the name {name!r}; give it a printable one "
                "with --rename."
            )
        kept[i] = column.renamed(name)
    for name in options.as_string:
        found = [i for i, c in kept.items() if c.name == name]
        if not found:
            raise ImportRefusedError(
                f"--as-string names the column {name!r}, which the source does not have."
            )
        column = kept[found[0]]
        if not column.is_string:
            kept[found[0]] = replace(
                column, datatype=Datatype.CHAR, arraysize="*", xtype=None, precision=None
            )
    return kept


def _refuse_clashes(names: Sequence[str]) -> None:
    folded: dict[str, list[str]] = {}
    for name in names:
        folded.setdefault(name.lower(), []).append(name)
    for same in folded.values():
        if len(same) > 1:
            how = "the same name" if len(set(same)) == 1 else "names that differ only in case"
            raise ImportRefusedError(
                f"Two columns have {how}: {same[0]!r} and {same[1]!r}. ADQL cannot tell them "
                "apart; give one another name with --rename."
            )


def _overlaid(
    named: Mapping[int, Column], described: TableMeta, warnings: list[str], *, final: bool
) -> list[PlannedColumn]:
    """Give the source's columns what `described` says, in its order; others follow."""
    by_name = {c.name.lower(): (i, c) for i, c in named.items()}
    planned, missing = [], []
    for column in described.columns:
        match = by_name.pop(column.name.lower(), None)
        if match is None:
            missing.append(column)
            if final:
                planned.append(PlannedColumn(column=column, source=None))
            continue
        planned.append(PlannedColumn(column=_merged(column, match[1], final), source=match[0]))
    extra = [PlannedColumn(column=c, source=i) for i, c in by_name.values()]
    if final and extra:
        names = ", ".join(repr(p.column.name) for p in extra)
        raise ImportRefusedError(
            f"The table {described.qualified_name} has no column {names}: rows can only be "
            "appended with the columns that it has. Use --rename, or --mode replace."
        )
    if missing and not final:
        names = ", ".join(c.name for c in missing)
        warnings.append(f"The source lacks described columns, which the table will lack: {names}.")
    if extra:
        names = ", ".join(p.column.name for p in extra)
        warnings.append(f"Columns of the source are not described: {names}.")
    return planned + extra


def _merged(described: Column, source: Column, final: bool) -> Column:  # noqa: FBT001 - private
    """Return the described column; what it leaves open comes from the source."""
    if final:
        return described
    return replace(
        described,
        unit=described.unit or source.unit,
        ucd=described.ucd or source.ucd,
        utype=described.utype or source.utype,
        description=described.description or source.description,
        precision=described.precision or source.precision,
    )


def _frame(source: SourceMeta, options: ImportOptions) -> str | None:
    if options.frame is not None:
        return options.frame
    return None if source.coordinate_system is None else source.coordinate_system.system


def _find(
    planned: Sequence[PlannedColumn],
    options: ImportOptions,
    frame_name: str | None,
    existing: TableMeta | None,
) -> PositionColumns | None:
    columns = [p.column for p in planned if p.source is not None]
    if existing is not None and existing.ra_column is None:
        return None
    given = options.ra_column is not None or options.dec_column is not None
    if options.no_position:
        if given:
            raise ImportRefusedError("--no-position contradicts --ra and --dec.")
        return None
    frame = normalise_frame(frame_name) if frame_name is not None else "icrs"
    ra, dec = options.ra_column, options.dec_column
    if existing is not None and not given and frame == "icrs":
        present = {c.name for c in columns}
        if {existing.ra_column, existing.dec_column} <= present:
            ra, dec = existing.ra_column, existing.dec_column
    found = find_positions(columns, frame=frame, ra_column=ra, dec_column=dec)
    if found is None:
        raise ImportRefusedError(
            "No position columns were recognised: name the columns of right ascension and "
            "declination (or of longitude and latitude, with --frame galactic) by --ra and "
            "--dec, or give --no-position for a table without positions."
        )
    return found


def _with_positions(
    planned: list[PlannedColumn],
    positions: PositionColumns,
    existing: TableMeta | None,
    warnings: list[str],
) -> list[PlannedColumn]:
    """Mark the main position columns, or add computed ones before all others."""
    if existing is not None:
        return _with_computed_of(planned, positions, existing)
    if positions.is_final:
        ucds = {positions.lon: _MAIN_RA_UCD, positions.lat: _MAIN_DEC_UCD}
        return [
            replace(p, column=_as_main(p.column, ucds[p.column.name]))
            if p.column.name in ucds
            else replace(p, column=_not_main(p.column, "pos."))
            for p in planned
        ]
    ra, dec = _free_names({p.column.name.lower() for p in planned})
    origin = f"computed at import from {positions.lon} and {positions.lat} ({positions.frame})"
    warnings.append(f"The columns {ra} and {dec} (ICRS, deg) were {origin}.")
    computed = [
        PlannedColumn(
            column=Column(
                name=name,
                datatype=Datatype.DOUBLE,
                unit="deg",
                ucd=ucd,
                description=f"{what} (ICRS), {origin}",
                principal=True,
                indexed=True,
            ),
            source=None,
            computed=which,
        )
        for name, ucd, what, which in (
            (ra, _MAIN_RA_UCD, "Right ascension", "ra"),
            (dec, _MAIN_DEC_UCD, "Declination", "dec"),
        )
    ]
    return computed + [replace(p, column=_not_main(p.column, "pos.")) for p in planned]


def _with_computed_of(
    planned: list[PlannedColumn], positions: PositionColumns, existing: TableMeta
) -> list[PlannedColumn]:
    """Fill the position columns of the table that rows are appended to."""
    if positions.is_final and positions.lon == existing.ra_column:
        return planned
    computed = {existing.ra_column: "ra", existing.dec_column: "dec"}
    return [
        replace(p, source=None, computed=computed[p.column.name])
        if p.column.name in computed and p.column.name not in (positions.lon, positions.lat)
        else p
        for p in planned
    ]


def _as_main(column: Column, ucd: str) -> Column:
    keep = column.ucd if column.ucd is not None and "meta.main" in column.ucd.lower() else ucd
    return replace(column, ucd=keep, unit=column.unit or "deg", indexed=True)


def _not_main(column: Column, prefix: str) -> Column:
    """Take the main flag from another column of the same kind: there is one main position."""
    if column.ucd is None or not column.ucd.lower().startswith(prefix):
        return column
    words = [w for w in column.ucd.split(";") if w.strip().lower() != "meta.main"]
    return replace(column, ucd=";".join(words))


def _free_names(taken: set[str]) -> tuple[str, str]:
    for ra, dec in (("ra", "dec"), ("ra_icrs", "dec_icrs"), ("icrs_ra", "icrs_dec")):
        if ra not in taken and dec not in taken:
            return ra, dec
    raise ImportRefusedError(
        "The source has columns named ra, ra_icrs and icrs_ra (or dec ...) that are not the "
        "positions given; make room for the computed ICRS position with --rename."
    )


def _table_meta(
    planned: list[PlannedColumn],
    positions: PositionColumns | None,
    source: SourceMeta,
    options: ImportOptions,
    described: TableMeta | None,
    existing: TableMeta | None,
) -> TableMeta:
    """Build the table's metadata; may set the identifier's column in `planned`."""
    if existing is not None:
        return replace(existing, row_count=None)
    id_column = _main_id(planned, options, described)
    _set_principal(planned, id_column, positions)
    names = {p.computed: p.column.name for p in planned if p.computed is not None}
    ra = dec = None
    system = None
    if positions is not None:
        ra, dec = names.get("ra", positions.lon), names.get("dec", positions.lat)
        declared = source.coordinate_system or CoordinateSystem()
        system = CoordinateSystem(
            epoch=declared.epoch if options.epoch is None else options.epoch,
            ref_position=declared.ref_position,
        )
    base = described or TableMeta(schema=options.schema, name=options.table, columns=())
    columns = tuple(p.column for p in planned)
    return replace(
        base,
        schema=options.schema,
        name=options.table,
        columns=columns,
        description=base.description or source.description,
        keys=_keys(base, columns, options),
        coordinate_system=system,
        ra_column=ra,
        dec_column=dec,
        id_column=id_column,
        row_count=None,
    )


def _main_id(
    planned: list[PlannedColumn], options: ImportOptions, described: TableMeta | None
) -> str | None:
    names = [p.column.name for p in planned]
    if options.id_column is not None:
        folded = [n for n in names if n.lower() == options.id_column.lower()]
        if not folded:
            raise ImportRefusedError(
                f"--id names the column {options.id_column!r}, which the source does not have."
            )
        chosen: str | None = options.id_column if options.id_column in names else folded[0]
    else:
        main = [p.column.name for p in planned if _words(p.column) >= {"meta.id", "meta.main"}]
        chosen = main[0] if len(main) == 1 else None
        if chosen is None and described is not None and described.id_column in names:
            chosen = described.id_column
    if chosen is None:
        return None
    for i, p in enumerate(planned):
        if p.column.name == chosen:
            ucd = p.column.ucd if "meta.main" in _words(p.column) else _MAIN_ID_UCD
            planned[i] = replace(p, column=replace(p.column, ucd=ucd, indexed=True))
        else:
            planned[i] = replace(p, column=_not_main(p.column, "meta.id"))
    return chosen


def _words(column: Column) -> set[str]:
    return {word.strip().lower() for word in (column.ucd or "").split(";")}


def _set_principal(
    planned: list[PlannedColumn], id_column: str | None, positions: PositionColumns | None
) -> None:
    """Where nobody says which columns matter most, the identifier and the position do."""
    if any(p.column.principal for p in planned if p.computed is None):
        return
    main = {id_column}
    if positions is not None:
        main |= {positions.lon, positions.lat}
    for i, p in enumerate(planned):
        if p.column.name in main:
            planned[i] = replace(p, column=replace(p.column, principal=True))


def _keys(
    base: TableMeta, columns: Sequence[Column], options: ImportOptions
) -> tuple[ForeignKey, ...]:
    names = {c.name for c in columns}
    here = f"{options.schema}.{options.table}"
    # A Felis file names tables without their schema's new name, and may have lost key columns.
    kept = [
        replace(key, from_table=here)
        for key in base.keys
        if all(column in names for column, _ in key.columns)
    ]
    if options.director is None:
        if options.director_key is not None:
            raise ImportRefusedError("--key needs --director, the table that it points to.")
        return tuple(kept)
    if options.director_key is None or options.director.count(".") != 1:
        raise ImportRefusedError(
            "--director needs schema.table of the parent, and --key the column that names it."
        )
    child, _, parent = options.director_key.partition("=")
    if child not in names:
        raise ImportRefusedError(
            f"--key names the column {child!r}, which the table will not have."
        )
    pairs = ((child, parent or child),)
    same = Counter((key.target_table, key.columns) for key in kept)
    if not same[options.director, pairs]:
        kept.append(
            ForeignKey(
                key_id=f"{options.schema}_{options.table}_{child}",
                from_table=here,
                target_table=options.director,
                columns=pairs,
                description=f"Rows of {options.director} that these belong to",
            )
        )
    return tuple(kept)
