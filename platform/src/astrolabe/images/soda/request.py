"""What a request for cutouts asks for (SODA 1.0, section 3), and our own parameters."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Final
from urllib.parse import unquote

from astrolabe.catalogs.uploads import parse_upload
from astrolabe.core.errors import BadParameterError, MultipleValuesError
from astrolabe.images.cutouts import Stencil
from astrolabe.images.model import (
    ImageKey,
    ImageRecord,
    PlaneKind,
    check_collection_name,
    parse_image_did,
)
from astrolabe.images.regions import SkyRegion, parse_interval, parse_pos
from astrolabe.images.soda.formats import SodaFormat, resolve_soda_format
from astrolabe.images.soda.given import Given, read_number
from astrolabe.images.soda.positions import POSITIONS_TABLE
from astrolabe.images.writers.color_maps import color_table
from astrolabe.images.writers.pictures import Limits, PictureStyle, Stretch

__all__ = ["IMAGES_TABLE", "ImageChoice", "SodaRequest", "read_soda_request"]

_POL_STATES: Final = frozenset(  # ObsCore 1.1, section 4.19
    ("I", "Q", "U", "V", "RR", "LL", "RL", "LR", "XX", "YY", "XY", "YX", "POLI", "POLA")
)
IMAGES_TABLE: Final = "images"
"""What a table of images is called in UPLOAD."""
_LABEL_CHARACTERS: Final = 100
_LARGEST_SIZE_DEG: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageChoice:
    """From which images stamps around positions are cut.

    Parameters
    ----------
    collection
        Where they are looked for when nothing names them.
    filters
        Names of bands; any will do.
    wavelengths, times
        Intervals (m, MJD in UTC); an image meets any of each.  One that does not say where it lies
        is passed over.
    """

    collection: str | None = None
    filters: tuple[str, ...] = ()
    wavelengths: tuple[tuple[float, float], ...] = ()
    times: tuple[tuple[float, float], ...] = ()

    def holds(self, record: ImageRecord) -> bool:
        """Tell whether an image is one of bands and times that are asked for."""
        row = record.obscore
        return (not self.filters or row.get("band") in self.filters) and all(
            not intervals or any(_meets(row, low, high, interval) for interval in intervals)
            for low, high, intervals in self._intervals
        )

    def conditions(self) -> list[str]:
        """Return the same as conditions of ADQL on ``ivoa.ObsCore``."""
        made = []
        if self.filters:
            names = ", ".join("'" + name.replace("'", "''") + "'" for name in self.filters)
            made.append(f"band IN ({names})")
        for low, high, intervals in self._intervals:
            if intervals:
                parts = [_overlap(low, high, interval) for interval in intervals]
                made.append(f"({' OR '.join(parts)})")
        return made

    @property
    def _intervals(self) -> tuple[tuple[str, str, tuple[tuple[float, float], ...]], ...]:
        return (("em_min", "em_max", self.wavelengths), ("t_min", "t_max", self.times))


def _meets(row: Mapping[str, Any], low: str, high: str, interval: tuple[float, float]) -> bool:
    first, last = row.get(low), row.get(high)
    if first is None or last is None:
        return False
    return bool(last >= interval[0] and first <= interval[1])


def _overlap(low: str, high: str, interval: tuple[float, float]) -> str:
    parts = [f"{low} IS NOT NULL AND {high} IS NOT NULL"]
    parts += [f"{high} >= {interval[0]!r}"] if math.isfinite(interval[0]) else []
    parts += [f"{low} <= {interval[1]!r}"] if math.isfinite(interval[1]) else []
    return f"({' AND '.join(parts)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class SodaRequest:
    """Cutouts: every stencil out of every image.

    Parameters
    ----------
    keys
        ID: the images.
    stencils
        What to cut, at least one; the empty one is the whole image.
    planes
        PLANES: which planes of each image, in this order.
    output
        RESPONSEFORMAT.
    style
        STRETCH, LIMITS and CMAP: how a picture is drawn.
    rgb
        RGB: the images for red, green and blue.
    uploads
        Values of UPLOAD: a table of positions.
    size_deg
        SIZE: width and height of stamps around positions that have none of their own (deg).
    choice
        COLLECTION, BAND, TIME and FILTER beside a table of positions: its images.
    """

    keys: tuple[ImageKey, ...]
    stencils: tuple[Stencil, ...]
    planes: tuple[PlaneKind, ...]
    output: SodaFormat
    style: PictureStyle
    rgb: tuple[ImageKey, ImageKey, ImageKey] | None = None
    uploads: tuple[str, ...] = ()
    size_deg: float | None = None
    choice: ImageChoice = ImageChoice()

    @property
    def images(self) -> tuple[ImageKey, ...]:
        """All images that the request names, each once."""
        return tuple(dict.fromkeys((*self.keys, *(self.rgb or ()))))

    @property
    def count(self) -> int:
        """How many cutouts it asks for; one coloured picture is one."""
        return len(self.stencils) * (1 if self.rgb else len(self.keys))

    @property
    def filename(self) -> str:
        """The file that a client may save a sync answer in."""
        if self.count > 1:
            return f"cutouts{self.output.extension}"
        key = (self.rgb or self.keys)[0]
        return f"{key.collection}.{key.image_id}.cutout{self.output.extension}"

    def require_sync(self, jobs_address: str) -> None:
        """Make sure that one answer can hold it all.

        Raises
        ------
        BadParameterError
            Raised if it needs a job.
        MultipleValuesError
            Raised if there are several cutouts in a form that holds one.
        """
        if self.uploads:
            raise BadParameterError(
                "A table of positions needs a job: send the same parameters and PHASE=RUN to "
                f"{jobs_address}."
            )
        if self.count > 1 and not self.output.kind.is_bundle:
            raise MultipleValuesError(
                f"That is {self.count} cutouts, and {self.output.mime} holds one. Ask for "
                "RESPONSEFORMAT=tar, mef or zarr, or send the same as a job to "
                f"{jobs_address}, which gives a result for each."
            )


def read_soda_request(pairs: Iterable[tuple[str, str]], *, authority: str) -> SodaRequest:
    """Read a request for cutouts from its parameters; unknown ones are ignored.

    Parameters
    ----------
    pairs
        Names and values as they were sent.
    authority
        Of the platform's identifiers.

    Raises
    ------
    BadParameterError
        Raised if a parameter is missing or does not fit.
    """
    given = Given(pairs)
    rgb = _rgb(given, authority)
    uploads = _uploads(given)
    collection = given.single("COLLECTION")
    keys = tuple(_key("ID", value, authority) for value in given.values("ID"))
    # What an identifier means, not how it is written, tells images apart.
    keys = tuple({key.folded: key for key in keys}.values())
    if rgb and {key.folded for key in keys} <= {key.folded for key in rgb}:
        # Clients that were told of this service by an image's links send its ID with all they ask.
        keys = ()
    has_table = _names_images(uploads)
    if not (keys or rgb or (uploads and (collection or has_table))):
        raise BadParameterError(
            "The parameter ID is missing: give it the identifier of an image, "
            f"ivo://{authority}/COLLECTION?ID, as obs_publisher_did in ivoa.ObsCore says it."
            + (" Or let COLLECTION find the images of the positions." if uploads else "")
        )
    output = resolve_soda_format(given.single("RESPONSEFORMAT"))
    choice = ImageChoice(
        collection=None if collection is None else check_collection_name(collection),
        filters=given.listed("FILTER"),
        wavelengths=_limits(given, "BAND", "m") if uploads else (),
        times=_limits(given, "TIME", "d") if uploads else (),
    )
    request = SodaRequest(
        keys=keys,
        stencils=() if uploads else _stencils(given),
        planes=_planes(given),
        output=output,
        style=_style(given),
        rgb=rgb,
        uploads=uploads,
        size_deg=_size(given),
        choice=choice,
    )
    _check_together(request, given)
    return request


def _check_together(request: SodaRequest, given: Given) -> None:
    """Refuse parameters that contradict each other.

    Raises
    ------
    BadParameterError
        Raised if they do.
    """
    kind = request.output.kind
    if kind.is_picture and len(request.planes) > 1:
        raise BadParameterError("A picture shows one plane; PLANES names several.")
    if request.rgb and not kind.is_picture:
        raise BadParameterError("RGB makes pictures: add RESPONSEFORMAT=png or jpeg.")
    if request.rgb and request.keys:
        raise BadParameterError(
            "RGB names the three images itself; ID names another one. Leave ID out."
        )
    if request.size_deg is not None and not request.uploads:
        raise BadParameterError(
            f"SIZE is that of stamps around UPLOAD={POSITIONS_TABLE},...; one cutout has its size "
            "by CIRCLE, POLYGON or POS."
        )
    if request.uploads:
        named = [name for name in ("POS", "CIRCLE", "POLYGON", "POL", "RGB") if given.values(name)]
        if named:
            raise BadParameterError(
                f"{' and '.join(named)} cannot be combined with a table of positions."
            )
        if not kind.is_bundle:
            raise BadParameterError(
                "Stamps around a table of positions come as RESPONSEFORMAT=tar, mef or zarr."
            )
    has_images = bool(request.keys) or _names_images(request.uploads)
    if request.choice.collection is not None and (has_images or not request.uploads):
        raise BadParameterError(
            "COLLECTION finds the images of a table of positions where neither ID nor a table of "
            "images names them."
        )
    if request.keys and _names_images(request.uploads):
        raise BadParameterError("ID and a table of images both name images: give one of them.")


def _key(name: str, value: str, authority: str) -> ImageKey:
    # Some clients quote an identifier once more than its place in an address needs.
    text = unquote(value) if value[:6].lower() == "ivo%3a" else value
    try:
        return parse_image_did(text, authority=authority)
    except BadParameterError as exc:
        raise BadParameterError(f"{name}: {exc.message}") from exc


def _rgb(given: Given, authority: str) -> tuple[ImageKey, ImageKey, ImageKey] | None:
    ids = given.listed("RGB")
    if not ids:
        return None
    if len(ids) != 3:
        raise BadParameterError(
            "RGB takes the identifiers of three images, for red, green and blue, joined by commas; "
            f"these are {len(ids)}."
        )
    red, green, blue = (_key("RGB", value, authority) for value in ids)
    return red, green, blue


def _stencils(given: Given) -> tuple[Stencil, ...]:
    regions: list[tuple[str, SkyRegion | None]] = [
        *((f"POS={value}", parse_pos(value)) for value in given.values("POS")),
        *(
            (f"{shape}={value}", _shape(shape, value))
            for shape in ("CIRCLE", "POLYGON")
            for value in given.values(shape)
        ),
    ]
    bands = _intervals(given, "BAND", "m")
    times = _intervals(given, "TIME", "d")
    pol = _pol(given)
    states = [f"POL={' '.join(pol)}"] if pol else []
    return tuple(
        Stencil(
            region=region,
            band=band,
            time=time,
            pol=pol,
            label=" ".join(
                label[:_LABEL_CHARACTERS] for label in (shape, wave, when, *states) if label
            ),
        )
        for (shape, region), (wave, band), (when, time) in product(
            regions or [("", None)], bands, times
        )
    )


def _intervals(given: Given, name: str, unit: str) -> list[tuple[str, tuple[float, float] | None]]:
    """Return the values of an interval with what they were called; one empty one without any."""
    found: list[tuple[str, tuple[float, float] | None]] = [
        (f"{name}={value}", parse_interval(value, name=name, unit=unit))
        for value in given.values(name)
    ]
    return found or [("", None)]


def _limits(given: Given, name: str, unit: str) -> tuple[tuple[float, float], ...]:
    return tuple(parse_interval(value, name=name, unit=unit) for value in given.values(name))


def _shape(shape: str, value: str) -> SkyRegion:
    try:
        return parse_pos(f"{shape} {value}")
    except BadParameterError as exc:
        raise BadParameterError(exc.message.replace(f"POS={shape}", shape)) from exc


def _pol(given: Given) -> tuple[str, ...]:
    states = tuple(dict.fromkeys(state.upper() for state in given.listed("POL")))
    for state in states:
        if state not in _POL_STATES:
            raise BadParameterError(
                f"POL must be one of {', '.join(sorted(_POL_STATES))}, not {state[:100]!r}."
            )
    return states


def _planes(given: Given) -> tuple[PlaneKind, ...]:
    planes = []
    for name in given.listed("PLANES"):
        try:
            planes.append(PlaneKind(name.lower()))
        except ValueError as exc:
            known = ", ".join(PlaneKind)
            raise BadParameterError(
                f"PLANES lists {known}, joined by commas; {name[:100]!r} is none of them."
            ) from exc
    return tuple(dict.fromkeys(planes)) or (PlaneKind.IMAGE,)


def _style(given: Given) -> PictureStyle:
    stretch, limits, color_map = (given.single(name) for name in ("STRETCH", "LIMITS", "CMAP"))
    style = PictureStyle()
    if stretch is not None:
        style = replace(style, stretch=Stretch.parse(stretch))
    if limits is not None:
        style = replace(style, limits=Limits.parse(limits))
    if color_map is not None:
        color_table(color_map)
        style = replace(style, color_map=color_map)
    return style


def _size(given: Given) -> float | None:
    value = given.single("SIZE")
    if value is None:
        return None
    size = read_number("SIZE", value)
    if not 0 < size <= _LARGEST_SIZE_DEG:
        raise BadParameterError(
            "SIZE is the width of stamps in degrees, more than 0 and at most "
            f"{_LARGEST_SIZE_DEG:g}, not {value[:100]}."
        )
    return size


def _uploads(given: Given) -> tuple[str, ...]:
    values = given.values("UPLOAD")
    named = parse_upload(values)
    names = {name.lower() for name in named}
    if named and not {POSITIONS_TABLE} <= names <= {POSITIONS_TABLE, IMAGES_TABLE}:
        raise BadParameterError(
            f"UPLOAD names {', '.join(repr(n) for n in named)[:200]}; a cutout takes a table "
            f"called {POSITIONS_TABLE!r}: UPLOAD={POSITIONS_TABLE},param:part, and beside it one "
            f"called {IMAGES_TABLE!r} that names the images."
        )
    return values


def _names_images(uploads: tuple[str, ...]) -> bool:
    """Tell whether UPLOAD brings a table of images."""
    return any(name.lower() == IMAGES_TABLE for name in parse_upload(uploads))
