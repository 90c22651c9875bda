"""Every stencil out of every image, in one file with an index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from astrolabe.images.cutouts import Stencil
from astrolabe.images.soda.writing import Part, fits_planes
from astrolabe.images.writers.bundles import Bundle, safe_name
from astrolabe.tables.model import Column, Datatype, ResultHeader, arrow_type

__all__ = ["CutoutBundle"]

_NAME_CHARACTERS: Final = 40
_COLUMNS: Final = (
    Column(
        name="number",
        datatype=Datatype.LONG,
        description="Which combination, from 1: images in the outer loop, stencils in the inner",
    ),
    Column(
        name="name",
        datatype=Datatype.CHAR,
        arraysize="*",
        description="Where the cutout is in this bundle; empty if there is none",
    ),
    Column(
        name="image", datatype=Datatype.CHAR, arraysize="*", description="Identifier of the image"
    ),
    Column(name="stencil", datatype=Datatype.CHAR, arraysize="*", description="What was cut"),
    Column(
        name="reason",
        datatype=Datatype.CHAR,
        arraysize="*",
        description="Why there is no cutout; empty if there is one",
    ),
)


@dataclass(frozen=True, slots=True)
class _Entry:
    number: int
    name: str
    image: str
    stencil: str
    reason: str


class CutoutBundle:
    """Cutouts on their way into one file.

    Parameters
    ----------
    bundle
        Where they go.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._entries: list[_Entry] = []

    @property
    def is_empty(self) -> bool:
        """Whether no cutout was added."""
        return not any(entry.name for entry in self._entries)

    def add(self, number: int, part: Part, did: str, *, max_pixels: float) -> None:
        """Cut a part and put it in.

        Raises
        ------
        TooLargeError, BadParameterError, ImageInvalidError
            Raised as by `Part.read`, or if the form cannot hold it; nothing was put in.
        """
        cutout = part.read(max_pixels)
        name = f"{number:04d}-{safe_name(part.image.record.key.image_id, _NAME_CHARACTERS)}"
        self._bundle.add(name, fits_planes(cutout), common=part.provenance)
        place = self._bundle.place_of(name)
        self._entries.append(_Entry(number, place, did, part.stencil.label, ""))

    def add_failed(self, number: int, stencil: Stencil, did: str, reason: str) -> None:
        """Note a cutout that could not be made."""
        self._entries.append(_Entry(number, "", did, stencil.label, reason))

    def finish(self) -> int:
        """Write the index; return the size of the file (bytes)."""
        arrays = [
            pa.array([getattr(entry, column.name) for entry in self._entries], arrow_type(column))
            for column in _COLUMNS
        ]
        index = pa.Table.from_arrays(arrays, names=[column.name for column in _COLUMNS])
        return self._bundle.finish(index, ResultHeader(columns=_COLUMNS, table_name="index"))
