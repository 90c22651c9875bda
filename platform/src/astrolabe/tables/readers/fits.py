"""The reader of FITS binary tables (FITS 4.0, section 7.3)."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from astropy.io import fits
from astropy.io.fits.verify import VerifyError

from astrolabe.tables.arrow import AnyArray, fixed_list_array
from astrolabe.tables.model import Column, CoordinateSystem, Datatype
from astrolabe.tables.readers.base import Refusal, batch_of, first_line, sliced, unique_names
from astrolabe.tables.readers.decode import fixed_lists, lists, scalars, text_cells
from astrolabe.tables.readers.detect import is_gzip
from astrolabe.tables.readers.temporary import gunzipped, temporary_file
from astrolabe.tables.source import SourceMeta

__all__ = ["FitsSource"]

Values = npt.NDArray[Any]

_FORMAT = re.compile(r"(\d*)([LXBIJKAEDCMPQ])(.*)\Z", re.DOTALL)
_HEAP_FORMAT = re.compile(r"\(?(?:\d+)?([LXBIJKAEDCM])(?:\((\d*)\))?")
_DIMENSIONS = re.compile(r"\(\s*\d+\s*(,\s*\d+\s*)*\)\Z")
_RAW: dict[str, str] = {
    "L": "u1",
    "X": "u1",
    "B": "u1",
    "I": ">i2",
    "J": ">i4",
    "K": ">i8",
    "A": "u1",
    "E": ">f4",
    "D": ">f8",
    "C": ">f4",
    "M": ">f8",
}
_DATATYPES: dict[str, Datatype] = {
    "L": Datatype.BOOLEAN,
    "X": Datatype.BIT,
    "B": Datatype.UNSIGNED_BYTE,
    "I": Datatype.SHORT,
    "J": Datatype.INT,
    "K": Datatype.LONG,
    "A": Datatype.CHAR,
    "E": Datatype.FLOAT,
    "D": Datatype.DOUBLE,
    "C": Datatype.FLOAT_COMPLEX,
    "M": Datatype.DOUBLE_COMPLEX,
}
# (code, TZERO) with TSCAL 1: how FITS writes the integers that it has no code for.
_OFFSETS: dict[tuple[str, int], tuple[str, Datatype]] = {
    ("B", -(2**7)): ("i2", Datatype.SHORT),
    ("I", 2**15): ("i4", Datatype.INT),
    ("J", 2**31): ("i8", Datatype.LONG),
}
_UNSIGNED_64 = 2**63
_FRAMES = {"ICRS": "ICRS", "FK5": "FK5", "FK4": "FK4", "GALACTIC": "galactic"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    """One column of the FITS table as its header describes it."""

    column: Column
    code: str
    count: int
    offset: int
    width: int
    null: int | None = None
    scale: float = 1.0
    zero: float = 0.0
    heap: str | None = None
    wide: bool = False
    text: bool = False


class FitsSource:
    """One binary table of a FITS file.

    Parameters
    ----------
    path
        Of the file, which may be compressed with gzip.
    refuse
        Makes the error that tells what is wrong with it.
    hdu
        Number or name of the extension; the first binary table if not given.
    as_string
        Names of integer columns to be read as text.
    max_bytes
        The most bytes that a compressed file may hold, if bounded.

    Raises
    ------
    AstrolabeError
        Raised as `refuse` makes it if the file is broken or has no such table.
    """

    def __init__(
        self,
        path: Path,
        refuse: Refusal,
        *,
        hdu: int | str | None = None,
        as_string: Collection[str] = (),
        max_bytes: int | None = None,
    ) -> None:
        self._refuse = refuse
        self._path = path
        if is_gzip(path):
            content = gunzipped(path, refuse, limit=max_bytes)
            self._path = temporary_file(self, content, ".fits")
        try:
            with warnings.catch_warnings():
                # What matters of a strange header is refused below, with a reason.
                warnings.simplefilter("ignore")
                self._read_header(hdu, as_string)
        except (OSError, ValueError, TypeError, KeyError, VerifyError) as exc:
            raise refuse(f"is not a readable FITS file: {first_line(exc)}") from exc

    def _read_header(self, hdu: int | str | None, as_string: Collection[str]) -> None:
        header, self._start = _find_table(self._path, hdu, self._refuse)
        self._row_bytes = int(header["NAXIS1"])
        self._rows = int(header["NAXIS2"])
        self._heap_start = int(header.get("THEAP", self._row_bytes * self._rows))
        self._heap_bytes = int(header["PCOUNT"]) - (self._heap_start - self._row_bytes * self._rows)
        self._fields = _fields(header, as_string, self._refuse)
        self._check_size()
        self._meta = SourceMeta(
            columns=tuple(field.column for field in self._fields),
            name=_text(header.get("EXTNAME")),
            coordinate_system=_system(header),
            row_count=self._rows,
        )

    @property
    def meta(self) -> SourceMeta:
        """The declared columns and table metadata."""
        return self._meta

    def batches(self, *, max_rows: int = 65_536) -> Iterator[pa.RecordBatch]:
        """Yield the rows in order."""
        with self._path.open("rb") as file:
            for first in range(0, self._rows, max_rows):
                rows = min(max_rows, self._rows - first)
                file.seek(self._start + first * self._row_bytes)
                data = file.read(rows * self._row_bytes)
                table = np.frombuffer(data, np.uint8).reshape(rows, self._row_bytes)
                arrays = [self._array(field, table, file) for field in self._fields]
                batch = batch_of(arrays, self._meta.columns, self._refuse)
                yield from sliced(batch, max_rows)

    def _check_size(self) -> None:
        size = self._path.stat().st_size
        needed = self._start + self._row_bytes * self._rows
        if any(field.heap for field in self._fields):
            needed = max(needed, self._start + self._heap_start + self._heap_bytes)
        if size < needed:
            raise self._refuse(
                f"is cut off: its table needs {needed} bytes and the file has {size}"
            )

    def _array(self, field: _Field, table: npt.NDArray[np.uint8], file: BinaryIO) -> AnyArray:
        raw = np.ascontiguousarray(table[:, field.offset : field.offset + field.width])
        try:
            if field.heap is not None:
                return self._heap_array(field, raw, file)
            if field.code == "A":
                return _strings(raw)
            if field.code == "X":
                bits = np.unpackbits(raw, axis=1)[:, : field.count].astype(bool)
                return (
                    fixed_lists(bits, None, None) if field.count > 1 else scalars(bits[:, 0], None)
                )
            values, missing = _meaning(raw.view(_RAW[field.code]), field, field.code)
            return _shaped(values, missing, field)
        except (pa.ArrowInvalid, ValueError, OverflowError) as exc:
            raise self._refuse(f"column {field.column.name!r}: {first_line(exc)}") from exc

    def _heap_array(self, field: _Field, raw: npt.NDArray[np.uint8], file: BinaryIO) -> AnyArray:
        """Return arrays of variable length; each cell of the table says where one lies."""
        code = field.heap or ""
        pairs = raw.view(">i4" if field.code == "P" else ">i8").astype(np.int64)
        counts, places = pairs[:, 0], pairs[:, 1]
        item = np.dtype(_RAW[code]).itemsize * (2 if code in "CM" else 1)
        sizes = (counts + 7) // 8 if code == "X" else counts * item
        outside = (counts < 0) | (places < 0) | (places + sizes > self._heap_bytes)
        if np.any(outside & (counts != 0)):
            raise ValueError("an array lies outside of the heap")
        cells = []
        for place, size in zip(places, sizes, strict=True):
            file.seek(self._start + self._heap_start + int(place))
            cells.append(file.read(int(size)) if size else b"")
        if code == "A":
            return text_cells(pa.array([cell.split(b"\0", 1)[0] for cell in cells], pa.binary()))
        data = np.frombuffer(b"".join(cells), np.uint8)
        if code == "X":
            bits = [
                np.unpackbits(np.frombuffer(cell, np.uint8))[:count]
                for cell, count in zip(cells, counts, strict=True)
            ]
            flat = np.concatenate([np.empty(0, np.uint8), *bits]).astype(bool)
            return lists(scalars(flat, None), counts, None)
        values, missing = _meaning(data.view(_RAW[code]), field, code)
        elements = scalars(values, missing)
        if code in "CM":
            elements = fixed_list_array(elements, 2)
        return lists(elements, counts, None)


def _find_table(path: Path, hdu: int | str | None, refuse: Refusal) -> tuple[fits.Header, int]:
    """Return the header of the wanted table and the byte where its rows begin."""
    found: list[str] = []
    with fits.open(path, memmap=True, lazy_load_hdus=True, disable_image_compression=True) as hdus:
        for number, unit in enumerate(hdus):
            kind = str(unit.header.get("XTENSION", "")).strip()
            name = str(unit.header.get("EXTNAME", "")).strip()
            found.append(f"{number} {name} {kind}".strip())
            wanted = kind == "BINTABLE" and not unit.header.get("ZIMAGE", False)
            if hdu is not None:
                chosen = str(hdu).upper() in (str(number), name.upper())
                if chosen and not wanted:
                    raise refuse(f"extension {hdu} is no binary table")
                wanted = chosen
            if wanted:
                return unit.header.copy(), int(unit.fileinfo()["datLoc"])
    if hdu is None and any("TABLE" in unit for unit in found):
        raise refuse("has only ASCII or image tables; convert it to a binary table")
    what = "binary table" if hdu is None else f"extension {hdu}"
    raise refuse(f"has no {what}; it holds: {', '.join(found)}")


def _fields(header: fits.Header, as_string: Collection[str], refuse: Refusal) -> list[_Field]:
    fields: list[_Field] = []
    offset = 0
    for index in range(1, int(header["TFIELDS"]) + 1):
        name = str(header.get(f"TTYPE{index}", f"col{index}")).strip()
        form = _FORMAT.match(str(header[f"TFORM{index}"]).strip())
        if form is None:
            raise refuse(f"column {name!r} has the unknown format {header[f'TFORM{index}']!r}")
        field = _field(header, index, name, form, offset, text=name in as_string, refuse=refuse)
        offset += field.width
        # A column of no width holds nothing.
        if field.width:
            fields.append(field)
    if offset != header["NAXIS1"]:
        raise refuse(
            f"its columns have {offset} bytes a row and its header says {header['NAXIS1']}"
        )
    unique_names([field.column.name for field in fields], refuse)
    missing = sorted(set(as_string) - {field.column.name for field in fields})
    if missing:
        raise refuse(f"has no column {missing[0]!r} to read as text")
    if not fields:
        raise refuse("its table has no columns")
    return fields


def _field(
    header: fits.Header,
    index: int,
    name: str,
    form: re.Match[str],
    offset: int,
    *,
    text: bool,
    refuse: Refusal,
) -> _Field:
    count = int(form.group(1) or 1)
    code = form.group(2)
    heap = None
    element = code
    if code in "PQ":
        inner = _HEAP_FORMAT.match(form.group(3).strip())
        if inner is None or count > 1:
            raise refuse(f"column {name!r} has the unknown format {form.group()!r}")
        heap = element = inner.group(1)
        width = count * (8 if code == "P" else 16)
    elif code == "X":
        width = (count + 7) // 8
    else:
        width = count * np.dtype(_RAW[code]).itemsize * (2 if code in "CM" else 1)
    scale = float(header.get(f"TSCAL{index}", 1.0))
    zero = header.get(f"TZERO{index}", 0)
    null = header.get(f"TNULL{index}")
    datatype, wide = _datatype(element, scale, zero)
    as_text = text and datatype in (Datatype.LONG, Datatype.INT, Datatype.SHORT)
    if as_text and (count != 1 or heap):
        raise refuse(f"column {name!r} holds arrays, which cannot be read as text")
    column = Column(
        name=name,
        datatype=Datatype.CHAR if as_text else datatype,
        arraysize="*" if as_text else _arraysize(element, count, heap, header.get(f"TDIM{index}")),
        unit=_text(header.get(f"TUNIT{index}")),
        ucd=_text(header.get(f"TUCD{index}")),
        utype=_text(header.get(f"TUTYP{index}")),
        xtype=_text(header.get(f"TXTYP{index}")) if element == "A" else None,
        description=_description(header, index),
    )
    if column.is_timestamp:
        column = Column(**{**_plain(column), "xtype": None})
    return _Field(
        column=column,
        code=code,
        count=count,
        offset=offset,
        width=width,
        null=int(null) if null is not None and element in "BIJK" else None,
        scale=scale,
        zero=zero,
        heap=heap,
        wide=wide,
        text=as_text,
    )


def _plain(column: Column) -> dict[str, Any]:
    return {name: getattr(column, name) for name in column.__dataclass_fields__}


def _datatype(code: str, scale: float, zero: float) -> tuple[Datatype, bool]:
    """Return the datatype, and whether values are the unsigned 64-bit ones."""
    datatype = _DATATYPES[code]
    if code not in "BIJKED" or (scale == 1.0 and zero == 0):
        return datatype, False
    if scale == 1.0 and (code, zero) in _OFFSETS:
        return _OFFSETS[code, int(zero)][1], False
    if code == "K" and scale == 1.0 and zero == _UNSIGNED_64:
        return Datatype.LONG, True
    return Datatype.FLOAT if code == "E" else Datatype.DOUBLE, False


def _arraysize(code: str, count: int, heap: str | None, dimensions: object) -> str | None:
    if heap is not None:
        return "*"
    sizes: list[str] = []
    if isinstance(dimensions, str) and _DIMENSIONS.match(dimensions.strip()):
        sizes = [size.strip() for size in dimensions.strip(" ()").split(",")]
    if code == "A":
        # A field's width bounds the length of its text.
        return f"{count}*" if count > 1 else "*"
    if int(np.prod([int(size) for size in sizes] or [0])) == count and len(sizes) > 1:
        return "x".join(sizes)
    return None if count == 1 else str(count)


def _meaning(raw: Values, field: _Field, code: str) -> tuple[Values, npt.NDArray[np.bool_] | None]:
    """Return values as they are meant, and which of them are null."""
    if code == "L":
        true, false = raw == ord("T"), raw == ord("F")
        return true, ~(true | false)
    missing = None if field.null is None else np.asarray(raw == field.null)
    if field.wide:
        unsigned = raw.astype(np.int64).view(np.uint64) ^ np.uint64(_UNSIGNED_64)
        return unsigned, missing
    if field.scale == 1.0 and field.zero == 0:
        return raw, missing
    offset = _OFFSETS.get((code, int(field.zero))) if field.scale == 1.0 else None
    if offset is not None and field.zero == int(field.zero):
        return raw.astype(offset[0]) + int(field.zero), missing
    wanted = np.float32 if field.column.datatype is Datatype.FLOAT else np.float64
    return (raw.astype(np.float64) * field.scale + field.zero).astype(wanted), missing


def _shaped(values: Values, missing: npt.NDArray[np.bool_] | None, field: _Field) -> AnyArray:
    if field.code in "CM":
        pairs = fixed_list_array(scalars(values.reshape(-1), None), 2)
        if field.count == 1:
            return pairs
        return fixed_list_array(pairs, field.count)
    if field.count > 1:
        return fixed_lists(values, missing, None)
    array = scalars(values[:, 0], None if missing is None else missing[:, 0])
    return array.cast(pa.string()) if field.text else array


def _strings(raw: npt.NDArray[np.uint8]) -> AnyArray:
    """Return texts without the spaces or zeros that fill the field; an empty one is null."""
    cells = raw.view(f"S{raw.shape[1]}")[:, 0].tolist()
    trimmed = [cell.split(b"\0", 1)[0].rstrip(b" ") or None for cell in cells]
    return text_cells(pa.array(trimmed, pa.binary()))


def _description(header: fits.Header, index: int) -> str | None:
    for key in (f"TDESC{index}", f"TCOMM{index}"):
        text = _text(header.get(key))
        if text:
            return text
    comment = _text(header.comments[f"TTYPE{index}"]) if f"TTYPE{index}" in header else None
    if comment is None or re.fullmatch(
        r"(label for (field|column)\s*\d*|name.*column.*)", comment, re.IGNORECASE
    ):
        return None
    return comment


def _text(value: object) -> str | None:
    return str(value).strip() or None if isinstance(value, str | int | float) else None


def _system(header: fits.Header) -> CoordinateSystem | None:
    frame = _FRAMES.get(str(header.get("RADESYS", header.get("RADECSYS", ""))).strip().upper())
    return None if frame is None else CoordinateSystem(system=frame)
