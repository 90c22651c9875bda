"""How the headers of a collection become the columns of ObsCore: defaults, and a YAML file.

The file of a collection::

    id: {template: "{EXPNUM:08d}_{CCDNUM:02d}"}
    band: FILTER
    bands:
      VR: {name: VR, min: 497, max: 756, unit: nm}
    columns:
      obs_id: EXPNUM
      facility_name: {constant: Blanco}
      s_resolution: {keyword: [FWHM, SEEING], unit: arcsec}
      t_min: {keyword: MJD-OBS, time: mjd}
    planes: {mask: [DQM], variance: []}
    progenitors: {keyword: IMCMB, collection: visits}
    released: {keyword: RELEASE}
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import yaml

from astrolabe.core.errors import ImportRefusedError
from astrolabe.images.importing.expressions import (
    Constant,
    Expression,
    Keyword,
    parse_expression,
)
from astrolabe.images.importing.filters import Band
from astrolabe.images.importing.planes import DEFAULT_PLANES, PlaneNames
from astrolabe.images.model import PlaneKind, check_collection_name
from astrolabe.images.obscore.columns import DERIVED_COLUMNS, OBSCORE

__all__ = ["DEFAULT_COLUMNS", "HeaderMapping", "Progenitors", "parse_mapping", "read_mapping"]

_LONGEST_FILE: Final = 1 << 20
_KEYS: Final = frozenset({"id", "band", "bands", "columns", "planes", "progenitors", "released"})
_TIMES: Final = frozenset({"t_min", "t_max"})
_UNITS: Final = {column.name: column.unit for column in OBSCORE.columns}

DEFAULT_COLUMNS: Final[Mapping[str, Expression]] = {
    "target_name": Keyword(names=("OBJECT",)),
    "facility_name": Keyword(names=("TELESCOP", "OBSERVAT")),
    "instrument_name": Keyword(names=("INSTRUME", "DETECTOR")),
    "proposal_id": Keyword(names=("PROPID", "PROPOSID", "PROP-ID")),
    "obs_creator_name": Keyword(names=("AUTHOR", "ORIGIN")),
    "obs_creation_date": Keyword(names=("DATE",)),
    "bib_reference": Keyword(names=("REFERENC", "BIBCODE")),
    "o_unit": Keyword(names=("BUNIT",)),
    "t_min": Keyword(names=("MJD-BEG", "DATE-BEG", "MJD-OBS", "DATE-OBS"), time="mjd"),
    "t_max": Keyword(names=("MJD-END", "DATE-END"), time="mjd"),
    "t_exptime": Keyword(names=("EXPTIME", "XPOSURE", "TEXPTIME", "EXPOSURE", "ITIME")),
}
"""Keywords that most observatories use; times are MJD or ISO."""

_DEFAULT_BAND: Final = Keyword(names=("BAND", "FILTER", "FILTER1", "FILTNAM1"))
# Not RELEASE, which surveys write the name or number of a release into: an image must not become
# public by that.
_DEFAULT_RELEASED: Final = Keyword(names=("OBS_RELEASE_DATE",), time="iso")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progenitors:
    """Where an image's header lists what the image was made of.

    Parameters
    ----------
    prefix
        Keywords are this and a number: ``PROG1``, ``PROG2``.
    collection
        Collection of those that are named without one; `None` for the image's own.
    """

    prefix: str = "PROG"
    collection: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderMapping:
    """How headers become values.

    Parameters
    ----------
    columns
        Expressions by ObsCore column.
    explicit
        Columns that a file asked for: a value that does not fit refuses the image, while one that
        only a default would take is left out.
    image_id
        The id in the collection; `None` for the name of the file.
    band
        What the header says of the filter.
    bands
        Bands by what the header says, before the common ones.
    planes
        Names of HDUs by kind of plane.
    progenitors
        Where they are listed.
    released
        When the image becomes public.
    """

    columns: Mapping[str, Expression]
    explicit: frozenset[str] = frozenset()
    image_id: Expression | None = None
    band: Expression = _DEFAULT_BAND
    bands: Mapping[str, Band]
    planes: PlaneNames
    progenitors: Progenitors
    released: Expression = _DEFAULT_RELEASED

    @classmethod
    def default(cls) -> HeaderMapping:
        """Return what holds without a file."""
        return cls(
            columns=DEFAULT_COLUMNS, bands={}, planes=DEFAULT_PLANES, progenitors=Progenitors()
        )

    def with_planes(self, planes: PlaneNames) -> HeaderMapping:
        """Return the mapping with other names of planes, where `planes` has any."""
        return replace(self, planes={**self.planes, **planes})

    def with_columns(self, values: Mapping[str, str | int | float | None]) -> HeaderMapping:
        """Return the mapping with constants for columns.

        Raises
        ------
        ImportRefusedError
            Raised if there is no such column.
        """
        columns = {name: Constant(value) for name, value in values.items()}
        for name in columns:
            _check_column(name)
        return replace(
            self,
            columns={**self.columns, **columns},
            explicit=self.explicit | columns.keys(),
        )

    @property
    def digest(self) -> str:
        """Changes when the mapping does."""
        text = repr((sorted(self.columns.items()), self.image_id, self.band))
        rest = repr((sorted(self.bands.items()), self.planes, self.progenitors, self.released))
        return hashlib.sha256((text + rest).encode()).hexdigest()[:8]


def read_mapping(path: Path) -> HeaderMapping:
    """Read a mapping's YAML file; what it does not say is as without it.

    Raises
    ------
    ImportRefusedError
        Raised if the file cannot be read or says what cannot be; with the place.
    """
    try:
        if path.stat().st_size > _LONGEST_FILE:
            raise ImportRefusedError(f"{path}: a mapping of more than 1 MB is none.")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ImportRefusedError(f"{path}: cannot be read: {exc}") from exc
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        raise ImportRefusedError(f"{path}: is not YAML: {' '.join(str(exc).split())}") from exc
    if content is None:
        content = {}
    if not isinstance(content, Mapping):
        raise ImportRefusedError(f"{path}: a mapping begins with one of {', '.join(_KEYS)}:")
    return parse_mapping(content)


def parse_mapping(content: Mapping[Any, Any]) -> HeaderMapping:
    """Return the mapping that a file's content means.

    Raises
    ------
    ImportRefusedError
        Raised if it says what cannot be.
    """
    unknown = sorted(str(key) for key in content if key not in _KEYS)
    if unknown:
        raise ImportRefusedError(
            f"mapping: {unknown[0]!r} is not known; there are {', '.join(sorted(_KEYS))}"
        )
    mapping = HeaderMapping.default()
    columns = _columns(_section(content, "columns"))
    planes = {**mapping.planes, **_planes(_section(content, "planes"))}
    bands = {str(k): _band(str(k), v) for k, v in _section(content, "bands").items()}
    mapping = replace(
        mapping,
        columns={**mapping.columns, **columns},
        explicit=frozenset(columns),
        bands=bands,
        planes=planes,
    )
    if "id" in content:
        mapping = replace(mapping, image_id=parse_expression(content["id"], where="id"))
    if "band" in content:
        mapping = replace(mapping, band=parse_expression(content["band"], where="band"))
    if "released" in content:
        mapping = replace(mapping, released=_time(content["released"], "released"))
    if "progenitors" in content:
        mapping = replace(mapping, progenitors=_progenitors(content["progenitors"]))
    return mapping


def _section(content: Mapping[Any, Any], name: str) -> Mapping[Any, Any]:
    section = content.get(name)
    if section is None:
        return {}
    if not isinstance(section, Mapping):
        raise ImportRefusedError(f"mapping: {name}: must be a mapping (NAME: ...)")
    return section


def _columns(section: Mapping[Any, Any]) -> dict[str, Expression]:
    columns: dict[str, Expression] = {}
    for key, given in section.items():
        name = str(key).lower()
        _check_column(name)
        if name in _TIMES:
            columns[name] = _time(given, name)
        else:
            columns[name] = parse_expression(given, where=name, unit=_UNITS[name])
    return columns


def _check_column(name: str) -> None:
    if name in DERIVED_COLUMNS:
        other = " (use 'released')" if name == "obs_release_date" else ""
        raise ImportRefusedError(f"mapping: {name}: is made by the platform itself{other}")
    if name not in _UNITS:
        raise ImportRefusedError(
            f"mapping: {name[:60]!r} is not a column of ObsCore; there are {', '.join(_UNITS)}"
        )


def _time(given: object, where: str) -> Expression:
    """Read an expression whose values are dates: MJD where they are numbers, if nothing else."""
    expression = parse_expression(given, where=where, unit=_UNITS.get(where))
    if isinstance(expression, Keyword) and expression.time is None:
        return replace(expression, time="mjd")
    return expression


def _planes(section: Mapping[Any, Any]) -> dict[PlaneKind, tuple[str, ...]]:
    found: dict[PlaneKind, tuple[str, ...]] = {}
    for key, given in section.items():
        if key not in set(PlaneKind):
            raise ImportRefusedError(f"mapping: planes: {key!r} is none of {', '.join(PlaneKind)}")
        names = [given] if isinstance(given, str | int) else given
        if not isinstance(names, list) or not all(isinstance(n, str | int) for n in names):
            raise ImportRefusedError(f"mapping: planes: {key}: give a list of names of HDUs")
        found[PlaneKind(key)] = tuple(str(name) for name in names)
    return found


def _band(key: str, given: object) -> Band:
    where = f"mapping: bands: {key}"
    if not isinstance(given, Mapping) or not {"min", "max"} <= set(given):
        raise ImportRefusedError(f"{where}: give {{name: g, min: 402, max: 552, unit: nm}}")
    unknown = sorted(str(k) for k in given if k not in {"name", "min", "max", "unit"})
    if unknown:
        raise ImportRefusedError(f"{where}: {unknown[0]!r} is not known")
    unit = Keyword(names=("X",)) if "unit" not in given else None
    parsed = unit or parse_expression(
        {"keyword": "X", "unit": given["unit"]}, where=f"bands: {key}", unit="m"
    )
    factor = parsed.factor if isinstance(parsed, Keyword) and parsed.factor is not None else 1.0
    try:
        low, high = float(given["min"]) * factor, float(given["max"]) * factor
    except (TypeError, ValueError) as exc:
        raise ImportRefusedError(f"{where}: min and max are numbers") from exc
    if not (math.isfinite(high) and 0 < low <= high):
        raise ImportRefusedError(f"{where}: min must be above 0 and not above max")
    return Band(str(given.get("name", key)), low, high)


def _progenitors(given: object) -> Progenitors:
    if isinstance(given, str):
        given = {"keyword": given}
    if (
        not isinstance(given, Mapping)
        or not isinstance(given.get("keyword"), str)
        or set(given) - {"keyword", "collection"}
    ):
        raise ImportRefusedError(
            "mapping: progenitors: give {keyword: PREFIX, collection: NAME} for PREFIX1, PREFIX2"
        )
    collection = given.get("collection")
    if collection is not None:
        check_collection_name(str(collection))
    return Progenitors(
        prefix=str(given["keyword"]).rstrip("#*"),
        collection=None if collection is None else str(collection),
    )
