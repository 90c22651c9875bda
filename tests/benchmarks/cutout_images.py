"""Images for the benchmark of cutouts: survey-like exposures, compressed by tiles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from astropy.wcs import WCS

from astrolabe.images.files import ImageFiles
from astrolabe.images.fits.index import build_index
from astrolabe.images.model import ImageKey, ImageRecord, PlaneKind

__all__ = ["Places", "make_images", "places_on", "record_of"]

CENTER = (53.1, -27.8)
SCALE_DEG = 0.2 / 3600
_KINDS_OF_NOISE = 4
_DECOYS = 80


@dataclass(frozen=True)
class Places:
    """A table of positions."""

    ra_deg: npt.NDArray[np.float64]
    dec_deg: npt.NDArray[np.float64]
    ids: tuple[str, ...]
    size_deg: npt.NDArray[np.float64] | None = None


def make_images(
    folder: Path, count: int, *, side: int = 2048, rows: bool = False, spread_deg: float = 0.12
) -> list[Path]:
    """Write images that are not there yet; return all.

    Parameters
    ----------
    folder
        Where.
    count
        How many.
    side
        Pixels of an image a side.
    rows
        Tiles of one row, astropy's default, instead of 128 x 128 pixels.
    spread_deg
        How far the images' middles lie from each other: on a grid, or with 0 all within a tenth of
        an image of one place.

    Notes
    -----
    RICE, floats quantised with dither.  A few files are compressed; the others are theirs with
    another WCS, which takes a hundredth of the time and makes no difference to who reads them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"image{number:04d}.fits" for number in range(count)]
    kinds: list[bytes] = []
    rng = np.random.default_rng(side)
    for number, path in enumerate(paths):
        if path.exists():
            continue
        if not kinds:
            kinds = [_compressed(folder, side, seed, rows=rows) for seed in range(_KINDS_OF_NOISE)]
        if spread_deg:
            ra = CENTER[0] + spread_deg * (number % 10) / np.cos(np.deg2rad(CENTER[1]))
            dec = CENTER[1] + spread_deg * (number // 10)
        else:
            shift = rng.uniform(-0.1, 0.1, 2) * side * SCALE_DEG
            ra, dec = CENTER[0] + shift[0], CENTER[1] + shift[1]
        content = kinds[number % len(kinds)]
        for keyword, value in (("CRVAL1", ra), ("CRVAL2", dec)):
            content = _with_number(content, keyword, float(value))
        path.write_bytes(content)
    return paths


def record_of(path: Path, files: ImageFiles, *, collection: str = "bench") -> ImageRecord:
    """Return the record of an image, its index written beside it, as an import does."""
    source = files.open(str(path))
    index = path.with_suffix(".index")
    if not index.exists():
        index.write_bytes(build_index(source).to_bytes())
    header = fits.getheader(path, 1)
    corners = WCS(header).calc_footprint(axes=(header["NAXIS1"], header["NAXIS2"]))
    return ImageRecord(
        key=ImageKey(collection, path.stem),
        uri=str(path),
        size_bytes=source.size,
        md5=None,
        signature=source.stat.signature,
        index_path=index.name,
        planes={PlaneKind.IMAGE: 1},
        obscore={"s_region": corners.ravel().tolist()},
        imported=datetime.now(UTC),
    )


def places_on(paths: list[Path], count: int) -> Places:
    """Return positions all over images, the same number on each."""
    rng = np.random.default_rng(7)
    ra, dec = np.empty(count), np.empty(count)
    for number, rows in enumerate(_shares(count, len(paths))):
        header = fits.getheader(paths[number], 1)
        x = rng.uniform(0, header["NAXIS1"] - 1, len(rows))
        y = rng.uniform(0, header["NAXIS2"] - 1, len(rows))
        ra[rows], dec[rows] = WCS(header).all_pix2world(x, y, 0)
    return Places(ra, dec, tuple(f"object {n}" for n in range(count)))


def _shares(count: int, parts: int) -> Iterator[npt.NDArray[np.int64]]:
    yield from (np.arange(part, count, parts) for part in range(parts))


def _compressed(folder: Path, side: int, seed: int, *, rows: bool) -> bytes:
    rng = np.random.default_rng(seed)
    data = rng.normal(100.0, 5.0, (side, side)).astype(np.float32)
    header = fits.Header()
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    header["CRPIX1"] = header["CRPIX2"] = (side + 1) / 2
    header["CRVAL1"], header["CRVAL2"] = 0.123456789012345, 0.123456789012345
    header["CD1_1"], header["CD1_2"] = -SCALE_DEG, 1e-6
    header["CD2_1"], header["CD2_2"] = 1e-6, SCALE_DEG
    header["BUNIT"], header["FILTER"] = "nJy", "r"
    for number in range(_DECOYS):
        # Headers of surveys are long.
        header[f"KEY{number}"] = (number * 1.5, "one of many things said of an exposure")
    hdu = fits.CompImageHDU(
        data, header, compression_type="RICE_1", tile_shape=(1, side) if rows else (128, 128),
        quantize_method=1, quantize_level=16, dither_seed=1 + seed,
    )  # fmt: skip
    path = folder / f"kind{seed}.tmp"
    hdu.writeto(path, overwrite=True)
    content = path.read_bytes()
    path.unlink()
    return content


def _with_number(content: bytes, keyword: str, value: float) -> bytes:
    place = content.index(f"{keyword:<8}= ".encode())
    card = str(fits.Card(keyword, value)).encode("ascii")
    return content[:place] + card + content[place + 80 :]
