"""VOSI documents that every VO service has (VOSI 1.1)."""

from __future__ import annotations

from datetime import datetime

from astrolabe.core.clock import format_utc
from astrolabe_api.common.xml import XML_DECLARATION, attribute, element, text

__all__ = ["availability_document", "capabilities_xml", "capability", "security_methods"]

_NAMESPACES = (
    'xmlns:vosi="http://www.ivoa.net/xml/VOSICapabilities/v1.0" '
    'xmlns:vr="http://www.ivoa.net/xml/VOResource/v1.0" '
    'xmlns:vs="http://www.ivoa.net/xml/VODataService/v1.1" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
)

_SECURITY_METHODS = (
    "ivo://ivoa.net/sso#BasicAA",
    "ivo://ivoa.net/sso#cookie",
    # No document defines it yet, but under this name clients register Bearer tokens.
    "ivo://ivoa.net/sso#token",
)


def security_methods(*, anonymous: bool) -> str:
    """Return the elements that say how callers of an interface may say who they are.

    AuthVO wants none of them and reads ``WWW-Authenticate``, which every capabilities document
    comes with too; pyvo sends a credential only to interfaces that list its kind.

    Parameters
    ----------
    anonymous
        Whether one may call without saying it: the element without a name.
    """
    named = "".join(f'<securityMethod standardID="{name}"/>\n' for name in _SECURITY_METHODS)
    return f"<securityMethod/>\n{named}" if anonymous else named


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


def capability(
    standard_id: str, address: str, *, version: str | None = None, methods: str = ""
) -> str:
    """Return a capability with one interface whose parameters its standard gives.

    Parameters
    ----------
    standard_id
        ``ivo://ivoa.net/std/...``.
    address
        Absolute address of the interface.
    version
        Of the interface.
    methods
        What `security_methods` gave; nothing for what everybody may ask.
    """
    versioned = "" if version is None else f" version={attribute(version)}"
    return (
        f"<capability standardID={attribute(standard_id)}>\n"
        f'<interface xsi:type="vs:ParamHTTP" role="std"{versioned}>\n'
        f'<accessURL use="full">{text(address)}</accessURL>\n'
        f"{methods}</interface>\n</capability>\n"
    )


def capabilities_xml(base: str, capabilities: str) -> str:
    """Return a capabilities document (VOSI 1.1, section 3) with those that every service has.

    Parameters
    ----------
    base
        Absolute address of the service.
    capabilities
        Its own, as `capability` makes them.
    """
    own = "".join(
        capability(f"ivo://ivoa.net/std/VOSI#{name}", f"{base}/{name}")
        for name in ("capabilities", "availability")
    )
    return (
        f"{XML_DECLARATION}<vosi:capabilities {_NAMESPACES}>\n{capabilities}{own}"
        "</vosi:capabilities>\n"
    )
