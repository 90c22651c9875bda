"""Makes bundles of stamps: grouped by image, so that each file is opened and unpacked once."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from astrolabe.core.errors import (
    AstrolabeError,
    CancelledError,
    ImageInvalidError,
    QueryTimeoutError,
    StorageFullError,
    TooLargeError,
)
from astrolabe.core.memory import give_back_memory
from astrolabe.images.cutouts import Stencil, provenance_cards
from astrolabe.images.model import ImageRecord
from astrolabe.images.reader import ImageReader
from astrolabe.images.stamps.cutting import Strip, cut_strip, inside_fraction, strips
from astrolabe.images.stamps.finding import PositionTree
from astrolabe.images.stamps.index import StampIndex, index_header
from astrolabe.images.stamps.opening import StampImage, open_for_stamps
from astrolabe.images.stamps.request import StampLimits, StampReport, StampRequest
from astrolabe.images.stamps.template import stamp_cards
from astrolabe.images.writers.bundles import (
    Bundle,
    BundleForm,
    FitsBundle,
    StampLabels,
    TarBundle,
)
from astrolabe.tables.model import Info

__all__ = ["StampMaker", "open_bundle"]

IntArray = npt.NDArray[np.int64]

OFF_ALL_IMAGES: Final = "the position lies on none of the images"
NO_POSITION: Final = "the row has no position"
_STENCIL: Final = Stencil(label="stamp around STAMPRA, STAMPDEC")
_PIXELS_BETWEEN: Final = 60_000_000
"""After how many pixels of stamps freed memory is given back."""
_ENDS_ALL: Final = (CancelledError, QueryTimeoutError, StorageFullError, TooLargeError)


def open_bundle(form: BundleForm, path: Path) -> Bundle:
    """Begin a bundle of a form in a file."""
    match form:
        case BundleForm.TAR:
            return TarBundle(path)
        case BundleForm.MEF:
            return FitsBundle(path)
        case BundleForm.ZARR:
            # Zarr takes half a second to import, which most processes never need.
            from astrolabe.images.writers.zarr_bundle import ZarrBundle  # noqa: PLC0415

            return ZarrBundle(path)


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Some stamps of an image, encoded for the bundle, or the reason why there are none."""

    image: StampImage
    strip: Strip
    places: IntArray
    put: Callable[[], None] = lambda: None
    names: tuple[str, ...] = ()
    reason: str = ""


class StampMaker:
    """Cuts stamps around a table of positions from many images.

    Parameters
    ----------
    reader
        Opens the images.
    authority
        Of their identifiers.
    workers
        Threads that read and encode.
    """

    def __init__(self, reader: ImageReader, *, authority: str, workers: int = 2) -> None:
        self._reader = reader
        self._authority = authority
        self._workers = workers

    def make(
        self,
        request: StampRequest,
        records: Iterable[ImageRecord],
        path: Path,
        form: BundleForm,
        *,
        limits: StampLimits | None = None,
        check: Callable[[], None] = lambda: None,
        progress: Callable[[StampReport], None] = lambda _report: None,
    ) -> StampReport:
        """Write one bundle of all stamps and an index of what became of each position.

        A position gets a stamp from each image that it lies on; a stamp that goes over the edge
        is filled up with NaN (integers: 0).  What cannot be read is listed with its reason and
        ends nothing.

        Parameters
        ----------
        request
            What is asked for.
        records
            The images, which the caller has the right to read.
        path, form
            Of the bundle.
        limits
            What bounds it.
        check
            Called often; raises to end the work.
        progress
            Told how far it is.

        Raises
        ------
        TooLargeError
            Raised if it would be more than the limits allow.
        """
        run = _Run(self, request, limits or StampLimits(), check, progress)
        with open_bundle(form, path) as bundle:
            return run.into(bundle, records)

    def open(
        self, record: ImageRecord, request: StampRequest, rows: IntArray, number: int
    ) -> StampImage:
        """Open an image for the stamps of rows that may lie on it.

        Raises
        ------
        NotFoundError
            Raised if its file is gone.
        ImageInvalidError
            Raised if it is broken or no stamps can be cut from it.
        """
        did = record.key.did(self._authority)
        common = provenance_cards(record, _STENCIL, authority=self._authority)
        image = self._reader.open(record)
        return open_for_stamps(image, request, rows, did=did, number=number, common=common)

    @property
    def workers(self) -> int:
        """Threads that read and encode."""
        return self._workers

    def did(self, record: ImageRecord) -> str:
        """Return the identifier of an image."""
        return record.key.did(self._authority)


class _Run:
    """One bundle in the making."""

    def __init__(
        self,
        maker: StampMaker,
        request: StampRequest,
        limits: StampLimits,
        check: Callable[[], None],
        progress: Callable[[StampReport], None],
    ) -> None:
        self._maker, self._request, self._limits = maker, request, limits
        self._check, self._progress = check, progress
        self._report = StampReport()
        self._index = StampIndex(request.positions)
        self._reasons: Counter[str] = Counter()
        self._planned = self._planned_pixels = 0
        self._pixels_before = 0

    def into(self, bundle: Bundle, records: Iterable[ImageRecord]) -> StampReport:
        """Write everything."""
        with ThreadPoolExecutor(self._maker.workers, thread_name_prefix="stamps") as pool:
            waiting: deque[Future[list[_Part]]] = deque()
            try:
                for image, strip, places in self._strips(records):
                    self._check()
                    waiting.append(pool.submit(self._encode, bundle, image, strip, places))
                    if len(waiting) > self._maker.workers:
                        self._take(bundle, waiting.popleft())
                while waiting:
                    self._check()
                    self._take(bundle, waiting.popleft())
            finally:
                for future in waiting:
                    future.cancel()
        self._note_missing()
        infos = [Info(name="STAMPS", value=str(self._report.stamps))]
        self._report.bytes_written = bundle.finish(self._index.table(), index_header(infos))
        self._report.reasons = dict(self._reasons)
        if self._report.pixels > _PIXELS_BETWEEN:
            give_back_memory()
        self._progress(self._report)
        return self._report

    def _strips(
        self, records: Iterable[ImageRecord]
    ) -> Iterator[tuple[StampImage, Strip, IntArray]]:
        positions = self._request.positions
        tree = PositionTree(positions.ra_deg, positions.dec_deg)
        for number, (record, rows) in enumerate(tree.match(records), start=1):
            self._check()
            try:
                image = self._maker.open(record, self._request, rows, number)
            except _ENDS_ALL:
                raise
            except AstrolabeError as exc:
                self._fail(rows, self._maker.did(record), exc.message)
                continue
            self._report.images += 1
            yield from self._strips_of(image)

    def _strips_of(self, image: StampImage) -> Iterator[tuple[StampImage, Strip, IntArray]]:
        depth = max(plane.plane.dtype.itemsize for plane in image.planes)
        fits = image.pixels * depth <= self._limits.stamp_bytes
        if not fits.all():
            self._fail(
                image.rows[~fits],
                image.did,
                f"the stamp would have more than {self._limits.stamp_bytes:,} bytes",
            )
        chosen = np.flatnonzero(fits)
        self._bound(len(chosen), int(image.pixels[chosen].sum()))
        if not len(chosen):
            return
        x, y = image.first
        for strip in strips(image.planes, chosen, x[chosen], y[chosen], image.sides[chosen]):
            # Until here `rows` are places in the image's own list of positions.
            places = strip.rows
            own = Strip(
                strip.width, strip.height, image.rows[places], strip.x, strip.y, strip.sparse
            )
            yield image, own, places

    def _bound(self, stamps: int, pixels: int) -> None:
        self._planned += stamps
        self._planned_pixels += pixels
        if self._planned > self._limits.stamps:
            raise TooLargeError(
                f"The positions lie on so many images that there would be more than "
                f"{self._limits.stamps:,} stamps; name fewer images or positions."
            )
        if self._planned_pixels > self._limits.pixels:
            raise TooLargeError(
                f"The stamps have more than {self._limits.pixels / 1e6:,.0f} million pixels "
                "together; ask for smaller or fewer ones."
            )

    def _encode(
        self, bundle: Bundle, image: StampImage, strip: Strip, places: IntArray
    ) -> list[_Part]:
        """Read and encode stamps; in any thread."""
        try:
            return [self._encode_whole(bundle, image, strip, places)]
        except ImageInvalidError as exc:
            if len(strip) == 1:
                return [_Part(image, strip, places, reason=exc.message)]
        # Something in the strip is broken: what does not need it is still good.
        parts = []
        for n in range(len(strip)):
            self._check()
            one = slice(n, n + 1)
            single = Strip(
                strip.width, strip.height, strip.rows[one], strip.x[one], strip.y[one], sparse=True
            )
            parts += self._encode(bundle, image, single, places[one])
        return parts

    def _encode_whole(
        self, bundle: Bundle, image: StampImage, strip: Strip, places: IntArray
    ) -> _Part:
        positions = self._request.positions
        names = image.names(strip.rows, positions.ids)
        labels = StampLabels(
            names=names,
            cards=stamp_cards(strip.rows, positions.ids, positions.ra_deg, positions.dec_deg),
            moving=image.moving,
            common=image.common,
            tables=image.tables(strip),
        )
        put = bundle.encode(cut_strip(image.planes, strip), labels)
        return _Part(image, strip, places, put, tuple(names))

    def _take(self, bundle: Bundle, future: Future[list[_Part]]) -> None:
        for part in future.result():
            image, strip = part.image, part.strip
            if part.reason:
                self._fail(strip.rows, image.did, part.reason)
                continue
            part.put()
            self._index.add(
                strip.rows,
                image.did,
                names=[bundle.place_of(name) for name in part.names],
                x=image.x[part.places],
                y=image.y[part.places],
                first=(strip.x, strip.y),
                size=(strip.width, strip.height),
                inside=inside_fraction(strip, image.planes[0].plane.shape),
            )
            self._report.stamps += len(strip)
            self._report.pixels += int(image.pixels[part.places].sum())
        if self._report.pixels - self._pixels_before > _PIXELS_BETWEEN:
            self._pixels_before = self._report.pixels
            give_back_memory()
        self._progress(self._report)

    def _fail(self, rows: IntArray, did: str, reason: str) -> None:
        self._index.add_failed(rows, did, reason)
        self._reasons[reason] += len(rows)
        self._report.failed += len(rows)

    def _note_missing(self) -> None:
        positions = self._request.positions
        rows = self._index.missing()
        known = np.isfinite(positions.ra_deg[rows]) & np.isfinite(positions.dec_deg[rows])
        for chosen, reason in ((rows[known], OFF_ALL_IMAGES), (rows[~known], NO_POSITION)):
            if len(chosen):
                self._fail(chosen, "", reason)
