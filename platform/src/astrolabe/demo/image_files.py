"""The files of the demo's images: which there are, and how each is written.

Coadds cover the central tract in every band.  Visits are rows of ``demo.visit`` with one detector
each, so that image, source and light curve agree: the detector is the one nearest to the survey's
centre that lies whole in the light and in the central tract, so that many visits overlap there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from astrolabe.core.storage import full_disk_is_storage_full
from astrolabe.demo.camera import (
    CENTRAL_TRACT,
    DETECTOR_PIXELS,
    DETECTORS_ON_SIDE,
    FIELD_RADIUS_DEG,
    PATCH_MARGIN,
    PATCH_PIXELS,
    PATCHES_ON_SIDE,
    coadd_wcs_cards,
    detector_sky,
    patch_of,
    tract_of,
)
from astrolabe.demo.frames import Frame, MaskBit, draw_coadd, draw_visit, wcs_of
from astrolabe.demo.observing import Visits
from astrolabe.demo.sphere import separation_deg
from astrolabe.demo.survey import SEED, Survey
from astrolabe.demo.truth import BANDS, CENTER_DEC_DEG, CENTER_RA_DEG

__all__ = [
    "COADDS",
    "VISITS",
    "DemoImage",
    "ImageSize",
    "detector_images",
    "plan_images",
    "write_image",
]

Cards = dict[str, str | int | float]

COADDS: Final = "demo_coadds"
VISITS: Final = "demo_visits"
"""The collections."""

_TILE: Final = (128, 128)
_QUANTIZE_LEVEL: Final = 4
"""Steps of the noise's standard deviation into which pixels are rounded, after a dither."""
_VARIANCE_STEP: Final = 0.02
"""Variances are rounded to so much of the sky's."""
_SUBTRACTIVE_DITHER: Final = 1
_NO_DITHER: Final = -1
_MASK_NAMES: Final = {
    MaskBit.BAD: "bad column",
    MaskBit.SAT: "saturated",
    MaskBit.CR: "cosmic ray",
    MaskBit.EDGE: "near the edge",
    MaskBit.DETECTED: "light of a source",
}
_GRID: Final = 9
"""Points on a side of a detector at which its patches are looked up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSize:
    """How many images to make and how large; tests take less.

    Parameters
    ----------
    visits
        Number of visits.
    patches
        Which patches of the central tract.
    bands
        Of the coadds.
    side
        Pixels on a side around the middle of each frame; all by default.
    """

    visits: int = 50
    patches: tuple[int, ...] = tuple(range(PATCHES_ON_SIDE**2))
    bands: str = BANDS
    side: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoImage:
    """One image that is to be made.

    Parameters
    ----------
    collection, name
        Where it belongs, and its id there.
    band
        Number of the band in `BANDS`.
    patch
        Of a coadd.
    visit, detector
        Row in `Survey.visits` and detector of a visit.
    progenitors
        Ids of the visits that lie on a coadd.
    """

    collection: str
    name: str
    band: int
    patch: int = -1
    visit: int = -1
    detector: int = -1
    progenitors: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """Path of its file below the folder of the demo's images."""
        return f"{self.collection}/{self.name}.fits"


def plan_images(survey: Survey, size: ImageSize | None = None) -> Iterator[DemoImage]:
    """Yield what is to be made, visits first: coadds name the visits that lie on them."""
    wanted = size or ImageSize()
    visits = survey.visits
    on_patch: dict[tuple[int, int], list[str]] = {}
    for row, detector in detector_images(visits, wanted.visits):
        name = f"{visits.visit[row]}_{detector:02d}"
        band = int(visits.band[row])
        for patch in _patches_under(visits.pointing(row), detector):
            on_patch.setdefault((patch, band), []).append(name)
        yield DemoImage(collection=VISITS, name=name, band=band, visit=row, detector=detector)
    for patch in wanted.patches:
        for letter in wanted.bands:
            band = BANDS.index(letter)
            yield DemoImage(
                collection=COADDS,
                name=f"{CENTRAL_TRACT}_{patch:02d}_{letter}",
                band=band,
                patch=patch,
                progenitors=tuple(sorted(on_patch.get((patch, band), ()))),
            )


def detector_images(visits: Visits, count: int) -> list[tuple[int, int]]:
    """Return row and detector of the visits that get an image, in time order."""
    found: list[tuple[float, int, int]] = []
    for row in range(len(visits)):
        ra, dec, detector = _lit_detectors(visits, row)
        away = separation_deg(ra[:, 0], dec[:, 0], CENTER_RA_DEG, CENTER_DEC_DEG)
        inside = (tract_of(ra.ravel(), dec.ravel()).reshape(ra.shape) == CENTRAL_TRACT).all(axis=1)
        if inside.any():
            best = int(np.argmin(np.where(inside, away, np.inf)))
            found.append((float(away[best]), row, int(detector[best])))
    return sorted((row, detector) for _, row, detector in sorted(found)[:count])


def write_image(survey: Survey, image: DemoImage, folder: Path, *, side: int | None = None) -> Path:
    """Draw an image and write its file; it appears whole or not at all.

    Raises
    ------
    StorageFullError
        Raised if there is no room for it.
    """
    if image.collection == COADDS:
        frame = draw_coadd(survey, image.patch, image.band, side=side)
        cards = _coadd_cards(survey.visits, image)
    else:
        frame = draw_visit(survey, image.visit, image.detector, side=side)
        cards = _visit_cards(survey.visits, image)
    cards |= {
        "SEEING": (round(frame.seeing_arcsec, 4)),
        "BUNIT": "nJy",
        "MAGZERO": 31.4,
        "ORIGIN": "Simulation",
    }
    path = folder / image.file
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    with full_disk_is_storage_full("the demo's images", clean_up=(partial,)):
        _hdus(frame, cards, image).writeto(partial, overwrite=True)
        partial.replace(path)
    return path


def _hdus(frame: Frame, cards: Cards, image: DemoImage) -> fits.HDUList:
    primary = fits.PrimaryHDU()
    primary.header.update(cards)
    for number, name in enumerate(image.progenitors, start=1):
        primary.header[f"PROG{number}"] = (f"{VISITS}/{name}", "made of this image")
    hdus = fits.HDUList([primary])
    # A seed of the dither for each image, from 1 to 10,000: the same file at every making.
    seed = 1 + (image.visit * 100 + image.detector if image.visit >= 0 else image.patch) % 10_000
    for name, data, options in (
        ("IMAGE", frame.image, (_QUANTIZE_LEVEL, _SUBTRACTIVE_DITHER)),
        ("MASK", frame.mask, (0.0, None)),
        ("VARIANCE", frame.variance, (-_VARIANCE_STEP * frame.sky_variance, _NO_DITHER)),
    ):
        header = fits.Header()
        header.update(frame.wcs_cards)
        header["INHERIT"] = True
        if name == "MASK":
            header["BUNIT"] = ""
            for bit, meaning in _MASK_NAMES.items():
                header[f"MP_{bit.name}"[:8]] = (bit.value.bit_length() - 1, f"bit: {meaning}")
        else:
            header["BUNIT"] = "nJy" if name == "IMAGE" else "nJy**2"
        hdu = fits.CompImageHDU(
            data,
            header,
            name=name,
            compression_type="RICE_1",
            tile_shape=_TILE,
            quantize_level=options[0],
            quantize_method=options[1],
            dither_seed=seed,
        )
        hdus.append(hdu)
    return hdus


def _visit_cards(visits: Visits, image: DemoImage) -> Cards:
    row = image.visit
    middle, half = float(visits.mid_mjd[row]), visits.exposure_s / 2 / 86_400
    return {
        **_telescope(image.band),
        "OBJECT": "survey field",
        "VISIT": int(visits.visit[row]),
        "DETECTOR": image.detector,
        "OBSID": str(visits.visit[row]),
        "EXPTIME": visits.exposure_s,
        **_times(middle - half, middle + half),
        "AIRMASS": round(float(visits.airmass[row]), 4),
        "MAGLIM": round(float(visits.depth_mag[row]), 3),
        "ROTPA": float(visits.rotation_deg[row]),
    }


def _coadd_cards(visits: Visits, image: DemoImage) -> Cards:
    wcs = wcs_of(coadd_wcs_cards(image.patch))
    middle = (PATCH_PIXELS + 2 * PATCH_MARGIN - 1) / 2
    ra, dec = wcs.wcs_pix2world(middle, middle, 0)
    covers = (visits.band == image.band) & (
        separation_deg(visits.ra_deg, visits.dec_deg, float(ra), float(dec)) < FIELD_RADIUS_DEG
    )
    used = np.flatnonzero(covers) if covers.any() else np.flatnonzero(visits.band == image.band)
    used = used if len(used) else np.arange(len(visits))
    half = visits.exposure_s / 2 / 86_400
    return {
        **_telescope(image.band),
        "OBJECT": f"tract {CENTRAL_TRACT} patch {image.patch}",
        "TRACT": CENTRAL_TRACT,
        "PATCH": image.patch,
        "OBSID": f"{CENTRAL_TRACT}_{image.patch:02d}",
        "NVISITS": len(used),
        "EXPTIME": visits.exposure_s * len(used),
        **_times(
            float(visits.mid_mjd[used].min()) - half, float(visits.mid_mjd[used].max()) + half
        ),
    }


def _telescope(band: int) -> Cards:
    return {
        "TELESCOP": "Simulated 1.2 m",
        "INSTRUME": "Survey camera",
        "FILTER": BANDS[band],
        "SIMSEED": SEED,
    }


def _times(start_mjd: float, end_mjd: float) -> Cards:
    start = np.datetime64("1858-11-17T00:00:00", "ms") + np.round(start_mjd * 86_400e3).astype(
        "timedelta64[ms]"
    )
    return {
        "TIMESYS": "TAI",
        "DATE-OBS": str(start),
        "MJD-OBS": start_mjd,
        "MJD-END": end_mjd,
    }


def _lit_detectors(
    visits: Visits, row: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return middle and corners (n, 5) of the detectors that lie whole in a visit's field."""
    x, y = _middle_and_corners()
    numbers = np.arange(DETECTORS_ON_SIDE**2)
    pointing = visits.pointing(row)
    ra, dec = detector_sky(numbers[:, None], x, y, pointing)
    away = separation_deg(ra, dec, pointing[0], pointing[1])
    lit = (away < FIELD_RADIUS_DEG).all(axis=1)
    return ra[lit], dec[lit], numbers[lit]


def _middle_and_corners() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    low, high = -0.5, DETECTOR_PIXELS - 0.5
    middle = (low + high) / 2
    return np.array([middle, low, high, high, low]), np.array([middle, low, low, high, high])


def _patches_under(pointing: tuple[float, float, float], detector: int) -> list[int]:
    """Return the patches of the central tract on which a detector lies."""
    line = np.linspace(-0.5, DETECTOR_PIXELS - 0.5, _GRID)
    x, y = (axis.ravel() for axis in np.meshgrid(line, line))
    ra, dec = detector_sky(np.array(detector), x, y, pointing)
    inside = tract_of(ra, dec) == CENTRAL_TRACT
    return sorted(int(patch) for patch in np.unique(patch_of(ra, dec)[inside]))
