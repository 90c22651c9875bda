"""Cutouts for callers: finds the images with their rights, cuts, and writes what they asked for."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from astrolabe.catalogs.engine import CancelToken
from astrolabe.catalogs.uploads import UploadedTable
from astrolabe.core.errors import (
    AstrolabeError,
    BadParameterError,
    CancelledError,
    ImageInvalidError,
    NoOverlapError,
    NotFoundError,
    TooLargeError,
)
from astrolabe.core.storage import full_disk_is_storage_full
from astrolabe.identity import Principal
from astrolabe.identity.quotas import Quotas
from astrolabe.images.access import ImageAccess
from astrolabe.images.assembly import ImageOptions
from astrolabe.images.cutouts import Stencil
from astrolabe.images.model import ImageKey, ImageRecord
from astrolabe.images.reader import ImageReader
from astrolabe.images.soda.bundling import CutoutBundle
from astrolabe.images.soda.choosing import StampImages, read_image_keys
from astrolabe.images.soda.cutting import Budget, Cutting
from astrolabe.images.soda.positions import Positions, read_positions
from astrolabe.images.soda.request import IMAGES_TABLE, SodaRequest
from astrolabe.images.soda.writing import Part, color_picture, cutout_chunks
from astrolabe.images.stamps.maker import StampMaker, open_bundle
from astrolabe.images.stamps.request import StampLimits, StampReport, StampRequest
from astrolabe.images.writers.bundles import BundleForm

__all__ = ["Found", "SodaService"]

Found = Mapping[tuple[str, str], ImageRecord]
"""Images by `ImageKey.folded`."""

_CHUNK_BYTES: Final = 1 << 20
_MILLION: Final = 1_000_000
_STAMP_PIXEL_BYTES: Final = 4
_OF_ONE_CUTOUT: Final = (NoOverlapError, BadParameterError, ImageInvalidError, NotFoundError)
"""What can be wrong with one cutout of many."""


class SodaService:
    """Cuts images.  Safe to use from many threads.

    Parameters
    ----------
    access
        Finds images that a caller may read.
    images
        Chooses those of stamps.
    reader
        Reads their pixels.
    quotas
        Count what is read.
    options
        The settings section ``images``.
    authority
        Of identifiers.
    scratch
        Folder for files that are gone when they have been sent.
    """

    def __init__(
        self,
        *,
        access: ImageAccess,
        images: StampImages,
        reader: ImageReader,
        quotas: Quotas,
        options: ImageOptions,
        authority: str,
        scratch: Path,
    ) -> None:
        self.authority = authority
        self._access = access
        self._chooses = images
        self._stamp_maker = StampMaker(reader, authority=authority)
        self._reader = reader
        self._quotas = quotas
        self._options = options
        self._scratch = scratch

    def find(self, request: SodaRequest, principal: Principal) -> Found:
        """Return the images that a request names.

        Raises
        ------
        NotFoundError
            Raised if there is one that the caller may not see.
        UnauthenticatedError, ForbiddenError
            Raised if he may see one but not read it.
        """
        keys = request.images
        found = self._access.find(principal, keys)
        for key in keys:
            record = found.get(key.folded)
            if record is None:
                raise NotFoundError(
                    f"There is no image {key.image_id!r} in the collection {key.collection!r}."
                )
            self._access.require_read(principal, record)
        return found

    def require_few(self, request: SodaRequest) -> None:
        """Make sure that a request asks for no more cutouts than one may.

        Raises
        ------
        TooLargeError
            Raised if it does.
        """
        if request.count > self._options.job_cutouts:
            raise TooLargeError(
                f"That is {request.count:,} cutouts: {len(request.keys):,} images with "
                f"{len(request.stencils):,} stencils each. At most {self._options.job_cutouts:,} "
                "are made at once (setting images.job_cutouts); for stamps around many positions "
                "send a table of them."
            )

    def sync_cutting(
        self, principal: Principal, *, address: str | None, cancel: CancelToken
    ) -> Cutting:
        """Return what a sync request may cut."""
        budget = Budget(
            self._options.sync_mpix,
            setting="sync_mpix",
            advice="Ask for a smaller region or fewer planes, or send the same as a job.",
        )
        return self._cutting(principal, address, cancel, budget)

    def job_cutting(
        self, principal: Principal, *, address: str | None, cancel: CancelToken
    ) -> Cutting:
        """Return what a job may cut."""
        budget = Budget(
            self._options.job_mpix, setting="job_mpix", advice="Divide the job into smaller ones."
        )
        return self._cutting(principal, address, cancel, budget)

    def sync(self, request: SodaRequest, found: Found, cutting: Cutting) -> Iterator[bytes]:
        """Yield the answer to a request that one file can hold.

        Raises
        ------
        NoOverlapError
            Raised if there is nothing to give.
        TooLargeError, BadParameterError, ImageInvalidError, QuotaExceededError
            Raised as by `cutout`.
        """
        self.require_few(request)
        if not request.output.kind.is_bundle:
            ((_, image, stencil),) = self.combinations(request)
            yield from self.cutout(request, image, stencil, found, cutting)
            return
        with tempfile.TemporaryDirectory(dir=self._scratch, prefix="cutouts-") as folder:
            path = Path(folder) / "bundle"
            with full_disk_is_storage_full("the cutouts"):
                made = self.bundle(request, found, cutting, path)
            if made == 0:
                raise NoOverlapError("None of the regions lies on any of the images.")
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk

    def combinations(self, request: SodaRequest) -> Iterator[tuple[int, ImageKey | None, Stencil]]:
        """Yield every cutout's number from 1, its image (none in colours) and its stencil."""
        keys: tuple[ImageKey | None, ...] = (None,) if request.rgb else request.keys
        pairs = ((key, stencil) for key in keys for stencil in request.stencils)
        for number, (key, stencil) in enumerate(pairs, start=1):
            yield number, key, stencil

    def cutout(
        self,
        request: SodaRequest,
        key: ImageKey | None,
        stencil: Stencil,
        found: Found,
        cutting: Cutting,
    ) -> Iterator[bytes]:
        """Yield one cutout in a form that holds one.

        Parameters
        ----------
        request
            What is asked for.
        key
            The image; `None` for a picture in colours.
        stencil
            What is cut out of it.
        found
            What `find` gave.
        cutting
            Counts the pixels before they are read.

        Raises
        ------
        NoOverlapError
            Raised if image and stencil have nothing in common.
        TooLargeError, BadParameterError, ImageInvalidError, NotFoundError, QuotaExceededError
            Raised if it is too much, a plane is missing, or the file is broken or gone.
        """
        most = self._options.sync_mpix * _MILLION
        form = request.output.kind
        if key is None:
            parts = [self._part(request, found, each, stencil) for each in request.rgb or ()]
            yield color_picture(parts, form, request.style, cutting, max_pixels=most)
            return
        part = self._part(request, found, key, stencil)
        yield from cutout_chunks(part, form, request.style, cutting, max_pixels=most)

    def bundle(self, request: SodaRequest, found: Found, cutting: Cutting, path: Path) -> int:
        """Write every combination into one file; return how many cutouts are in it.

        What cannot be cut is listed in the index with the reason.

        Raises
        ------
        TooLargeError, QuotaExceededError, CancelledError, QueryTimeoutError, StorageFullError
            Raised if all is too much, or nobody waits any more.
        AstrolabeError
            Raised if there is no cutout at all, for another reason than that none overlaps.
        """
        made = 0
        trouble: AstrolabeError | None = None
        with open_bundle(BundleForm(request.output.kind.value), path) as file:
            bundle = CutoutBundle(file)
            for number, key, stencil in self.combinations(request):
                if key is None:
                    continue
                did = found[key.folded].key.did(self.authority)
                try:
                    part = self._part(request, found, key, stencil)
                    cutting.begin(part.pixels, part.size_bytes)
                    bundle.add(number, part, did, max_pixels=self._options.sync_mpix * _MILLION)
                    made += 1
                except _OF_ONE_CUTOUT as exc:
                    if not isinstance(exc, NoOverlapError):
                        trouble = trouble or exc
                    bundle.add_failed(number, stencil, did, exc.message)
            if made == 0 and trouble is not None:
                raise trouble
            bundle.finish()
        return made

    def stamps(
        self,
        request: SodaRequest,
        tables: Sequence[UploadedTable],
        cutting: Cutting,
        path: Path,
        *,
        progress: Callable[[StampReport], None],
    ) -> StampReport:
        """Write stamps around a table of positions into one file.

        Parameters
        ----------
        request
            Says from which images, which planes and how large.
        tables
            What UPLOAD named: the positions, and perhaps the images.
        cutting
            The request that they belong to.
        path
            Of the file.
        progress
            Told how far it is.

        Raises
        ------
        NotFoundError, UnauthenticatedError, ForbiddenError
            Raised if the request names an image that is not there for the caller.
        TooLargeError, QuotaExceededError, CancelledError, QueryTimeoutError, StorageFullError
            Raised if all is too much, or nobody waits any more.
        """
        images, others = _divided(tables)
        positions = read_positions(others, most=self.most_stamps)
        records = self._records(request, images, positions, cutting)
        charged = 0

        def told(report: StampReport) -> None:
            nonlocal charged
            cutting.charge(_STAMP_PIXEL_BYTES * (report.pixels - charged))
            charged = report.pixels
            progress(report)

        return self._stamp_maker.make(
            StampRequest(positions=positions, planes=request.planes, size_deg=request.size_deg),
            records,
            path,
            BundleForm(request.output.kind.value),
            limits=StampLimits(stamps=self.most_stamps, pixels=cutting.budget.left),
            check=cutting.cancel.raise_if_set,
            progress=told,
        )

    @property
    def most_stamps(self) -> int:
        """Most stamps of one job, and most positions."""
        return self._options.job_stamps

    def _records(
        self,
        request: SodaRequest,
        images: UploadedTable | None,
        positions: Positions,
        cutting: Cutting,
    ) -> Iterable[ImageRecord]:
        """Return the images that positions are looked for on.

        Of a collection and of a table, those that the caller may not read are passed over.
        """
        choice, most = request.choice, self.most_stamps
        if images is not None:
            keys = read_image_keys(images, authority=self.authority, most=most)
            return self._chooses.named(keys, choice, cutting)
        if choice.collection is not None:
            return self._chooses.of_collection(choice, positions, cutting, most=most)
        return filter(choice.holds, self.find(request, cutting.principal).values())

    @staticmethod
    def concerns_one(error: AstrolabeError) -> bool:
        """Whether an error says something of one cutout, and nothing of others."""
        return isinstance(error, _OF_ONE_CUTOUT) and not isinstance(error, CancelledError)

    def _part(self, request: SodaRequest, found: Found, key: ImageKey, stencil: Stencil) -> Part:
        image = self._reader.open(found[key.folded])
        return Part(image, stencil, request.planes, authority=self.authority)

    def _cutting(
        self,
        principal: Principal,
        address: str | None,
        cancel: CancelToken,
        budget: Budget,
    ) -> Cutting:
        return Cutting(
            principal=principal,
            address=address,
            cancel=cancel,
            budget=budget,
            quotas=self._quotas,
        )


def _divided(
    tables: Sequence[UploadedTable],
) -> tuple[UploadedTable | None, list[UploadedTable]]:
    """Return the table of images, if there is one, and the others."""
    images, others = None, []
    for table in tables:
        if table.meta.name.lower() == IMAGES_TABLE:
            images = table
        else:
            others.append(table)
    return images, others
