"""Clients of the OpenID Connect provider: ``/api/admin/clients``."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Self

from fastapi import APIRouter
from pydantic import BaseModel, Field

from astrolabe.core.errors import NotFoundError
from astrolabe.identity.openid.clients import Client, Consent, NewClient
from astrolabe.identity.openid.keys import Algorithm
from astrolabe_api.admin.common import ADMIN_PATH, Cursor, Limit
from astrolabe_api.common.auth import Caller, ClientAddress, administers
from astrolabe_api.common.people import Sent
from astrolabe_api.common.state import State

__all__ = ["router"]

_MANAGE = administers("admin:platform")

router = APIRouter(prefix=ADMIN_PATH, tags=["administration"], dependencies=[_MANAGE])


class ClientEntry(BaseModel):
    """A client."""

    client_id: str
    name: str = Field(description="How users know it.")
    redirect_uris: list[str] = Field(description="Addresses to which people may be sent back.")
    scopes: list[str] = Field(description="Scopes that its access tokens may hold.")
    consent: Consent = Field(description="Whether users are asked: implicit, remember or always.")
    algorithm: Algorithm = Field(description="How its ID tokens are signed.")
    pkce_required: bool
    public: bool = Field(description="Whether it has no secret.")
    from_settings: bool = Field(description="Whether it is changed in the settings only.")
    created: datetime | None
    created_by: str | None

    @classmethod
    def of(cls, client: Client) -> Self:
        """Return `client` as it is sent."""
        return cls(
            client_id=client.client_id,
            name=client.name,
            redirect_uris=list(client.redirect_uris),
            scopes=sorted(client.scopes),
            consent=client.consent,
            algorithm=client.algorithm,
            pkce_required=client.pkce_required,
            public=client.is_public,
            from_settings=client.from_settings,
            created=client.created,
            created_by=client.created_by,
        )


class ClientList(BaseModel):
    """A page of clients in the order of their ids."""

    clients: list[ClientEntry]
    next_cursor: str | None = Field(description="Send as `cursor` for the next page.")


class ClientRequest(Sent):
    """A client to be registered."""

    client_id: str
    name: str
    redirect_uris: list[str] = Field(max_length=20)
    scopes: list[str] = Field([], max_length=20)
    consent: Consent = Consent.REMEMBER
    algorithm: Algorithm = "RS256"
    pkce_required: bool = True
    public: bool = Field(False, description="A program on users' machines, which keeps no secret.")


class NewClientEntry(BaseModel):
    """A client with its new secret."""

    client_secret: str | None = Field(description="Shown once; null for a public client.")
    client: ClientEntry

    @classmethod
    def of(cls, made: NewClient) -> Self:
        """Return `made` as it is sent."""
        return cls(client_secret=made.secret, client=ClientEntry.of(made.client))


@router.get("/clients", summary="Clients of the OpenID Connect provider")
def list_clients(
    state: State, caller: Caller, limit: Limit = 100, cursor: Cursor = None
) -> ClientList:
    """List the clients of the settings and those that were registered here."""
    page = state.context.openid_provider.clients.page(caller, limit=limit, cursor=cursor)
    return ClientList(
        clients=[ClientEntry.of(client) for client in page.clients], next_cursor=page.next_cursor
    )


@router.post("/clients", status_code=HTTPStatus.CREATED, summary="Register a client")
def create_client(
    wanted: ClientRequest, state: State, caller: Caller, address: ClientAddress
) -> NewClientEntry:
    """Register a client; its secret is shown once."""
    client = Client(
        client_id=wanted.client_id,
        name=wanted.name,
        redirect_uris=tuple(dict.fromkeys(wanted.redirect_uris)),
        scopes=frozenset(wanted.scopes),
        consent=wanted.consent,
        algorithm=wanted.algorithm,
        pkce_required=wanted.pkce_required,
    )
    clients = state.context.openid_provider.clients
    return NewClientEntry.of(clients.create(caller, client, public=wanted.public, address=address))


@router.get("/clients/{client_id}", summary="A client")
def show_client(client_id: str, state: State) -> ClientEntry:
    """Show a client; never its secret."""
    client = state.context.openid_provider.clients.get(client_id)
    if client is None:
        raise NotFoundError(f"There is no client {client_id[:64]!r}.")
    return ClientEntry.of(client)


@router.post("/clients/{client_id}/secret", summary="Give a client a new secret")
def renew_secret(
    client_id: str, state: State, caller: Caller, address: ClientAddress
) -> NewClientEntry:
    """Replace the secret; the old one is worth nothing from now on."""
    clients = state.context.openid_provider.clients
    return NewClientEntry.of(clients.new_secret(caller, client_id, address=address))


@router.delete("/clients/{client_id}", status_code=HTTPStatus.NO_CONTENT, summary="Remove a client")
def delete_client(client_id: str, state: State, caller: Caller, address: ClientAddress) -> None:
    """Remove a client; nobody logs in there any more."""
    state.context.openid_provider.clients.delete(caller, client_id, address=address)
