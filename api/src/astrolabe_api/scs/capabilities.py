"""``/capabilities`` of cone searches (SimpleDALRegExt 1.1, section 3; VOSI 1.1)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from urllib.parse import quote

from astrolabe.catalogs.model import CatalogView
from astrolabe.sky.healpix import cell_centers
from astrolabe_api.common.documents import Document
from astrolabe_api.common.vosi import capability, security_methods
from astrolabe_api.common.xml import XML_DECLARATION, attribute, element, text
from astrolabe_api.scs.columns import SCS_STANDARD_ID
from astrolabe_api.scs.requests import MAX_RADIUS_DEG
from astrolabe_api.scs.search import ConeTable

__all__ = ["SCS_PATH", "capabilities_document"]

SCS_PATH = "/api/scs"

_NAMESPACES = (
    'xmlns:vosi="http://www.ivoa.net/xml/VOSICapabilities/v1.0" '
    'xmlns:vr="http://www.ivoa.net/xml/VOResource/v1.0" '
    'xmlns:vs="http://www.ivoa.net/xml/VODataService/v1.1" '
    'xmlns:cs="http://www.ivoa.net/xml/ConeSearch/v1.0" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
)
_TEST_RADIUS_DEG = 0.001
_PARAMETERS = (
    ("RA", "required", "real", "deg", "pos.eq.ra", "Right ascension of the centre, ICRS"),
    ("DEC", "required", "real", "deg", "pos.eq.dec", "Declination of the centre, ICRS"),
    ("SR", "required", "real", "deg", "pos.angDistance", "Radius; 0 describes the table only"),
    ("VERB", "optional", "integer", None, None, "1, 2 or 3: few, the main, or all columns"),
    ("MAXREC", "optional", "integer", None, None, "Rows to give at most"),
    ("RESPONSEFORMAT", "optional", "string", None, None, "Media type or short name of the form"),
)


def capabilities_document(
    view: CatalogView,
    tables: Iterable[ConeTable],
    *,
    base: str,
    own: str,
    maxrec: int,
    anonymous: bool,
) -> Document:
    """Return a document with the cone searches of `tables`.

    Parameters
    ----------
    view
        Of the catalog; where it knows rows, each search has an example that finds some.
    base
        Absolute address of all cone searches.
    own
        Absolute address below which this document is.
    maxrec
        Rows that one search gives at most.
    anonymous
        Whether one may search without a login.
    """
    methods = security_methods(anonymous=anonymous)
    parts = [
        _cone_capability(view, table, base=base, maxrec=maxrec, methods=methods) for table in tables
    ]
    parts += [
        capability(f"ivo://ivoa.net/std/VOSI#{name}", f"{own}/{name}")
        for name in ("capabilities", "availability")
    ]
    return Document(
        f"{XML_DECLARATION}<vosi:capabilities {_NAMESPACES}>\n{''.join(parts)}"
        "</vosi:capabilities>\n"
    )


def _cone_capability(
    view: CatalogView, table: ConeTable, *, base: str, maxrec: int, methods: str
) -> str:
    name = table.meta.adql_name
    # Clients of version 1.03 append their parameters to this address as it is.
    address = f"{base}/{quote(name)}?"
    return (
        f'<capability standardID={attribute(SCS_STANDARD_ID)} xsi:type="cs:ConeSearch">\n'
        f"{element('description', f'Rows of {name} by position')}\n"
        '<interface xsi:type="vs:ParamHTTP" role="std">\n'
        f'<accessURL use="base">{text(address)}</accessURL>\n'
        f"{methods}"
        "<queryType>GET</queryType><queryType>POST</queryType>\n"
        "<resultType>application/x-votable+xml</resultType>\n"
        f"{''.join(_parameter(*parameter) for parameter in _PARAMETERS)}"
        "</interface>\n"
        f"<maxSR>{MAX_RADIUS_DEG:g}</maxSR>\n"
        f"<maxRecords>{maxrec}</maxRecords>\n"
        "<verbosity>true</verbosity>\n"
        f"{_test_query(view, table)}"
        "</capability>\n"
    )


def _parameter(
    name: str, use: str, kind: str, unit: str | None, ucd: str | None, about: str
) -> str:
    return (
        f'<param std="true" use="{use}">{element("name", name)}{element("description", about)}'
        f"{element('unit', unit)}{element('ucd', ucd)}{element('dataType', kind)}</param>\n"
    )


def _test_query(view: CatalogView, table: ConeTable) -> str:
    """Return a search that finds something: around the cell of a row that is there."""
    version = view.table(table.meta.schema, table.meta.name)
    if version is None or not version.positions_sorted or not version.index.healpix_min.size:
        return ""
    x, y, z = cell_centers(29, version.index.healpix_min[:1])[0]
    ra_deg = math.degrees(math.atan2(y, x)) % 360.0
    dec_deg = math.degrees(math.atan2(z, math.hypot(x, y)))
    return (
        f"<testQuery><ra>{ra_deg:.6f}</ra><dec>{dec_deg:.6f}</dec>"
        f"<sr>{_TEST_RADIUS_DEG}</sr></testQuery>\n"
    )
