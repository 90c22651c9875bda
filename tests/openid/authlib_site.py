"""A partner's site that logs people in by Authlib's client for Starlette, as its manual shows it.

usage: python -m tests.openid.authlib_site PORT ISSUER CLIENT_ID
The environment has its secret, if it has one, as SITE_SECRET.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import uvicorn
from authlib.integrations.starlette_client import OAuth, OAuthError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

__all__ = ["main"]


def make_site(port: int, issuer: str, client_id: str, secret: str | None) -> Starlette:
    oauth: Any = OAuth()
    oauth.register(
        name="astrolabe",
        client_id=client_id,
        client_secret=secret,
        server_metadata_url=f"{issuer}/.well-known/openid-configuration",
        client_kwargs={
            "scope": "openid profile email groups read:tap",
            "code_challenge_method": "S256",
            **({} if secret else {"token_endpoint_auth_method": "none"}),
        },
    )

    async def login(request: Request) -> Response:
        asked = dict(request.query_params)
        answer: Response = await oauth.astrolabe.authorize_redirect(
            request, f"http://127.0.0.1:{port}/callback", **asked
        )
        return answer

    async def callback(request: Request) -> Response:
        try:
            token = await oauth.astrolabe.authorize_access_token(request)
        except OAuthError as exc:
            return JSONResponse({"error": exc.error}, status_code=400)
        told = await oauth.astrolabe.userinfo(token=token)
        return JSONResponse({"token": token, "userinfo": dict(told)})

    async def health(_request: Request) -> Response:
        return JSONResponse("ok")

    paths = {"/login": login, "/callback": callback, "/health": health}
    return Starlette(
        routes=[Route(path, endpoint) for path, endpoint in paths.items()],
        middleware=[Middleware(SessionMiddleware, secret_key=os.urandom(16).hex())],
    )


def main() -> None:
    """Serve until killed."""
    port, issuer, client_id = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    site = make_site(port, issuer, client_id, os.environ.get("SITE_SECRET"))
    uvicorn.run(site, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main()
