"""``/capabilities``: what the service can do (TAPRegExt 1.0, VOSI 1.1)."""

from __future__ import annotations

from datetime import datetime

from astrolabe.adql.functions import GEOMETRY_FUNCTIONS
from astrolabe.config import Settings
from astrolabe.images.obscore.columns import OBSCORE_DATA_MODEL
from astrolabe.tables.formats import OUTPUT_FORMATS, OutputFormat
from astrolabe_api.common.documents import Document
from astrolabe_api.common.state import public_base, takes_anonymous
from astrolabe_api.common.vosi import capability, security_methods
from astrolabe_api.common.xml import XML_DECLARATION, attribute, element, text

__all__ = ["TAP_PATH", "capabilities_document"]

TAP_PATH = "/api/tap"

_NAMESPACES = (
    'xmlns:vosi="http://www.ivoa.net/xml/VOSICapabilities/v1.0" '
    'xmlns:vr="http://www.ivoa.net/xml/VOResource/v1.0" '
    'xmlns:vs="http://www.ivoa.net/xml/VODataService/v1.1" '
    'xmlns:tr="http://www.ivoa.net/xml/TAPRegExt/v1.0" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
)
_TAPREGEXT = "ivo://ivoa.net/std/TAPRegExt"
_SECONDS_PER_DAY = 86_400

_FEATURES = {
    "features-adqlgeo": tuple(sorted(GEOMETRY_FUNCTIONS)),
    "features-adql-string": ("LOWER", "UPPER", "ILIKE"),
    "features-adql-offset": ("OFFSET",),
}
"""Optional parts of ADQL 2.1 that are there, by their group in TAPRegExt.

COALESCE is there too, but its group ``features-adql-conditional`` is an error to STILTS' validator.
"""


def capabilities_document(
    settings: Settings, *, modified: datetime, has_obscore: bool = False
) -> Document:
    """Return the capabilities document of the service that `settings` describe.

    Parameters
    ----------
    settings
        Of the service.
    modified
        When the document last changed.
    has_obscore
        Whether there is the table ``ivoa.ObsCore``.
    """
    base = public_base(settings) + TAP_PATH
    methods = security_methods(anonymous=takes_anonymous(settings, "tap"))
    parts = (
        _tap_capability(settings, base, methods=methods, has_obscore=has_obscore),
        capability("ivo://ivoa.net/std/VOSI#capabilities", f"{base}/capabilities"),
        capability("ivo://ivoa.net/std/VOSI#availability", f"{base}/availability"),
        capability(
            "ivo://ivoa.net/std/VOSI#tables-1.1", f"{base}/tables", version="1.1", methods=methods
        ),
        _examples_capability(f"{base}/examples", methods=methods),
    )
    return Document(
        f"{XML_DECLARATION}<vosi:capabilities {_NAMESPACES}>\n{''.join(parts)}"
        "</vosi:capabilities>\n",
        modified=modified,
    )


def _tap_capability(settings: Settings, base: str, *, methods: str, has_obscore: bool) -> str:
    tap = settings.tap
    model = f'<dataModel ivo-id="{OBSCORE_DATA_MODEL}">ObsCore-1.1</dataModel>\n'
    return (
        '<capability standardID="ivo://ivoa.net/std/TAP" xsi:type="tr:TableAccess">\n'
        '<interface xsi:type="vs:ParamHTTP" role="std" version="1.1">\n'
        f'<accessURL use="base">{text(base)}</accessURL>\n'
        f"{methods}"
        "</interface>\n"
        f"{model if has_obscore else ''}"
        f"{_language()}"
        f"{''.join(_output_format(output) for output in OUTPUT_FORMATS)}"
        f'<uploadMethod ivo-id="{_TAPREGEXT}#upload-inline"/>\n'
        f'<uploadMethod ivo-id="{_TAPREGEXT}#upload-http"/>\n'
        "<retentionPeriod>"
        f"<default>{int(tap.retention_days * _SECONDS_PER_DAY)}</default>"
        f"<hard>{int(tap.retention_days_hard * _SECONDS_PER_DAY)}</hard>"
        "</retentionPeriod>\n"
        "<executionDuration>"
        f"<default>{tap.async_seconds}</default><hard>{tap.async_seconds}</hard>"
        "</executionDuration>\n"
        "<outputLimit>"
        f'<default unit="row">{min(tap.maxrec_default, tap.maxrec_hard)}</default>'
        f'<hard unit="row">{tap.maxrec_hard}</hard>'
        "</outputLimit>\n"
        "<uploadLimit>"
        f'<hard unit="byte">{tap.upload_mb * 1_000_000}</hard>'
        "</uploadLimit>\n"
        "</capability>\n"
    )


def _language() -> str:
    return (
        "<language>\n<name>ADQL</name>\n"
        '<version ivo-id="ivo://ivoa.net/std/ADQL#v2.0">2.0</version>\n'
        '<version ivo-id="ivo://ivoa.net/std/ADQL#v2.1">2.1</version>\n'
        "<description>ADQL 2.1: its mandatory core and the features below</description>\n"
        f"{''.join(_features(group, forms) for group, forms in _FEATURES.items())}"
        "</language>\n"
    )


def _features(group: str, forms: tuple[str, ...]) -> str:
    inside = "".join(f"<feature><form>{text(form)}</form></feature>\n" for form in forms)
    return f'<languageFeatures type="{_TAPREGEXT}#{group}">\n{inside}</languageFeatures>\n'


def _output_format(output: OutputFormat) -> str:
    identifier = "" if output.ivo_id is None else f" ivo-id={attribute(output.ivo_id)}"
    aliases = "".join(element("alias", alias) for alias in output.aliases)
    return f"<outputFormat{identifier}>{element('mime', output.mime)}{aliases}</outputFormat>\n"


def _examples_capability(address: str, *, methods: str) -> str:
    return (
        '<capability standardID="ivo://ivoa.net/std/DALI#examples">\n'
        '<interface xsi:type="vr:WebBrowser" role="std">\n'
        f'<accessURL use="full">{text(address)}</accessURL>\n'
        f"{methods}</interface>\n</capability>\n"
    )
