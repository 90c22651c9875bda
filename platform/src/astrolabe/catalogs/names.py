"""Names that schemas and tables may have."""

from __future__ import annotations

import re

from astrolabe.core.errors import BadParameterError, ConflictError, ImportRefusedError
from astrolabe.tables.model import HEALPIX_COLUMN, TableMeta

__all__ = ["RESERVED_SCHEMAS", "check_columns", "check_spelling", "check_table_name"]

RESERVED_SCHEMAS = frozenset({"tap_schema", "tap_upload", "ivoa"})
"""Schemas that standards define (TAP 1.1, ObsCore); the platform fills them itself."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,126}\Z")


def check_table_name(schema: str, name: str, *, reserved: bool = False) -> None:
    """Make sure that a table may have these names.

    Parameters
    ----------
    schema, name
        Raw names.
    reserved
        Whether the schema may be a reserved one.

    Raises
    ------
    BadParameterError
        Raised if one is no regular identifier, or if the schema's is reserved.
    """
    for kind, text in (("schema", schema), ("table", name)):
        if not _NAME.match(text):
            raise BadParameterError(
                f"{text[:100]!r} cannot be the name of a {kind}: use a letter, then letters, "
                "digits and underscores, at most 127 in all."
            )
    if schema.lower() in RESERVED_SCHEMAS and not reserved:
        raise BadParameterError(
            f"The schema name {schema} is reserved for a standard; choose another with --schema."
        )


def check_spelling(schema: str, name: str, known_schema: str, known_name: str) -> None:
    """Make sure that names are spelt as the catalog has them.

    Raises
    ------
    ConflictError
        Raised if they differ in case.
    """
    if schema != known_schema:
        raise ConflictError(
            f"There is a schema {known_schema} already, and names may not differ only in case; "
            f"write {known_schema} instead of {schema}."
        )
    if name != known_name:
        raise ConflictError(
            f"There is a table {known_schema}.{known_name} already, and names may not differ only "
            f"in case; write {known_name} instead of {name}."
        )


def check_columns(meta: TableMeta) -> None:
    """Make sure that a table's columns can be told apart and that named columns exist.

    Raises
    ------
    ImportRefusedError
        Raised if two names differ only in case, if a column has the name of our own position
        column, or if a position, identifier or key column is not among the columns.
    """
    if not meta.columns:
        raise ImportRefusedError(f"The table {meta.qualified_name} has no columns.")
    seen: dict[str, str] = {HEALPIX_COLUMN.lower(): HEALPIX_COLUMN}
    for column in meta.columns:
        other = seen.get(column.name.lower())
        if other == HEALPIX_COLUMN:
            raise ImportRefusedError(
                f"The column {column.name} of {meta.qualified_name} has a reserved name; rename it."
            )
        if other is not None:
            raise ImportRefusedError(
                f"The columns {other} and {column.name} of {meta.qualified_name} differ only in "
                "case, which ADQL cannot tell apart; rename one."
            )
        seen[column.name.lower()] = column.name
    names = set(seen.values())
    wanted = [meta.ra_column, meta.dec_column, meta.id_column]
    wanted += [source for key in meta.keys for source, _ in key.columns]
    missing = sorted({name for name in wanted if name is not None and name not in names})
    if missing:
        raise ImportRefusedError(
            f"The table {meta.qualified_name} has no column {', '.join(missing)}."
        )
