"""The forms in which cutouts are given."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from astrolabe.core.errors import BadParameterError
from astrolabe.images.model import FITS_MEDIA_TYPE

__all__ = ["SODA_FORMATS", "FormKind", "SodaFormat", "resolve_soda_format"]


class FormKind(StrEnum):
    """What a form is written by."""

    FITS = "fits"
    COMPRESSED = "fits.fz"
    PNG = "png"
    JPEG = "jpeg"
    TAR = "tar"
    MEF = "mef"
    ZARR = "zarr"

    @property
    def is_bundle(self) -> bool:
        """Whether one file of this form holds many cutouts."""
        return self in {FormKind.TAR, FormKind.MEF, FormKind.ZARR}

    @property
    def is_picture(self) -> bool:
        """Whether this form is for people: colours in the place of values."""
        return self in {FormKind.PNG, FormKind.JPEG}


@dataclass(frozen=True, slots=True, kw_only=True)
class SodaFormat:
    """One form.

    Parameters
    ----------
    kind
        What writes it.
    mime
        Its media type.
    extension
        Of a file of this form.
    aliases
        Other values of RESPONSEFORMAT that mean it.
    about
        What it is, for people.
    """

    kind: FormKind
    mime: str
    extension: str
    aliases: tuple[str, ...]
    about: str


SODA_FORMATS: Final = (
    SodaFormat(
        kind=FormKind.FITS,
        mime=FITS_MEDIA_TYPE,
        extension=".fits",
        aliases=("image/fits",),
        about="FITS: the plane, or all planes that are asked for as extensions",
    ),
    SodaFormat(
        kind=FormKind.COMPRESSED,
        mime=f"{FITS_MEDIA_TYPE};compression=tile",
        extension=".fits.fz",
        aliases=("fz", "compressed", "fits-compressed"),
        about="FITS with tile compression that loses nothing",
    ),
    SodaFormat(
        kind=FormKind.PNG,
        mime="image/png",
        extension=".png",
        aliases=(),
        about="a picture, drawn by STRETCH, LIMITS and CMAP, or in colours by RGB",
    ),
    SodaFormat(
        kind=FormKind.JPEG,
        mime="image/jpeg",
        extension=".jpg",
        aliases=("jpg",),
        about="the same, smaller and not exact",
    ),
    SodaFormat(
        kind=FormKind.TAR,
        mime="application/x-tar",
        extension=".tar",
        aliases=("application/tar",),
        about="many cutouts: one tar of FITS files with an index",
    ),
    SodaFormat(
        kind=FormKind.MEF,
        mime=f"{FITS_MEDIA_TYPE};content=multi",
        extension=".fits",
        aliases=("multi",),
        about="many cutouts: one FITS file with an extension for each, and an index",
    ),
    SodaFormat(
        kind=FormKind.ZARR,
        mime="application/zip",
        extension=".zarr.zip",
        aliases=("zip",),
        about="many cutouts: one Zarr store in a ZIP file, with an index",
    ),
)
"""Every form, the default first."""

_BY_NAME: Final = {
    name: form for form in SODA_FORMATS for name in (form.kind.value, form.mime, *form.aliases)
}


def resolve_soda_format(wanted: str | None) -> SodaFormat:
    """Return the form that a value of RESPONSEFORMAT means; FITS without one.

    Raises
    ------
    BadParameterError
        Raised if there is no such form.
    """
    if wanted is None:
        return SODA_FORMATS[0]
    found = _BY_NAME.get(wanted.strip().lower().replace(" ", ""))
    if found is None:
        known = ", ".join(form.kind.value for form in SODA_FORMATS)
        raise BadParameterError(
            f"RESPONSEFORMAT {wanted[:100]!r} is not one of the forms of cutouts: {known}."
        )
    return found
