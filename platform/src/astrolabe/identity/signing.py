"""Signatures that only the platform can make, and checks again in whichever process."""

from __future__ import annotations

import hashlib
import hmac

from astrolabe.core.errors import InternalError

__all__ = ["Signer"]

_KEY_BYTES = 32


class Signer:
    """Signs texts with HMAC-SHA-256.

    Parameters
    ----------
    key
        At least 32 secret bytes that are used for nothing else.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < _KEY_BYTES:
            raise InternalError(f"A signing key has at least {_KEY_BYTES} bytes, not {len(key)}.")
        self._key = key

    def sign(self, text: str) -> str:
        """Return the signature of `text`: 64 hexadecimal digits."""
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()

    def is_signature(self, signature: str, text: str) -> bool:
        """Whether `signature` is that of `text`; takes the same time wherever they differ."""
        return hmac.compare_digest(self.sign(text).encode(), signature.encode("utf-8", "replace"))
