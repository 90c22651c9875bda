"""What is asked of bulk stamps, what bounds them, and what became of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from astrolabe.core.errors import BadParameterError
from astrolabe.images.model import PlaneKind

__all__ = ["StampLimits", "StampPositions", "StampReport", "StampRequest"]

DEFAULT_SIDE_PX: Final = 51


class StampPositions(Protocol):
    """A table of positions in its order."""

    @property
    def ra_deg(self) -> npt.NDArray[np.float64]:
        """ICRS right ascension, NaN where there is none; (n,)."""
        ...

    @property
    def dec_deg(self) -> npt.NDArray[np.float64]:
        """ICRS declination, NaN where there is none; (n,)."""
        ...

    @property
    def size_deg(self) -> npt.NDArray[np.float64] | None:
        """Width and height of each stamp, NaN where the table has none; (n,)."""
        ...

    @property
    def ids(self) -> tuple[str, ...]:
        """What each position is called; need not be unique."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StampRequest:
    """Stamps around positions.

    Parameters
    ----------
    positions
        Around which they are cut, from every image that a position lies on.
    planes
        Which planes of the images; a stamp lacks those that its image lacks.
    size_deg
        Width and height where the table of positions has no size of its own.
    side_px
        The same in pixels, where there is no size in degrees.

    Raises
    ------
    BadParameterError
        Raised if a size is not above 0, or if no plane is asked for.
    """

    positions: StampPositions
    planes: tuple[PlaneKind, ...] = (PlaneKind.IMAGE,)
    size_deg: float | None = None
    side_px: int = DEFAULT_SIDE_PX

    def __post_init__(self) -> None:
        sizes = self.positions.size_deg
        if self.size_deg is not None and not self.size_deg > 0:
            raise BadParameterError(f"SIZE must be above 0 degrees, not {self.size_deg:g}.")
        if self.side_px < 1:
            raise BadParameterError(f"A stamp has at least 1 pixel a side, not {self.side_px}.")
        if sizes is not None and (sizes <= 0).any():
            row = int(np.argmax(sizes <= 0))
            raise BadParameterError(
                f"Row {row + 1} of the positions has the size {sizes[row]:g}; sizes are degrees "
                "above 0."
            )
        if not self.planes:
            raise BadParameterError("At least one plane must be asked for: image.")

    def sides_px(
        self, rows: npt.NDArray[np.int64], pixel_scale_arcsec: Callable[[], float]
    ) -> npt.NDArray[np.int64]:
        """Return the side of each stamp on an image (pixels, at least 1).

        Parameters
        ----------
        rows : (n,)
            Rows of the positions.
        pixel_scale_arcsec
            Gives the scale of the image; asked only where a size is in degrees.
        """
        if self.size_deg is None and self.positions.size_deg is None:
            return np.full(len(rows), self.side_px, dtype=np.int64)
        size = np.full(len(rows), np.nan if self.size_deg is None else self.size_deg)
        own = self.positions.size_deg
        if own is not None:
            size = np.where(np.isfinite(own[rows]), own[rows], size)
        pixels = np.rint(size * 3600.0 / pixel_scale_arcsec())
        # Sizes beyond any image are bounded here, so that none overflows; the limits refuse them.
        pixels = np.clip(np.where(np.isfinite(pixels), pixels, self.side_px), 1, 2**31 - 1)
        return pixels.astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class StampLimits:
    """What bounds one bundle of stamps.

    Parameters
    ----------
    stamps
        Most stamps.
    pixels
        Most pixels of all planes of all stamps together.
    stamp_bytes
        Largest single stamp; larger ones are listed as not made.
    """

    stamps: int = 100_000
    pixels: int = 20_000_000_000
    stamp_bytes: int = 64 << 20


@dataclass(slots=True)
class StampReport:
    """What became of a request.

    Parameters
    ----------
    stamps
        How many were written.
    failed
        How many could not be, each with its reason in the index.
    images
        How many images were read.
    pixels
        Of all planes written.
    bytes_written
        Size of the bundle.
    """

    stamps: int = 0
    failed: int = 0
    images: int = 0
    pixels: int = 0
    bytes_written: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    """How often each reason was given for a stamp that is not there."""
