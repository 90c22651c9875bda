"""On whose account cutouts are made, and how much more may be cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from astrolabe.catalogs.engine import CancelToken
from astrolabe.core.errors import TooLargeError
from astrolabe.identity import Principal
from astrolabe.identity.quotas import Quotas

__all__ = ["Budget", "Cutting"]

_MILLION: Final = 1_000_000


class Budget:
    """The pixels that one request may still cut.

    Parameters
    ----------
    mpix
        All of them (million).
    setting
        Name of the setting that says so.
    advice
        What else the caller can do: a sentence.
    """

    def __init__(self, mpix: float, *, setting: str, advice: str) -> None:
        self._mpix = mpix
        self._setting = setting
        self._advice = advice
        self.left = int(mpix * _MILLION)

    def take(self, pixels: int) -> None:
        """Count pixels that are about to be cut.

        Raises
        ------
        TooLargeError
            Raised if they are more than are left; nothing was counted.
        """
        if pixels > self.left:
            raise TooLargeError(
                f"That would be more than {self._mpix:g} million pixels, the limit (setting "
                f"images.{self._setting}): {pixels / _MILLION:.6g} million are asked for where "
                f"{self.left / _MILLION:.6g} million are left. {self._advice}"
            )
        self.left -= pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutting:
    """One request on its way.

    Parameters
    ----------
    principal, address
        Who asks, and from where.
    cancel
        Tells whether he still waits.
    budget
        The pixels that it may cut.
    quotas
        Count the bytes that are read on his account.
    """

    principal: Principal
    address: str | None
    cancel: CancelToken
    budget: Budget
    quotas: Quotas

    def begin(self, pixels: int, size_bytes: int) -> None:
        """Admit a cutout before any of its pixels is read.

        Raises
        ------
        TooLargeError, QuotaExceededError
            Raised if it is more than the request or its caller may have.
        CancelledError, QueryTimeoutError
            Raised if nobody waits any more.
        """
        self.cancel.raise_if_set()
        self.budget.take(pixels)
        self.charge(size_bytes)

    def charge(self, size_bytes: int) -> None:
        """Count bytes on the caller's account.

        Raises
        ------
        QuotaExceededError
            Raised if they are more than is left for today.
        """
        self.quotas.charge_bytes(self.principal, size_bytes, address=self.address)
