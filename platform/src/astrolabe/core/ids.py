"""Identifiers that cannot be guessed."""

from __future__ import annotations

import secrets

__all__ = ["new_job_id", "new_request_id"]


def new_job_id() -> str:
    """Return a fresh job id: 128 random bits as 26 lower-case base-32 characters."""
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    value = secrets.randbits(128)
    return "".join(alphabet[(value >> shift) & 31] for shift in range(0, 130, 5))


def new_request_id() -> str:
    """Return a fresh request id for logs: 64 random bits in hexadecimal."""
    return secrets.token_hex(8)
