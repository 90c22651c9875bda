"""The rows of TABLEDATA as texts.

Most documents hold nothing but plain TR and TD elements: such a piece of a file is split as text,
many times faster than by a parser.  A piece with anything else in it goes to the parser.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from lxml import etree

from astrolabe.tables.readers.base import Refusal, first_line
from astrolabe.tables.readers.votable_header import VOTableHeader

__all__ = ["tabledata_rows"]

Rows = list[list[str | None]]

_CHUNK = 512 * 1024
_MAX_ROW = 64 * 1024 * 1024
_SPLIT_ENCODINGS = frozenset(
    {"utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin-1", "windows-1252"}
)
_START_TAG = re.compile(r"""<(?:[^>"']|"[^"]*"|'[^']*')*>""")
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_CONTROL = bytes(code for code in range(32) if code not in b"\t\n\r")
_REFERENCE = re.compile(r"&(?:(lt|gt|amp|quot|apos)|#(\d{1,7})|#x([0-9a-fA-F]{1,6}));")
_NAMED = {"lt": "<", "gt": ">", "amp": "&", "quot": '"', "apos": "'"}


class _NotPlain(Exception):  # noqa: N818 - no error: the piece goes to the parser
    pass


def tabledata_rows(path: Path, header: VOTableHeader, refuse: Refusal) -> Iterator[Rows]:
    """Yield rows, some thousands at a time, each with as many cells as the table has columns.

    Raises
    ------
    Exception
        Raised as `refuse` makes it if the XML is broken or a row has another number of cells.
    """
    width = len(header.fields)
    number = 0
    with path.open("rb") as file:
        if header.encoding in _SPLIT_ENCODINGS:
            pieces: Iterator[Rows] = (
                _split(piece, header.prefix, width) for piece in _pieces(file, header, refuse)
            )
        else:
            pieces = _parsed_file(file)
        try:
            for rows in pieces:
                for row in rows:
                    number += 1
                    if len(row) != width:
                        raise refuse(
                            f"row {number} has {len(row)} cells where the table has {width} columns"
                        )
                yield rows
        except etree.XMLSyntaxError as exc:
            raise refuse(f"is broken XML after row {number}: {first_line(exc)}") from exc
        except _Markup as exc:
            raise refuse(f"row {number + exc.row} has markup or entities inside a cell") from exc


class _Markup(Exception):  # noqa: N818 - becomes a refusal above
    def __init__(self, row: int) -> None:
        super().__init__()
        self.row = row


def _pieces(file: BinaryIO, header: VOTableHeader, refuse: Refusal) -> Iterator[str]:
    """Yield the inside of TABLEDATA, cut after the end of rows."""
    file.seek(header.offset)
    decode = codecs.getincrementaldecoder(header.encoding)().decode
    row_end, end = f"</{header.prefix}TR>", f"</{header.prefix}TABLEDATA"
    text = ""
    begun = False
    while True:
        data = file.read(_CHUNK)
        try:
            text += decode(data, not data)
        except UnicodeDecodeError as exc:
            raise refuse(f"is not {header.encoding} text: {exc.reason}") from exc
        if not begun:
            tag = _START_TAG.match(text)
            if tag is None:
                raise refuse("its TABLEDATA element is broken")
            if tag.group().endswith("/>"):
                return
            text = text[tag.end() :]
            begun = True
        stop = text.find(end)
        cut = text.rfind(row_end, 0, stop if stop >= 0 else len(text)) + len(row_end)
        if cut >= len(row_end):
            yield text[:cut]
            text = text[cut:]
            stop -= cut
        if stop >= 0:
            # What is left must be white space; the parser tells what else it is.
            yield text[:stop]
            return
        if not data:
            raise refuse("ends in the middle of its rows: the file is cut off")
        if len(text) > _MAX_ROW:
            raise refuse("has a row of more than 64 MB: its TABLEDATA is broken")


def _split(piece: str, prefix: str, width: int) -> Rows:
    try:
        return _plain_rows(piece, prefix, width)
    except _NotPlain:
        return _parsed(piece, prefix)


def _plain_rows(piece: str, prefix: str, width: int) -> Rows:
    """Split rows that hold nothing but cells with text.

    Raises
    ------
    _NotPlain
        Raised if there is anything else.
    """
    if not piece.strip():
        return []
    row_start, row_end = f"<{prefix}TR>", f"</{prefix}TR>"
    cell_start, cell_end = f"<{prefix}TD>", f"</{prefix}TD>"
    rows = piece.count(row_end)
    if piece.count("<") != rows * (2 + 2 * width) or not width or _has_illegal(piece):
        raise _NotPlain
    # White space between tags goes; that of a cell with nothing else is its text.
    text = re.sub(rf">[ \t\r\n]+<(?!/{prefix}TD>)", "><", piece.strip())
    first, last = row_start + cell_start, cell_end + row_end
    if not (text.startswith(first) and text.endswith(last)) or "]]>" in text:
        raise _NotPlain
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    found: Rows = [
        list(row.split(cell_end + cell_start))
        for row in text[len(first) : -len(last)].split(last + first)
    ]
    if len(found) != rows or any(len(row) != width for row in found):
        raise _NotPlain
    if "&" in text:
        found = [[_resolved(cell) for cell in row] for row in found]
    return found


def _has_illegal(text: str) -> bool:
    data = text.encode("utf-8", "surrogatepass")
    return len(data.translate(None, _CONTROL)) != len(data) or "\ufffe" in text or "\uffff" in text


def _resolved(cell: str | None) -> str | None:
    if cell is None or "&" not in cell:
        return cell
    if len(_REFERENCE.findall(cell)) != cell.count("&"):
        raise _NotPlain
    return _REFERENCE.sub(_character, cell)


def _character(reference: re.Match[str]) -> str:
    name, decimal, hexadecimal = reference.groups()
    if name:
        return _NAMED[name]
    code = int(decimal) if decimal else int(hexadecimal, 16)
    if code > 0x10FFFF or 0xD800 <= code < 0xE000 or _ILLEGAL.match(chr(code)):
        raise _NotPlain
    return chr(code)


def _parsed(piece: str, prefix: str) -> Rows:
    """Parse rows that are not plain."""
    namespace = f' xmlns:{prefix[:-1]}="rows"' if prefix else ""
    text = f"<rows{namespace}>{piece}</rows>"
    # Neither entities nor a DTD can come with a fragment.
    parser = etree.XMLParser(
        huge_tree=True,
        resolve_entities=False,
        no_network=True,
        remove_comments=True,
        remove_pis=True,
        encoding="utf-8",
    )
    root = etree.fromstring(text.encode(), parser)
    return [_cells(row, number) for number, row in enumerate(root, start=1)]


def _cells(row: etree._Element, number: int) -> list[str | None]:
    if any(map(len, row)):
        raise _Markup(number)
    return [cell.text for cell in row]


def _parsed_file(file: BinaryIO) -> Iterator[Rows]:
    """Parse a file in an encoding whose bytes cannot simply be cut."""
    # The header was read without entities or an internal DTD; none may come later either.
    events = etree.iterparse(
        file,
        events=("end",),
        tag=("{*}TR", "{*}TABLEDATA"),
        huge_tree=True,
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        remove_comments=True,
        remove_pis=True,
    )
    for _, element in events:
        if element.tag.endswith("TABLEDATA"):
            return
        yield [_cells(element, 1)]
        # Memory stays flat only if rows leave the tree.
        element.clear()
        parent = element.getparent()
        if parent is not None:
            parent.remove(element)
