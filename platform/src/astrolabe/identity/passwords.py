"""Passwords: Argon2id (RFC 9106), and what a password must be like."""

from __future__ import annotations

import threading
import unicodedata
from typing import Final

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from astrolabe.core.errors import BadParameterError
from astrolabe.identity.token_text import new_secret

__all__ = ["Passwords"]

_LONGEST: Final = 1024
_AT_ONCE: Final = 2


class Passwords:
    """Hashes and checks passwords.

    Parameters
    ----------
    memory_mb, passes, lanes
        Cost of one hash: Argon2's memory (MiB), time and parallelism.
    shortest
        Fewest characters of a password.
    """

    def __init__(self, *, memory_mb: float, passes: int, lanes: int, shortest: int) -> None:
        self._hasher = PasswordHasher(
            time_cost=passes,
            memory_cost=max(8 * lanes, int(memory_mb * 1024)),
            parallelism=lanes,
            type=Type.ID,
        )
        self._shortest = shortest
        # Many logins at once must not take all memory.
        self._gate = threading.BoundedSemaphore(_AT_ONCE)
        self._lock = threading.Lock()
        self._nobody: str | None = None

    def check_form(self, password: str, *, username: str) -> None:
        """Check that a new password is fit for use.

        Raises
        ------
        BadParameterError
            Raised if it is too short, too long, or made of the user's name.
        """
        if not self._shortest <= len(password) <= _LONGEST:
            raise BadParameterError(
                f"A password has {self._shortest} to {_LONGEST} characters; "
                "a sentence of some words is a good one."
            )
        if len(set(password)) < 4 or password.lower().replace(username, "").strip() == "":
            raise BadParameterError("This password is too easy to guess; choose another one.")

    def hash(self, password: str) -> str:
        """Return what is stored of a password."""
        with self._gate:
            return self._hasher.hash(_normal(password))

    def verify(self, password: str, stored: str | None) -> bool:
        """Whether `password` is the one that `stored` was made of.

        Without a stored hash (there is no such user, or he has no password) it is `False`, after
        the same time.
        """
        if len(password) > _LONGEST:
            return False
        # Asked for in both cases: the first use in a process has to make it.
        nobody = self._hash_of_nobody()
        wanted = nobody if stored is None else stored
        try:
            with self._gate:
                self._hasher.verify(wanted, _normal(password))
        except (VerificationError, InvalidHashError):
            return False
        return stored is not None

    def is_outdated(self, stored: str) -> bool:
        """Whether `stored` was made at another cost than the present settings'."""
        return self._hasher.check_needs_rehash(stored)

    def _hash_of_nobody(self) -> str:
        with self._lock:
            if self._nobody is None:
                self._nobody = self.hash(new_secret())
            return self._nobody


def _normal(password: str) -> str:
    # Keyboards differ in how they write one character (RFC 8265, section 4.2.1 normalises too).
    return unicodedata.normalize("NFKC", password)
