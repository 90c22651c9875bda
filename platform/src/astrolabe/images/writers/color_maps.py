"""The colour maps of pictures: perceptually even ones, by the names that astronomers know them by.

The tables lie beside this module as a picture, ``color_maps.png``: 256 colours wide, one map a row
in the order of `COLOR_MAPS`.  Sources: viridis, plasma, inferno, magma, cividis, twilight and
twilight_shifted by their authors for Matplotlib (CC0); berlin, managua and vanimo by F. Crameri
(2018, Scientific colour maps; the licence is beside the table); cubehelix after D. A. Green
(2011, BASI 39, 289).
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from io import BytesIO
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from astrolabe.core.errors import BadParameterError

__all__ = ["COLOR_MAPS", "color_table"]

COLOR_MAPS: Final = (
    "gray",
    "viridis",
    "plasma",
    "inferno",
    "magma",
    "cividis",
    "cubehelix",
    "twilight",
    "twilight_shifted",
    "berlin",
    "managua",
    "vanimo",
)
"""The names of all maps; ``_r`` after a name turns a map round."""


def color_table(name: str) -> npt.NDArray[np.uint8]:
    """Return the 256 colours of a map.

    Parameters
    ----------
    name
        One of `COLOR_MAPS` in any case, with ``_r`` behind it for the map turned round.

    Returns
    -------
    (256, 3) array of red, green, blue; read-only.

    Raises
    ------
    BadParameterError
        Raised if there is no such map.
    """
    folded = name.strip().lower()
    known = folded.removesuffix("_r")
    if known not in COLOR_MAPS:
        raise BadParameterError(
            f"There is no colour map {name[:50]!r}; there are {', '.join(COLOR_MAPS)}, and each "
            "with _r behind its name turned round."
        )
    table: npt.NDArray[np.uint8] = _tables()[COLOR_MAPS.index(known)]
    return table[::-1] if folded != known else table


@cache
def _tables() -> npt.NDArray[np.uint8]:
    content = files(__package__).joinpath("color_maps.png").read_bytes()
    with Image.open(BytesIO(content)) as picture:
        tables = np.asarray(picture.convert("RGB"), dtype=np.uint8)
    tables.setflags(write=False)
    return tables
