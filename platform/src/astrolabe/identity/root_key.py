"""The one secret of a platform that it keeps itself, and what is derived from it.

On a laptop it is a file of the home (``secrets/root.key``, mode 0600), made at the first start.
Gateways on several machines share no home: there the setting ``auth.secret_key`` gives it.
Nothing is ever encrypted or signed with the root key itself, only with keys derived from it for
one purpose each (RFC 5869), so that what was made for one purpose is worth nothing for another.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from astrolabe.core.errors import BadParameterError, InternalError

__all__ = ["LEAST_SECRET_CHARACTERS", "RootKey", "SealError"]

LEAST_SECRET_CHARACTERS: Final = 32
"""Shortest secret that settings may give: as `openssl rand -hex 16` makes it."""

_FILE: Final = "root.key"
_BYTES: Final = 32
_SALT: Final = b"astrolabe root key 1"
_HEADER: Final = {"alg": "dir", "enc": "A256GCM"}
_ALGORITHMS: Final = ("dir", "A256GCM")


class SealError(Exception):
    """A sealed text is not ours, was made for something else, or is too old."""


class RootKey:
    """Derives keys, and seals small documents that a browser keeps for us.

    Parameters
    ----------
    secret
        At least 32 bytes that nobody can guess.
    """

    def __init__(self, secret: bytes) -> None:
        if len(secret) < _BYTES:
            raise InternalError(f"A root key has at least {_BYTES} bytes.")
        # HKDF-Extract (RFC 5869, section 2.2).
        self._pseudo_random_key = hmac.digest(_SALT, secret, hashlib.sha256)

    @classmethod
    def open(cls, folder: Path, *, configured: str | None) -> RootKey:
        """Take the key from the settings, else from its file, which is made if it is missing.

        Parameters
        ----------
        folder
            The home's folder for secrets.
        configured
            The setting ``auth.secret_key``.

        Raises
        ------
        BadParameterError
            Raised if the configured key is shorter than 32 characters, or the file is damaged.
        """
        if configured is not None:
            if len(configured) < LEAST_SECRET_CHARACTERS:
                raise BadParameterError(
                    f"auth.secret_key has {len(configured)} characters; at least "
                    f"{LEAST_SECRET_CHARACTERS} are needed, such as `openssl rand -hex 32` prints."
                )
            return cls(configured.encode())
        path = folder / _FILE
        secret = _read_or_make(path)
        if len(secret) != _BYTES:
            raise BadParameterError(
                f"{path} is damaged: it has {len(secret)} bytes instead of {_BYTES}. Restore it "
                "from a backup, or remove it to have a new one made."
            )
        return cls(secret)

    def derive(self, purpose: str) -> bytes:
        """Return the key for one purpose: 32 bytes, the same in every process.

        Parameters
        ----------
        purpose
            Its name, such as ``signed-link``.
        """
        # HKDF-Expand (RFC 5869, section 2.3): one block of SHA-256 is all that is wanted.
        return hmac.digest(self._pseudo_random_key, purpose.encode() + b"\x01", hashlib.sha256)

    def seal(self, purpose: str, document: Mapping[str, Any], *, seconds: float) -> str:
        """Encrypt and authenticate a JSON document that comes back from where it is not safe.

        Parameters
        ----------
        purpose
            What it is for; `unseal` must name the same.
        document
            JSON values.
        seconds
            How long it can be unsealed.
        """
        sealed = {"until": time.time() + seconds, "document": dict(document)}
        key = OctKey.import_key(self.derive(purpose))
        return jwe.encrypt_compact(
            dict(_HEADER), json.dumps(sealed).encode(), key, algorithms=_ALGORITHMS
        )

    def unseal(self, purpose: str, text: str) -> dict[str, Any]:
        """Return what `seal` was given.

        Raises
        ------
        SealError
            Raised if `text` is not ours, for another purpose, or too old.
        """
        key = OctKey.import_key(self.derive(purpose))
        try:
            content = jwe.decrypt_compact(text, key, algorithms=_ALGORITHMS).plaintext
            sealed = json.loads(content or b"")
        except (JoseError, ValueError, TypeError) as exc:
            raise SealError("not sealed by this platform for this purpose") from exc
        if sealed["until"] < time.time():
            raise SealError("too old")
        document: dict[str, Any] = sealed["document"]
        return document


def _read_or_make(path: Path) -> bytes:
    with contextlib.suppress(FileNotFoundError):
        return path.read_bytes()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{_FILE}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(_BYTES))
            file.flush()
            os.fsync(file.fileno())
        # Of several processes that start at once the first wins; a link appears whole or not.
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    return path.read_bytes()
