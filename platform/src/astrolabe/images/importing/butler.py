"""Images of a Butler repository, the data store of the Rubin Observatory's pipelines.

What the registry knows of a dataset (times, filter, target, instrument) becomes values of ObsCore
as ``lsst-dax-obscore`` makes them, with its own configuration file if there is one; positions and
planes are read from the files, exactly.  The packages are optional.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from astrolabe.core.errors import AstrolabeError, ImportRefusedError
from astrolabe.images.files import ImageFiles
from astrolabe.images.importing.expressions import Value
from astrolabe.images.importing.filters import find_band
from astrolabe.images.importing.sources import FoundFile
from astrolabe.images.obscore.columns import DERIVED_COLUMNS, OBSCORE

if TYPE_CHECKING:
    from lsst.daf.butler import Butler, DatasetRef

__all__ = ["ButlerQuery", "find_butler_files"]

_COLUMNS: Final = (
    frozenset(column.name for column in OBSCORE.columns)
    - DERIVED_COLUMNS
    - {"s_ra", "s_dec", "s_fov", "s_region", "s_xel1", "s_xel2"}
)
_BANDS: Final = ("u", "g", "r", "i", "z", "y")


@dataclass(frozen=True, slots=True, kw_only=True)
class ButlerQuery:
    """Which datasets of a repository are images to import.

    Parameters
    ----------
    repository
        Its folder, address or label.
    collection
        One or more collections, separated by commas; the first that has a dataset counts.
    dataset_type
        Such as ``visit_image`` or ``deep_coadd``.
    where
        Expression that chooses data IDs; nothing for all.
    config
        Configuration of ``lsst-dax-obscore``, for what the registry does not say.
    """

    repository: str
    collection: str
    dataset_type: str
    where: str = ""
    config: Path | None = None


def find_butler_files(query: ButlerQuery, files: ImageFiles) -> Iterator[FoundFile]:
    """Yield the files of the datasets that a query finds.

    Parameters
    ----------
    query
        Which.
    files
        Looks at files.

    Raises
    ------
    ImportRefusedError
        Raised if the packages are missing, or if the repository, the collection or the query is not
        right.
    """
    try:
        from lsst.daf.butler import Butler  # noqa: PLC0415 - an optional package
        from lsst.dax.obscore import ExporterConfig, ObscoreExporter  # noqa: PLC0415 - the same
    except ImportError as exc:
        raise ImportRefusedError(
            "Butler repositories need the packages lsst-daf-butler and lsst-dax-obscore: "
            "pip install 'astrolabe-platform[butler]'."
        ) from exc
    try:
        config = ExporterConfig.model_validate(_config(query))
        with Butler.from_config(query.repository, writeable=False) as butler:
            records = ObscoreExporter(butler, config).record_factory
            for ref in sorted(_datasets(butler, query)):
                yield _found(butler, ref, records(ref) or {}, files)
    except AstrolabeError:
        raise
    # The package has errors of many classes, and passes those of its database on.
    except Exception as exc:
        raise ImportRefusedError(
            f"{query.repository}: {type(exc).__name__}: {' '.join(str(exc).split())[:500]}"
        ) from exc


def _datasets(butler: Butler, query: ButlerQuery) -> list[DatasetRef]:
    """Return the datasets of a query with all that the registry knows of them."""
    asked: dict[str, Any] = {
        "collections": query.collection.split(","),
        "where": query.where,
        "limit": None,
    }
    every = butler.query_datasets(query.dataset_type, **asked)
    known = butler.query_datasets(
        query.dataset_type, with_dimension_records=True, explain=False, **asked
    )
    # The query with records leaves out what lacks one of them, as a region.
    found = {ref.id: ref for ref in known}
    return [
        found.get(ref.id) or ref.expanded(butler.registry.expandDataId(ref.dataId)) for ref in every
    ]


def _config(query: ButlerQuery) -> dict[str, Any]:
    """Return the configuration of the package, with its own file or without."""
    if query.config is not None:
        try:
            content = yaml.safe_load(query.config.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as exc:
            raise ImportRefusedError(f"{query.config}: cannot be read: {exc}") from exc
        types = content.get("dataset_types") if isinstance(content, dict) else None
        if not isinstance(types, dict) or query.dataset_type not in types:
            raise ImportRefusedError(
                f"{query.config}: says nothing of the dataset type {query.dataset_type} below "
                "dataset_types."
            )
        return dict(content)
    bands = {name: find_band(name, instrument="LSST") for name in _BANDS}
    return {
        "facility_name": "Rubin:Simonyi",
        "dataset_types": {
            query.dataset_type: {
                "dataproduct_type": "image",
                "dataproduct_subtype": query.dataset_type,
                "calib_level": 3 if "coadd" in query.dataset_type else 2,
            }
        },
        "spectral_ranges": {
            name: (band.em_min, band.em_max) for name, band in bands.items() if band is not None
        },
    }


def _found(butler: Butler, ref: DatasetRef, record: dict[str, Any], files: ImageFiles) -> FoundFile:
    values: dict[str, Value] = {
        name: value
        for name, value in record.items()
        if name in _COLUMNS and isinstance(value, str | int | float)
    }
    band = record.get("em_filter_name") or record.get("lsst_band")
    if band is not None:
        values["band"] = str(band)
    data_id = "_".join(str(value) for value in ref.dataId.required_values)
    image_id = f"{ref.datasetType.name}_{data_id}"
    uris = butler.getURIs(ref)
    if uris.primaryURI is None:
        return FoundFile(image_id, problem="The dataset is kept in several files, one a component.")
    address = uris.primaryURI
    if address.fragment or address.scheme not in {"file", "s3"}:
        return FoundFile(
            address.geturl(), problem="Only files and objects of s3:// can be read by ranges."
        )
    uri = str(address.ospath) if address.scheme == "file" else str(address.geturl())
    try:
        known = files.stat(uri)
    except AstrolabeError as exc:
        return FoundFile(uri, problem=exc.message)
    return FoundFile(uri, known.size, known.signature, values=values, image_id=image_id)
