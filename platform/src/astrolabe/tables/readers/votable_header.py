"""The part of a VOTable before its rows: FIELDs, descriptions, coordinate systems."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO
from xml.parsers import expat

from astrolabe.core.errors import ImportRefusedError
from astrolabe.tables.model import Column, CoordinateSystem, Datatype
from astrolabe.tables.readers.base import Refusal

__all__ = ["VOTableField", "VOTableHeader", "read_header", "read_header_text"]

_ARRAYSIZE = re.compile(r"(\d+x)*(\d+\*?|\*)\Z")
_EPOCH = re.compile(r"[JB]?\s*(\d{4}(?:\.\d*)?)\Z")
_FRAMES = {
    "ICRS": "ICRS",
    "EQ_FK5": "FK5",
    "FK5": "FK5",
    "EQ_FK4": "FK4",
    "FK4": "FK4",
    "GALACTIC": "galactic",
    "ECL_FK5": "ecliptic",
    "ECL_FK4": "ecliptic",
    "SUPERGALACTIC": "supergalactic",
    "SUPER_GALACTIC": "supergalactic",
}
# Datatypes that VOTable does not have, but that files in the wild declare.
_ALIASES: dict[str, tuple[Datatype, str | None]] = {
    "string": (Datatype.CHAR, "*"),
    "unicodeString": (Datatype.UNICODE_CHAR, "*"),
    "int16": (Datatype.SHORT, None),
    "int32": (Datatype.INT, None),
    "int64": (Datatype.LONG, None),
    "float32": (Datatype.FLOAT, None),
    "float64": (Datatype.DOUBLE, None),
    "unsignedShort": (Datatype.INT, None),
    "unsignedInt": (Datatype.LONG, None),
}
_CHUNK = 65_536
_MAX_HEADER = 64 * 1024 * 1024
_FORMS = ("TABLEDATA", "BINARY", "BINARY2", "FITS")


@dataclass(frozen=True, slots=True)
class VOTableField:
    """One FIELD: the column and the value that stands for null, as written."""

    column: Column
    null: str | None = None


@dataclass(slots=True)
class VOTableHeader:
    """What stands before the first row of the first TABLE.

    Parameters
    ----------
    fields
        In order.
    form
        ``TABLEDATA``, ``BINARY``, ``BINARY2``, ``FITS``; `None` if there is no data.
    stream
        Attributes of the STREAM element.
    offset
        Byte where the TABLEDATA or STREAM element begins.
    extension
        Number of the FITS extension that holds the rows, if the document says so.
    encoding
        Of the document, in lower case.
    prefix
        Namespace prefix of the elements of the table, with the colon.
    error
        Message of a service's error document.
    """

    fields: list[VOTableField] = field(default_factory=list)
    name: str | None = None
    description: str | None = None
    coordinate_system: CoordinateSystem | None = None
    form: str | None = None
    stream: dict[str, str] = field(default_factory=dict)
    offset: int = 0
    extension: int | None = None
    encoding: str = "utf-8"
    prefix: str = ""
    error: str | None = None


def read_header_text(text: bytes) -> VOTableHeader:
    """Read the header from a whole document in memory.

    Raises
    ------
    ImportRefusedError
        Raised if it is no VOTable.
    """
    reader = _HeaderReader(ImportRefusedError)
    reader.feed(text, last=True)
    return reader.finish()


def read_header(file: BinaryIO, refuse: Refusal) -> VOTableHeader:
    """Read the header of an open file; the file is left anywhere.

    Raises
    ------
    Exception
        Raised as `refuse` makes it if the file is no VOTable, has no table, or uses what could
        make a parser expand or fetch things (an internal DTD, entities).
    """
    reader = _HeaderReader(refuse)
    total = 0
    while not reader.done:
        chunk = file.read(_CHUNK)
        total += len(chunk)
        if total > _MAX_HEADER:
            raise refuse("has no rows in its first 64 MB")
        reader.feed(chunk, last=not chunk)
        if not chunk:
            break
    return reader.finish()


class _Stop(Exception):  # noqa: N818 - no error: it ends the parser where the rows begin
    pass


class _HeaderReader:
    """Collects FIELDs until the rows begin, then stops the parser."""

    def __init__(self, refuse: Refusal | Callable[[str], Exception]) -> None:
        self._refuse = refuse
        self.done = False
        self.header = VOTableHeader()
        self._path: list[str] = []
        self._text: list[str] | None = None
        self._attributes: dict[str, str] = {}
        self._field: dict[str, str] | None = None
        self._field_null: str | None = None
        self._field_description: str | None = None
        self._refs: dict[str, str] = {}
        self._systems: dict[str | None, CoordinateSystem] = {}
        self._position_refs: list[str] = []
        self._saw_votable = False
        self._saw_table = False
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.EntityDeclHandler = self._entity
        self._parser.XmlDeclHandler = self._declaration

    def feed(self, data: bytes, *, last: bool) -> None:
        try:
            self._parser.Parse(data, last)
        except _Stop:
            self.done = True
        except expat.ExpatError as exc:
            if not self._saw_votable:
                raise self._refuse(f"is not a VOTable: {exc}") from exc
            raise self._refuse(f"is broken XML: {exc}") from exc

    def finish(self) -> VOTableHeader:
        header = self.header
        if header.error is not None:
            raise self._refuse(f"is a service's error document: {header.error}")
        if not self._saw_votable:
            raise self._refuse("is not a VOTable: it has no VOTABLE element")
        if not self._saw_table:
            raise self._refuse("has no TABLE")
        if not header.fields:
            raise self._refuse("its TABLE has no FIELD")
        for ref in self._position_refs:
            if ref in self._systems:
                header.coordinate_system = self._systems[ref]
                break
        else:
            if len(self._systems) == 1:
                header.coordinate_system = next(iter(self._systems.values()))
        return header

    def _doctype(
        self,
        _name: str,
        _system: str | None,
        _public: str | None,
        internal: bool,  # noqa: FBT001 - expat's
    ) -> None:
        if internal:
            raise self._refuse("has an internal DTD, which is not allowed")

    def _declaration(self, _version: str, encoding: str | None, _standalone: int) -> None:
        self.header.encoding = (encoding or "utf-8").lower()

    def _entity(self, *_args: object) -> None:
        raise self._refuse("declares XML entities, which is not allowed")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rpartition(":")[2]
        self._path.append(name)
        if name == "VOTABLE":
            self._saw_votable = True
        elif not self._saw_votable:
            raise self._refuse(f"is not a VOTable: its root element is {name}")
        elif name == "COOSYS":
            self._add_system(attributes)
        elif name == "TABLE":
            self._saw_table = True
            self.header.prefix = tag.removesuffix("TABLE")
            self.header.name = attributes.get("name") or attributes.get("ID")
        elif name in ("DESCRIPTION", "INFO"):
            self._text, self._attributes = [], attributes
        elif self._saw_table:
            self._start_in_table(name, attributes)

    def _start_in_table(self, name: str, attributes: dict[str, str]) -> None:
        if name == "FIELD":
            self._field = dict(attributes)
            self._field_null = self._field_description = None
        elif name == "VALUES" and self._field is not None and "null" in attributes:
            self._field_null = attributes["null"]
        elif self._path[-2:-1] == ["DATA"]:
            if name not in _FORMS:
                raise self._refuse(f"has its rows as {name}, which cannot be read")
            self.header.form = name
            extension = attributes.get("extnum", "")
            self.header.extension = int(extension) if extension.isdecimal() else None
            if name == "TABLEDATA":
                self.header.offset = self._parser.CurrentByteIndex
                raise _Stop
        elif name == "STREAM" and self.header.form is not None:
            self.header.stream = dict(attributes)
            self.header.offset = self._parser.CurrentByteIndex
            raise _Stop

    def _characters(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)

    def _end(self, tag: str) -> None:
        name = tag.rpartition(":")[2]
        self._path.pop()
        if name == "DESCRIPTION" and self._text is not None:
            text = " ".join("".join(self._text).split()) or None
            self._text = None
            parent = self._path[-1] if self._path else ""
            if parent == "FIELD":
                self._field_description = text
            elif parent == "TABLE":
                self.header.description = text
        elif name == "INFO" and self._text is not None:
            self._info("".join(self._text).strip())
            self._text = None
        elif name == "FIELD" and self._field is not None:
            self._add_field(self._field)
            self._field = None
        elif name == "TABLE":
            raise _Stop

    def _info(self, text: str) -> None:
        attributes = self._attributes
        if attributes.get("name") == "QUERY_STATUS" and attributes.get("value") == "ERROR":
            self.header.error = text or "no reason given"

    def _add_system(self, attributes: dict[str, str]) -> None:
        epoch = _EPOCH.match(attributes.get("epoch", "").strip())
        system = attributes.get("system", "ICRS")
        self._systems[attributes.get("ID")] = CoordinateSystem(
            system=_FRAMES.get(system.upper(), system),
            epoch=float(epoch.group(1)) if epoch else None,
            ref_position=attributes.get("refposition"),
        )

    def _add_field(self, attributes: dict[str, str]) -> None:
        name = attributes.get("name") or attributes.get("ID")
        if not name:
            raise self._refuse(f"FIELD {len(self.header.fields) + 1} has no name")
        datatype, arraysize = self._type_of(name, attributes)
        if arraysize is not None and not _ARRAYSIZE.match(arraysize):
            raise self._refuse(
                f"FIELD {name!r} has the arraysize {arraysize!r}, which is not legal"
            )
        column = Column(
            name=name,
            datatype=datatype,
            arraysize=arraysize,
            unit=attributes.get("unit") or None,
            ucd=attributes.get("ucd") or None,
            utype=attributes.get("utype") or None,
            xtype=attributes.get("xtype") or None,
            precision=attributes.get("precision") or None,
            description=self._field_description,
        )
        if (column.ucd or "").lower().startswith("pos.eq") and "ref" in attributes:
            self._position_refs.append(attributes["ref"])
        self.header.fields.append(VOTableField(column, self._field_null))

    def _type_of(self, name: str, attributes: dict[str, str]) -> tuple[Datatype, str | None]:
        declared = attributes.get("datatype", "").strip()
        arraysize = attributes.get("arraysize", "").replace(" ", "") or None
        if arraysize == "1":
            arraysize = None  # an old way to write a scalar (VOTable 1.3, erratum 3)
        if declared in _ALIASES:
            datatype, default = _ALIASES[declared]
            return datatype, arraysize or default
        try:
            return Datatype(declared), arraysize
        except ValueError:
            raise self._refuse(
                f"FIELD {name!r} has the datatype {declared!r}, which VOTable does not know; "
                f"it knows {', '.join(Datatype)}"
            ) from None
