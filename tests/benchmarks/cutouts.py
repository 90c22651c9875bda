"""How fast stamps and cutouts are: in bulk, one at a time over HTTP, and from an object store.

usage: python -m tests.benchmarks.cutouts [--work DIR] [--images N] [--stamps N] [--visits N]
       [--requests N] [--rows] [--only bulk,object,http,s3]

``bulk``: stamps of 51 x 51 pixels around positions on many images, as one tar of FITS files with
WCS, against astropy's Cutout2D on the decompressed image and astrocut, which both get fewer stamps.
``object``: all stamps of one object, from as many visits.  ``http``: single sync cutouts of
100 x 100 pixels from a platform of its own.  ``s3``: what a stamp reads from a real S3 server.
"""

from __future__ import annotations

import argparse
import http.client
import random
import resource
import shutil
import statistics
import tarfile
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import numpy as np
from astrocut import fits_cut
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.wcs import WCS

from astrolabe.images.cutouts import box_around
from astrolabe.images.files import ImageFiles
from astrolabe.images.fits.planes import tiles_of_box
from astrolabe.images.model import ImageKey
from astrolabe.images.reader import ImageReader
from astrolabe.images.stamps.maker import StampMaker
from astrolabe.images.stamps.request import StampReport, StampRequest
from astrolabe.images.writers.bundles import BundleForm
from tests.benchmarks.cutout_images import CENTER, Places, make_images, places_on, record_of
from tests.support.object_store import CountingWire, running_object_store
from tests.support.platform import run_astrolabe, running_platform

_SIDE = 51
_ASTROPY_STAMPS = 2_000
_ASTROCUT_STAMPS = 40
_CLIENTS = 20
_HTTP_SIDE_ARCSEC = 20.0  # 100 pixels
_AUTHORITY = "astrolabe.invalid"  # the default of a platform


def reader_of(folder: Path) -> ImageReader:
    """Return a reader with the settings' default cache."""
    return ImageReader(ImageFiles(), folder, cache_bytes=128 << 20, open_images=1024)


def make_tar(paths: list[Path], positions: Places, target: Path) -> tuple[StampReport, float]:
    """Write stamps with a reader that knows nothing yet; return the report and the time (s)."""
    folder = paths[0].parent
    records = [record_of(path, ImageFiles()) for path in paths]
    maker = StampMaker(reader_of(folder), authority=_AUTHORITY)
    began = time.perf_counter()
    request = StampRequest(positions=positions, side_px=_SIDE)
    report = maker.make(request, records, target, BundleForm.TAR)
    return report, time.perf_counter() - began


def bulk(work: Path, images: int, stamps: int, *, rows: bool) -> None:
    """Print stamps a second, of ours and of others."""
    paths = make_images(work / f"bulk{'-rows' if rows else ''}", images, rows=rows)
    positions = places_on(paths, stamps)
    tiles = "1 x 2048" if rows else "128 x 128"
    print(f"bulk: {stamps:,} positions on {images} images of 2048 x 2048, tiles {tiles}")
    ours = 0.0
    for form in ("first", "second"):
        before = _peak_mb()
        report, seconds = make_tar(paths, positions, work / "stamps.tar")
        ours = report.stamps / seconds
        print(
            f"  {form} tar: {report.stamps:,} stamps in {seconds:.2f} s = {ours:,.0f}/s, "
            f"{report.bytes_written / 1e6:,.0f} MB; "
            f"peak memory {before:,.0f} -> {_peak_mb():,.0f} MB"
        )
    some = places_on(paths, _ASTROPY_STAMPS * images)
    mine = np.arange(0, len(some.ids), images)
    theirs = _astropy_rate(paths[0], some, mine, work / "astropy.tar")
    print(
        f"  astropy Cutout2D, image decompressed once: {theirs:,.0f}/s; ours {ours / theirs:.1f} x"
    )
    cut = _astrocut_rate(paths[0], some, mine[:_ASTROCUT_STAMPS])
    print(f"  astrocut fits_cut: {cut:,.1f}/s; ours {ours / cut:,.0f} x")
    (work / "stamps.tar").unlink()


def _astropy_rate(
    path: Path, positions: Places, rows: np.ndarray[tuple[int], np.dtype[np.int64]], target: Path
) -> float:
    """Cut and write stamps as one would with astropy; return stamps a second."""
    began = time.perf_counter()
    with fits.open(path) as hdus, tarfile.open(target, "w") as packed:
        data, wcs = hdus[1].data, WCS(hdus[1].header)
        x, y = wcs.all_world2pix(positions.ra_deg[rows], positions.dec_deg[rows], 0)
        for row, at_x, at_y in zip(rows.tolist(), x, y, strict=True):
            part = Cutout2D(data, (at_x, at_y), _SIDE, wcs=wcs, mode="partial", fill_value=np.nan)
            out = BytesIO()
            fits.PrimaryHDU(part.data, part.wcs.to_header()).writeto(out)
            info = tarfile.TarInfo(f"{row}.fits")
            info.size = len(out.getvalue())
            out.seek(0)
            packed.addfile(info, out)
    seconds = time.perf_counter() - began
    target.unlink()
    return len(rows) / seconds


def _astrocut_rate(
    path: Path, positions: Places, rows: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> float:
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for row in rows.tolist():
            place = SkyCoord(positions.ra_deg[row], positions.dec_deg[row], unit="deg")
            fits_cut([str(path)], place, _SIDE, memory_only=True)
    return len(rows) / (time.perf_counter() - began)


def one_object(work: Path, visits: int) -> None:
    """Print how long all stamps of one object take."""
    paths = make_images(work / "visits", visits, spread_deg=0.0)
    place = Places(np.array([CENTER[0]]), np.array([CENTER[1]]), ("the object",))
    print(f"object: one object on {visits} visits of 2048 x 2048")
    for form in ("first", "second"):
        report, seconds = make_tar(paths, place, work / "object.tar")
        print(
            f"  {form}: {report.stamps} stamps in {seconds:.2f} s, "
            f"{1e3 * seconds / visits:.2f} ms each"
        )
    began = time.perf_counter()
    some = paths[: min(50, visits)]
    for path in some:
        with fits.open(path) as hdus:
            wcs = WCS(hdus[1].header)
            x, y = (int(v) for v in wcs.all_world2pix(*CENTER, 0))
            half = _SIDE // 2
            hdus[1].section[y - half : y + half + 1, x - half : x + half + 1]
    seconds = (time.perf_counter() - began) / len(some)
    print(f"  astropy, section of each opened file, nothing written: {1e3 * seconds:.1f} ms each")


def over_http(work: Path, images: int, requests: int) -> None:
    """Print the times of single sync cutouts."""
    paths = make_images(work / "bulk", images)
    home = work / "home"
    if not (home / "control.db").exists():
        folder = str(paths[0].parent)
        run_astrolabe(
            "image", "import", folder, "--collection", "bench", "--public", "--home", str(home)
        )
    positions = places_on(paths, 5_000)
    print(f"http: sync cutouts of about 100 x 100 pixels from {images} images")
    _raise_limits(home)
    with running_platform(home) as platform:
        asked = [_query(positions, row, paths) for row in range(len(positions.ids))]
        warm = [_ask(platform.address, asked[: len(asked) // 10], 50)]
        warm.clear()
        for name, clients in (("1 client", 1), (f"{_CLIENTS} clients", _CLIENTS)):
            _report(name, _together(platform.address, asked, clients, requests))


def _raise_limits(home: Path) -> None:
    for quota in ("requests_per_minute", "bytes_per_day"):
        run_astrolabe(
            "quota", "set", quota, "1000000000000", "--anonymous", "--home", str(home), check=False
        )


def _query(positions: Places, row: int, paths: list[Path]) -> str:
    did = ImageKey("bench", paths[row % len(paths)].stem).did(_AUTHORITY)
    circle = f"{positions.ra_deg[row]} {positions.dec_deg[row]} {_HTTP_SIDE_ARCSEC / 2 / 3600}"
    return "/api/cutout/sync?" + urlencode({"ID": did, "CIRCLE": circle})


def _ask(address: str, queries: list[str], count: int) -> list[float]:
    """Ask for cutouts one after the other on one connection; return the times (s)."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    seconds = []
    for query in random.choices(queries, k=count):
        began = time.perf_counter()
        connection.request("GET", query)
        answer = connection.getresponse()
        content = answer.read()
        seconds.append(time.perf_counter() - began)
        if answer.status != 200 or not content.startswith(b"SIMPLE"):
            raise SystemExit(f"status {answer.status}: {content[:300]!r}")
    connection.close()
    return seconds


def _together(address: str, queries: list[str], clients: int, requests: int) -> list[float]:
    found: list[float] = []

    def run() -> None:
        found.extend(_ask(address, queries, max(1, requests // clients)))

    threads = [threading.Thread(target=run) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not found:
        raise SystemExit("no cutout came back")
    return found


def _report(name: str, seconds: list[float]) -> None:
    cuts = statistics.quantiles(seconds, n=20)
    print(
        f"  {name:<11} {len(seconds):>5} cutouts: p50 {1e3 * cuts[9]:7.2f} ms, "
        f"p95 {1e3 * cuts[18]:7.2f} ms"
    )


def from_s3(work: Path, images: int) -> None:
    """Print what stamps read from an object store, against the tiles that they need."""
    paths = make_images(work / "bulk", images)[:5]
    folder = work / "seaweed"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with running_object_store(folder) as store:
        records = [
            replace(record_of(path, ImageFiles()), uri=store.put(path, path.name)) for path in paths
        ]
        wire = CountingWire(int(urlsplit(store.endpoint).port or 0))
        positions = places_on(paths, 200)
        needed = received = 0
        seconds = []
        # The wire counts, and takes its time for it: times are those without it.
        for s3, counts in ((store.through(wire.endpoint), True), (store.options, False)):
            files = ImageFiles(s3=s3)
            reader = ImageReader(files, work / "bulk", cache_bytes=0, open_images=len(paths))
            for row in range(len(positions.ids)):
                image = reader.open(records[row % len(paths)])
                place = positions.ra_deg[row], positions.dec_deg[row]
                box = box_around(image, *place, _SIDE, _SIDE)
                before, began = wire.received, time.perf_counter()
                image.image.read(box)
                if not counts:
                    seconds.append(time.perf_counter() - began)
                    continue
                received += wire.received - before
                index = image.image.index
                if index.tiles is None:
                    raise SystemExit("the images must be compressed by tiles")
                needed += int(index.tiles.length[tiles_of_box(index, box)].sum())
            files.close()
        wire.close()
    count, size = len(seconds), statistics.mean(path.stat().st_size for path in paths)
    print(f"s3: {count} stamps of {_SIDE} x {_SIDE} pixels, nothing kept in memory")
    print(
        f"  {received / count:,.0f} bytes over the wire a stamp, {needed / count:,.0f} of tiles "
        f"needed: {received / needed:.2f} x (file: {size:,.0f} bytes)"
    )
    _report("s3", seconds)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", type=Path, default=Path("build/bench/cutouts"))
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--stamps", type=int, default=100_000)
    parser.add_argument("--visits", type=int, default=800)
    parser.add_argument("--requests", type=int, default=1_000)
    parser.add_argument("--rows", action="store_true", help="tiles of one row in bulk")
    parser.add_argument("--only", default="bulk,object,http,s3")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    parts: dict[str, Callable[[], None]] = {
        "bulk": lambda: bulk(given.work, given.images, given.stamps, rows=given.rows),
        "object": lambda: one_object(given.work, given.visits),
        "http": lambda: over_http(given.work, given.images, given.requests),
        "s3": lambda: from_s3(given.work, given.images),
    }
    for name in given.only.split(","):
        parts[name]()


if __name__ == "__main__":
    main()
