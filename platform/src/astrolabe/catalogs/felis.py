"""Schemas described in Felis, the YAML language of the Rubin Observatory's data models.

Felis checks the file; here it becomes our own metadata.  The package takes seconds to import, so
it is imported at its first use.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astrolabe.core.errors import ImportRefusedError, NotFoundError
from astrolabe.tables.model import (
    Column,
    CoordinateSystem,
    Datatype,
    ForeignKey,
    SchemaMeta,
    TableMeta,
)

if TYPE_CHECKING:
    from felis import datamodel

__all__ = ["read_felis"]

_SHOWN_PROBLEMS = 3
_DATATYPES = {
    "boolean": Datatype.BOOLEAN,
    "byte": Datatype.UNSIGNED_BYTE,
    "short": Datatype.SHORT,
    "int": Datatype.INT,
    "long": Datatype.LONG,
    "float": Datatype.FLOAT,
    "double": Datatype.DOUBLE,
    "char": Datatype.CHAR,
    "string": Datatype.CHAR,
    "unicode": Datatype.UNICODE_CHAR,
    "text": Datatype.CHAR,
    "binary": Datatype.UNSIGNED_BYTE,
    "timestamp": Datatype.CHAR,
}
_DECLARED = frozenset(datatype.value for datatype in Datatype)


def read_felis(path: Path, schema: str | None = None) -> SchemaMeta:
    """Read a Felis file.

    Columns come in the order of ``tap:column_index``, those without one after the others.  The
    main position and identifier are found by their UCDs (``pos.eq.ra;meta.main`` and so on); a
    primary key of one column is the identifier before any UCD.

    Parameters
    ----------
    path
        YAML file; other files that it names as resources are read too.
    schema
        Name to give to the schema instead of the file's own.

    Returns
    -------
    SchemaMeta
        The schema with its tables and their foreign keys.

    Raises
    ------
    NotFoundError
        Raised if there is no such file.
    ImportRefusedError
        Raised if it is not valid Felis; the message names the first problems.
    """
    # Imported here because it takes seconds, see the module's text.
    import yaml  # noqa: PLC0415
    from felis import datamodel  # noqa: PLC0415
    from pydantic import ValidationError  # noqa: PLC0415

    if not path.is_file():
        raise NotFoundError(f"There is no Felis file {path}.")
    # It warns of matters of style that the user of somebody else's schema cannot change.
    logging.getLogger("felis").setLevel(logging.ERROR)
    try:
        # Felis would use the parser written in Python, which takes most of the time.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        content = yaml.load(path.read_text("utf-8"), Loader=loader)  # noqa: S506 - is a SafeLoader
        # Its module of origin belongs to a distribution that only Felis depends on.
        resource = datamodel.ResourcePath(str(path))  # type: ignore[attr-defined]
        document: Any = datamodel.Schema.model_validate(
            content, context={"id_generation": True, "resource_path": resource}
        )
    except ValidationError as exc:
        raise ImportRefusedError(f"{path} is not valid Felis: {_problems(exc)}") from exc
    except (yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError) as exc:
        # A file that is no mapping at all meets the package's own code unprepared.
        text = " ".join(str(exc).split())
        raise ImportRefusedError(
            f"{path} is not valid Felis: {text or type(exc).__name__}"
        ) from exc
    name = schema or str(document.name)
    owners = {column.id: table.name for table in document.tables for column in table.columns}
    names = {column.id: column.name for table in document.tables for column in table.columns}
    return SchemaMeta(
        name=name,
        description=_text(document.description),
        utype=_text(document.votable_utype),
        tables=tuple(_table(table, name, owners, names) for table in document.tables),
    )


def _problems(error: Any) -> str:  # noqa: ANN401 - pydantic's error, whose package is imported late
    found = error.errors(include_url=False, include_context=False, include_input=False)
    texts = [
        f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg'].splitlines()[0]}"
        for problem in found[:_SHOWN_PROBLEMS]
    ]
    more = len(found) - len(texts)
    return "; ".join(texts) + (f"; and {more} more" if more else "")


def _table(
    table: datamodel.Table, schema: str, owners: dict[str, str], names: dict[str, str]
) -> TableMeta:
    columns = sorted(table.columns, key=_column_place)
    ra = _by_ucd(columns, "pos.eq.ra")
    dec = _by_ucd(columns, "pos.eq.dec")
    identifier = _identifier(table, names) or _by_ucd(columns, "meta.id")
    has_positions = ra is not None and dec is not None
    quick = {identifier} | ({ra, dec} if has_positions else set())
    return TableMeta(
        schema=schema,
        name=table.name,
        columns=tuple(_column(column, indexed=column.name in quick) for column in columns),
        description=_text(table.description),
        utype=_text(table.votable_utype),
        keys=tuple(_keys(table, schema, owners, names)),
        coordinate_system=CoordinateSystem() if has_positions else None,
        ra_column=ra if has_positions else None,
        dec_column=dec if has_positions else None,
        id_column=identifier,
        row_count=0,
        table_index=table.tap_table_index,
    )


def _column_place(column: datamodel.Column) -> tuple[bool, int]:
    index = column.tap_column_index
    return index is None, index or 0


def _by_ucd(columns: Iterable[datamodel.Column], word: str) -> str | None:
    """Return the first column that is the main one of its kind."""
    for column in columns:
        if (column.ivoa_ucd or "").lower() == f"{word};meta.main":
            return str(column.name)
    return None


def _identifier(table: datamodel.Table, names: dict[str, str]) -> str | None:
    key = table.primary_key
    if key is None:
        return None
    parts = [key] if isinstance(key, str) else list(key)
    return names.get(parts[0]) if len(parts) == 1 else None


def _keys(
    table: datamodel.Table, schema: str, owners: dict[str, str], names: dict[str, str]
) -> Iterable[ForeignKey]:
    for constraint in table.constraints:
        if constraint.type != "ForeignKey":
            continue
        targets = {owners.get(column) for column in constraint.referenced_columns}
        target = targets.pop() if len(targets) == 1 else None
        if target is None:
            raise ImportRefusedError(
                f"The key {constraint.name} of the table {table.name} refers to columns of no "
                "table of this schema, or of more than one."
            )
        yield ForeignKey(
            key_id=constraint.name,
            from_table=f"{schema}.{table.name}",
            target_table=f"{schema}.{target}",
            columns=tuple(
                (names[source], names[referenced])
                for source, referenced in zip(
                    constraint.columns, constraint.referenced_columns, strict=True
                )
            ),
            description=_text(constraint.description),
            utype=_text(constraint.votable_utype),
        )


def _column(column: datamodel.Column, *, indexed: bool) -> Column:
    kind = str(column.datatype)
    declared = column.votable_datatype
    arraysize = None if column.votable_arraysize is None else str(column.votable_arraysize)
    if arraysize is None and kind in {"binary", "text"}:
        arraysize = "*"
    return Column(
        name=column.name,
        datatype=_DATATYPES[kind] if declared not in _DECLARED else Datatype(declared),
        arraysize=None if arraysize == "1" else arraysize,
        unit=_text(column.ivoa_unit or column.fits_tunit),
        ucd=_text(column.ivoa_ucd),
        utype=_text(column.votable_utype),
        xtype=_text(column.votable_xtype),
        description=_text(column.description),
        principal=bool(column.tap_principal),
        indexed=indexed,
        std=bool(column.tap_std),
        nullable=bool(column.nullable),
    )


def _text(value: str | None) -> str | None:
    """Return the text in one line, `None` instead of an empty one."""
    return " ".join(value.split()) or None if value else None
