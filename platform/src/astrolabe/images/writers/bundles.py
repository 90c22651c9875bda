"""Bundles: many cutouts in one file, with an index that says what each is.

A bundle takes blocks of equal stamps, which are written with a few copies for all of them, and
single cutouts of any kind.  What is costly happens in `Bundle.encode`, in any thread; what that
returns puts the stamps into the file.
"""

from __future__ import annotations

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from astropy.io import fits
from astropy.table import Table
from typing_extensions import override

from astrolabe.core.errors import BadParameterError, ImageInvalidError, InternalError
from astrolabe.images.fits.cards import CARD, CardValue, format_card
from astrolabe.images.model import PlaneKind
from astrolabe.images.stamps.cutting import PlaneWindows, StampBlock
from astrolabe.images.stamps.template import STAMP_KEYWORDS, MovingCard
from astrolabe.images.writers.fits import (
    FitsPlane,
    data_bytes,
    fits_file,
    header_block,
    own_cards,
    primary_header,
    storage_of,
    structure,
)
from astrolabe.images.writers.records import (
    TAR_BLOCK,
    RecordLayout,
    card_place,
    paste,
    paste_tar_headers,
    pixels_of,
    tar_header,
)
from astrolabe.tables.model import ResultHeader
from astrolabe.tables.writers.ecsv import EcsvWriter

__all__ = ["Bundle", "BundleForm", "FitsBundle", "StampLabels", "TarBundle", "safe_name"]

Bytes = npt.NDArray[np.uint8]

INDEX_NAME: Final = "index.ecsv"
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_+.-]+")
_TAR_RECORD: Final = 20 * TAR_BLOCK
_EXTNAME: Final = "EXTNAME"
TABLES: Final = (
    "The WCS of the image has look-up tables, which this form cannot bring with a cutout among "
    "others: ask for a tar."
)


class BundleForm(StrEnum):
    """Forms of bundles."""

    TAR = "tar"
    MEF = "mef"
    ZARR = "zarr"


@dataclass(frozen=True, slots=True, eq=False)
class StampLabels:
    """What the stamps of a block are called and say of themselves.

    Parameters
    ----------
    names
        Unique in the bundle, and safe as names of files; up to 56 characters.
    cards : (n, 4 * 80)
        The cards of `astrolabe.images.stamps.template.STAMP_KEYWORDS`.
    moving
        Cards of each plane's header that move with the stamp's first pixel.
    common
        What all stamps of the image say.
    tables : (n, bytes), optional
        Look-up tables that each stamp's WCS refers to.
    """

    names: Sequence[str]
    cards: Bytes
    moving: Sequence[Sequence[MovingCard]]
    common: Mapping[str, CardValue]
    tables: Bytes | None = None


def safe_name(text: str, most: int) -> str:
    """Return text as a part of a file's name: no slashes, no dots in front, ASCII."""
    return _UNSAFE.sub("_", text).lstrip(".-")[:most] or "_"


class Bundle(ABC):
    """Writes one bundle.

    Parameters
    ----------
    path
        Of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    @abstractmethod
    def place_of(self, name: str) -> str:
        """Return where a cutout is found, for the index: a file's name, an extension's."""

    @abstractmethod
    def encode(self, block: StampBlock, labels: StampLabels) -> Callable[[], None]:
        """Encode stamps, in any thread; return what puts them into the file, for one thread.

        Raises
        ------
        ImageInvalidError
            Raised if this form cannot hold them.
        """

    @abstractmethod
    def add(
        self, name: str, planes: Sequence[FitsPlane], *, common: Mapping[str, CardValue]
    ) -> None:
        """Put one cutout into the file.

        Raises
        ------
        BadParameterError
            Raised if this form cannot hold it.
        """

    @abstractmethod
    def finish(self, index: pa.Table, header: ResultHeader) -> int:
        """Write the index and the end of the file; return its size (bytes)."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the file, finished or not."""


class _FileBundle(Bundle):
    """A bundle that is written from its begin to its end."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._file: BinaryIO = path.open("wb")
        self._made = int(time.time())

    def _writer(self, records: Bytes) -> Callable[[], None]:
        return lambda: _write_all(self._file, records)

    @override
    def close(self) -> None:
        self._file.close()


def _write_all(file: BinaryIO, records: Bytes) -> None:
    file.write(records.data)


class TarBundle(_FileBundle):
    """One tar (POSIX ustar) of FITS files, one a cutout, and the index as ECSV behind them."""

    @override
    def place_of(self, name: str) -> str:
        return f"{name}.fits"

    @override
    def encode(self, block: StampBlock, labels: StampLabels) -> Callable[[], None]:
        layout = RecordLayout(lead=TAR_BLOCK)
        writer = _RecordWriter(layout, block, labels)
        if len(block.planes) == 1:
            windows = block.planes[0]
            writer.add_plane(0, structure(windows.dtype, windows.shape), alone=True)
        else:
            writer.add_primary()
            for number, windows in enumerate(block.planes):
                name = windows.source.kind.upper()
                cards = structure(windows.dtype, windows.shape, extension=name)
                writer.add_plane(number, cards)
        writer.add_tables()
        size = layout.size - TAR_BLOCK
        layout.fill_up(TAR_BLOCK)
        records = writer.write()
        names = [self.place_of(name) for name in labels.names]
        paste_tar_headers(records, names, size, self._made)
        return self._writer(records)

    @override
    def add(
        self, name: str, planes: Sequence[FitsPlane], *, common: Mapping[str, CardValue]
    ) -> None:
        self._add_file(self.place_of(name), fits_file(planes, common=common))

    @override
    def finish(self, index: pa.Table, header: ResultHeader) -> int:
        self._add_file(INDEX_NAME, ecsv_bytes(index, header))
        end = self._file.tell() + 2 * TAR_BLOCK
        self._file.write(bytes(2 * TAR_BLOCK + -end % _TAR_RECORD))
        size = self._file.tell()
        self._file.close()
        return size

    def _add_file(self, name: str, content: bytes) -> None:
        self._file.write(tar_header(name, len(content), self._made))
        self._file.write(content)
        self._file.write(bytes(-len(content) % TAR_BLOCK))


class FitsBundle(_FileBundle):
    """One FITS file with an extension for each plane of each cutout, and a table as its index."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._file.write(primary_header({}))

    @override
    def place_of(self, name: str) -> str:
        return name.upper()

    @override
    def encode(self, block: StampBlock, labels: StampLabels) -> Callable[[], None]:
        if labels.tables is not None:
            raise ImageInvalidError(TABLES)
        writer = _RecordWriter(RecordLayout(), block, labels)
        for number, windows in enumerate(block.planes):
            cards = structure(windows.dtype, windows.shape, extension="")
            names = [self._extension(name, windows.source.kind) for name in labels.names]
            writer.add_plane(number, cards, alone=True, extensions=names)
        return self._writer(writer.write())

    @override
    def add(
        self, name: str, planes: Sequence[FitsPlane], *, common: Mapping[str, CardValue]
    ) -> None:
        for plane in planes:
            if plane.tables:
                raise BadParameterError(TABLES)
            kind = PlaneKind(plane.name.lower())
            cards = [
                *structure(
                    plane.data.dtype, plane.data.shape, extension=self._extension(name, kind)
                ),
                *own_cards(plane.header.replaced(common)),
            ]
            self._file.write(header_block(cards) + data_bytes(plane.data))

    @override
    def finish(self, index: pa.Table, header: ResultHeader) -> int:
        self._file.write(index_extension(index, header))
        size = self._file.tell()
        self._file.close()
        return size

    def _extension(self, name: str, kind: PlaneKind) -> str:
        suffix = "" if kind is PlaneKind.IMAGE else f"-{kind.value}"
        return self.place_of(name + suffix)


class _RecordWriter:
    """Lays out the records of a block and fills them."""

    def __init__(self, layout: RecordLayout, block: StampBlock, labels: StampLabels) -> None:
        self._layout, self._block, self._labels = layout, block, labels
        self._pasted: list[tuple[int, Bytes]] = []
        self._pixels: list[tuple[int, PlaneWindows]] = []

    def add_primary(self) -> None:
        """Add a primary header that says what all planes have in common."""
        cards = [
            *structure(np.uint8, ()),
            format_card("EXTEND", value=True),
            *self._common(),
        ]
        place = self._layout.add_header([*cards, *_room()])
        self._pasted.append((place + CARD * len(cards), self._labels.cards))

    def add_plane(
        self,
        number: int,
        described: list[str],
        *,
        alone: bool = False,
        extensions: Sequence[str] | None = None,
    ) -> None:
        """Add one plane.

        Parameters
        ----------
        number
            Of the plane in the block.
        described
            The cards that describe its array.
        alone
            Whether its header says what a primary header would.
        extensions
            EXTNAME of each stamp, where it is not the same for all.
        """
        windows = self._block.planes[number]
        cards = [*described, *own_cards(windows.source.header)]
        moving = self._labels.moving[number]
        missing = [card for card in moving if card_place(cards, card.keyword) is None]
        cards += [format_card(card.keyword, card.base) for card in missing]
        if alone:
            cards += self._common()
        place = self._layout.add_header([*cards, *(_room() if alone else ())])
        strip = self._block.strip
        for card in moving:
            where = card_place(cards, card.keyword)
            if where is None:
                raise InternalError(f"The header of stamps lost its card {card.keyword}.")
            self._pasted.append((place + where, card.pasted((strip.x, strip.y)[card.axis])))
        if extensions is not None:
            text = "".join(format_card(_EXTNAME, name) for name in extensions).encode("ascii")
            named = np.frombuffer(text, np.uint8).reshape(-1, CARD)
            self._pasted.append((place + (card_place(cards, _EXTNAME) or 0), named))
        if alone:
            self._pasted.append((place + CARD * len(cards), self._labels.cards))
        data = self._layout.add_data(windows.shape, storage_of(windows.dtype))
        self._pixels.append((data, windows))

    def add_tables(self) -> None:
        """Add the tables of the WCS, if there are any."""
        tables = self._labels.tables
        if tables is not None:
            self._pasted.append((self._layout.add_room(tables.shape[1]), tables))

    def write(self) -> Bytes:
        """Return all records."""
        records = self._layout.build(len(self._block))
        for place, cards in self._pasted:
            paste(records, place, cards)
        for place, windows in self._pixels:
            storage = storage_of(windows.dtype)
            if storage.bzero:
                # Taking half the range away turns the highest bit, and nothing else.
                unsigned = storage.stored.str.replace("i", "u")
                out = pixels_of(records, place, windows.shape, np.dtype(unsigned))
                raw = out.view(windows.dtype.newbyteorder(">"))
                windows.copy_to(raw)
                out ^= out.dtype.type(1 << (8 * out.dtype.itemsize - 1))
            else:
                windows.copy_to(pixels_of(records, place, windows.shape, storage.stored))
        return records

    def _common(self) -> list[str]:
        return [
            text[i : i + CARD]
            for keyword, value in self._labels.common.items()
            for text in (format_card(keyword, value),)
            for i in range(0, len(text), CARD)
        ]


def _room() -> list[str]:
    return [" " * CARD] * len(STAMP_KEYWORDS)


def ecsv_bytes(index: pa.Table, header: ResultHeader) -> bytes:
    """Return a table as ECSV."""
    writer = EcsvWriter(header)
    parts = [*writer.start()]
    for batch in index.to_batches(max_chunksize=50_000):
        parts += writer.write(batch)
    parts += writer.finish(overflow=False)
    writer.close()
    return b"".join(parts)


def index_extension(index: pa.Table, header: ResultHeader) -> bytes:
    """Return a table as an extension of a FITS file, called INDEX."""
    columns = {}
    for column in header.columns:
        array = index.column(column.name)
        if column.is_string:
            columns[column.name] = np.array(
                [(text or "").encode("ascii", "replace") for text in array.to_pylist()]
            )
        elif pa.types.is_integer(array.type):
            columns[column.name] = np.asarray(array.fill_null(pa.scalar(-1, array.type)))
        else:
            columns[column.name] = np.asarray(array.fill_null(pa.scalar(np.nan, array.type)))
    table = Table(columns)
    for column in header.columns:
        table[column.name].unit = column.unit
    hdu = fits.BinTableHDU(table, name="INDEX")
    out = BytesIO()
    hdu.writeto(out)
    content = out.getvalue()
    # astropy puts an empty primary HDU in front.
    return content[2880:]
