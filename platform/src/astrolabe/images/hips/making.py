"""Makes HiPS of collections of images: of one band with its values, or in colour of three."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import reduce
from typing import Final

import structlog
from mocpy import MOC

from astrolabe.core.clock import utc_now
from astrolabe.core.errors import BadParameterError, NotFoundError
from astrolabe.images.hips.building import BandTiles, affected, link_unchanged
from astrolabe.images.hips.coverage import MOC_FORMS, moc_bytes, view_of_cells
from astrolabe.images.hips.pictures import Cut, PictureFormat, colors, cut_of, encode, grey
from astrolabe.images.hips.sampling import TileSampler
from astrolabe.images.hips.sources import (
    Source,
    SourceList,
    changed_tiles,
    collect_sources,
    read_sources,
    tiles_of,
    write_sources,
)
from astrolabe.images.hips.tiles import (
    MAX_HIPS_ORDER,
    TILE_WIDTH,
    FloatTile,
    Tile,
    order_of_scale,
    pixel_scale_arcsec,
    write_atomically,
)
from astrolabe.images.hips.trees import Generation, HipsInfo, HipsTrees, check_hips_id
from astrolabe.images.model import ImageCollection, ImageRecord
from astrolabe.images.reader import ImageReader
from astrolabe.images.store import ImageStore

__all__ = ["HipsMaker", "HipsProgress", "HipsReport", "HipsRequest"]

_LOG = structlog.get_logger(__name__)

_BANDS_FOLDER: Final = "bands"
_MOC_FILE: Final = "Moc.fits"
_VIEW_CELLS: Final = 20_000
_LEAST_VIEW_DEG: Final = 0.05
_COARSEST: Final = 3
"""Readers expect tiles down to this order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HipsRequest:
    """What is to be made.

    Parameters
    ----------
    collection
        Of images.
    bands
        No band: all images together; one: those of it; three: red, green and blue of a picture.
    hips_id
        Name in addresses; default the collection with its bands.
    title
        For people.
    order
        The finest order; default that whose pixels are no larger than those of the images.
    picture
        ``png`` or ``jpg``.
    cuts
        The values that are drawn black and white: a pair, or one for each band; default those
        that were chosen when the HiPS was first made.
    rebuild
        Make every tile anew.
    keep_values
        Keep the bands' values of a HiPS in colour, so that later only what has changed needs to
        be made; they take several times the room of the pictures.
    threads
        How many tiles to make at once.
    """

    collection: str
    bands: tuple[str, ...] = ()
    hips_id: str | None = None
    title: str | None = None
    order: int | None = None
    picture: PictureFormat = "png"
    cuts: tuple[Cut, ...] = ()
    rebuild: bool = False
    keep_values: bool = True
    threads: int = 2

    def check(self) -> None:
        """Make sure that it can be done.

        Raises
        ------
        BadParameterError
            Raised if it cannot.
        """
        if len(self.bands) not in {0, 1, 3}:
            raise BadParameterError(
                f"A HiPS is made of one band or, in colour, of three; {len(self.bands)} were named."
            )
        if self.order is not None and not _COARSEST <= self.order <= MAX_HIPS_ORDER:
            raise BadParameterError(
                f"The order of a HiPS is from {_COARSEST} to {MAX_HIPS_ORDER}, not {self.order}."
            )
        if self.cuts and len(self.cuts) != max(1, len(self.bands)):
            raise BadParameterError("Give one pair of cuts for each band.")
        if any(not low < high for low, high in self.cuts):
            raise BadParameterError("The first value of a cut must be below the second.")

    @property
    def name(self) -> str:
        """The id that it gets."""
        made = "_".join([self.collection, "".join(self.bands)]) if self.bands else self.collection
        return check_hips_id(self.hips_id or made)


@dataclass(frozen=True, slots=True)
class HipsProgress:
    """How far it is.

    Parameters
    ----------
    step
        ``tiles`` of the finest order, or ``pictures`` of all orders.
    done, total
        Number of them.
    """

    step: str
    done: int
    total: int


@dataclass(slots=True, kw_only=True)
class HipsReport:
    """What was made.

    Parameters
    ----------
    hips_id
        Its name.
    order
        The finest order.
    images
        How many it shows.
    tiles
        Tiles of the finest order that were made now.
    skipped
        Images that could not be used, with the reason.
    """

    hips_id: str
    order: int = 0
    images: int = 0
    tiles: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)


class HipsMaker:
    """Makes HiPS.

    Parameters
    ----------
    trees
        Where they go.
    store
        Knows the images.
    reader
        Reads them.
    """

    def __init__(self, trees: HipsTrees, store: ImageStore, reader: ImageReader) -> None:
        self._trees = trees
        self._store = store
        self._reader = reader

    def make(
        self, request: HipsRequest, tell: Callable[[HipsProgress], None] = lambda _: None
    ) -> HipsReport:
        """Make a HiPS, or of one that is there only what has changed.

        What is shown stays as it was until all is done; if nothing has changed, nothing is done.

        Parameters
        ----------
        tell
            Called from time to time, from several threads.

        Raises
        ------
        BadParameterError
            Raised if the request is wrong.
        NotFoundError
            Raised if there is no such collection, or no image of these bands in it.
        ConflictError
            Raised if somebody else is making it.
        """
        request.check()
        collection = self._store.collection(request.collection)
        with self._trees.writing(request.name) as generation:
            found = collect_sources(self._store, collection.name, request.bands)
            if not found.sources:
                raise NotFoundError(_no_images(collection, request.bands, found))
            job = _Job(self._store, self._reader, request, collection, found, generation, tell)
            return job.run()


class _Job:
    """One making of one HiPS."""

    def __init__(
        self,
        store: ImageStore,
        reader: ImageReader,
        request: HipsRequest,
        collection: ImageCollection,
        found: SourceList,
        generation: Generation,
        tell: Callable[[HipsProgress], None],
    ) -> None:
        self._store = store
        self._request = request
        self._collection = collection
        self._found = found
        self._generation = generation
        self._tell = tell
        self._lock = threading.Lock()
        self._done = 0
        self._skipped = dict(found.skipped)
        previous = generation.previous
        self._order = self._choose_order(reader)
        self._shown: list[Source] | None = None
        if previous is not None and self._fits(previous.info):
            self._shown = read_sources(previous.folder)
        keeps = previous is not None and previous.info.keeps_values
        self._before = self._shown if keeps else None
        self._sampler = TileSampler(reader, width=TILE_WIDTH, on_failure=self._note_failure)
        bands = request.bands or (None,)
        self._bands = [
            BandTiles(
                generation.folder / self._band_folder(i),
                order=self._order,
                width=TILE_WIDTH,
                unit=None,
                threads=request.threads,
            )
            for i in range(len(bands))
        ]

    def run(self) -> HipsReport:
        """Make it."""
        sources = self._found.sources
        report = HipsReport(hips_id=self._request.name, order=self._order, images=len(sources))
        is_same = self._shown is not None and set(self._shown) == set(sources)
        if is_same and not self._looks_different():
            report.skipped = sorted(self._skipped.items())
            return report
        if self._before is None:
            leaves = set(tiles_of(sources, self._order))
        else:
            leaves = changed_tiles(self._before, sources, self._order)
        report.tiles = len(leaves)
        self._make_values(leaves)
        cuts = self._choose_cuts()
        self._make_pictures(leaves, cuts)
        coverage = reduce(MOC.union, (band.coverage for band in self._bands))
        folder = self._generation.folder
        write_atomically(folder / _MOC_FILE, moc_bytes(coverage, MOC_FORMS[0]))
        write_sources(folder, sources)
        if self._is_color and not self._request.keep_values:
            shutil.rmtree(folder / _BANDS_FOLDER)
        self._generation.publish(self._info(cuts, coverage))
        report.skipped = sorted(self._skipped.items())
        return report

    @property
    def _is_color(self) -> bool:
        return len(self._request.bands) == 3

    def _band_folder(self, number: int) -> str:
        return f"{_BANDS_FOLDER}/{number}" if self._is_color else "."

    def _choose_order(self, reader: ImageReader) -> int:
        if self._request.order is not None:
            return self._request.order
        previous = self._generation.previous
        if previous is not None and not self._request.rebuild:
            return previous.info.order
        scale = self._found.scale_arcsec
        if scale is None:
            record = self._store.get(self._found.sources[0].key)
            wcs = reader.open(record).wcs
            scale = 1.0 if wcs is None else wcs.pixel_scale_arcsec
        return max(_COARSEST, order_of_scale(scale))

    def _fits(self, info: HipsInfo) -> bool:
        """Whether the generation before has the same tiles of the same kind."""
        return (
            not self._request.rebuild
            and info.order == self._order
            and info.width == TILE_WIDTH
            and info.bands == self._request.bands
            and info.collection.lower() == self._collection.name.lower()
        )

    def _looks_different(self) -> bool:
        """Whether other pictures or words are wanted of the same images."""
        previous = self._generation.previous
        if previous is None:
            return True
        info, request = previous.info, self._request
        return (
            request.picture not in info.formats
            or (bool(request.cuts) and request.cuts != info.cuts)
            or (request.title is not None and request.title != info.title)
        )

    def _make_values(self, leaves: set[Tile]) -> None:
        previous = self._generation.previous if self._before is not None else None
        by_band: list[dict[Tile, list[Source]]] = []
        for band in self._request.bands or (None,):
            wanted = (
                source
                for source in self._found.sources
                if band is None or (source.band or "").lower() == band.lower()
            )
            tiles = tiles_of(wanted, self._order)
            by_band.append({tile: of for tile, of in tiles.items() if tile in leaves})
        total = len(leaves) * len(self._bands)
        self._done = 0
        for i, (tiles_of_band, under) in enumerate(zip(self._bands, by_band, strict=True)):

            def make_tile(tile: Tile, under: dict[Tile, list[Source]] = under) -> FloatTile | None:
                keys = [source.key for source in under.get(tile, ())]
                records = self._store.find(keys)
                return self._sampler.tile(tile, [records[k] for k in sorted(records)])

            tiles_of_band.make(
                leaves,
                make_tile,
                previous=None if previous is None else previous.folder / self._band_folder(i),
                tell=lambda number: self._advance("tiles", number, total),
            )

    def _choose_cuts(self) -> tuple[Cut, ...]:
        if self._request.cuts:
            return self._request.cuts
        previous = self._generation.previous
        if previous is not None and self._shown is not None:
            return previous.info.cuts
        return tuple(cut_of(band.sample()) for band in self._bands)

    def _make_pictures(self, leaves: set[Tile], cuts: Sequence[Cut]) -> None:
        folder = self._generation.folder
        previous = self._generation.previous
        form = self._request.picture
        changed = affected(leaves)
        same_look = (
            previous is not None
            and self._before is not None
            and form in previous.info.formats
            and tuple(cuts) == previous.info.cuts
        )
        if previous is not None and self._before is not None and not same_look:
            # Every picture anew, from values that are there.
            changed = affected(set(self._leaves_with_values()))
            for path in folder.glob("Norder*/Dir*/*.[jp][pn]g"):
                path.unlink()
        elif previous is not None and same_look and self._is_color:
            link_unchanged(previous.folder, folder, {t for of in changed.values() for t in of})
        tiles = [tile for of in changed.values() for tile in of]
        self._done = 0

        def draw(tile: Tile) -> None:
            bands = [band.read(tile) for band in self._bands]
            known = [band for band in bands if band is not None]
            if known:
                picture = colors(bands, cuts) if self._is_color else grey(known[0], cuts[0])
                write_atomically(folder / tile.path(form), encode(picture, form))
            self._advance("pictures", 1, len(tiles))

        with ThreadPoolExecutor(self._request.threads, thread_name_prefix="hips") as executor:
            for _ in executor.map(draw, tiles):
                pass

    def _leaves_with_values(self) -> list[Tile]:
        found: list[Tile] = []
        for band in self._bands:
            for path in band.root.glob(f"Norder{self._order}/Dir*/Npix*.fits"):
                parsed = Tile.parse(path.relative_to(band.root).as_posix())
                if parsed is not None:
                    found.append(parsed[0])
        return found

    def _info(self, cuts: tuple[Cut, ...], coverage: MOC) -> HipsInfo:
        request = self._request
        coarse = coverage
        while coarse.sky_fraction * (12 << (2 * coarse.max_order)) > _VIEW_CELLS:
            coarse = coarse.degrade_to_order(coarse.max_order - 1)
        ra, dec, fov = view_of_cells(coarse.max_order, coarse.flatten(), least_deg=_LEAST_VIEW_DEG)
        bands = " ".join(request.bands)
        title = request.title or " ".join(
            part for part in (self._collection.title or self._collection.name, bands) if part
        )
        facts = self._found.facts or {}
        form = request.picture
        return HipsInfo(
            hips_id=request.name,
            title=title,
            collection=self._collection.name,
            bands=request.bands,
            order=self._order,
            width=TILE_WIDTH,
            formats=(form,) if self._is_color else (form, "fits"),
            cuts=cuts,
            keeps_values=request.keep_values or not self._is_color,
            more={
                "obs_description": self._collection.description,
                "hips_pixel_scale": f"{pixel_scale_arcsec(self._order) / 3600.0:.6g}",
                "hips_initial_ra": f"{ra:.6f}",
                "hips_initial_dec": f"{dec:.6f}",
                "hips_initial_fov": f"{fov:.4g}",
                "moc_sky_fraction": f"{coverage.sky_fraction:.6g}",
                **{key: f"{value:.8g}" for key, value in facts.items()},
            },
            changed=utc_now(),
        )

    def _advance(self, step: str, number: int, total: int) -> None:
        with self._lock:
            self._done += number
            done = self._done
        self._tell(HipsProgress(step, done, total))

    def _note_failure(self, record: ImageRecord, reason: str) -> None:
        with self._lock:
            is_new = record.key.path not in self._skipped
            self._skipped[record.key.path] = reason
        if is_new:
            _LOG.warning("image left out of a HiPS", image=record.key.path, reason=reason)


def _no_images(collection: ImageCollection, bands: Sequence[str], found: SourceList) -> str:
    which = f" of {' or '.join(bands)}" if bands else ""
    placed = " with a position" if found.skipped else ""
    return f"The collection {collection.name} has no images{which}{placed}."
