"""``/tables``: the tables and their columns (VOSI 1.1, section 6; VODataService 1.1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from astrolabe.catalogs.model import CatalogView
from astrolabe.catalogs.per_view import PerView
from astrolabe.catalogs.tap_schema import visible_keys
from astrolabe.catalogs.view import StoredView
from astrolabe.core.errors import BadParameterError, NotFoundError
from astrolabe.factory import ProcessContext
from astrolabe.identity import Principal
from astrolabe.tables.model import Column, ForeignKey, SchemaMeta, TableMeta, quote_name
from astrolabe_api.common.documents import Document
from astrolabe_api.common.params import Parameters
from astrolabe_api.common.xml import XML_DECLARATION, attribute, element

__all__ = ["TablesetCache", "TablesetOptions"]

_NAMESPACES = (
    'xmlns:vosi="http://www.ivoa.net/xml/VOSITables/v1.0" '
    'xmlns:vs="http://www.ivoa.net/xml/VODataService/v1.1" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
)
_ESA_NAMESPACE = ' xmlns:esatapplus="http://esa.int/xml/EsaTapPlus"'
_ESA_PARAMETERS = ("ONLY_TABLES", "SHARE_ACCESSIBLE", "TABLES")
_CACHED_DOCUMENTS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class TablesetOptions:
    """What a request to ``/tables`` asks for.

    Parameters
    ----------
    columns
        Whether columns and keys are wanted (``detail=max``).
    esa_flags
        Whether the attributes are wanted without which TapPlus cannot read a column.
    names
        Only these tables, as TapPlus names them; empty for all.
    """

    columns: bool = True
    esa_flags: bool = False
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, given: Parameters, *, is_tapplus: bool) -> TablesetOptions:
        """Read the options of a request.

        Parameters
        ----------
        is_tapplus
            Whether the client looks like TapPlus even if it sends none of its parameters.

        Raises
        ------
        BadParameterError
            Raised if DETAIL is neither ``min`` nor ``max``.
        """
        detail = (given.single("DETAIL") or "max").strip().lower()
        if detail not in ("min", "max"):
            raise BadParameterError(f"DETAIL must be min or max, not {detail[:100]!r}.")
        names = (name.strip() for value in given.values("TABLES") for name in value.split(","))
        return cls(
            columns=detail == "max",
            esa_flags=is_tapplus or any(given.values(name) for name in _ESA_PARAMETERS),
            names=tuple(name for name in names if name),
        )


class TablesetCache:
    """Makes each document once for each view of the catalog."""

    def __init__(self) -> None:
        self._made: PerView[dict[TablesetOptions, Document]] = PerView(lambda _view: {})

    def tableset(
        self, context: ProcessContext, options: TablesetOptions, caller: Principal
    ) -> Document:
        """Return the document of all tables that a caller may read.

        Raises
        ------
        NotFoundError
            Raised if one of the named tables is not there.
        """
        view = context.readable.view(caller)
        made = self._made.of(view)
        document = made.get(options)
        if document is None:
            document = Document(_writer(context, view, options).tableset())
            if not options.names and len(made) < _CACHED_DOCUMENTS:
                made[options] = document
        return document

    def table(
        self, context: ProcessContext, name: str, options: TablesetOptions, caller: Principal
    ) -> Document:
        """Return the document of one table, called as in a query, in any case without quotes.

        Raises
        ------
        NotFoundError
            Raised if there is no such table.
        """

        def search(view: StoredView) -> Document:
            return Document(_writer(context, view, options).table(name))

        return context.readable.find(caller, search)


def _writer(context: ProcessContext, view: CatalogView, options: TablesetOptions) -> _Writer:
    return _Writer(view, (*view.schemas, context.tap_schema.of(view).schema), options)


class _Writer:
    """Writes the documents of one view."""

    def __init__(
        self, view: CatalogView, schemas: tuple[SchemaMeta, ...], options: TablesetOptions
    ) -> None:
        self._view = view
        self._schemas = schemas
        self._options = options
        self._keys: dict[str, list[ForeignKey]] = {}
        if options.columns:
            for key in visible_keys(schemas):
                self._keys.setdefault(key.from_table, []).append(key)

    def tableset(self) -> str:
        wanted = None
        if self._options.names:
            wanted = {self._find(name).qualified_name for name in self._options.names}
        parts: list[str] = []
        for schema in self._schemas:
            tables = [t for t in schema.tables if wanted is None or t.qualified_name in wanted]
            if wanted is None or tables:
                parts.append("<schema>\n" + element("name", quote_name(schema.name)))
                parts.append(element("description", schema.description))
                parts.append(element("utype", schema.utype))
                for table in tables:
                    parts += self._table(table, "table")
                parts.append("</schema>\n")
        return (
            f"{XML_DECLARATION}<vosi:tableset {self._namespaces}>\n"
            f"{''.join(parts)}</vosi:tableset>\n"
        )

    def table(self, name: str) -> str:
        parts = self._table(self._find(name), "vosi:table", namespaces=f" {self._namespaces}")
        return XML_DECLARATION + "".join(parts)

    @property
    def _namespaces(self) -> str:
        return _NAMESPACES + (_ESA_NAMESPACE if self._options.esa_flags else "")

    def _find(self, name: str) -> TableMeta:
        tables = [table for schema in self._schemas for table in schema.tables]
        for table in tables:
            if name in (table.adql_name, table.qualified_name):
                return table
        for table in tables:
            if '"' not in table.adql_name and name.lower() == table.adql_name.lower():
                return table
        raise NotFoundError(f"There is no table {name[:200]!r}; /api/tap/tables lists all.")

    def _table(self, table: TableMeta, tag: str, *, namespaces: str = "") -> Iterable[str]:
        version = self._view.table(table.schema, table.name)
        esa = ""
        if self._options.esa_flags:
            whole = version is not None and version.row_filter is None
            size = int(version.index.size_bytes.sum()) if version is not None and whole else 0
            esa = f' esatapplus:size_bytes="{size}"'
        yield f"<{tag}{namespaces} type={attribute(table.table_type)}{esa}>\n"
        yield element("name", table.adql_name)
        yield element("description", table.description)
        yield element("utype", table.utype)
        if table.row_count is not None:
            yield element("nrows", str(table.row_count))
        yield "\n"
        if self._options.columns:
            for column in table.columns:
                yield self._column(table, column)
            for key in self._keys.get(table.qualified_name, ()):
                yield _foreign_key(key)
        yield f"</{tag}>\n"

    def _column(self, table: TableMeta, column: Column) -> str:
        esa = ""
        if self._options.esa_flags:
            esa = f' esatapplus:flags="{_esa_flag(table, column)}"'
        standard = ' std="true"' if column.std else ""
        return (
            f"<column{standard}{esa}>"
            f"{element('name', quote_name(column.name))}"
            f"{element('description', column.description)}"
            f"{element('unit', column.unit)}"
            f"{element('ucd', column.ucd)}"
            f"{element('utype', column.utype)}"
            f"{_data_type(column)}"
            f"{''.join(element('flag', flag) for flag in _flags(table, column))}"
            "</column>\n"
        )


def _data_type(column: Column) -> str:
    size = "" if column.arraysize is None else f" arraysize={attribute(column.arraysize)}"
    extended = "" if column.xtype is None else f" extendedType={attribute(column.xtype)}"
    return f'<dataType xsi:type="vs:VOTableType"{size}{extended}>{column.datatype.value}</dataType>'


def _flags(table: TableMeta, column: Column) -> Iterator[str]:
    if column.indexed:
        yield "indexed"
    if column.name == table.id_column:
        yield "primary"
    if column.nullable:
        yield "nullable"


def _foreign_key(key: ForeignKey) -> str:
    schema, _, table = key.target_table.partition(".")
    columns = "".join(
        f"<fkColumn>{element('fromColumn', quote_name(source))}"
        f"{element('targetColumn', quote_name(target))}</fkColumn>"
        for source, target in key.columns
    )
    return (
        f"<foreignKey>{element('targetTable', f'{quote_name(schema)}.{quote_name(table)}')}"
        f"{columns}{element('description', key.description)}{element('utype', key.utype)}"
        "</foreignKey>\n"
    )


def _esa_flag(table: TableMeta, column: Column) -> int:
    """Return the number by which TapPlus knows special columns; 0 for all others."""
    ucd = column.ucd or ""
    if column.name == table.ra_column:
        return 1
    if column.name == table.dec_column:
        return 2
    if column.name == table.id_column:
        return 16
    if ucd.startswith("phot.flux"):
        return 4
    return 8 if ucd.startswith("phot.mag") else 0
