"""Bundles as one Zarr 3 store in a ZIP file: stamps of one size are one array.

The store has the groups ``stamps/{width}x{height}`` (with the leading axes of cubes in front), each
with an array for each plane (stamp, ..., y, x) and with ``row x0 y0 source`` for each stamp;
``sources`` lists the images, their identifiers and their headers: the WCS of a stamp is that of its
source with CRPIX1 less by x0 and CRPIX2 by y0.  Single cutouts are ``cutouts/{name}/{plane}``.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import zarr
from typing_extensions import override
from zarr.codecs import ZstdCodec
from zarr.storage import LocalStore

from astrolabe.core.errors import ImageInvalidError
from astrolabe.images.fits.cards import CARD, CardValue, FitsHeader
from astrolabe.images.stamps.cutting import StampBlock
from astrolabe.images.writers.bundles import INDEX_NAME, TABLES, Bundle, StampLabels, ecsv_bytes
from astrolabe.images.writers.fits import FitsPlane, own_cards
from astrolabe.tables.model import ResultHeader

__all__ = ["ZarrBundle"]

AnyArray = npt.NDArray[Any]

_CHUNK_BYTES: Final = 4 << 20
_CHUNK_STAMPS: Final = 1_024


@dataclass(frozen=True, slots=True, eq=False)
class _Encoded:
    """A block's arrays by their names, and the source that they come from."""

    group: str
    arrays: Mapping[str, AnyArray]
    common: Mapping[str, CardValue]
    header: FitsHeader


@dataclass(slots=True)
class _Growing:
    """An array that grows by whole chunks; what does not fill one waits."""

    array: Any
    chunk: int
    waiting: list[AnyArray] = field(default_factory=list)
    count: int = 0
    written: int = 0

    def add(self, part: AnyArray) -> None:
        self.waiting.append(part)
        self.count += len(part)
        ready = (self.count - self.written) // self.chunk * self.chunk
        if ready:
            self._write(ready)

    def end(self) -> None:
        self._write(self.count - self.written)

    def _write(self, rows: int) -> None:
        if not rows:
            return
        together = np.concatenate(self.waiting)
        self.array.resize((self.written + rows, *self.array.shape[1:]))
        self.array[self.written : self.written + rows] = together[:rows]
        self.waiting = [together[rows:].copy()] if rows < len(together) else []
        self.written += rows


class ZarrBundle(Bundle):
    """Writes a Zarr store into a folder beside the file and packs it up at the end.

    A ZIP file cannot be changed once written, and arrays grow; the folder goes with `close`.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._folder = path.with_name(f"{path.name}.zarr")
        shutil.rmtree(self._folder, ignore_errors=True)
        self._root = zarr.create_group(LocalStore(self._folder), zarr_format=3)
        self._arrays: dict[str, _Growing] = {}
        self._sources: dict[str, int] = {}
        self._described: list[dict[str, Any]] = []

    @override
    def place_of(self, name: str) -> str:
        return name

    @override
    def encode(self, block: StampBlock, labels: StampLabels) -> Callable[[], None]:
        if labels.tables is not None:
            raise ImageInvalidError(TABLES)
        arrays: dict[str, AnyArray] = {}
        for windows in block.planes:
            pixels = np.empty((len(block), *windows.shape), windows.dtype)
            windows.copy_to(pixels)
            arrays[windows.source.kind.value] = pixels
        strip, first = block.strip, block.planes[0]
        arrays |= {"row": strip.rows + 1, "x0": strip.x, "y0": strip.y}
        shape = "x".join(str(length) for length in reversed(first.shape))
        # Images of other types or planes get arrays of their own.
        types = "_".join(f"{w.source.kind.value}-{w.dtype.name}" for w in block.planes)
        plain = len(block.planes) == 1 and first.dtype == np.float32
        group = f"stamps/{shape}" if plain else f"stamps/{shape}_{types}"
        encoded = _Encoded(group, arrays, labels.common, first.source.header)
        return partial(self._append, encoded)

    def _append(self, encoded: _Encoded) -> None:
        source = self._source(encoded)
        count = len(encoded.arrays["row"])
        arrays = {**encoded.arrays, "source": np.full(count, source, np.int32)}
        for name, values in arrays.items():
            path = f"{encoded.group}/{name}"
            growing = self._arrays.get(path)
            if growing is None:
                growing = self._arrays[path] = self._create(path, values)
            growing.add(values)

    @override
    def add(
        self, name: str, planes: Sequence[FitsPlane], *, common: Mapping[str, CardValue]
    ) -> None:
        for plane in planes:
            data = np.ascontiguousarray(plane.data)
            path = f"cutouts/{name}/{plane.name.lower()}"
            array = self._root.create_array(
                path,
                shape=data.shape,
                chunks=tuple(max(1, min(length, 1024)) for length in data.shape),
                dtype=data.dtype,
                compressors=[ZstdCodec(level=3)],
                dimension_names=_axes(data.ndim),
            )
            array[...] = data
            array.attrs.update({"header": _lines(plane.header.replaced(common))})

    @override
    def finish(self, index: pa.Table, header: ResultHeader) -> int:
        for growing in self._arrays.values():
            growing.end()
        self._root.attrs.update({"sources": self._described, "index": INDEX_NAME})
        with zipfile.ZipFile(self.path, "w", zipfile.ZIP_STORED) as packed:
            for file in sorted(self._folder.rglob("*")):
                if file.is_file():
                    packed.write(file, file.relative_to(self._folder).as_posix())
            packed.writestr(INDEX_NAME, ecsv_bytes(index, header))
        self.close()
        return self.path.stat().st_size

    @override
    def close(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def _source(self, encoded: _Encoded) -> int:
        did = str(encoded.common["SRCDID"])
        number = self._sources.get(did)
        if number is None:
            number = self._sources[did] = len(self._described)
            header = FitsHeader(own_cards(encoded.header.replaced(encoded.common)))
            self._described.append({"did": did, "header": _lines(header)})
        return number

    def _create(self, path: str, values: AnyArray) -> _Growing:
        is_image = values.ndim > 1
        stamp_bytes = max(1, values[0].nbytes)
        chunk = max(1, min(_CHUNK_STAMPS, _CHUNK_BYTES // stamp_bytes)) if is_image else 65_536
        array = self._root.create_array(
            path,
            shape=(0, *values.shape[1:]),
            chunks=(chunk, *values.shape[1:]),
            dtype=values.dtype,
            # Noise hardly gets smaller: speed matters more.
            compressors=[ZstdCodec(level=1)],
            dimension_names=("stamp", *_axes(values.ndim - 1)),
        )
        return _Growing(array, chunk)


def _axes(count: int) -> tuple[str, ...]:
    return tuple(["z", "y", "x"][3 - count :]) if count <= 3 else (
        *(f"axis{number}" for number in range(count, 3, -1)), "z", "y", "x"
    )  # fmt: skip


def _lines(header: FitsHeader) -> list[str]:
    return [card[:CARD].rstrip() for card in header.cards]
