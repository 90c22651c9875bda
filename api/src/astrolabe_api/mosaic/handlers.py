"""The addresses of mosaics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from astrolabe.catalogs.cancel import QueryCancel
from astrolabe.identity import Principal
from astrolabe.images.mosaics.request import read_mosaic_request
from astrolabe.images.mosaics.runner import MOSAIC_JOB
from astrolabe_api.common.auth import Caller, requires
from astrolabe_api.common.hiding import hiding
from astrolabe_api.common.params import read_parameters
from astrolabe_api.common.requests import notes_of
from astrolabe_api.common.state import ApiState, State
from astrolabe_api.common.uws import FileJobs, uws_router

__all__ = ["MOSAIC_PATH", "mosaic_routers"]

MOSAIC_PATH: Final = "/api/mosaic"


class MosaicEstimate(BaseModel):
    """What a mosaic will be made of, and what it will cost."""

    images: int = Field(description="Images that are combined.")
    images_not_readable: int = Field(
        description="Images of the region that the caller may see but not read; left out."
    )
    width: int = Field(description="Columns of the mosaic.")
    height: int = Field(description="Rows of the mosaic.")
    pixels: int = Field(description="Pixels of the mosaic.")
    resampled_pixels: int = Field(description="Pixels to resample, over all images.")
    read_bytes: int = Field(description="Bytes of files to read, about.")
    result_bytes: int = Field(description="Size of the result, about.")
    estimated_seconds: float = Field(description="Time to make it once it runs, about (s).")
    combine: str = Field(description="How values are combined.")
    unit: str = Field(description="Unit of the mosaic's pixels; empty if it has none.")
    zero_point: float | None = Field(
        description="Magnitude of one unit of a pixel; null if that is not known."
    )


def mosaic_routers() -> tuple[APIRouter, ...]:
    """Return the routers of the whole service."""
    read = requires("read:image", service="images")
    router = APIRouter(prefix=MOSAIC_PATH, tags=["mosaic"], dependencies=[read])
    for method in ("GET", "POST"):
        router.add_api_route(
            "/estimate",
            _estimate,
            methods=[method],
            summary="Say what a mosaic would cost, without making it",
            response_model=MosaicEstimate,
            name=f"mosaic_estimate_{method.lower()}",
        )
    # Before the jobs, whose ids would take any name.
    return router, uws_router(FileJobs(MOSAIC_JOB, MOSAIC_PATH), access=read)


async def _estimate(request: Request, state: State, caller: Caller) -> MosaicEstimate:
    given = await read_parameters(request, limits=state.form_limits)
    address = notes_of(request).address
    return await run_in_threadpool(_planned, state, caller, given.pairs(), address)


def _planned(
    state: ApiState, caller: Principal, pairs: Sequence[tuple[str, str]], address: str | None
) -> MosaicEstimate:
    asked = read_mosaic_request(pairs, authority=state.settings.server.authority)
    cancel = QueryCancel(seconds=state.settings.images.sync_seconds)
    with hiding(state, caller, images=True):
        plan = state.context.mosaics.plan(asked, caller, cancel=cancel, address=address)
    seconds = state.context.job_quotes.seconds(MOSAIC_JOB, plan.seconds)
    return MosaicEstimate.model_validate(
        {**plan.estimate(), "estimated_seconds": round(seconds, 1)}
    )
