"""The text of a token: ``al-<key>.<secret>``.

The key is public: it stands in logs, lists and addresses.  Of the secret only a SHA-256 is kept,
which is right for 128 random bits: there is nothing to guess that a slow hash would protect.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from typing import Final

__all__ = ["TokenText", "hash_secret", "is_token_key", "new_secret", "same_hash"]

_PART: Final = r"[A-Za-z0-9_-]{22}"
_TOKEN: Final = re.compile(rf"al-({_PART})\.({_PART})")
_KEY: Final = re.compile(_PART)


def new_secret() -> str:
    """Return 128 random bits as 22 URL-safe characters."""
    return secrets.token_urlsafe(16)


def hash_secret(secret: str) -> str:
    """Return what is stored of a secret: its SHA-256 in hexadecimal."""
    return hashlib.sha256(secret.encode("utf-8")).hexdigest()


def same_hash(one: str, other: str) -> bool:
    """Compare two hashes in a time that does not tell where they differ."""
    return hmac.compare_digest(one, other)


def is_token_key(text: str) -> bool:
    """Whether `text` has the form of a token's key."""
    return _KEY.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class TokenText:
    """A token as a client sends it.

    Parameters
    ----------
    key
        The public half, 22 URL-safe characters.
    secret
        The other half, never shown again.
    """

    key: str
    secret: str = field(repr=False)

    @classmethod
    def new(cls) -> TokenText:
        """Make a token that nobody can guess."""
        key = new_secret()
        while key.startswith("-"):
            # Commands would take it for an option.
            key = new_secret()
        return cls(key, new_secret())

    @classmethod
    def parse(cls, text: str) -> TokenText | None:
        """Read a token; `None` if `text` has not its form."""
        match = _TOKEN.fullmatch(text)
        return None if match is None else cls(match[1], match[2])

    @property
    def text(self) -> str:
        """The whole token."""
        return f"al-{self.key}.{self.secret}"
