"""Making the demo's images: drawn, imported, shown as a HiPS; resumed where it was cut short."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from astrolabe.core.errors import InternalError
from astrolabe.core.logging import get_logger
from astrolabe.demo.frames import coadd_noise_njy
from astrolabe.demo.image_files import COADDS, VISITS, ImageSize, plan_images, write_image
from astrolabe.demo.survey import SEED, DemoSize, make_survey
from astrolabe.demo.truth import BANDS
from astrolabe.images.hips.making import HipsRequest
from astrolabe.images.importing import HeaderMapping, ImageImportOptions, run_image_import
from astrolabe.images.importing.expressions import Expression, Keyword
from astrolabe.images.importing.filters import Band

if TYPE_CHECKING:
    from astrolabe.images.assembly import ImageServices

__all__ = ["HIPS_BANDS", "demo_size", "images_are_wanted", "make_demo_images"]

_log = get_logger(__name__)

HIPS_BANDS: Final = ("i", "r", "g")
"""Red, green and blue of the picture in colour."""
_WHITE_NJY: Final = 4_000.0
"""Flux in a pixel of the coadds that the picture shows as white."""
_BANDS: Final = {
    "u": (330e-9, 400e-9),
    "g": (402e-9, 552e-9),
    "r": (552e-9, 691e-9),
    "i": (691e-9, 818e-9),
    "z": (818e-9, 922e-9),
    "y": (950e-9, 1080e-9),
}
"""Edges (m) of LSST's filters, which the simulated camera has."""
_ABOUT: Final[Mapping[str, tuple[str, str, Mapping[str, str | int | float | None]]]] = {
    VISITS: (
        "Visits of the demo survey",
        "Simulated images of one detector each, rows of demo.visit, with masks and variances.",
        {"calib_level": 2, "dataproduct_subtype": "visit"},
    ),
    COADDS: (
        "Coadds of the demo survey",
        "Simulated coadds of the central square degree in six bands, with masks and variances.",
        {"calib_level": 3, "dataproduct_subtype": "coadd"},
    ),
}


def images_are_wanted(images_state: Path, tables_state: Path) -> bool:
    """Tell whether to make images: the home's tables are the demo's, and its images not done.

    Parameters
    ----------
    images_state, tables_state
        Say how far images and tables have come.
    """
    return _state(tables_state) == "ready" and _state(images_state) != "ready"


def demo_size(tables_state: Path) -> DemoSize:
    """Return of what size the demo of a home is, so that images are of the same sky.

    Raises
    ------
    InternalError
        Raised if the home has no demo, or one that another version drew.
    """
    try:
        known = json.loads(tables_state.read_text(encoding="utf-8"))
        if known["seed"] == SEED:
            return DemoSize(objects=int(known["objects"]), visits=int(known["visits"]))
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise InternalError(f"{tables_state} does not describe a demo survey: {exc}") from exc
    raise InternalError(f"{tables_state} describes a demo survey of another seed.")


def make_demo_images(
    images: ImageServices,
    *,
    state_file: Path,
    survey_size: DemoSize,
    size: ImageSize | None = None,
    progress: Callable[[str], None] = lambda text: None,  # noqa: ARG005 - the default is silent
) -> None:
    """Draw, import and publish the images of the demo survey, and make a HiPS in colour of them.

    Each step passes over what is done already: what was cut short goes on where it stood.

    Parameters
    ----------
    images
        The services of images; files go below their folder.
    state_file
        Gets ``{"state": "making"}`` at first and ``{"state": "ready"}`` at the end.
    survey_size
        Of the survey whose tables are there.
    size
        Which images.
    progress
        Told what has been done, for people.

    Raises
    ------
    StorageFullError
        Raised if there is no room.
    InternalError
        Raised if a file of our own cannot be imported.
    """
    wanted = size or ImageSize()
    folder = images.folder / "demo"
    _mark(state_file, "making")
    survey = make_survey(survey_size)
    planned = list(plan_images(survey, wanted))
    for number, image in enumerate(planned, start=1):
        if not (folder / image.file).exists():
            write_image(survey, image, folder, side=wanted.side)
        if number % 20 == 0 or number == len(planned):
            progress(f"{number} of {len(planned)} images drawn")
    for collection in (VISITS, COADDS):
        _import(collection, folder / collection, images)
    report = images.obscore.publish()
    progress(f"ivoa.ObsCore: {report.total_rows} rows")
    bands = tuple(band for band in HIPS_BANDS if band in wanted.bands)
    if len(bands) == len(HIPS_BANDS):
        noises = [coadd_noise_njy(survey, BANDS.index(band)) for band in bands]
        request = HipsRequest(
            collection=COADDS,
            bands=bands,
            title="The demo survey in colour (i, r, g)",
            # Black is a little above the sky; white is the same flux in all, as AB colours have it.
            cuts=tuple((noise, noise + _WHITE_NJY) for noise in noises),
            keep_values=False,
        )
        made = images.hips.maker.make(request)
        progress(f"HiPS {made.hips_id}: {made.tiles} tiles of order {made.order}")
    _mark(state_file, "ready")


def _import(collection: str, folder: Path, images: ImageServices) -> None:
    title, description, constants = _ABOUT[collection]
    mapping = _mapping().with_columns(constants)
    options = ImageImportOptions(
        collection=collection,
        title=title,
        description=description,
        mapping=mapping,
        workers=1,
        strict=True,
    )
    report = run_image_import([str(folder)], options, images, publish=False)
    if report.refused:
        first = report.refused[0]
        raise InternalError(f"The demo's image {first.uri} was refused: {first.reason}")
    _log.info("demo_images", collection=collection, images=report.images)


def _mapping() -> HeaderMapping:
    """Return how the headers that `write_image` writes become columns."""
    default = HeaderMapping.default()
    own: dict[str, Expression] = {
        "obs_id": Keyword(names=("OBSID",)),
        "s_resolution": Keyword(names=("SEEING",)),
    }
    return replace(
        default,
        columns={**default.columns, **own},
        explicit=default.explicit | own.keys(),
        bands={name: Band(name, low, high) for name, (low, high) in _BANDS.items()},
    )


def _state(path: Path) -> str | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return str(content.get("state")) if isinstance(content, dict) else None


def _mark(state_file: Path, state: str) -> None:
    partial = state_file.with_suffix(".part")
    partial.write_text(json.dumps({"state": state, "seed": SEED}) + "\n", encoding="utf-8")
    partial.replace(state_file)
