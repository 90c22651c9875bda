"""The VOTable error document (DALI 1.1, section 4.2): what VO clients look for first."""

from __future__ import annotations

from collections.abc import Iterable

from astrolabe.tables.model import Info
from astrolabe_api.common.xml import XML_DECLARATION, attribute, text

__all__ = ["VOTABLE_MIME", "error_document"]

VOTABLE_MIME = "application/x-votable+xml"


def error_document(message: str, *, infos: Iterable[Info] = ()) -> str:
    """Return a VOTable that says only that the request failed, and why.

    Parameters
    ----------
    message
        Shown to the user by every client.
    infos
        More about the error (its code, the request's id); they stand outside the RESOURCE, in
        which some clients allow nothing but the one INFO.  The order and the quotes of that INFO's
        attributes are fixed: TapPlus looks for it by a plain search of the text.
    """
    details = "".join(
        f"<INFO name={attribute(info.name)} value={attribute(info.value)}/>\n" for info in infos
    )
    return (
        f"{XML_DECLARATION}"
        '<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">\n'
        f"{details}"
        '<RESOURCE type="results">\n'
        f'<INFO name="QUERY_STATUS" value="ERROR">{text(message)}</INFO>\n'
        "</RESOURCE>\n"
        "</VOTABLE>\n"
    )
