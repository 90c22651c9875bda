"""Mosaics for callers: finds the images with their rights, says the cost, and makes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from astrolabe.catalogs.engine import CancelToken
from astrolabe.catalogs.query import QueryRequest, QueryService
from astrolabe.core.errors import (
    BadParameterError,
    NoOverlapError,
    NotFoundError,
    TooLargeError,
)
from astrolabe.identity import Principal
from astrolabe.identity.quotas import Quotas
from astrolabe.images.access import ImageAccess
from astrolabe.images.model import ImageRecord, parse_image_did
from astrolabe.images.mosaics.grid import (
    OutputGrid,
    grid_of_header,
    grid_of_region,
    region_of_grid,
)
from astrolabe.images.mosaics.making import MosaicMaker
from astrolabe.images.mosaics.planning import (
    MosaicPlan,
    on_one_scale,
    place_images,
    resolve_combine,
)
from astrolabe.images.mosaics.request import MosaicRequest
from astrolabe.images.obscore.search import footprint_condition
from astrolabe.images.reader import ImageReader
from astrolabe.images.regions import SkyRegion

if TYPE_CHECKING:
    from astrolabe.images.assembly import ImageOptions

__all__ = ["MosaicService"]

_MILLION: Final = 1_000_000


class MosaicService:
    """Plans and makes mosaics.  Safe to use from many threads.

    Parameters
    ----------
    access
        Finds images that a caller may read.
    queries
        Looks for images in ``ivoa.ObsCore``.
    reader
        Reads their pixels.
    quotas
        Count what is read.
    options
        The settings section ``images``.
    authority
        Of identifiers.
    """

    def __init__(
        self,
        *,
        access: ImageAccess,
        queries: QueryService,
        reader: ImageReader,
        quotas: Quotas,
        options: ImageOptions,
        authority: str,
    ) -> None:
        self.authority = authority
        self._access = access
        self._queries = queries
        self._quotas = quotas
        self._options = options
        self._reader = reader
        self._maker = MosaicMaker(reader, authority=authority)

    def plan(
        self,
        request: MosaicRequest,
        principal: Principal,
        *,
        cancel: CancelToken,
        address: str | None = None,
    ) -> MosaicPlan:
        """Return what a mosaic would be made of; reads no pixels.

        Raises
        ------
        NoOverlapError
            Raised if there is no image of the region.
        NotFoundError, UnauthenticatedError, ForbiddenError
            Raised if an image that is named is not there for the caller, or if he may read none of
            those found.
        TooLargeError
            Raised if it is more than one mosaic may be.
        BadParameterError
            Raised if the region is too wide, or images do not go together.
        ImageInvalidError
            Raised if a file is broken.
        """
        most = self._options.mosaic_mpix
        given = None
        if request.wcs_text is not None:
            given = grid_of_header(request.wcs_text, most_mpix=most)
        records, unreadable = self._records(request, given, principal, cancel, address)
        grid = given or self._grid(request, records)
        placed = place_images(grid, records)
        if not placed:
            raise NoOverlapError("None of the images lies in the region.")
        images, output = on_one_scale(placed, self._reader, request.scale_flux)
        plan = MosaicPlan(
            grid=grid,
            images=images,
            combine=resolve_combine(request.combine, [image.record for image in images]),
            output=output,
            unreadable=unreadable,
            match_background=request.match_background,
        )
        if plan.resampled_pixels > self._options.job_mpix * _MILLION:
            raise TooLargeError(
                f"The images of the mosaic have {plan.resampled_pixels / 1e6:.6g} million pixels "
                f"to resample; at most {self._options.job_mpix:g} million are (setting "
                "images.job_mpix). Ask for a smaller region or fewer images."
            )
        return plan

    def make(
        self,
        request: MosaicRequest,
        plan: MosaicPlan,
        path: Path,
        *,
        principal: Principal,
        cancel: CancelToken,
        address: str | None,
        progress: Callable[[int, int], None],
    ) -> int:
        """Write a mosaic as FITS; return how many images have pixels in it.

        Raises
        ------
        QuotaExceededError
            Raised if it reads more than the caller may today.
        BadParameterError, NotFoundError, ImageInvalidError, StorageFullError, CancelledError,
        QueryTimeoutError
            Raised as by `MosaicMaker.make`.
        """
        self._quotas.charge_bytes(principal, plan.read_bytes, address=address)
        return self._maker.make(request, plan, path, cancel=cancel, progress=progress)

    def _records(
        self,
        request: MosaicRequest,
        grid: OutputGrid | None,
        principal: Principal,
        cancel: CancelToken,
        address: str | None,
    ) -> tuple[list[ImageRecord], int]:
        if request.keys:
            return self._named(request, principal), 0
        region = request.region
        if region is None:
            if grid is None:
                raise BadParameterError("There is neither a region nor a WCS.")
            region = region_of_grid(grid)
        found = self._search(request, region, principal, cancel, address)
        readable = [r for r in found if self._access.may_read(principal, r)]
        if found and not readable:
            self._access.require_read(principal, found[0])
        return readable, len(found) - len(readable)

    def _named(self, request: MosaicRequest, principal: Principal) -> list[ImageRecord]:
        self._require_few(len(request.keys))
        found = self._access.find(principal, request.keys)
        records = []
        for key in request.keys:
            record = found.get(key.folded)
            if record is None:
                raise NotFoundError(
                    f"There is no image {key.image_id!r} in the collection {key.collection!r}."
                )
            self._access.require_read(principal, record)
            if _is_chosen(request, record):
                records.append(record)
        return records

    def _search(
        self,
        request: MosaicRequest,
        region: SkyRegion,
        principal: Principal,
        cancel: CancelToken,
        address: str | None,
    ) -> list[ImageRecord]:
        """Return the images of the collection that meet the region, and what else is asked."""
        names = {c.name.lower(): c.name for c in self._access.collections(principal)}
        collection = names.get(str(request.collection).lower())
        if collection is None:
            raise NotFoundError(f"There is no collection of images {request.collection!r}.")
        most = self._options.mosaic_images
        conditions = [
            f"obs_collection = '{collection}'",  # the name of a collection has no quote
            footprint_condition(region),
            "dataproduct_type = 'image'",
        ]
        for interval, low, high in (
            (request.wavelengths, "em_min", "em_max"),
            (request.time, "t_min", "t_max"),
        ):
            if interval is not None:
                conditions += _overlap(interval, low, high)
        if request.band is not None:
            conditions.append(f"band = '{request.band}'")
        # The names are checked and the numbers are ours.
        query = f"SELECT obs_publisher_did FROM ivoa.ObsCore WHERE {' AND '.join(conditions)}"  # noqa: S608
        running = self._queries.start(
            QueryRequest(query=query, maxrec=most + 1, address=address),
            principal=principal,
            cancel=cancel,
        )
        dids: list[str] = []
        try:
            for batch in running:
                dids += [str(did) for did in batch.column(0).to_pylist()]
        finally:
            running.close()
        self._require_few(len(dids))
        keys = [parse_image_did(did, authority=self.authority) for did in dids]
        return list(self._access.find(principal, keys).values())

    def _require_few(self, count: int) -> None:
        most = self._options.mosaic_images
        if count > most:
            raise TooLargeError(
                f"More than {most:,} images would be combined, the limit (setting "
                "images.mosaic_images). Choose fewer by BAND, TIME or a smaller region."
            )

    def _grid(self, request: MosaicRequest, records: Sequence[ImageRecord]) -> OutputGrid:
        if request.region is None:
            raise BadParameterError("There is neither a region nor a WCS.")
        scale = request.scale_arcsec
        if scale is None:
            known = [r.obscore.get("s_pixel_scale") for r in records]
            finest = [float(value) for value in known if value]
            if not records:
                raise NoOverlapError("None of the images lies in the region.")
            if not finest:
                raise BadParameterError("No image says the size of its pixels: give SCALE.")
            scale = min(finest)
        return grid_of_region(
            request.region,
            scale_arcsec=scale,
            projection=request.projection,
            most_mpix=self._options.mosaic_mpix,
        )


def _is_chosen(request: MosaicRequest, record: ImageRecord) -> bool:
    """Whether an image that was named fits BAND and TIME, which may be given beside."""
    values = record.obscore
    if request.band is not None and values.get("band") != request.band:
        return False
    for interval, low, high in (
        (request.wavelengths, "em_min", "em_max"),
        (request.time, "t_min", "t_max"),
    ):
        if interval is None:
            continue
        first, last = values.get(low), values.get(high)
        if first is None or last is None or last < interval[0] or first > interval[1]:
            return False
    return True


def _overlap(interval: tuple[float, float], low: str, high: str) -> list[str]:
    conditions = []
    if interval[0] > float("-inf"):
        conditions.append(f"{high} >= {interval[0]!r}")
    if interval[1] < float("inf"):
        conditions.append(f"{low} <= {interval[1]!r}")
    return conditions or [f"{low} IS NOT NULL"]
