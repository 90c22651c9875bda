"""Who the caller is."""

from astrolabe.identity.principal import ANONYMOUS, Principal

__all__ = ["ANONYMOUS", "Principal"]
