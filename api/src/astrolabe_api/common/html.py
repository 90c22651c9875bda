"""Pages: templates with escaping switched on, and a policy that lets nothing else run or load."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse

from astrolabe.core.clock import format_utc

__all__ = ["page_response", "render"]


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("astrolabe_api", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["time"] = lambda when: "" if when is None else format_utc(when)[:16] + "Z"
    # The one text that is not escaped: our own style sheet, which the policy knows by its hash.
    environment.globals["style"] = Markup(_style(environment))  # noqa: S704 - see above
    return environment


def _style(environment: Environment) -> str:
    loader = environment.loader
    if loader is None:
        raise TypeError("the environment has a loader")
    return loader.get_source(environment, "style.css")[0].strip()


@cache
def _policy() -> str:
    digest = hashlib.sha256(_style(_environment()).encode()).digest()
    return (
        f"default-src 'none'; style-src 'sha256-{base64.b64encode(digest).decode()}'; "
        "script-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    )


def render(template: str, values: Mapping[str, Any]) -> str:
    """Return a page's text.

    Raises
    ------
    jinja2.UndefinedError
        Raised if the template uses a value that is not there.
    """
    return _environment().get_template(template).render(values)


def page_response(
    template: str, values: Mapping[str, Any], *, status: int = HTTPStatus.OK
) -> HTMLResponse:
    """Return a page, which no cache keeps and no other page frames."""
    return HTMLResponse(
        render(template, values),
        status_code=status,
        headers={
            "Content-Security-Policy": _policy(),
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
        },
    )
