"""The Universal Worker Service pattern (UWS 1.1), for every service that has jobs."""

from astrolabe_api.common.uws.file_jobs import FileJobs
from astrolabe_api.common.uws.router import UwsKind, uws_router

__all__ = ["FileJobs", "UwsKind", "uws_router"]
