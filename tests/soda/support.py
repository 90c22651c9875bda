"""Cutouts as clients see them."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import httpx
import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

SYNC = "/api/cutout/sync"
JOBS = "/api/cutout/async"


def opened(answer: httpx.Response) -> fits.HDUList:
    """Return the FITS file of a good answer."""
    assert answer.status_code == 200, answer.text[:1000]
    assert answer.headers["content-type"].startswith("application/fits")
    hdus = fits.open(BytesIO(answer.content))
    hdus.verify("exception")
    return hdus


def placed(header: fits.Header, original: fits.Header) -> tuple[int, int]:
    """Return the pixel (x, y) of the original that is the first of the cutout."""
    return (
        round(original["CRPIX1"] - header["CRPIX1"]),
        round(original["CRPIX2"] - header["CRPIX2"]),
    )


def assert_same_sky(header: fits.Header, original: fits.Header, shape: tuple[int, ...]) -> None:
    """Make sure that every pixel of a cutout has the position that it has in the image."""
    x0, y0 = placed(header, original)
    y, x = (grid.ravel() for grid in np.mgrid[: shape[-2], : shape[-1]])
    ours = WCS(header, naxis=2).all_pix2world(x, y, 0)
    theirs = WCS(original, naxis=2).all_pix2world(x + x0, y + y0, 0)
    # 1e-6 pixels of 0.2 arcsec.
    np.testing.assert_allclose(ours[0], theirs[0], rtol=0, atol=5e-11 / np.cos(np.radians(28)))
    np.testing.assert_allclose(ours[1], theirs[1], rtol=0, atol=5e-11)


def label_of(answer: httpx.Response) -> str:
    """Return the label of an error (SODA 1.0, section 5.2)."""
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    return answer.text.partition(":")[0]


def pairs(**parameters: Any) -> list[tuple[str, Any]]:
    """Return parameters, lists of values one by one."""
    return [
        (name, value)
        for name, values in parameters.items()
        for value in (values if isinstance(values, list) else [values])
    ]
