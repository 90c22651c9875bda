"""Who asks: the one place where a request's credentials become a principal."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from astrolabe.identity import ANONYMOUS, Principal

__all__ = ["Caller", "authenticate"]


async def authenticate(_request: Request) -> Principal:
    """Return the caller; until the platform has accounts, everybody is anonymous."""
    return ANONYMOUS


Caller = Annotated[Principal, Depends(authenticate)]
"""Declare a handler's parameter with this type to get the caller."""
