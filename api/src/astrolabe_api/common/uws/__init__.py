"""The Universal Worker Service pattern (UWS 1.1), for every service that has jobs."""

from astrolabe_api.common.uws.router import UwsKind, uws_router

__all__ = ["UwsKind", "uws_router"]
