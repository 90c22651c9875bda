"""The credential that a request brings: how each of them is written, and which one counts.

A request may bring a token in one of these ways; the first that is there counts, and is not
passed over for the next when it is no good:

1. a signed link, which is good for reading one resource (parameter ``signed``) or one tree of files
   (a segment of the path);
2. ``Authorization: Bearer``, or ``Basic`` with the token as user or as password;
3. ``X-CADC-DelegationToken``;
4. the session's cookie.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import quote, unquote_plus

from starlette.requests import HTTPConnection

from astrolabe.core.errors import BadParameterError, UnauthenticatedError
from astrolabe.identity.signed_links import LINK_PARAMETER, TREE_MARK
from astrolabe_api.common.cookies import session_cookie

__all__ = [
    "DELEGATION_HEADER",
    "TREE_PARAMETER",
    "Credential",
    "CredentialKind",
    "read_credential",
]

DELEGATION_HEADER: Final = "X-CADC-DelegationToken"
"""The header in which OpenCADC's tools send a token."""

TREE_PARAMETER: Final = "signed_tree"
"""The path parameter that makes a route one of signed trees."""

_TOKEN: Final = re.compile(r"al-[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{22}")
_LONGEST: Final = 4096


class CredentialKind(StrEnum):
    """How a credential came."""

    HEADER = "header"
    COOKIE = "cookie"
    LINK = "link"
    TREE = "tree"


@dataclass(frozen=True, slots=True)
class Credential:
    """What came.

    Parameters
    ----------
    kind
        How.
    text
        The token's text, or the credential of a signed link.
    address
        Of a signed link: the path and query, or the path of the tree, that it must have been made
        for.
    """

    kind: CredentialKind
    text: str
    address: str = ""


def read_credential(connection: HTTPConnection, *, https: bool) -> Credential | None:
    """Return the credential that counts, `None` if there is none at all.

    Parameters
    ----------
    https
        Whether the platform's public address is one of https: its cookie has another name then.

    Raises
    ------
    BadParameterError
        Raised if a token stands in the address, where logs and other sites would see it.
    UnauthenticatedError
        Raised if there is a credential that cannot be one of ours.
    """
    link = _read_query(connection)
    tree = _read_tree(connection)
    if link is not None and tree is not None:
        raise UnauthenticatedError("Give one signed link, not one inside another.")
    if link is not None or tree is not None:
        return link or tree
    authorization = connection.headers.getlist("authorization")
    if authorization:
        if len(authorization) > 1:
            raise UnauthenticatedError("Send one Authorization header, not several.")
        return Credential(CredentialKind.HEADER, _read_authorization(authorization[0]))
    delegated = connection.headers.get(DELEGATION_HEADER)
    if delegated is not None:
        return Credential(CredentialKind.HEADER, _checked(delegated))
    cookie = session_cookie(connection, https=https)
    return None if cookie is None else Credential(CredentialKind.COOKIE, _checked(cookie))


def _read_query(connection: HTTPConnection) -> Credential | None:
    raw: bytes = connection.scope.get("query_string", b"")
    if not raw:
        return None
    query = raw.decode("latin-1")
    if "al-" in (plain := unquote_plus(unquote_plus(query))) and _TOKEN.search(plain):
        raise BadParameterError(
            "Never put a token into an address, where logs and other sites see it; send it in the "
            "header Authorization. Revoke this one, and use signed links for clients that cannot "
            "log in."
        )
    prefix = f"{LINK_PARAMETER}="
    parts = query.split("&")
    found = [part.removeprefix(prefix) for part in parts if part.startswith(prefix)]
    if not found:
        return None
    if len(found) > 1:
        raise UnauthenticatedError(f"Give the parameter {LINK_PARAMETER} once.")
    rest = "&".join(part for part in parts if not part.startswith(prefix))
    path = (connection.scope.get("raw_path") or connection.scope["path"].encode()).decode("latin-1")
    return Credential(
        CredentialKind.LINK, found[0], address=path.partition("?")[0] + (f"?{rest}" if rest else "")
    )


def _read_tree(connection: HTTPConnection) -> Credential | None:
    """Return the credential of a route ``{place}/~{signed_tree}/{name}...``."""
    found: str | None = connection.scope.get("path_params", {}).get(TREE_PARAMETER)
    if found is None:
        return None
    place, _, rest = connection.scope["path"].partition(f"/{TREE_MARK}{found}/")
    name = quote(rest.partition("/")[0], safe="")
    return Credential(CredentialKind.TREE, found, address=f"{place}/{name}")


def _read_authorization(header: str) -> str:
    scheme, _, value = header.strip().partition(" ")
    if scheme.lower() == "bearer":
        return _checked(value)
    if scheme.lower() == "basic":
        return _read_basic(value.strip())
    raise UnauthenticatedError(
        "The Authorization header is to be Bearer with a token, or Basic with a token as user or "
        "password."
    )


def _read_basic(value: str) -> str:
    try:
        pair = base64.b64decode(value[:_LONGEST], validate=True).decode()
    except (binascii.Error, ValueError) as exc:
        raise UnauthenticatedError("The Basic credentials cannot be read.") from exc
    user, _, password = pair.partition(":")
    tokens = {part for part in (user, password) if _TOKEN.fullmatch(part)}
    if not tokens:
        raise UnauthenticatedError(
            "Basic takes a token as user or as password (the other may be anything), never the "
            "password of an account; make a token on the page /account."
        )
    if len(tokens) > 1:
        raise UnauthenticatedError("Basic came with two different tokens; send one.")
    return tokens.pop()


def _checked(value: str) -> str:
    text = value.strip()
    if not _TOKEN.fullmatch(text):
        raise UnauthenticatedError("This is no token of this platform; tokens begin with al-.")
    return text
