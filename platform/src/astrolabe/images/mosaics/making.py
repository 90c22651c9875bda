"""Makes a mosaic block by block, straight into its file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from astrolabe.core.storage import full_disk_is_storage_full
from astrolabe.images.fits.cards import CardValue, format_card
from astrolabe.images.mosaics.backgrounds import match_backgrounds
from astrolabe.images.mosaics.combining import Combiner
from astrolabe.images.mosaics.planning import MosaicPlan
from astrolabe.images.mosaics.request import Combine, MosaicRequest
from astrolabe.images.mosaics.resampling import Block
from astrolabe.images.mosaics.sampling import ImageSampler
from astrolabe.images.reader import ImageReader
from astrolabe.images.writers.fits import header_block, padding, primary_header, structure

__all__ = ["CancelToken", "MosaicMaker"]

Values = npt.NDArray[np.float32]


class CancelToken(Protocol):
    """Tells whether somebody still waits."""

    def raise_if_set(self) -> None:
        """Raise `QueryTimeoutError` or `CancelledError` if nobody does."""


class MosaicMaker:
    """Makes mosaics.

    Parameters
    ----------
    reader
        Reads images.
    authority
        Of identifiers.
    """

    def __init__(self, reader: ImageReader, *, authority: str) -> None:
        self._reader = reader
        self._authority = authority

    def make(
        self,
        request: MosaicRequest,
        plan: MosaicPlan,
        path: Path,
        *,
        cancel: CancelToken,
        progress: Callable[[int, int], None],
    ) -> int:
        """Write a mosaic; return how many images have pixels in it.

        Memory does not grow with the mosaic nor with the number of images.

        Parameters
        ----------
        progress
            Told how many blocks of how many are done.

        Raises
        ------
        BadParameterError
            Raised if images do not go together.
        NotFoundError, ImageInvalidError
            Raised if a file is gone or broken.
        StorageFullError
            Raised if there is no room.
        CancelledError, QueryTimeoutError
            Raised if nobody waits any more.
        """
        levels = (0.0,) * len(plan.images)
        if request.match_background:
            levels = match_backgrounds(self._reader, request, plan, cancel=cancel)
        with full_disk_is_storage_full("a mosaic", clean_up=(path,)):
            image, weight = self._open(request, plan, levels, path)
            blocks = plan.blocks()
            used: set[tuple[str, str]] = set()
            for number, block in enumerate(blocks, start=1):
                values, weights = self._block(request, plan, block, levels, used, cancel)
                where = np.s_[block.y : block.y + block.height, block.x : block.x + block.width]
                image[where], weight[where] = values, weights
                progress(number, len(blocks))
            image.flush()
            weight.flush()
        return len(used)

    def _block(
        self,
        request: MosaicRequest,
        plan: MosaicPlan,
        block: Block,
        levels: Sequence[float],
        used: set[tuple[str, str]],
        cancel: CancelToken,
    ) -> tuple[Values, Values]:
        combiner = Combiner(plan.combine, (block.height, block.width))
        for placed, level in zip(plan.images, levels, strict=True):
            if not placed.meets(block):
                continue
            cancel.raise_if_set()
            sampler = ImageSampler(
                self._reader,
                placed,
                request,
                plan.grid,
                is_surface=plan.is_surface,
                level=level,
            )
            values = np.full((block.height, block.width), np.nan, np.float32)
            variance = np.full_like(values, np.nan) if plan.combine is Combine.WEIGHTED else None
            sampler.fill(block, block, values, variance)
            if combiner.add(values, variance):
                used.add(placed.record.key.folded)
        return combiner.result()

    def _open(
        self, request: MosaicRequest, plan: MosaicPlan, levels: Sequence[float], path: Path
    ) -> tuple[Any, Any]:
        """Write the headers; return the pixels of the file as arrays (height, width)."""
        cards = _about(request, plan) | _provenance(request, plan, levels)
        unit = plan.output.unit
        primary = primary_header(cards)
        weighted = plan.combine is Combine.WEIGHTED
        units = {
            "IMAGE": unit,
            "WEIGHT": (f"1/({unit})**2" if unit else "") if weighted else "",
        }
        offsets = []
        data_bytes = plan.grid.pixels * 4
        with path.open("wb") as file:
            file.write(primary)
            file.flush()
            for name, own_unit in units.items():
                more = [format_card("BUNIT", own_unit)] if own_unit else []
                if name == "IMAGE":
                    more += [format_card(key, value) for key, value in _flux_cards(plan).items()]
                shape = structure(np.float32, plan.grid.shape, extension=name)
                file.write(header_block([*shape, *plan.grid.header.cards, *more]))
                file.flush()
                offsets.append(file.tell())
                size = data_bytes + len(padding(data_bytes))
                # Reserved, not a hole: a full disk is an error here, and kills who writes later.
                os.posix_fallocate(file.fileno(), file.tell(), size)
                file.seek(size, os.SEEK_CUR)
        image, weight = (
            np.memmap(path, dtype=">f4", mode="r+", offset=offset, shape=plan.grid.shape)
            for offset in offsets
        )
        return image, weight


def _about(request: MosaicRequest, plan: MosaicPlan) -> dict[str, CardValue]:
    """Return what the primary header says of the mosaic as a whole."""
    values: list[Mapping[str, Any]] = [image.record.obscore for image in plan.images]
    cards: dict[str, CardValue] = {
        "DATE": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
        "OBJECT": request.label[:68],
        "NCOMBINE": len(plan.images),
        "COMBINE": plan.combine.value,
        "RESAMPLE": request.resampling.value,
        "FLUXCONS": not plan.is_surface,
        **_flux_cards(plan),
        "WHTKIND": "inverse variance" if plan.combine is Combine.WEIGHTED else "number of images",
    }
    for keyword, column in (("FILTER", "band"), ("TELESCOP", "facility_name")):
        named = {str(value[column]) for value in values if value.get(column)}
        if len(named) == 1:
            cards[keyword] = named.pop()[:60]
    starts = [float(v["t_min"]) for v in values if v.get("t_min") is not None]
    ends = [float(v["t_max"]) for v in values if v.get("t_max") is not None]
    if starts and ends:
        cards |= {"TIMESYS": "UTC", "MJD-OBS": min(starts), "MJD-END": max(ends)}
    exposures = [float(v["t_exptime"]) for v in values if v.get("t_exptime") is not None]
    if exposures:
        cards["EXPTIME"] = sum(exposures)
    return cards


def _flux_cards(plan: MosaicPlan) -> dict[str, CardValue]:
    """Return the cards that say which magnitude one unit of a pixel is."""
    if plan.output.zero_point is None:
        return {}
    # Of nJy exactly 31.4, not what is left after powers and logarithms.
    return {"MAGZERO": round(plan.output.zero_point, 9), "MAGSYS": plan.output.system}


def _provenance(
    request: MosaicRequest, plan: MosaicPlan, levels: Sequence[float]
) -> dict[str, CardValue]:
    """Return the cards that name each image, and what was done to its pixels."""
    cards: dict[str, CardValue] = {
        "FLUXSCAL": any(image.factor != 1.0 for image in plan.images),
        "BKGMATCH": request.match_background,
    }
    for number, (placed, level) in enumerate(zip(plan.images, levels, strict=True), start=1):
        cards[f"PROG{number}"] = placed.record.key.path
        if cards["FLUXSCAL"]:
            cards[f"FSCL{number}"] = placed.factor
        if request.match_background:
            cards[f"BKGL{number}"] = level
    return cards
