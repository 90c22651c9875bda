"""Signed links: addresses that a client without a login may read (DS9, Aladin).

A link is good for one resource (path and query, exactly), to read it, for an hour at most, and
only as long as the token lives that it was made with.  It is the only credential that may stand
in an address; nothing is stored of it.

A tree of files (a HiPS) is one resource to its clients, too: its link has the credential as a
segment of the path, ``{place}/~{credential}/{tree}``, below which they find the files.  Both kinds
are signed differently, so that neither is good in the place of the other.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote, urlsplit

from astrolabe.core.clock import utc_now
from astrolabe.core.errors import BadParameterError, ForbiddenError, UnauthenticatedError
from astrolabe.identity.principal import Principal
from astrolabe.identity.signing import Signer

__all__ = [
    "LINK_KIND",
    "LINK_PARAMETER",
    "LINK_SCOPES",
    "TREE_MARK",
    "SignedLink",
    "SignedLinks",
]

LINK_PARAMETER = "signed"
"""Name of the parameter that makes an address a signed link."""

TREE_MARK = "~"
"""Stands before the credential in the path of a signed tree; no tree's name begins with it."""

LINK_KIND = "link"
"""What `Principal.kind` says of who came by a signed link."""

LINK_SCOPES = frozenset({"read:tap", "read:image", "read:alert", "read:workspace"})
"""The scopes that a signed link can carry: reading, and nothing that concerns the account."""

_LIFETIME = timedelta(hours=1)
_CREDENTIAL = re.compile(r"([A-Za-z0-9_-]{22})\.([0-9]{1,12})\.([0-9a-f]{64})\Z")
_PLACES = ("/api/", "/dav/")
_LONGEST = 4000


@dataclass(frozen=True, slots=True)
class SignedLink:
    """A link that was made.

    Parameters
    ----------
    address
        Path and query, to be put behind the platform's public address.
    expires
        When it ends at the latest (UTC).
    """

    address: str
    expires: datetime


class SignedLinks:
    """Makes and checks signed links.

    Parameters
    ----------
    signer
        Signs nothing but links.
    clock
        Gives the present time (UTC).
    """

    def __init__(self, signer: Signer, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._signer = signer
        self._clock = clock

    def sign(
        self, principal: Principal, address: str, *, lifetime: timedelta = _LIFETIME
    ) -> SignedLink:
        """Return a link to `address` with which its bearer reads as `principal`.

        Parameters
        ----------
        principal
            Whose link it will be; it dies with the token that he came with.
        address
            Path and query of one resource, below ``/api/`` or ``/dav/``.
        lifetime
            How long it is good; an hour at most.

        Raises
        ------
        BadParameterError
            Raised if `address` is no path of a resource here, or the lifetime is over the limit.
        ForbiddenError
            Raised if `principal` is anonymous or came by a signed link.
        """
        _check_address(address)
        credential, expires = self._credential(principal, address, lifetime, _text)
        joint = "&" if "?" in address else "?"
        return SignedLink(f"{address}{joint}{LINK_PARAMETER}={credential}", expires)

    def sign_tree(
        self, principal: Principal, address: str, *, lifetime: timedelta = _LIFETIME
    ) -> SignedLink:
        """Return a link below which the files of a tree are read as `principal`.

        Parameters
        ----------
        principal, lifetime
            As for `sign`.
        address
            Path of the tree, without a slash at its end.

        Raises
        ------
        BadParameterError, ForbiddenError
            Raised as by `sign`.
        """
        _check_address(address)
        place, _, name = address.rpartition("/")
        if "?" in address or not name:
            raise BadParameterError(f"{address[:200]!r} is not the path of a tree.")
        credential, expires = self._credential(principal, address, lifetime, _tree_text)
        return SignedLink(f"{place}/{TREE_MARK}{credential}/{name}", expires)

    def token_key(self, credential: str, address: str) -> str:
        """Return the key of the token behind a link; whether that token lives is not known here.

        Parameters
        ----------
        credential
            Value of the link's parameter.
        address
            Path and query as they came, without that parameter.

        Raises
        ------
        UnauthenticatedError
            Raised if the link was not made here, was made for another resource, or is too old.
        """
        return self._key(credential, address, _text)

    def tree_token_key(self, credential: str, address: str) -> str:
        """Return the key of the token behind the link of a tree, as `token_key` does.

        Parameters
        ----------
        credential
            What stands in the path behind `TREE_MARK`.
        address
            Path of the tree without it.

        Raises
        ------
        UnauthenticatedError
            Raised as by `token_key`.
        """
        return self._key(credential, address, _tree_text)

    def _credential(
        self,
        principal: Principal,
        address: str,
        lifetime: timedelta,
        text: Callable[[str, int, str], str],
    ) -> tuple[str, datetime]:
        if principal.token_key is None or principal.kind == LINK_KIND:
            raise ForbiddenError("A signed link is made with a token or a login, not with a link.")
        if not timedelta(0) < lifetime <= _LIFETIME:
            raise BadParameterError("A signed link is good for a second to an hour.")
        seconds = int((self._clock() + lifetime).timestamp())
        signature = self._signer.sign(text(principal.token_key, seconds, address))
        expires = datetime.fromtimestamp(seconds, UTC)
        return f"{principal.token_key}.{seconds}.{signature}", expires

    def _key(self, credential: str, address: str, text: Callable[[str, int, str], str]) -> str:
        found = _CREDENTIAL.match(credential)
        if found is None:
            raise UnauthenticatedError("This signed link is broken; ask for a new one.")
        key, seconds, signature = found[1], int(found[2]), found[3]
        if not self._signer.is_signature(signature, text(key, seconds, address)):
            raise UnauthenticatedError(
                "This signed link is not good for this address; it is for one resource, exactly."
            )
        if self._clock().timestamp() >= seconds:
            raise UnauthenticatedError("This signed link has ended; ask for a new one.")
        return key


def _text(key: str, seconds: int, address: str) -> str:
    return f"GET\n{key}\n{seconds}\n{address}"


def _tree_text(key: str, seconds: int, address: str) -> str:
    return f"TREE\n{key}\n{seconds}\n{address}"


def _check_address(address: str) -> None:
    parts = urlsplit(address)
    path = unquote(parts.path)
    is_plain = (
        len(address) <= _LONGEST
        and address.isascii()
        and not parts.scheme
        and not parts.netloc
        and not parts.fragment
        and path.startswith(_PLACES)
        and all(part not in {".", ".."} for part in path.split("/"))
        and all(char > " " and char not in "\\#\x7f" for char in address)
    )
    if not is_plain:
        raise BadParameterError(
            "A signed link is made for the path and query of a resource of this platform, such as "
            f"/api/cutout/sync?ID=..., not for {address[:200]!r}."
        )
    if any(part.partition("=")[0] == LINK_PARAMETER for part in parts.query.split("&")):
        raise BadParameterError("This address is a signed link already.")
