"""VOSI documents that every VO service has (VOSI 1.1)."""

from __future__ import annotations

from datetime import datetime

from astrolabe.core.clock import format_utc
from astrolabe_api.common.xml import XML_DECLARATION, element

__all__ = ["availability_document"]


def availability_document(*, available: bool, since: datetime, note: str | None) -> str:
    """Return the availability document (VOSI 1.1, section 4).

    Parameters
    ----------
    since
        When this process began to serve.
    note
        Why the service is not available, or what else is to be known.
    """
    inside = element("vosi:available", "true" if available else "false")
    if available:
        inside += element("vosi:upSince", format_utc(since))
    return (
        f"{XML_DECLARATION}"
        '<vosi:availability xmlns:vosi="http://www.ivoa.net/xml/VOSIAvailability/v1.0">'
        f"{inside}{element('vosi:note', note)}</vosi:availability>\n"
    )
