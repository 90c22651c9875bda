"""Makes mosaics of records, without a service."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

from astropy.io import fits

from astrolabe.catalogs.cancel import QueryCancel
from astrolabe.images.model import ImageRecord
from astrolabe.images.mosaics.grid import grid_of_header, grid_of_region
from astrolabe.images.mosaics.making import MosaicMaker
from astrolabe.images.mosaics.planning import (
    MosaicPlan,
    on_one_scale,
    place_images,
    resolve_combine,
)
from astrolabe.images.mosaics.request import read_mosaic_request
from tests.mosaic.fields import DEC, RA
from tests.support.images import image_reader

CIRCLE = f"{RA} {DEC} 0.02"


def make(
    tmp_path: Path,
    records: Iterable[ImageRecord],
    *,
    cancel: QueryCancel | None = None,
    **parameters: str,
) -> fits.HDUList:
    """Make a mosaic of records; return its file."""
    given = {"COLLECTION": "tests", "SCALE": "2", **parameters}
    if "WCS" in given:
        del given["SCALE"]
    elif "POS" not in given:
        given.setdefault("CIRCLE", CIRCLE)
    request = read_mosaic_request(given.items(), authority="a")
    if request.wcs_text is not None:
        grid = grid_of_header(request.wcs_text, most_mpix=1.0)
    else:
        assert request.region is not None
        grid = grid_of_region(
            request.region,
            scale_arcsec=request.scale_arcsec or 2.0,
            projection=request.projection,
            most_mpix=1.0,
        )
    kept = list(records)
    reader = image_reader(tmp_path)
    images, output = on_one_scale(place_images(grid, kept), reader, request.scale_flux)
    plan = MosaicPlan(
        grid=grid,
        images=images,
        combine=resolve_combine(request.combine, kept),
        output=output,
        match_background=request.match_background,
    )
    path = tmp_path / "mosaic.fits"
    maker = MosaicMaker(reader, authority="a")
    maker.make(
        request,
        plan,
        path,
        cancel=cancel or QueryCancel(seconds=60),
        progress=lambda _done, _total: None,
    )
    hdus = fits.open(BytesIO(path.read_bytes()))
    hdus.verify("exception")
    return hdus
