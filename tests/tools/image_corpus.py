"""Cut every image of a folder and say whether the cutouts are right.

``python tests/tools/image_corpus.py FOLDER``

Every FITS file below FOLDER is opened by our own reader and by astropy.  Of each image the pixels
of several boxes are held against astropy's, and of a circle around its middle the pixels, the WCS
(to a millionth of a pixel, by astropy from the header as it is written) and the footprint (pixels
further than 0.2 from the edges are inside or outside as they should be).  Images of one shape and
one set of numbers in several encodings, as ``m13*.fits``, are held against each other.

The exit code is 1 if anything differs or if anything but a clear refusal was raised.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import sys
import warnings
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS

from astrolabe.core.errors import AstrolabeError, InternalError
from astrolabe.images.cutouts import Cutout, Stencil, cut
from astrolabe.images.files import ImageFiles
from astrolabe.images.fits.wcs_tables import EMPTY_PRIMARY
from astrolabe.images.model import ImageKey, ImageRecord, PlaneKind
from astrolabe.images.reader import ImageReader, OpenFile, OpenImage
from astrolabe.images.regions import parse_pos
from astrolabe.images.wcs import ImageWcs
from astrolabe.sky.regions import Polygon

__all__ = ["Report", "main", "run"]

_RADIUS_PX = 20.0
_TOLERANCE_PX = 1e-6


@dataclass(slots=True)
class Report:
    """What came out.

    Parameters
    ----------
    lines
        One a file or image.
    faults
        Whatever was not right.
    same
        Names of images by their pixels' digest.
    """

    lines: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    same: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


def run(folder: Path) -> Report:
    """Try every FITS file below a folder."""
    report = Report()
    reader = ImageReader(ImageFiles(), folder, cache_bytes=1 << 24, open_images=16)
    paths = [path for path in sorted(folder.rglob("*.fits*")) if path.is_file()]
    for path in paths:
        name = path.relative_to(folder).as_posix()
        try:
            file = reader.open_file(str(path.resolve()))
        except AstrolabeError as exc:
            report.lines.append(f"{name}: refused: {exc.message}")
            if isinstance(exc, InternalError):
                report.faults.append(f"{name}: {exc}")
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            with fits.open(path) as hdus:
                for hdu in file.index.planes:
                    _try_image(report, f"{name}[{hdu}]", file, hdu, hdus)
    return report


def _try_image(report: Report, name: str, file: OpenFile, hdu: int, hdus: fits.HDUList) -> None:
    plane = file.plane(hdu)
    expected = np.array(hdus[hdu].data)
    if not _equal(plane.read_whole(), expected):
        report.faults.append(f"{name}: its pixels are not those that astropy reads")
    rng = np.random.default_rng(7)
    for _ in range(10):
        sides = [sorted(rng.integers(0, n + 1, 2).tolist()) for n in plane.shape]
        box = tuple((first, stop) for first, stop in sides)
        if not _equal(plane.read(box), expected[tuple(slice(*side) for side in box)]):
            report.faults.append(f"{name}: the pixels of {box} are not those that astropy reads")
    digest = hashlib.sha256(np.ascontiguousarray(expected, dtype="<f8").tobytes()).hexdigest()
    report.same[digest].append(name)
    record = ImageRecord(
        key=ImageKey("corpus", "image"),
        uri=file.source.uri,
        size_bytes=file.source.size,
        md5=None,
        signature=file.source.stat.signature,
        index_path="none",
        planes={PlaneKind.IMAGE: hdu},
        imported=datetime(2026, 1, 1, tzinfo=UTC),
    )
    try:
        image = OpenImage(record, file)
        wcs = image.wcs
        if wcs is None or not wcs.has_sky:
            reason = "no WCS" if wcs is None else wcs.no_sky_reason
            report.lines.append(f"{name}: {plane.shape} {plane.dtype}: no position: {reason}")
            return
        said = _try_sky(report, name, image, wcs, expected, WCS(hdus[hdu].header, hdus))
    except AstrolabeError as exc:
        said = f"refused: {exc.message}"
    tiles = plane.index.tiles
    encoding = "plain" if tiles is None else tiles.compression.value
    report.lines.append(f"{name}: {plane.shape} {plane.dtype} {encoding} {said}")


def _try_sky(
    report: Report, name: str, image: OpenImage, wcs: ImageWcs, pixels: np.ndarray, real: WCS
) -> str:
    ra, dec = wcs.center_deg
    scale = wcs.pixel_scale_arcsec / 3600.0
    region = parse_pos(f"CIRCLE {ra:.12f} {dec:.12f} {_RADIUS_PX * scale:.12f}")
    found = cut(image, Stencil(region=region, label="around the middle"))
    part = found.planes[PlaneKind.IMAGE]
    if not _equal(part.data, pixels[tuple(slice(*side) for side in part.box)]):
        report.faults.append(f"{name}: the pixels of the cutout are not those of the image")
    off = _wcs_error(found, real) / scale
    if not off < _TOLERANCE_PX:
        report.faults.append(f"{name}: the WCS of the cutout is {off:.3g} pixels off")
    wrong = _footprint_errors(wcs)
    if wrong:
        report.faults.append(f"{name}: its footprint is wrong for {wrong} positions")
    return f"{wcs.projection} {ra:.5f} {dec:+.5f}: cutout of {part.data.shape}, off {off:.1e} px"


def _wcs_error(found: Cutout, real: WCS) -> float:
    """Return how far positions of a cutout, read by astropy, are from the image's own (deg)."""
    part = found.planes[PlaneKind.IMAGE]
    hdus = fits.HDUList([fits.PrimaryHDU(part.data, part.header.to_astropy())])
    if found.wcs_tables:
        hdus[0].header["EXTEND"] = True
        hdus.extend(fits.HDUList.fromstring(EMPTY_PRIMARY + found.wcs_tables)[1:])
    written = io.BytesIO()
    hdus.writeto(written, output_verify="silentfix+ignore")
    rng = np.random.default_rng(8)
    inside = np.column_stack([rng.uniform(-0.5, n - 0.5, 50) for n in reversed(part.data.shape)])
    if real.naxis > inside.shape[1]:
        inside = np.column_stack([inside, np.zeros((50, real.naxis - inside.shape[1]))])
    first = np.zeros(real.naxis)
    first[: len(part.box)] = [start for start, _ in reversed(part.box)]
    with fits.open(io.BytesIO(written.getvalue())) as again:
        got = WCS(again[0].header, again).all_pix2world(inside, 0)
    expected = real.all_pix2world(inside + first, 0)
    sky = [real.wcs.lng, real.wcs.lat]
    apart = np.abs(got - expected)[:, sky]
    apart[:, 0] = np.minimum(apart[:, 0], 360.0 - apart[:, 0])
    return float(np.nanmax(apart))


def _footprint_errors(wcs: ImageWcs) -> int:
    vertices = wcs.footprint()
    height, width = wcs.sky_shape
    rng = np.random.default_rng(9)
    x = rng.uniform(-0.5 - 0.1 * width, 1.1 * width, 3000)
    y = rng.uniform(-0.5 - 0.1 * height, 1.1 * height, 3000)
    edges = [np.abs(x + 0.5), np.abs(x - width + 0.5), np.abs(y + 0.5), np.abs(y - height + 0.5)]
    clear = np.minimum.reduce(edges) > 0.2
    inside = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
    got = Polygon(vertices[:, 0], vertices[:, 1]).contains(*wcs.to_sky(x, y))
    return int((got != inside)[clear].sum())


def _equal(first: np.ndarray, second: np.ndarray) -> bool:
    return first.shape == second.shape and np.array_equal(
        first, second, equal_nan=first.dtype.kind == "f"
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the tool and return its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    report = run(parser.parse_args(arguments).folder)
    for names in report.same.values():
        if len(names) > 1:
            report.lines.append(f"the same pixels: {', '.join(names)}")
    for line in [*report.lines, *(f"WRONG {fault}" for fault in report.faults)]:
        sys.stdout.write(line + "\n")
    sys.stdout.write(f"{len(report.lines)} lines, {len(report.faults)} faults\n")
    return 1 if report.faults or not report.lines else 0


if __name__ == "__main__":
    sys.exit(main())
