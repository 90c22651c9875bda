"""Opens images: headers and places of pixels from the index, pixels of any box from the file."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import structlog

from astrolabe.core.errors import ImageInvalidError
from astrolabe.images.files import ByteSource, ImageFiles
from astrolabe.images.fits.cards import FitsHeader
from astrolabe.images.fits.index import FileIndex, PlaneIndex, build_index
from astrolabe.images.fits.planes import Box, TileCache, read_box, whole_box
from astrolabe.images.model import ImageRecord, PlaneKind
from astrolabe.images.wcs import ImageWcs
from astrolabe.images.wcs_cards import bare_header

__all__ = ["ImageReader", "OpenFile", "OpenImage", "Plane"]

_LOG = structlog.get_logger(__name__)


class Plane:
    """The pixels of one HDU.

    Parameters
    ----------
    index
        Where they are.
    source
        The file.
    cache
        Of unpacked tiles.
    token
        Names the file and its version in the cache.
    primary
        The header of the file's primary HDU, from which others may inherit.
    """

    def __init__(
        self,
        index: PlaneIndex,
        source: ByteSource,
        *,
        cache: TileCache | None,
        token: str,
        primary: FitsHeader | None = None,
    ) -> None:
        self.index = index
        self._primary = primary
        self.source, self._cache, self._token = source, cache, token

    @property
    def hdu(self) -> int:
        """Number of the HDU, the primary one being 0."""
        return self.index.hdu

    @property
    def shape(self) -> tuple[int, ...]:
        """Pixels along each axis in NumPy's order: x is the last one."""
        return self.index.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels that `read` gives."""
        return self.index.dtype

    @property
    def header(self) -> FitsHeader:
        """The image's header, of a compressed one as it is after decompression."""
        return self.index.header

    def read(self, box: Box, *, keep: bool = True) -> npt.NDArray[Any]:
        """Return the pixels of a box, scaled, in the machine's byte order.

        Parameters
        ----------
        box
            First pixel and the one after the last along each axis, in NumPy's order.
        keep
            Whether unpacked tiles are kept for others who may need them.

        Raises
        ------
        BadParameterError
            Raised if the box does not lie within the image.
        ImageInvalidError
            Raised if the file is broken or was changed.
        """
        return read_box(
            self.index, self.source, box, cache=self._cache, token=self._token, keep=keep
        )

    def read_whole(self) -> npt.NDArray[Any]:
        """Return all pixels; tiles are not kept."""
        return read_box(self.index, self.source, whole_box(self.shape))

    @property
    def primary_header(self) -> FitsHeader | None:
        """The header of the file's primary HDU, `None` if this is that one."""
        return self._primary

    @cached_property
    def bare_header(self) -> FitsHeader:
        """The header without what says how pixels are stored, nor sums over all of them.

        What it inherits from the primary HDU (FITS 4.0, appendix K) stands behind its own cards.
        """
        return bare_header(self.header, self._primary)

    @cached_property
    def wcs(self) -> ImageWcs | None:
        """The WCS of this HDU; `None` if its axes have no position, wavelength or time."""
        return ImageWcs.of_image(self.header, self.shape, tables=self.index.wcs_tables)


class OpenFile:
    """All images of a file, for those who ask for no record (imports and tools).

    Parameters
    ----------
    source
        The file.
    index
        Its index.
    cache
        Of unpacked tiles.
    """

    def __init__(self, source: ByteSource, index: FileIndex, cache: TileCache | None) -> None:
        self.source, self.index = source, index
        self._cache = cache
        self._planes: dict[int, Plane] = {}
        self._token = f"{source.uri}\0{source.stat.signature}"

    def rebind(self, source: ByteSource) -> None:
        """Read from another source of the same file from now on: one that is kept open."""
        if source is not self.source:
            self.source = source
            for plane in list(self._planes.values()):
                plane.source = source

    def plane(self, hdu: int) -> Plane:
        """Return the image of an HDU.

        Raises
        ------
        ImageInvalidError
            Raised if that HDU has none.
        """
        plane = self._planes.get(hdu)
        if plane is None:
            index = self.index.plane(hdu)
            plane = Plane(
                index,
                self.source,
                cache=self._cache,
                token=self._token,
                primary=self.index.headers[0] if hdu else None,
            )
            # Two threads may make it at once; either one serves.
            self._planes[hdu] = plane
        return plane


class OpenImage:
    """One image, ready to be read.

    Parameters
    ----------
    record
        What is kept of it.
    file
        Its file.
    """

    def __init__(self, record: ImageRecord, file: OpenFile) -> None:
        self.record, self.file = record, file
        self.planes: Mapping[PlaneKind, Plane] = {
            kind: file.plane(hdu) for kind, hdu in record.planes.items()
        }
        if PlaneKind.IMAGE not in self.planes:
            raise ImageInvalidError(f"The image {record.key.path} has no science plane.")

    @property
    def image(self) -> Plane:
        """The science plane."""
        return self.planes[PlaneKind.IMAGE]

    @property
    def wcs(self) -> ImageWcs | None:
        """The WCS of the science plane."""
        return self.image.wcs


class ImageReader:
    """Opens images and keeps the headers and indexes of those last used; for many threads.

    Parameters
    ----------
    files
        Opens their files.
    folder
        Of the indexes.
    cache_bytes
        Memory for unpacked tiles.
    open_images
        How many images to keep open.
    """

    def __init__(
        self, files: ImageFiles, folder: Path, *, cache_bytes: int, open_images: int
    ) -> None:
        self.files = files
        self._folder = folder
        self._cache = TileCache(cache_bytes)
        self._limit = open_images
        self._lock = threading.Lock()
        self._images: OrderedDict[tuple[str, str, str, str], OpenImage] = OrderedDict()

    @property
    def cached_bytes(self) -> int:
        """Memory of the unpacked tiles that are kept now."""
        return self._cache.used_bytes

    def open(self, record: ImageRecord) -> OpenImage:
        """Return an image of a record; nothing of the file is read before pixels are asked for.

        Raises
        ------
        ImageInvalidError
            Raised if the file is gone or has another size than when it was imported, or if there
            is no usable index and the file is broken.
        """
        key = (*record.key.folded, record.signature, record.index_path)
        with self._lock:
            known = self._images.get(key)
            if known is not None:
                self._images.move_to_end(key)
        source = self.files.open_known(record.uri, record.size_bytes)
        if known is not None and known.file.source.stat == source.stat:
            known.file.rebind(source)
            known.record = record  # its rights or columns may have changed
            return known
        file = OpenFile(source, self._index(record, source), self._cache)
        image = OpenImage(record, file)
        with self._lock:
            self._images[key] = image
            while len(self._images) > self._limit:
                self._images.popitem(last=False)
        return image

    def open_file(self, uri: str) -> OpenFile:
        """Read the headers of any file: for imports and tools, never for what a request names.

        Raises
        ------
        BadParameterError, NotFoundError
            Raised if there is no such file.
        ImageInvalidError
            Raised if it is no FITS file or broken.
        """
        source = self.files.open(uri)
        return OpenFile(source, build_index(source), self._cache)

    def _index(self, record: ImageRecord, source: ByteSource) -> FileIndex:
        path = self._folder / record.index_path
        try:
            index = FileIndex.from_bytes(path.read_bytes())
        except (OSError, ImageInvalidError) as exc:
            # Slower, but right: the file itself says everything.
            _LOG.warning("image.index_unusable", path=str(path), reason=str(exc))
            return build_index(source)
        if index.size != source.size:
            raise ImageInvalidError(
                f"The file of the image {record.key.path} has {source.size:,} bytes, but "
                f"{index.size:,} when it was imported: import it again."
            )
        return index
