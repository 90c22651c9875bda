"""What the handlers of one process share: the domain's process context and the thread pools."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from astrolabe.catalogs.uploads import UploadStore
from astrolabe.config import Settings
from astrolabe.core.clock import utc_now
from astrolabe.factory import ProcessContext
from astrolabe.identity import Principal
from astrolabe.identity.signing import Signer
from astrolabe_api.common.admission import QueryGate, SlotWaiters
from astrolabe_api.common.csrf import CsrfTokens
from astrolabe_api.common.multipart import MultipartLimits
from astrolabe_api.common.pools import WorkPool

__all__ = ["ApiState", "State", "public_base", "state_of", "takes_anonymous"]

_METADATA_THREADS = 2
_RESULT_THREADS = 2
_WAITING_METADATA = 2000
_BYTES_PER_CHARACTER = 4


@dataclass(frozen=True, kw_only=True)
class ApiState:
    """Opened with the application, closed with it.

    Parameters
    ----------
    context
        The domain's services.
    metadata_pool
        Checks every query and runs those that read only TAP_SCHEMA: never behind science queries.
    query_pool
        Runs science queries.
    image_pool
        Cuts images: never behind science queries, which may take long.
    result_pool
        Renders stored results.
    waiters
        Queries that wait for others of their callers to end.
    csrf
        The tokens of our own pages' forms.
    started
        When this process began to serve.
    """

    context: ProcessContext
    metadata_pool: WorkPool
    query_pool: WorkPool
    image_pool: WorkPool
    result_pool: WorkPool
    waiters: SlotWaiters
    csrf: CsrfTokens
    started: datetime

    @classmethod
    def open(cls, context: ProcessContext) -> ApiState:
        """Start the pools that the settings ask for."""
        settings = context.settings
        # Each is made at its first use, which must not happen in two threads at once.
        _ = (context.queries, context.jobs, context.upload_resolver)
        _ = (context.readable, context.quotas, context.soda)
        _ = (context.openid_login, context.openid_provider)
        return cls(
            context=context,
            metadata_pool=WorkPool(
                "metadata", threads=_METADATA_THREADS, waiting=_WAITING_METADATA
            ),
            query_pool=WorkPool(
                "query",
                threads=settings.engine_workers,
                waiting=settings.limits.waiting_queries,
            ),
            image_pool=WorkPool(
                "image",
                threads=settings.engine_workers,
                waiting=settings.limits.waiting_queries,
            ),
            result_pool=WorkPool(
                "result", threads=_RESULT_THREADS, waiting=settings.limits.waiting_queries
            ),
            waiters=SlotWaiters(),
            csrf=CsrfTokens(Signer(context.root_key.derive("csrf"))),
            started=utc_now(),
        )

    def close(self) -> None:
        """End the pools; what runs in them has been aborted by then."""
        self.waiters.close()
        for pool in (self.query_pool, self.image_pool, self.result_pool, self.metadata_pool):
            pool.close()

    @property
    def settings(self) -> Settings:
        """The settings of this process."""
        return self.context.settings

    @property
    def uploads(self) -> UploadStore:
        """Where uploaded files are kept."""
        return self.context.uploads

    @property
    def form_limits(self) -> MultipartLimits:
        """What the body of one request may hold."""
        return MultipartLimits(
            field_bytes=_BYTES_PER_CHARACTER * self.settings.limits.query_characters + (1 << 20),
            file_bytes=self.settings.tap.upload_mb * 1_000_000,
        )

    def gate(
        self, principal: Principal, address: str | None, *, pool: WorkPool | None = None
    ) -> QueryGate:
        """Return the way of one query of a caller to a pool, by default that of queries."""
        return QueryGate(
            quotas=self.context.quotas,
            waiters=self.waiters,
            pool=pool or self.query_pool,
            principal=principal,
            address=address,
        )

    def url(self, path: str) -> str:
        """Return the absolute address of `path`, which begins with a slash."""
        return public_base(self.settings) + path


def public_base(settings: Settings) -> str:
    """Return the platform's public address without a slash at its end."""
    return str(settings.server.public_url).rstrip("/")


def takes_anonymous(settings: Settings, service: str) -> bool:
    """Whether `service` may be used without a login."""
    allowed = settings.auth.anonymous
    return "*" in allowed or service in allowed


def state_of(connection: HTTPConnection) -> ApiState:
    """Return the state of the application that serves `connection`."""
    state = connection.app.state.api
    if not isinstance(state, ApiState):
        raise TypeError("the application was not opened by its lifespan")
    return state


async def _state(connection: HTTPConnection) -> ApiState:
    return state_of(connection)


State = Annotated[ApiState, Depends(_state)]
"""Declare a handler's parameter with this type to get the shared state."""
