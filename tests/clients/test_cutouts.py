"""Cutouts through pyvo, against a platform that runs by itself."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from pyvo.dal import DALServiceError
from pyvo.dal.adhoc import SodaQuery

from tests.support.images import CENTER, wcs_header, write_planes
from tests.support.platform import RunningPlatform, run_astrolabe, running_platform

pytestmark = [
    pytest.mark.client,
    pytest.mark.timeout(180),
    # pyvo leaves the connections of streamed answers to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

RA, DEC = CENTER
WAVELENGTHS = 4


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A coadd and a cube."""
    folder = tmp_path_factory.mktemp("files")
    write_planes(folder / "coadd.fits")
    header = wcs_header("tan", (60, 70))
    header["CTYPE3"], header["CUNIT3"] = "WAVE", "m"
    header["CRPIX3"], header["CRVAL3"], header["CD3_3"] = 1.0, 4e-7, 1e-7
    cube = np.arange(WAVELENGTHS * 60 * 70, dtype=np.float32).reshape(WAVELENGTHS, 60, 70)
    fits.PrimaryHDU(cube, header).writeto(folder / "cube.fits")
    return folder


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory, files: Path) -> Iterator[RunningPlatform]:
    home = tmp_path_factory.mktemp("cutouts") / "home"
    run_astrolabe(
        "image", "import", str(files), "--collection", "sky", "--public", "--home", str(home)
    )
    with running_platform(home) as platform:
        yield platform


@pytest.fixture(scope="module")
def dids(platform: RunningPlatform) -> dict[str, str]:
    """Identifiers by the first word of the image's id."""
    rows = platform.csv("SELECT obs_publisher_did FROM ivoa.ObsCore")
    found = [row["obs_publisher_did"] for row in rows]
    return {name: next(d for d in found if f"?{name}" in d) for name in ("coadd", "cube")}


def query(platform: RunningPlatform, did: str, **stencil: object) -> SodaQuery:
    made = SodaQuery(f"{platform.address}/api/cutout/sync", **stencil)
    made["ID"] = did
    return made


def degrees(*values: float) -> tuple[u.Quantity, ...]:
    return tuple(value * u.deg for value in values)


@pytest.mark.parametrize(
    "stencil",
    [
        {"circle": degrees(RA, DEC, 0.001)},
        {"range": degrees(RA - 0.001, RA + 0.001, DEC - 0.001, DEC + 0.001)},
        {"polygon": degrees(RA - 0.001, DEC - 0.001, RA + 0.001, DEC - 0.001, RA, DEC + 0.001)},
    ],
    ids=["circle", "range", "polygon"],
)
def test_pyvo_cuts_by_every_shape(
    platform: RunningPlatform, dids: dict[str, str], files: Path, stencil: dict[str, object]
) -> None:
    answer = query(platform, dids["coadd"], **stencil).execute_stream()
    with fits.open(BytesIO(answer.read())) as cutout, fits.open(files / "coadd.fits") as whole:
        (hdu,) = cutout
        height, width = hdu.data.shape
        assert 25 < height < 60
        assert 25 < width < 60
        x0, y0 = (round(whole[1].header[k] - hdu.header[k]) for k in ("CRPIX1", "CRPIX2"))
        expected = whole[1].data[y0 : y0 + height, x0 : x0 + width]
        np.testing.assert_array_equal(hdu.data, expected)
        x, y = WCS(hdu.header).all_world2pix(RA, DEC, 0)
        assert 0 < x < width
        assert 0 < y < height


def test_pyvo_cuts_wavelengths_out_of_a_cube(
    platform: RunningPlatform, dids: dict[str, str], files: Path
) -> None:
    made = query(platform, dids["cube"], band=[480, 610] * u.nm)
    with (
        fits.open(BytesIO(made.execute_stream().read())) as cutout,
        fits.open(files / "cube.fits") as whole,
    ):
        np.testing.assert_array_equal(cutout[0].data, whole[0].data[1:3])
        spectral = WCS(cutout[0].header).spectral
        np.testing.assert_allclose(spectral.all_pix2world([0, 1], 0)[0], [5e-7, 6e-7])


def test_pyvo_tells_what_is_wrong(platform: RunningPlatform, dids: dict[str, str]) -> None:
    unknown = query(platform, dids["coadd"] + "x", circle=degrees(RA, DEC, 0.001))
    # As `processed` does it.
    unknown.execute_stream()
    with pytest.raises(DALServiceError, match="UsageError: There is no image"):
        unknown.raise_if_error()
    far = query(platform, dids["coadd"], circle=degrees(RA, -DEC, 0.001))
    assert far.execute_stream().read() == b""
