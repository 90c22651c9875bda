"""Images of a sky that is known everywhere, for tests of HiPS."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from astropy.wcs import WCS

from astrolabe.core.clock import utc_now
from astrolabe.images.files import ImageFiles
from astrolabe.images.fits.index import build_index
from astrolabe.images.model import ImageCollection, ImageKey, ImageRecord, PlaneKind
from astrolabe.images.reader import ImageReader
from astrolabe.images.store import ImageStore

FloatArray = npt.NDArray[np.float64]

RA, DEC = 150.2, 2.1
SCALE_ARCSEC = 6.0
SIZE = 300

Sky = Callable[[FloatArray, FloatArray], FloatArray]


def smooth_sky(ra: FloatArray, dec: FloatArray) -> FloatArray:
    """A sky that changes over a degree, in no symmetric way."""
    return np.asarray(
        100.0 + 40.0 * np.sin(np.radians(ra - RA) * 200.0) + 25.0 * np.cos(np.radians(dec) * 150.0)
    )


def brighter(by: float, sky: Sky = smooth_sky) -> Sky:
    """Return another sky, so many times as bright."""
    return lambda ra, dec: by * sky(ra, dec)


def wcs_at(ra: float, dec: float, *, angle_deg: float = 0.0, scale: float = SCALE_ARCSEC) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [(SIZE + 1) / 2, (SIZE + 1) / 2]
    turn = np.radians(angle_deg)
    step = scale / 3600.0
    wcs.wcs.cd = step * np.array([[-np.cos(turn), np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    wcs.wcs.set()
    return wcs


class TinyCollection:
    """A collection that grows image by image."""

    def __init__(self, home: Path, store: ImageStore, name: str = "sky") -> None:
        self.name = name
        self.files = home / "files"
        self.files.mkdir(parents=True, exist_ok=True)
        self.folder = home / "images"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.store = store
        self.open = ImageFiles()
        store.ensure_collection(
            ImageCollection(name=name, title="A sky", description="Made up.", created=utc_now())
        )

    def reader(self) -> ImageReader:
        return ImageReader(self.open, self.folder, cache_bytes=1 << 24, open_images=16)

    def add(
        self,
        image_id: str,
        wcs: WCS,
        *,
        sky: Sky = smooth_sky,
        band: str | None = "r",
        offset: float = 0.0,
        mask: npt.NDArray[np.uint8] | None = None,
        variance: float | None = None,
        **obscore: Any,
    ) -> ImageRecord:
        """Draw an image of the sky and note it; in the place of one of the same id."""
        y, x = np.mgrid[:SIZE, :SIZE].astype(np.float64)
        ra, dec = wcs.wcs_pix2world(x, y, 0)
        data = (sky(ra, dec) + offset).astype(np.float32)
        hdus = fits.HDUList([fits.PrimaryHDU(data, header=wcs.to_header())])
        planes = {PlaneKind.IMAGE: 0}
        if mask is not None:
            hdus.append(fits.ImageHDU(mask, name="MASK"))
            planes[PlaneKind.MASK] = len(hdus) - 1
        if variance is not None:
            values = np.full(data.shape, variance, dtype=np.float32)
            hdus.append(fits.ImageHDU(values, name="VARIANCE"))
            planes[PlaneKind.VARIANCE] = len(hdus) - 1
        version = hashlib.sha256(data.tobytes()).hexdigest()[:8]
        path = self.files / f"{self.name}-{image_id}-{version}.fits"
        hdus.writeto(path, overwrite=True)
        index = build_index(self.open.open(str(path)))
        index_path = f"{self.name}-{image_id}.index"
        (self.folder / index_path).write_bytes(index.to_bytes())
        corners = wcs.wcs_pix2world(
            [[-0.5, -0.5], [-0.5, SIZE - 0.5], [SIZE - 0.5, SIZE - 0.5], [SIZE - 0.5, -0.5]], 0
        )
        record = ImageRecord(
            key=ImageKey(self.name, image_id),
            uri=str(path),
            size_bytes=path.stat().st_size,
            md5=None,
            signature=path.name,
            index_path=index_path,
            planes=planes,
            obscore={
                "band": band,
                "s_ra": float(wcs.wcs.crval[0]),
                "s_dec": float(wcs.wcs.crval[1]),
                "s_fov": SIZE * SCALE_ARCSEC / 3600.0,
                "s_region": corners.ravel().tolist(),
                "s_pixel_scale": SCALE_ARCSEC,
                **obscore,
            },
            imported=utc_now(),
        )
        self.store.put([record])
        return record
