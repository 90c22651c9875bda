"""Which part of the sky something covers: MOC 2.0, as FITS, JSON or text."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from astropy import units
from astropy.coordinates import Latitude, Longitude
from mocpy import MOC

from astrolabe.core.errors import BadParameterError, InternalError
from astrolabe.sky.healpix import cell_centers

__all__ = [
    "MOC_FORMS",
    "MocForm",
    "cells_of_polygon",
    "find_moc_form",
    "moc_bytes",
    "moc_of_cells",
    "read_moc",
    "view_of_cells",
]

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class MocForm:
    """A form that a MOC can be had in.

    Parameters
    ----------
    name
        Short name, for RESPONSEFORMAT.
    mime
        Media type.
    extension
        Of file names.
    """

    name: str
    mime: str
    extension: str


MOC_FORMS: Final = (
    MocForm("fits", "application/fits", ".fits"),
    MocForm("json", "application/json", ".json"),
    MocForm("ascii", "text/plain; charset=utf-8", ".txt"),
)
"""All forms, the default one first (MOC 2.0, section 4.3)."""


def find_moc_form(wanted: str | None) -> MocForm:
    """Return the form that a RESPONSEFORMAT means.

    Raises
    ------
    BadParameterError
        Raised if there is no such form.
    """
    if wanted is None:
        return MOC_FORMS[0]
    asked = wanted.strip().lower()
    for form in MOC_FORMS:
        if asked in {form.name, form.mime, form.mime.partition(";")[0]}:
            return form
    if asked == "image/fits":
        return MOC_FORMS[0]
    raise BadParameterError(
        f"There is no form {wanted[:100]!r} of a coverage; RESPONSEFORMAT is one of "
        f"{', '.join(form.name for form in MOC_FORMS)}."
    )


def moc_of_cells(order: int, cells: npt.ArrayLike) -> MOC:
    """Return the MOC of HEALPix cells (n,) of one order (NESTED, ICRS)."""
    pixels = np.asarray(cells, dtype=np.uint64)
    depth = np.full(len(pixels), order, dtype=np.uint8)
    return MOC.from_healpix_cells(pixels, depth, order)


def moc_bytes(moc: MOC, form: MocForm) -> bytes:
    """Return a MOC in one of `MOC_FORMS`."""
    if form.name == "fits":
        buffer = io.BytesIO()
        moc.serialize(format="fits").writeto(buffer)
        return buffer.getvalue()
    return str(moc.to_string(format=form.name)).encode() + b"\n"


def read_moc(path: Path) -> MOC:
    """Read a MOC from a FITS file.

    Raises
    ------
    InternalError
        Raised if there is none, or one that cannot be read.
    """
    try:
        return MOC.load(str(path), format="fits")
    except (OSError, ValueError) as exc:
        raise InternalError(f"The coverage {path} cannot be read: {exc}.") from exc


def cells_of_polygon(corners_deg: Iterable[float], order: int) -> IntArray:
    """Return the HEALPix cells of one order that an ICRS polygon touches, (n,) ascending.

    Parameters
    ----------
    corners_deg
        ra1, dec1, ra2, dec2, ... in degrees; joined by great circles.
    order
        Of the cells.
    """
    corners = np.asarray(list(corners_deg), dtype=np.float64).reshape(-1, 2)
    moc = MOC.from_polygon(
        Longitude(corners[:, 0], units.deg),
        Latitude(corners[:, 1], units.deg),
        max_depth=order,
    )
    cells = moc.to_order(order).flatten()
    return np.sort(np.asarray(cells).astype(np.int64))


def view_of_cells(
    order: int,
    cells: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
    *,
    least_deg: float = 1.0,
) -> tuple[float, float, float]:
    """Return how to look at cells so that all are seen.

    Parameters
    ----------
    order
        Of the cells.
    cells : (n,)
        NESTED.
    weights : (n,)
        How much each counts for the middle.
    least_deg
        The smallest field.

    Returns
    -------
    ra_deg, dec_deg, fov_deg
        The middle, and the field around it, 180 at most.
    """
    pixels = np.asarray(cells).astype(np.int64)
    if not len(pixels):
        return 0.0, 0.0, 60.0
    centers = cell_centers(order, pixels)
    counted = np.ones(len(pixels)) if weights is None else np.asarray(weights, dtype=np.float64)
    total = (centers * counted[:, None]).sum(axis=0)
    middle = total / max(float(np.linalg.norm(total)), 1e-9)
    reach = float(np.degrees(np.arccos(np.clip(centers @ middle, -1.0, 1.0).min())))
    ra = float(np.degrees(np.arctan2(middle[1], middle[0]))) % 360.0
    dec = float(np.degrees(np.arctan2(middle[2], np.hypot(middle[0], middle[1]))))
    return ra, dec, min(max(2.2 * reach, least_deg), 180.0)
