"""What requests for cutouts mean, and what is refused before anything is read."""

from __future__ import annotations

import math
from typing import Any

import pytest

from astrolabe.core.errors import AstrolabeError, BadParameterError, MultipleValuesError
from astrolabe.images.model import ImageKey, PlaneKind
from astrolabe.images.soda.formats import SODA_FORMATS, FormKind, resolve_soda_format
from astrolabe.images.soda.request import SodaRequest, read_soda_request
from astrolabe.images.writers.pictures import LimitsKind, Stretch

AUTHORITY = "sky.example"
ONE = f"ivo://{AUTHORITY}/coadds?one"
TWO = f"ivo://{AUTHORITY}/coadds?two"
RGB = ",".join(f"ivo://{AUTHORITY}/coadds?{band}" for band in "irg")

TABLES = {"UPLOAD": "positions,param:t;images,param:i", "RESPONSEFORMAT": "tar"}


def read(*pairs: tuple[str, str], **more: str) -> SodaRequest:
    return read_soda_request([*pairs, *more.items()], authority=AUTHORITY)


def test_an_identifier_alone_means_the_whole_image_as_fits() -> None:
    asked = read(ID=ONE)
    assert asked.keys == (ImageKey("coadds", "one"),)
    assert asked.count == len(asked.stencils) == 1
    assert asked.stencils[0].region is None
    assert asked.planes == (PlaneKind.IMAGE,)
    assert asked.output.kind is FormKind.FITS
    assert asked.filename == "coadds.one.cutout.fits"


def test_every_image_goes_with_every_combination() -> None:
    asked = read(
        ("id", ONE),
        ("ID", TWO),
        ("CIRCLE", "10 -1 0.1"),
        ("circle", "11 -1 0.1"),
        ("POS", "RANGE 359 1 -2 2"),
        ("BAND", "5e-7 6e-7"),
        ("BAND", "-Inf 6e-7"),
        ("POL", "I"),
        ("POL", "q"),
    )
    assert len(asked.stencils) == 3 * 2
    assert asked.count == 12
    assert {stencil.pol for stencil in asked.stencils} == {("I", "Q")}
    assert len({stencil.label for stencil in asked.stencils}) == 6


@pytest.mark.parametrize(
    "value",
    [
        ONE,
        ONE.upper(),
        "ivo%3A%2F%2Fsky.example%2Fcoadds%3Fone",
        "IVO%3a//sky.example/coadds%3fone",
    ],
    ids=["plain", "capitals", "quoted", "half-quoted"],
)
def test_an_identifier_may_be_quoted_and_in_any_case(value: str) -> None:
    (key,) = read(ID=value).keys
    assert key.folded == ("coadds", "one")


def test_an_identifier_written_twice_is_one_image() -> None:
    assert len(read(("ID", ONE), ("ID", ONE.upper())).keys) == 1


def test_empty_parameters_count_as_not_sent() -> None:
    asked = read(ID=ONE, CIRCLE=" ", BAND="", RESPONSEFORMAT="", PLANES="")
    assert asked.stencils[0].region is None


def test_pictures_take_a_style() -> None:
    asked = read(ID=ONE, RESPONSEFORMAT="image/png", STRETCH="LOG", LIMITS="-1 5", CMAP="Viridis_r")
    assert asked.output.kind is FormKind.PNG
    assert asked.style.stretch is Stretch.LOG
    assert (asked.style.limits.kind, asked.style.limits.low) == (LimitsKind.VALUES, -1.0)
    assert asked.style.color_map == "Viridis_r"


def test_colours_need_three_images_and_no_id() -> None:
    asked = read(RGB=RGB, RESPONSEFORMAT="jpeg", CIRCLE="10 -1 0.1")
    assert asked.count == 1
    assert [key.image_id for key in asked.images] == ["i", "r", "g"]


def test_the_id_of_one_of_the_three_may_come_with_the_colours() -> None:
    """Who was told of the service by an image's links sends its ID with everything."""
    of_one = f"ivo://{AUTHORITY}/COADDS?R"
    asked = read(RGB=RGB, RESPONSEFORMAT="jpeg", CIRCLE="10 -1 0.1", ID=of_one)
    assert asked == read(RGB=RGB, RESPONSEFORMAT="jpeg", CIRCLE="10 -1 0.1")


def test_planes_are_listed_or_repeated() -> None:
    every = (PlaneKind.IMAGE, PlaneKind.MASK, PlaneKind.VARIANCE)
    assert read(ID=ONE, PLANES="image,mask, variance").planes == every
    assert read(("ID", ONE), ("PLANES", "image"), ("PLANES", "mask")).planes == every[:2]


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ({}, "ID is missing"),
        ({"ID": "ivo://other/coadds?one"}, "not the identifier of an image here"),
        ({"ID": f"ivo://{AUTHORITY}/coadds?../../etc/passwd"}, "not the id of an image"),
        ({"ID": f"ivo://{AUTHORITY}/coadds?..%2f..%2fetc"}, "not the id of an image"),
        ({"ID": "/etc/passwd"}, "not the identifier of an image here"),
        ({"ID": "file:///etc/passwd"}, "not the identifier of an image here"),
        ({"ID": ONE, "CIRCLE": "10 -1"}, "CIRCLE takes"),
        ({"ID": ONE, "CIRCLE": "10d -1 0.1"}, "no number"),
        ({"ID": ONE, "CIRCLE": "10 -1 5arcsec"}, "no number"),
        ({"ID": ONE, "CIRCLE": "10 -1 -0.1"}, "CIRCLE"),
        ({"ID": ONE, "CIRCLE": "10 -91 0.1"}, "CIRCLE"),
        ({"ID": ONE, "CIRCLE": "nan 0 0.1"}, "no number"),
        ({"ID": ONE, "CIRCLE": "inf 0 0.1"}, "longitude"),
        ({"ID": ONE, "POLYGON": "10 -1 11 -1"}, "three or more vertices"),
        ({"ID": ONE, "POS": "BOX 10 -1 1 1"}, "POS must begin with"),
        ({"ID": ONE, "POS": "RANGE 10 11 5 -5"}, "RANGE"),
        ({"ID": ONE, "BAND": "500 nm"}, "no number"),
        ({"ID": ONE, "BAND": "6e-7 5e-7"}, "must not be above"),
        ({"ID": ONE, "TIME": "2026-01-01 2026-01-02"}, "no number"),
        ({"ID": ONE, "POL": "Z"}, "POL must be one of"),
        ({"ID": ONE, "PLANES": "image,psf"}, "PLANES lists"),
        ({"ID": ONE, "RESPONSEFORMAT": "gif"}, "not one of the forms"),
        ({"ID": ONE, "STRETCH": "exp"}, "STRETCH"),
        ({"ID": ONE, "LIMITS": "5"}, "LIMITS"),
        ({"ID": ONE, "CMAP": "jet"}, "no colour map"),
        ({"ID": ONE, "RESPONSEFORMAT": "png", "PLANES": "image,mask"}, "shows one plane"),
        ({"RGB": f"{ONE},{TWO}", "RESPONSEFORMAT": "png"}, "three images"),
        ({"RGB": RGB}, "RGB makes pictures"),
        ({"RGB": RGB, "ID": ONE, "RESPONSEFORMAT": "png"}, "ID names another one"),
        ({"ID": ONE, "SIZE": "0.1"}, "SIZE is that of stamps"),
        ({"ID": ONE, "SIZE": "-1", "UPLOAD": "positions,param:t"}, "more than 0"),
        ({"ID": ONE, "SIZE": "1_0", "UPLOAD": "positions,param:t"}, "decimal numbers"),
        ({"ID": ONE, "UPLOAD": "positions,param:t"}, "RESPONSEFORMAT=tar"),
        ({"ID": ONE, "UPLOAD": "stars,param:t", "RESPONSEFORMAT": "tar"}, "called 'positions'"),
        (
            {
                "ID": ONE,
                "UPLOAD": "positions,param:t",
                "RESPONSEFORMAT": "tar",
                "CIRCLE": "1 1 0.1",
            },
            "cannot be combined",
        ),
        ({"ID": ONE, "COLLECTION": "coadds"}, "COLLECTION finds"),
        ({"COLLECTION": "coadds"}, "ID is missing"),
        ({"UPLOAD": "positions,param:t", "RESPONSEFORMAT": "tar"}, "let COLLECTION find"),
        ({"UPLOAD": "images,param:t", "RESPONSEFORMAT": "tar"}, "called 'positions'"),
        ({"ID": ONE, **TABLES}, "both name images"),
        ({"COLLECTION": "coadds", **TABLES}, "nor a table of images"),
        ({"POL": "I", **TABLES}, "POL cannot be combined"),
        ({"BAND": "red", **TABLES}, "is no number"),
    ],
    ids=lambda value: value.replace(" ", "-")[:30] if isinstance(value, str) else None,
)
def test_what_does_not_fit_is_refused_by_name(pairs: dict[str, str], words: str) -> None:
    with pytest.raises(AstrolabeError, match=words) as refused:
        read(**pairs)
    assert refused.value.status == 400
    assert len(refused.value.message) < 1000


def test_what_may_be_given_once_is_refused_twice() -> None:
    with pytest.raises(BadParameterError, match="STRETCH was given more than once"):
        read(("ID", ONE), ("STRETCH", "log"), ("STRETCH", "sqrt"))


@pytest.mark.parametrize("form", ["fits", "png", "fits.fz"])
def test_one_answer_of_these_forms_holds_one_cutout(form: str) -> None:
    several: list[tuple[str, Any]] = [("ID", ONE), ("CIRCLE", "1 1 0.1"), ("CIRCLE", "2 1 0.1")]
    asked = read(*several, ("RESPONSEFORMAT", form))
    with pytest.raises(MultipleValuesError, match="2 cutouts"):
        asked.require_sync("https://sky.example/api/cutout/async")
    read(*several, ("RESPONSEFORMAT", "tar")).require_sync("")


def test_bands_and_times_choose_the_images_of_positions() -> None:
    asked = read(
        ("BAND", "4e-7 5e-7"), ("BAND", "+6e-7"), ("TIME", "60000 +Inf"), ("FILTER", "g,r"),
        *TABLES.items(),
    )  # fmt: skip
    assert asked.choice.wavelengths == ((4e-7, 5e-7), (6e-7, 6e-7))
    assert asked.choice.times == ((60000.0, math.inf),)
    assert asked.choice.filters == ("g", "r")
    assert not asked.stencils
    cut = read(ID=ONE, BAND="4e-7 5e-7")
    assert not cut.choice.wavelengths
    assert cut.stencils[0].band == (4e-7, 5e-7)


def test_positions_need_a_job() -> None:
    asked = read(ID=ONE, UPLOAD="positions,param:t", RESPONSEFORMAT="tar", SIZE="0.01")
    assert asked.size_deg == 0.01
    with pytest.raises(BadParameterError, match="needs a job"):
        asked.require_sync("https://sky.example/api/cutout/async")


@pytest.mark.parametrize("form", SODA_FORMATS, ids=lambda form: form.kind.value)
def test_every_form_is_known_by_all_its_names(form: Any) -> None:
    for name in (form.kind.value, form.mime, *form.aliases):
        assert resolve_soda_format(f" {name.upper()} ") is form
