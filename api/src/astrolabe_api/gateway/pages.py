"""The few pages that the gateway writes itself; they load nothing from anywhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable

from starlette.responses import HTMLResponse

from astrolabe_api.common.xml import text
from astrolabe_api.gateway.discovery import Discovery

__all__ = ["api_page", "landing_page"]

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem;"
    "color:#1b2430;background:#fff}"
    "table{border-collapse:collapse;width:100%}"
    "td,th{text-align:left;padding:.25rem .75rem .25rem 0;border-bottom:1px solid #d5dbe3;"
    "vertical-align:top}"
    "code,pre{font:14px/1.5 ui-monospace,monospace}pre{background:#f2f4f7;padding:1rem;"
    "overflow-x:auto}a{color:#0b5cad}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


def landing_page(discovery: Discovery, *, user: str | None = None) -> HTMLResponse:
    """Return the front page: what is here and how to get at it.

    Parameters
    ----------
    user
        Who looks at it; `None` for somebody who has not logged in.
    """
    services = _table(
        ("Service", "Address"),
        ((text(service.title), _link(service.url)) for service in discovery.services),
    )
    rows = [
        (
            f"<code>{text(table.name)}</code>",
            "" if table.rows is None else f"{table.rows:,}",
            text(table.description or ""),
        )
        for schema in discovery.schemas
        for table in schema.tables
    ]
    tables = _table(("Table", "Rows", "Description"), rows) if rows else "<p>None yet.</p>"
    collections = [
        (f"<code>{text(c.name)}</code>", text(c.description or ""), _link(c.url))
        for c in discovery.collections
    ]
    images = (
        _table(("Collection", "Description", "List of its images"), collections)
        if collections
        else "<p>None yet.</p>"
    )
    tap = discovery.services[0].url
    example = f"import pyvo\n\ntap = pyvo.dal.TAPService({tap!r})\n"
    name = discovery.schemas[0].tables[0].name if rows else "tap_schema.tables"
    query = f"SELECT TOP 5 * FROM {name}"  # noqa: S608 - shown, not run
    example += f"print(tap.search({query!r}).to_table())"
    return _page(
        discovery.title,
        f"<p>{text(discovery.software)}. Published by {text(discovery.publisher)}.</p>"
        f"<p>{_who(user)}</p>"
        "<p><a href='/sky'>Look at the sky</a></p>"
        f"<h2>Services</h2>{services}"
        f"<h2>A first query</h2><pre>{text(example)}</pre>"
        f"<h2>Tables</h2>{tables}"
        f"<h2>Images</h2><p><a href='/sky'>Look at the sky</a></p>{images}",
    )


def api_page(title: str, paths: Iterable[tuple[str, str, str]]) -> HTMLResponse:
    """Return the list of all addresses.

    Parameters
    ----------
    paths
        (method, path, summary) of each.
    """
    rows = (
        (f"<code>{text(method)}</code>", f"<code>{text(path)}</code>", text(summary))
        for method, path, summary in paths
    )
    return _page(
        f"{title}: HTTP API",
        "<p>The same for programs: <a href='/api/openapi.json'>openapi.json</a>.</p>"
        + _table(("Method", "Path", "What"), rows),
    )


def _who(user: str | None) -> str:
    if user is None:
        return "<a href='/auth/login?return_url=/'>Log in</a>"
    return f"Logged in as {text(user)}: <a href='/account'>your account</a>"


def _page(title: str, body: str) -> HTMLResponse:
    return HTMLResponse(
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'>"
        f"<title>{text(title)}</title><style>{_STYLE}</style></head>"
        f"<body><main><h1>{text(title)}</h1>{body}</main></body></html>\n",
        headers={"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"},
    )


def _table(heads: Iterable[str], rows: Iterable[tuple[str, ...]]) -> str:
    head = "".join(f"<th scope='col'>{text(name)}</th>" for name in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _link(address: str) -> str:
    shown = text(address)
    return f'<a href="{shown}">{shown}</a>'
