"""The application: all services in one process, or a chosen few."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from fastapi import APIRouter, FastAPI
from starlette.concurrency import run_in_threadpool

from astrolabe.config import Settings, load_settings
from astrolabe.core.errors import BadParameterError
from astrolabe.core.version import SERVER_SOFTWARE, VERSION
from astrolabe.factory import ProcessContext
from astrolabe_api.admin.handlers import admin_routers
from astrolabe_api.common.challenges import LOGIN_PATH, LOGOUT_PATH, Challenges
from astrolabe_api.common.errors import ErrorForm, declare_error_form, install_error_handlers
from astrolabe_api.common.middleware import add_middleware
from astrolabe_api.common.state import ApiState, public_base
from astrolabe_api.datalink.handlers import DATALINK_PATH, datalink_routers
from astrolabe_api.gateway.forms import PAGE_PATHS
from astrolabe_api.gateway.gms import GMS_PATH
from astrolabe_api.gateway.handlers import gateway_routers
from astrolabe_api.hips.handlers import hips_routers
from astrolabe_api.hips.viewer import SKY_PATH
from astrolabe_api.images.handlers import images_routers
from astrolabe_api.mosaic.handlers import mosaic_routers
from astrolabe_api.scs.handlers import SCS_PATH, scs_routers
from astrolabe_api.sia.handlers import SIA_PATH, sia_routers
from astrolabe_api.soda.handlers import CUTOUT_PATH, soda_routers
from astrolabe_api.tap.capabilities import TAP_PATH
from astrolabe_api.tap.handlers import tap_routers

__all__ = ["SERVICES", "create_app"]

SERVICES: dict[str, Callable[[], tuple[APIRouter, ...]]] = {
    "tap": tap_routers,
    "scs": scs_routers,
    "sia": sia_routers,
    "soda": soda_routers,
    "datalink": datalink_routers,
    "images": images_routers,
    "mosaic": mosaic_routers,
    "hips": hips_routers,
    "gateway": gateway_routers,
    "admin": admin_routers,
}
"""Every service by its name, and what makes its routers; the ones asked most come first."""

_ERROR_FORMS = {
    **dict.fromkeys((*PAGE_PATHS, SKY_PATH), ErrorForm.PAGE),
    CUTOUT_PATH: ErrorForm.SODA,
    DATALINK_PATH: ErrorForm.FAULT,
    GMS_PATH: ErrorForm.TEXT,
    LOGIN_PATH: ErrorForm.TEXT,
    LOGOUT_PATH: ErrorForm.TEXT,
    SCS_PATH: ErrorForm.CONE,
    SIA_PATH: ErrorForm.FAULT,
    TAP_PATH: ErrorForm.VOTABLE,
}


def create_app(
    settings: Settings | None = None,
    *,
    services: Iterable[str] | None = None,
    open_context: Callable[[Settings], ProcessContext] = ProcessContext.open,
) -> FastAPI:
    """Make the application; it opens what it needs when the server starts it.

    Parameters
    ----------
    settings
        The settings; without them they are read from the environment, the file that
        ``ASTROLABE_CONFIG_FILE`` names, and the home folder.
    services
        Names in `SERVICES`; all by default.
    open_context
        Opens the domain's services.

    Raises
    ------
    BadParameterError
        Raised if a service is unknown or the settings are wrong.
    """
    known = _settings_of_environment() if settings is None else settings
    app = FastAPI(
        title=known.server.title,
        version=VERSION,
        lifespan=partial(_lifespan, settings=known, open_context=open_context),
        # The pages of the library load scripts from other hosts; ours load nothing.
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        # A redirect would be made of the Host header.
        redirect_slashes=False,
    )
    for name in SERVICES if services is None else services:
        if name not in SERVICES:
            raise BadParameterError(
                f"There is no service {name!r}; there are {', '.join(SERVICES)}."
            )
        for router in SERVICES[name]():
            app.include_router(router)
    for prefix, form in _ERROR_FORMS.items():
        declare_error_form(app, prefix, form)
    install_error_handlers(
        app,
        docs_url=f"{public_base(known)}/docs/reference/errors.html",
        challenges=Challenges(public_base(known)),
    )
    add_middleware(
        app,
        software=SERVER_SOFTWARE,
        max_bytes=known.limits.request_mb * 1_000_000,
        cors_origins=known.server.cors_origins,
        trusted_proxies=known.server.trusted_proxies,
    )
    return app


@asynccontextmanager
async def _lifespan(
    app: FastAPI, *, settings: Settings, open_context: Callable[[Settings], ProcessContext]
) -> AsyncIterator[None]:
    context = await run_in_threadpool(open_context, settings)
    try:
        state = await run_in_threadpool(ApiState.open, context)
        app.state.api = state
        try:
            yield
        finally:
            await run_in_threadpool(state.close)
    finally:
        await run_in_threadpool(context.close)


def _settings_of_environment() -> Settings:
    named = os.environ.get("ASTROLABE_CONFIG_FILE")
    return load_settings(config_file=Path(named) if named else None)
