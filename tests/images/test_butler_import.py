"""Importing the images of a Butler repository that the real package makes."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from astropy.time import Time

from astrolabe.core.errors import ImportRefusedError
from astrolabe.factory import ProcessContext
from astrolabe.images.importing import (
    ButlerQuery,
    HeaderMapping,
    ImageImportOptions,
    ImageImportReport,
    find_butler_files,
    run_image_import,
)
from astrolabe.images.model import ImageKey
from tests.support.images import write_planes
from tests.support.tiny import open_context

if TYPE_CHECKING:
    from lsst.daf.butler import Butler

pytestmark = [
    pytest.mark.timeout(60),
    # The package's own.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

_VISITS = (101, 102, 103)


def _dimensions(butler: Butler) -> None:
    from lsst.daf.butler import Timespan  # noqa: PLC0415 - takes seconds to import
    from lsst.sphgeom import ConvexPolygon, LonLat, UnitVector3d  # noqa: PLC0415 - the same

    registry = butler.registry
    registry.insertDimensionData("instrument", {"name": "SynCam", "detector_max": 9})
    registry.insertDimensionData("detector", {"instrument": "SynCam", "id": 3, "full_name": "D3"})
    registry.insertDimensionData(
        "physical_filter", {"instrument": "SynCam", "name": "r_57", "band": "r"}
    )
    registry.insertDimensionData("day_obs", {"instrument": "SynCam", "id": 20260301})
    for visit in _VISITS:
        begin = Time(61100.0 + visit / 1000, format="mjd", scale="tai")
        registry.insertDimensionData(
            "visit",
            {
                "instrument": "SynCam",
                "id": visit,
                "name": f"visit {visit}",
                "physical_filter": "r_57",
                "day_obs": 20260301,
                "exposure_time": 15.0,
                "target_name": "deep field",
                "timespan": Timespan(begin, Time(begin.mjd + 1e-4, format="mjd", scale="tai")),
            },
        )
    # The last one has no region, which images from before the calibration have not.
    corners = [
        LonLat.fromDegrees(*corner) for corner in ((53.0, -28.0), (53.2, -28.0), (53.1, -27.7))
    ]
    region = ConvexPolygon([UnitVector3d(corner) for corner in corners])
    for visit in _VISITS[:-1]:
        registry.insertDimensionData(
            "visit_detector_region",
            {"instrument": "SynCam", "visit": visit, "detector": 3, "region": region},
        )


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a repository with three images, whose headers say other things than its registry."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lsst.daf.butler import (  # noqa: PLC0415 - takes seconds to import
            Butler,
            DatasetRef,
            DatasetType,
            FileDataset,
        )

        root = tmp_path_factory.mktemp("butler")
        Butler.makeRepo(root / "repo")
        with Butler.from_config(root / "repo", run="processed") as butler:
            _dimensions(butler)
            dataset_type = DatasetType(
                "visit_image",
                ("visit", "detector"),
                "StructuredDataDict",
                universe=butler.dimensions,
            )
            butler.registry.registerDatasetType(dataset_type)
            for visit in _VISITS:
                path = write_planes(root / f"{visit}.fits", cards={"OBJECT": "?", "EXPTIME": 1.0})
                data_id = butler.registry.expandDataId(instrument="SynCam", visit=visit, detector=3)
                ref = DatasetRef(dataset_type, data_id, run="processed")
                # Never read by the Butler, so that any formatter does.
                formatter = "lsst.daf.butler.formatters.json.JsonFormatter"
                butler.ingest(FileDataset(path, [ref], formatter=formatter), transfer="direct")
    return root


@pytest.fixture
def context(tmp_path: Path) -> Iterator[ProcessContext]:
    with open_context(tmp_path / "home") as opened:
        yield opened


def bring(
    context: ProcessContext,
    repository: Path,
    *,
    mapping: HeaderMapping | None = None,
    where: str = "",
    config: Path | None = None,
) -> ImageImportReport:
    query = ButlerQuery(
        repository=str(repository / "repo"),
        collection="processed",
        dataset_type="visit_image",
        where=where,
        config=config,
    )
    found = list(find_butler_files(query, context.images.files))
    options = ImageImportOptions(
        collection="rubin", workers=1, mapping=mapping or HeaderMapping.default()
    )
    return run_image_import(found, options, context.images, publish=False)


def test_what_the_registry_knows_wins_over_headers(
    context: ProcessContext, repository: Path
) -> None:
    report = bring(context, repository)
    assert (report.images, report.refused) == (3, ())
    record = context.images.store.get(ImageKey("rubin", "visit_image_SynCam_3_102"))
    assert record.uri == str(repository / "102.fits")
    values = record.obscore
    assert values["target_name"] == "deep field"
    assert values["t_exptime"] == 15.0
    assert values["instrument_name"] == "SynCam"
    assert values["band"] == "r"
    assert (values["em_min"], values["em_max"]) == pytest.approx((552e-9, 691e-9))
    assert values["t_min"] == pytest.approx(61100.102 - 37 / 86400, abs=1e-9), "TAI becomes UTC"
    assert values["dataproduct_subtype"] == "visit_image"
    assert len(values["s_region"]) >= 8
    again = bring(context, repository)
    assert (again.files, again.unchanged) == (0, 3)


def test_what_a_mapping_asks_for_wins_over_the_registry(
    context: ProcessContext, repository: Path
) -> None:
    mapping = HeaderMapping.default().with_columns({"target_name": "mine"})
    assert (
        bring(
            context, repository, mapping=mapping, where="instrument = 'SynCam' AND visit = 101"
        ).images
        == 1
    )
    (records,) = context.images.store.scan("rubin")
    assert records[0].obscore["target_name"] == "mine"


def test_a_configuration_of_the_package(
    context: ProcessContext, repository: Path, tmp_path: Path
) -> None:
    config = tmp_path / "obscore.yaml"
    content = {
        "facility_name": "Nowhere",
        "obs_collection": "ignored",
        "spectral_ranges": {"r_57": [5e-7, 6e-7]},
        "dataset_types": {
            "visit_image": {
                "dataproduct_type": "image",
                "calib_level": 2,
                "obs_id_fmt": "v{visit}-{records[visit].name}",
            }
        },
    }
    config.write_text(json.dumps(content), "utf-8")
    bring(context, repository, config=config, where="instrument = 'SynCam' AND visit = 103")
    (records,) = context.images.store.scan("rubin")
    values = records[0].obscore
    assert values["facility_name"] == "Nowhere"
    assert values["obs_id"] == "v103-visit 103"
    assert (values["em_min"], values["em_max"]) == (5e-7, 6e-7)
    content["dataset_types"] = {}
    config.write_text(json.dumps(content), "utf-8")
    with pytest.raises(ImportRefusedError, match="says nothing of the dataset type"):
        bring(context, repository, config=config)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        pytest.param({"repository": "/nowhere"}, "/nowhere", id="repository"),
        pytest.param({"collection": "none"}, "none", id="collection"),
        pytest.param({"dataset_type": "none"}, "none", id="dataset-type"),
        pytest.param({"where": "visit >"}, "visit", id="where"),
    ],
)
def test_wrong_queries_are_refused(
    context: ProcessContext, repository: Path, changed: dict[str, str], says: str
) -> None:
    asked: dict[str, Any] = {
        "repository": str(repository / "repo"),
        "collection": "processed",
        "dataset_type": "visit_image",
        **changed,
    }
    with pytest.raises(ImportRefusedError, match=says):
        list(find_butler_files(ButlerQuery(**asked), context.images.files))
