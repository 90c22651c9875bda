"""Under which name a caller's use is counted."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from astrolabe.identity.principal import Principal

__all__ = ["is_interactive", "subject_of"]


def is_interactive(principal: Principal) -> bool:
    """Whether a request comes from the portal: it has a share of its own beside programs."""
    return principal.kind == "session"


def subject_of(principal: Principal, address: str | None) -> str | None:
    """Return under which name a caller's use is counted, `None` if it is not."""
    if principal.username is not None:
        return f"user:{principal.username}"
    return None if address is None else f"address:{_network(address)}"


@lru_cache(maxsize=4096)
def _network(address: str) -> str:
    """Return an IPv4 address, or the network of 64 bits that an IPv6 address belongs to."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
