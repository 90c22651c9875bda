"""Small synthetic FITS files of every kind, and ways to open them without a control database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from typing_extensions import override

from astrolabe.images.files import ByteSource, ImageFiles
from astrolabe.images.fits.index import build_index
from astrolabe.images.model import ImageKey, ImageRecord, PlaneKind
from astrolabe.images.reader import ImageReader, OpenImage

__all__ = [
    "CENTER",
    "COMPRESSED_KINDS",
    "PLAIN_KINDS",
    "WCS_KINDS",
    "CountingSource",
    "card",
    "image_reader",
    "make_record",
    "open_image",
    "raw_header",
    "star_field",
    "wcs_header",
    "write_bomb",
    "write_compressed",
    "write_lookup_image",
    "write_plain",
    "write_planes",
    "write_wcs_image",
]

Floats = npt.NDArray[np.float64]

CENTER: Final = (53.1, -27.8)
"""Position (ICRS deg) around which the images lie, but for those of other frames."""


def star_field(
    shape: tuple[int, ...] = (150, 180), *, seed: int = 1, stars: int = 40
) -> npt.NDArray[np.float32]:
    """Draw sky, noise and round stars."""
    rng = np.random.default_rng(seed)
    height, width = shape[-2:]
    y, x = np.mgrid[:height, :width]
    image = rng.normal(100.0, 3.0, shape)
    for _ in range(stars):
        x0, y0 = rng.uniform(0, width), rng.uniform(0, height)
        flux = rng.pareto(1.5) * 200.0
        image += flux * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * 1.6**2))
    return image.astype(np.float32)


def wcs_header(kind: str = "tan", shape: tuple[int, ...] = (150, 180)) -> fits.Header:
    """Return the cards of a WCS of one of `WCS_KINDS`; the middle of the image is its centre."""
    header = fits.Header()
    height, width = shape[-2:]
    prefix, projection, center, scale = "RA", "TAN", CENTER, 0.2 / 3600
    if kind in {"galactic", "car"}:
        prefix, center, scale = "GLON", (359.98, 0.1), 7.2 / 3600
        projection = "CAR" if kind == "car" else "TAN"
    elif kind == "ecliptic":
        prefix, center = "ELON", (40.0, 5.0)
    elif kind in {"sfl", "ait", "sin", "zea", "mol"}:
        projection = kind.upper()
    elif kind == "tpv":
        projection = "TPV"
    names = ("GLON", "GLAT") if prefix == "GLON" else ("ELON", "ELAT")
    names = ("RA--", "DEC-") if prefix == "RA" else names
    suffix = "-SIP" if kind == "sip" else ""
    header["CTYPE1"] = f"{names[0]}-{projection}{suffix}"
    header["CTYPE2"] = f"{names[1]}-{projection}{suffix}"
    header["CRPIX1"], header["CRPIX2"] = width / 2 + 3.25, height / 2 - 7.5
    header["CRVAL1"], header["CRVAL2"] = center
    if projection in {"CAR", "SFL", "AIT", "MOL"}:
        # Their reference is on the equator, far from the image.
        header["CRVAL2"] = 0.0
        header["CRPIX2"] = height / 2 - center[1] / scale
    angle = np.deg2rad(23.0 if projection == "TAN" else 0.0)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    header["CD1_1"], header["CD1_2"] = -cos, sin
    header["CD2_1"], header["CD2_2"] = sin, cos
    header["CUNIT1"] = header["CUNIT2"] = "deg"
    _EXTRA.get(kind, _nothing)(header)
    return header


def _nothing(header: fits.Header) -> None:
    pass


def _icrs(header: fits.Header) -> None:
    header["RADESYS"] = "ICRS"


def _sip(header: fits.Header) -> None:
    _icrs(header)
    header["A_ORDER"], header["B_ORDER"] = 2, 3
    header["A_2_0"], header["A_1_1"], header["A_0_2"] = 2.1e-4, -1.3e-4, 4.4e-5
    header["B_2_0"], header["B_0_2"], header["B_0_3"] = -8.2e-5, 1.9e-4, 3.1e-7


def _tpv(header: fits.Header) -> None:
    _icrs(header)
    header["PV1_1"], header["PV1_4"], header["PV1_7"] = 1.0, 3.2e-2, 0.9
    header["PV2_1"], header["PV2_5"], header["PV2_10"] = 1.0, -2.1e-2, 1.1


def _fk4(header: fits.Header) -> None:
    header["RADESYS"], header["EQUINOX"], header["DATE-OBS"] = "FK4", 1950.0, "1979-06-01"


def _fk5(header: fits.Header) -> None:
    header["RADESYS"], header["EQUINOX"] = "FK5", 2010.0


_EXTRA: Final[Mapping[str, Callable[[fits.Header], None]]] = {
    "tan": _icrs,
    "sip": _sip,
    "tpv": _tpv,
    "fk4": _fk4,
    "fk5": _fk5,
}

WCS_KINDS: Final = [
    "tan",
    "sip",
    "tpv",
    "fk4",
    "fk5",
    "galactic",
    "ecliptic",
    "car",
    "sfl",
    "ait",
    "sin",
    "zea",
]
"""What `wcs_header` makes."""


def write_wcs_image(path: Path, kind: str = "tan", *, shape: tuple[int, ...] = (150, 180)) -> Path:
    """Write a plain float image with a WCS of a kind."""
    data = star_field(shape)
    fits.PrimaryHDU(data, wcs_header(kind, shape)).writeto(path)
    return path


def _integers(field: npt.NDArray[np.float32], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return the same numbers in any type that has room for them."""
    limit = {1: 120}.get(dtype.itemsize, 30_000)
    return np.clip(field, 0, limit).astype(dtype)


def _with_blank(data: npt.NDArray[Any]) -> npt.NDArray[Any]:
    data = data.copy()
    data[3:9, 20:31] = -32768
    return data


PLAIN_KINDS: Final = (
    "u8",
    "i8",
    "i16",
    "u16",
    "i32",
    "u32",
    "i64",
    "f32",
    "f64",
    "scaled",
    "blank",
)
"""What `write_plain` makes."""


def write_plain(path: Path, kind: str, *, shape: tuple[int, ...] = (150, 180)) -> Path:
    """Write an image that is not compressed, of one of `PLAIN_KINDS`."""
    field = star_field(shape)
    header = wcs_header("tan", shape)
    if kind == "scaled":
        hdu = fits.PrimaryHDU(field, header)
        hdu.scale("int16", bscale=0.05, bzero=1500.0)
        hdu.writeto(path)
        return path
    if kind == "blank":
        hdu = fits.PrimaryHDU(_with_blank(np.clip(field, 0, 30_000).astype(np.int16)), header)
        hdu.header["BLANK"] = -32768
        hdu.writeto(path)
        return path
    dtype = np.dtype(f"{kind[0]}{int(kind[1:]) // 8}")
    data = field.astype(dtype) if dtype.kind == "f" else _integers(field, dtype)
    fits.PrimaryHDU(data, header).writeto(path)
    return path


COMPRESSED_KINDS: Final = (
    "rice-i16", "rice-i32", "rice-u16", "rice-u8", "rice-rows", "gzip1-i16", "gzip1-f32",
    "gzip1-f64", "gzip2-i32", "gzip2-f32", "plio-i16", "hcompress-i16", "hcompress-f32", "none-i16",
    "rice-f32-no_dither", "rice-f32-dither1", "rice-f32-dither2", "rice-f64-dither1",
    "gzip2-f32-dither1", "rice-f32-nan", "rice-f32-constant",
)  # fmt: skip
"""What `write_compressed` makes."""

_CODECS: Final = {
    "rice": "RICE_1",
    "gzip1": "GZIP_1",
    "gzip2": "GZIP_2",
    "plio": "PLIO_1",
    "hcompress": "HCOMPRESS_1",
    "none": "NOCOMPRESS",
}
_DITHERS: Final = {"no_dither": -1, "dither1": 1, "dither2": 2, "nan": 1, "constant": 1}


def write_compressed(path: Path, kind: str, *, shape: tuple[int, ...] = (150, 180)) -> Path:
    """Write an image compressed by tiles, of one of `COMPRESSED_KINDS`.

    Tiles are 40 x 48 pixels, so that those at the far edges are smaller.
    """
    codec, width, *rest = kind.split("-")
    field = star_field(shape)
    options: dict[str, Any] = {}
    tile: Sequence[int] | None = (*([1] * (len(shape) - 2)), 40, 48)
    if width == "rows":
        tile, data = None, _integers(field, np.dtype(np.int16))
    elif width.startswith("f"):
        data = field.astype(f"f{int(width[1:]) // 8}")
        # 0 means that floats are not made integers.
        options["quantize_level"] = 16.0 if rest or codec in {"rice", "hcompress"} else 0.0
        if rest:
            options |= {"quantize_method": _DITHERS[rest[0]], "dither_seed": 4242}
    else:
        data = _integers(field, np.dtype(f"{width[0]}{int(width[1:]) // 8}"))
    if "nan" in rest:
        data[..., 10:60, 30:90] = np.nan
    if "dither2" in rest:
        data[..., 70:75, :] = 0.0
    if "constant" in rest:
        data[..., :40, :48] = 17.25  # cannot be quantised: its tile is kept by gzip
    hdu = fits.CompImageHDU(
        data, wcs_header("tan", shape), compression_type=_CODECS[codec], tile_shape=tile, **options
    )
    hdu.writeto(path)
    return path


def write_planes(
    path: Path,
    *,
    shape: tuple[int, int] = (150, 180),
    kind: str = "tan",
    compressed: bool = True,
    cards: Mapping[str, Any] | None = None,
    seed: int = 1,
) -> Path:
    """Write one file with image, mask and variance (HDUs 1, 2 and 3) and what surveys say of it."""
    rng = np.random.default_rng(seed)
    header = wcs_header(kind, shape)
    primary = fits.PrimaryHDU()
    primary.header.update(
        {
            "TELESCOP": "Synthetic", "INSTRUME": "SynCam", "FILTER": "r", "EXPTIME": 30.0,
            "DATE-OBS": "2026-03-01T04:05:06", "MJD-OBS": 61100.17020833, "OBJECT": "field 7",
            **(cards or {}),
        }
    )  # fmt: skip
    image = star_field(shape, seed=seed)
    mask = (rng.random(shape) < 0.02).astype(np.int32) * 4
    variance = np.abs(image) / 5.0 + 9.0
    made = []
    for name, data in (("IMAGE", image), ("MASK", mask), ("VARIANCE", variance)):
        own = header.copy()
        if compressed:
            codec = "PLIO_1" if name == "MASK" else "RICE_1"
            hdu = fits.CompImageHDU(
                data, own, name=name, compression_type=codec, tile_shape=(64, 64),
                quantize_method=1, dither_seed=77,
            )  # fmt: skip
        else:
            hdu = fits.ImageHDU(data, own, name=name)
        made.append(hdu)
    fits.HDUList([primary, *made]).writeto(path)
    return path


def write_lookup_image(path: Path, *, shape: tuple[int, int] = (150, 180)) -> Path:
    """Write an image whose WCS has SIP and look-up tables of distortions (HDUs 1 to 3)."""
    height, width = shape
    header = wcs_header("sip", shape)
    tables = []
    for axis in (1, 2):
        header[f"CPDIS{axis}"] = "LOOKUP"
        for record in (f"EXTVER: {axis}", "NAXES: 2", "AXIS.1: 1", "AXIS.2: 2"):
            header.append(fits.Card.fromstring(f"DP{axis}     = '{record}'"), end=True)
        y, x = np.mgrid[:9, :11]
        table = fits.ImageHDU(
            (0.4 * np.sin(x / 3.0 + axis) * np.cos(y / 2.0)).astype(np.float32),
            name="WCSDVARR",
            ver=axis,
        )
        table.header.update(
            {
                "CRPIX1": 1.0, "CRVAL1": 1.0, "CDELT1": (width + 20) / 10,
                "CRPIX2": 1.0, "CRVAL2": 1.0, "CDELT2": (height + 20) / 8,
            }
        )  # fmt: skip
        tables.append(table)
    image = fits.ImageHDU(star_field(shape), header, name="SCI")
    fits.HDUList([fits.PrimaryHDU(), image, *tables]).writeto(path)
    return path


def card(keyword: str, value: object) -> bytes:
    """Return one card of a header that no library would write."""
    return f"{keyword:<8}= {value!s:>20}".ljust(80).encode("ascii")


def raw_header(*cards: bytes) -> bytes:
    """Return cards and END as whole blocks."""
    raw = b"".join([*cards, b"END".ljust(80)])
    return raw.ljust(-(-len(raw) // 2880) * 2880)


def write_bomb(path: Path, *axes: int, bitpix: int = -64) -> Path:
    """Write a file of 5,760 bytes whose header says that it has far more."""
    cards = [card("SIMPLE", "T"), card("BITPIX", bitpix), card("NAXIS", len(axes))]
    cards += [card(f"NAXIS{i}", length) for i, length in enumerate(axes, start=1)]
    path.write_bytes(raw_header(*cards) + bytes(2880))
    return path


class CountingSource(ByteSource):
    """A file that counts what is read of it."""

    def __init__(self, source: ByteSource) -> None:
        super().__init__(source.uri, source.stat)
        self._source = source
        self.ranges: list[tuple[int, int]] = []

    @property
    def bytes_read(self) -> int:
        """Bytes that were asked for."""
        return sum(length for _, length in self.ranges)

    @override
    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        self.ranges.extend(ranges)
        return self._source.read_ranges(ranges)


def image_reader(folder: Path, *, cache_bytes: int = 16 << 20) -> ImageReader:
    """Return a reader whose indexes are in a folder."""
    return ImageReader(ImageFiles(), folder, cache_bytes=cache_bytes, open_images=64)


def make_record(
    path: Path | str,
    folder: Path,
    *,
    planes: Mapping[PlaneKind, int] | None = None,
    files: ImageFiles | None = None,
    image_id: str | None = None,
    **fields: Any,
) -> ImageRecord:
    """Write the index of a file below `folder` and return a record of its image."""
    uri = str(path)
    source = (files or ImageFiles()).open(uri)
    index = build_index(source)
    name = image_id or uri.rpartition("/")[2].removesuffix(".fits")
    index_path = f"{name}.index"
    (folder / index_path).write_bytes(index.to_bytes())
    return ImageRecord(
        key=ImageKey("tests", name),
        uri=uri,
        size_bytes=source.size,
        md5=None,
        signature=source.stat.signature,
        index_path=index_path,
        planes=planes or {PlaneKind.IMAGE: min(index.planes)},
        imported=datetime(2026, 1, 1, tzinfo=UTC),
        **fields,
    )


def open_image(
    path: Path, folder: Path, *, planes: Mapping[PlaneKind, int] | None = None, **fields: Any
) -> OpenImage:
    """Open an image of a file by its index."""
    return image_reader(folder).open(make_record(path, folder, planes=planes, **fields))
