"""Which HDUs of a file are an image, its mask and its variance."""

from __future__ import annotations

import pytest

from astrolabe.images.fits.cards import FitsHeader, format_card
from astrolabe.images.fits.index import PlaneIndex
from astrolabe.images.importing.planes import DEFAULT_PLANES, PlaneNames, group_planes
from astrolabe.images.model import PlaneKind

IMAGE, MASK, VARIANCE = PlaneKind.IMAGE, PlaneKind.MASK, PlaneKind.VARIANCE


def plane(number: int, shape: tuple[int, ...] = (8, 9), **cards: str | int) -> PlaneIndex:
    text = "".join(format_card(keyword, value) for keyword, value in cards.items())
    return PlaneIndex(
        hdu=number,
        name=str(cards.get("EXTNAME", "")),
        header=FitsHeader.from_text(text),
        shape=shape,
        bitpix=-32,
        data_offset=0,
    )


@pytest.mark.parametrize(
    ("planes", "found"),
    [
        pytest.param([plane(0)], [{IMAGE: 0}], id="primary"),
        pytest.param(
            [
                plane(1, EXTNAME="IMAGE"),
                plane(2, EXTNAME="MASK"),
                plane(3, EXTNAME="VARIANCE"),
                plane(5, (3, 3), EXTNAME="PSF_IMAGE"),
            ],
            [{IMAGE: 1, MASK: 2, VARIANCE: 3}],
            id="rubin",
        ),
        pytest.param(
            [plane(1, EXTTYPE="IMAGE"), plane(2, EXTTYPE="MASK"), plane(3, EXTTYPE="VARIANCE")],
            [{IMAGE: 1, MASK: 2, VARIANCE: 3}],
            id="rubin-exttype",
        ),
        pytest.param(
            [
                plane(1, EXTNAME="SCI", DES_EXT="IMAGE"),
                plane(2, EXTNAME="MSK", DES_EXT="MASK"),
                plane(3, EXTNAME="WGT", DES_EXT="WEIGHT"),
            ],
            [{IMAGE: 1, MASK: 2}],
            id="des",
        ),
        pytest.param([plane(1, EXTNAME="COMPRESSED_IMAGE")], [{IMAGE: 1}], id="legacy"),
        pytest.param(
            [plane(1, EXTNAME="N4"), plane(2, EXTNAME="S29"), plane(3, EXTNAME="CCD31")],
            [{IMAGE: 1}, {IMAGE: 2}, {IMAGE: 3}],
            id="camera",
        ),
        pytest.param(
            [
                plane(number, EXTNAME=name, EXTVER=version)
                for number, (name, version) in enumerate(
                    [("SCI", 1), ("ERR", 1), ("DQ", 1), ("SCI", 2), ("ERR", 2), ("DQ", 2)], 1
                )
            ],
            [{IMAGE: 1, MASK: 3}, {IMAGE: 4, MASK: 6}],
            id="hubble",
        ),
        pytest.param(
            [
                plane(1, EXTNAME="SCI_1"),
                plane(2, EXTNAME="SCI_2"),
                plane(3, EXTNAME="MASK_2"),
                plane(4, EXTNAME="MASK_1"),
            ],
            [{IMAGE: 1, MASK: 4}, {IMAGE: 2, MASK: 3}],
            id="by-suffix",
        ),
        pytest.param(
            [plane(1, EXTNAME="SCI"), plane(2, EXTNAME="VAR_POISSON"), plane(3, EXTNAME="AREA")],
            [{IMAGE: 1}],
            id="part-of-the-variance",
        ),
        pytest.param(
            [plane(1, EXTNAME="SCI"), plane(2, (4, 4), EXTNAME="MASK")],
            [{IMAGE: 1}],
            id="mask-of-another-shape",
        ),
        pytest.param([plane(0, (100,)), plane(1, (1, 50))], [], id="spectra"),
        pytest.param([plane(0, (4, 30, 20))], [{IMAGE: 0}], id="cube"),
        pytest.param([plane(0, (20, 30, 1))], [{IMAGE: 0}], id="degenerate-x"),
        pytest.param([plane(1, EXTNAME="MASK")], [], id="only-a-mask"),
        pytest.param([plane(0), plane(1, EXTNAME="WCSDVARR")], [{IMAGE: 0}], id="distortion-table"),
    ],
)
def test_planes(planes: list[PlaneIndex], found: list[dict[PlaneKind, int]]) -> None:
    images, _ = group_planes(planes)
    assert [image.planes for image in images] == found


def test_own_names_and_numbers() -> None:
    planes = [plane(1, EXTNAME="SCI"), plane(2, EXTNAME="WGT"), plane(3, EXTNAME="BPM")]
    names: PlaneNames = {**DEFAULT_PLANES, VARIANCE: ("WGT",), MASK: ("3",)}
    (image,), notes = group_planes(planes, names)
    assert image.planes == {IMAGE: 1, VARIANCE: 2, MASK: 3}
    assert notes == []


def test_what_was_passed_over_is_said() -> None:
    planes = [plane(1, EXTNAME="SCI"), plane(2, EXTNAME="WGT"), plane(3, (2, 2), EXTNAME="DQ")]
    _, notes = group_planes(planes)
    assert notes == [
        "WGT holds weights, not variances: not taken as a plane",
        "DQ, a mask, belongs to no image",
    ]


def test_labels_differ() -> None:
    images, _ = group_planes([plane(1, EXTNAME="A"), plane(2, EXTNAME="a"), plane(3, CCDNUM=31)])
    assert [image.label for image in images] == ["1", "2", "31"]
