"""``/capabilities`` of cutouts (SODA 1.0, section 2.5; VOSI 1.1)."""

from __future__ import annotations

from datetime import datetime

from astrolabe_api.common.descriptors import SODA_ASYNC_ID, SODA_SYNC_ID
from astrolabe_api.common.documents import Document
from astrolabe_api.common.vosi import capabilities_xml, capability, security_methods

__all__ = ["capabilities_document"]

_VERSION = "1.0"


def capabilities_document(base: str, *, anonymous: bool, modified: datetime) -> Document:
    """Return the capabilities of the service.

    Parameters
    ----------
    base
        Absolute address of the service.
    anonymous
        Whether one may cut without a login.
    modified
        When this process began to serve.
    """
    methods = security_methods(anonymous=anonymous)
    own = "".join(
        capability(standard_id, f"{base}/{name}", version=_VERSION, methods=methods)
        for name, standard_id in (("sync", SODA_SYNC_ID), ("async", SODA_ASYNC_ID))
    )
    return Document(capabilities_xml(base, own), modified=modified)
