"""``/auth/forward``: an ingress asks whether a request to something behind it may pass.

The ingress sends the request's headers on (nginx: ``auth_request``, Traefik: ``forwardAuth``) and
takes the answer's status; from the answer's headers what is behind learns who asks.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from astrolabe.core.errors import BadParameterError, ForbiddenError
from astrolabe.identity.scopes import SCOPES
from astrolabe_api.common.auth import Caller, logged_in
from astrolabe_api.common.credentials import CredentialKind, read_credential
from astrolabe_api.common.csrf import SAFE_METHODS, check_origin
from astrolabe_api.common.state import ApiState, State, public_base

__all__ = ["forward_router"]

_METHOD_HEADERS = ("x-original-method", "x-forwarded-method")

router = APIRouter(tags=["account"])


def forward_router() -> APIRouter:
    """Return the router of this module."""
    return router


@router.get(
    "/auth/forward",
    dependencies=[logged_in()],
    response_class=Response,
    summary="Whether a request may pass, for an ingress",
)
async def forward(
    request: Request,
    state: State,
    caller: Caller,
    scope: Annotated[list[str] | None, Query(description="The caller needs all of these.")] = None,
) -> Response:
    """Answer 200 with the caller's name in headers, 401 with challenges, or 403."""
    wanted = set(scope or ())
    unknown = sorted(wanted - SCOPES.keys())
    if unknown:
        raise BadParameterError(f"There is no scope {unknown[0][:64]!r}.")
    missing = sorted(wanted - caller.scopes)
    if missing:
        raise ForbiddenError(f"This needs the scope {missing[0]}, which your token does not have.")
    _check_other_sites(request, state)
    return Response(
        headers={
            "Cache-Control": "no-store",
            "X-Auth-Request-User": caller.username or "",
            "X-Auth-Request-Uid": "" if caller.uid is None else str(caller.uid),
            "X-Auth-Request-Groups": ",".join(sorted(caller.groups)),
            "X-Auth-Request-Scopes": " ".join(sorted(caller.scopes)),
        }
    )


def _check_other_sites(request: Request, state: ApiState) -> None:
    """Refuse what another site made a browser send, as the platform's own addresses do.

    An ingress that does not say which method the request has may be asking about any; and behind
    a websocket's first request, a GET, may be anything.
    """
    https = public_base(state.settings).startswith("https://")
    credential = read_credential(request, https=https)
    if credential is None or credential.kind is not CredentialKind.COOKIE:
        return
    told = [request.headers[name] for name in _METHOD_HEADERS if name in request.headers]
    is_safe = bool(told) and all(method.upper() in SAFE_METHODS for method in told)
    if not is_safe or request.headers.get("upgrade", "").lower() == "websocket":
        check_origin(
            request,
            public_url=public_base(state.settings),
            trusted_origins=state.settings.server.cors_origins,
        )
