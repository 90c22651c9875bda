"""The authorization endpoint: who wants to know who somebody is, and may he.

A request that cannot be traced to a registered client and one of its addresses is answered here
and never redirected; every other answer, errors too, goes to the client (OpenID Connect Core 1.0,
section 3.1.2; RFC 6749, section 4.1.2.1; RFC 9207).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from astrolabe.core.clock import utc_now
from astrolabe.core.errors import BadParameterError, ForbiddenError
from astrolabe.identity.openid.clients import Client, ClientRegistry, Consent
from astrolabe.identity.openid.codes import GrantStore
from astrolabe.identity.openid.consents import Consents
from astrolabe.identity.openid.keys import JwtError, SigningKeys
from astrolabe.identity.openid.protocol import IDENTITY_SCOPES, space_separated
from astrolabe.identity.principal import Principal
from astrolabe.identity.root_key import RootKey, SealError
from astrolabe.identity.scopes import SCOPES

__all__ = ["AskConsent", "Authorization", "LogIn", "SendBack"]

_RESUME: Final = "openid-resume"
_CONSENT: Final = "openid-consent"
_RESUME_SECONDS: Final = 3600.0
_CONSENT_SECONDS: Final = 600.0
_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_LONGEST: Final = 2000
_ONCE: Final = [
    "client_id",
    "redirect_uri",
    "response_type",
    "response_mode",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "prompt",
    "max_age",
    "id_token_hint",
    "request",
    "request_uri",
    "registration",
]


@dataclass(frozen=True, slots=True)
class SendBack:
    """Redirect the browser to the client."""

    url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class LogIn:
    """Let the user log in (again), then ask with these parameters.

    Parameters
    ----------
    resume
        Value of the parameter ``resume`` with which the login comes back.
    again
        Whether the session that is there is not enough.
    """

    resume: str
    again: bool


@dataclass(frozen=True, slots=True)
class AskConsent:
    """Ask the user.

    Parameters
    ----------
    client
        Who wants to know.
    wants
        What it wants to know or do, in words.
    form
        Comes back with the answer; good for this user, session and request only.
    """

    client: Client
    wants: tuple[str, ...]
    form: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    client: Client
    redirect_uri: str
    state: str | None
    scopes: frozenset[str] = frozenset()
    nonce: str | None = None
    challenge: str | None = None
    prompts: frozenset[str] = frozenset()
    max_age: int | None = None
    hinted: str | None = None


class _RefusedError(Exception):
    """The client is told that its request fails."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(error)
        self.error = error
        self.description = description


class Authorization:
    """Answers the authorization endpoint.

    Parameters
    ----------
    issuer
        The platform's public address.
    clients, grants, consents, keys
        The registry, the codes, what users agreed to, and the keys of ID tokens.
    root_key
        Seals what the browser carries through a login or a form.
    """

    def __init__(
        self,
        *,
        issuer: str,
        clients: ClientRegistry,
        grants: GrantStore,
        consents: Consents,
        keys: SigningKeys,
        root_key: RootKey,
    ) -> None:
        self._issuer = issuer
        self._clients = clients
        self._grants = grants
        self._consents = consents
        self._keys = keys
        self._root_key = root_key

    def ask(
        self, parameters: Iterable[tuple[str, str]], principal: Principal
    ) -> SendBack | LogIn | AskConsent:
        """Answer a request.

        Parameters
        ----------
        parameters
            (name, value) pairs as they came.
        principal
            Who has logged in, or nobody.

        Raises
        ------
        BadParameterError
            Raised if the client or its address is not registered: nothing may be sent there.
        ForbiddenError
            Raised if the caller came with a token instead of a session.
        """
        pairs = list(parameters)
        values, since = self._resumed(pairs)
        request = self._begin(values)
        if not principal.is_anonymous and principal.kind != "session":
            raise ForbiddenError("Logging in at another site needs a session, not a token.")
        try:
            request = self._parse(request, values)
            return self._answer(request, values, since, principal)
        except _RefusedError as refusal:
            return self._back(request, error=refusal.error, error_description=refusal.description)

    def seal(self, parameters: Iterable[tuple[str, str]]) -> str:
        """Return a request that came in a form as the parameter ``resume`` of an address.

        A form that another site sends brings no cookie of the session with it; the address that it
        is redirected to does.

        Raises
        ------
        BadParameterError
            Raised if a parameter was given twice.
        """
        values, _ = self._resumed(list(parameters))
        return self._log_in(values, None, again=False).resume

    def decide(self, form: str, principal: Principal, *, allow: bool) -> SendBack:
        """Go on after the user has answered.

        Parameters
        ----------
        form
            Of `AskConsent`.
        principal
            Who answers.
        allow
            What he answers.

        Raises
        ------
        BadParameterError
            Raised if the form is too old or was shown to somebody else.
        """
        try:
            document = self._root_key.unseal(_CONSENT, form)
        except SealError as exc:
            raise BadParameterError(
                "The question was open for too long; go back to where you came from and log in "
                "there again."
            ) from exc
        if document["session"] != principal.token_key or principal.username is None:
            raise BadParameterError("The question was put to another session; begin again.")
        request = self._begin(document["parameters"])
        try:
            request = self._parse(request, document["parameters"])
        except _RefusedError as refusal:
            return self._back(request, error=refusal.error, error_description=refusal.description)
        if not allow:
            return self._back(
                request, error="access_denied", error_description="The user has refused."
            )
        scopes = _granted(request, principal)
        if request.client.consent is Consent.REMEMBER:
            self._consents.remember(principal.username, request.client.client_id, scopes)
        return self._code(request, principal, principal.username, scopes)

    def _resumed(self, pairs: list[tuple[str, str]]) -> tuple[dict[str, str], datetime | None]:
        """Return the request's parameters, and when the login must have been at the earliest."""
        given = dict(pairs)
        if "resume" not in given:
            repeated = [name for name in _ONCE if sum(n == name for n, _ in pairs) > 1]
            if repeated:
                raise BadParameterError(f"The parameter {repeated[0]} may be given once.")
            return {name: value for name, value in pairs if name in _ONCE and value}, None
        try:
            document = self._root_key.unseal(_RESUME, given["resume"])
        except SealError as exc:
            raise BadParameterError(
                "This login was begun too long ago; go back to where you came from and begin again."
            ) from exc
        since = document["since"]
        return document["parameters"], (
            None if since is None else datetime.fromtimestamp(since, UTC)
        )

    def _begin(self, values: Mapping[str, str]) -> _Request:
        """Find the client and the address to which answers go."""
        client_id = values.get("client_id", "")
        client = self._clients.get(client_id)
        if client is None:
            raise BadParameterError(
                f"No client {client_id[:64]!r} is registered here; an administrator registers it."
            )
        uri = values.get("redirect_uri", "")
        if uri not in client.redirect_uris:
            raise BadParameterError(
                f"The redirect_uri {uri[:200]!r} is not registered for {client.name}: it must be "
                "the same, character by character."
            )
        return _Request(client=client, redirect_uri=uri, state=values.get("state"))

    def _parse(self, begun: _Request, values: Mapping[str, str]) -> _Request:
        client = begun.client
        for name in ("request", "request_uri", "registration"):
            if name in values:
                raise _RefusedError(
                    f"{name}_not_supported", f"The parameter {name} is not supported."
                )
        if any(len(value) > _LONGEST or not value.isprintable() for value in values.values()):
            raise _RefusedError(
                "invalid_request", f"Parameters have up to {_LONGEST} printable characters."
            )
        if values.get("response_type") != "code":
            raise _RefusedError("unsupported_response_type", "The response_type must be code.")
        if values.get("response_mode", "query") != "query":
            raise _RefusedError("invalid_request", "The response_mode must be query.")
        scopes = frozenset(space_separated(values.get("scope", "")))
        if "openid" not in scopes:
            raise _RefusedError("invalid_scope", "The scope must include openid.")
        prompts = frozenset(space_separated(values.get("prompt", "")))
        if "none" in prompts and len(prompts) > 1:
            raise _RefusedError("invalid_request", "The prompt none stands alone.")
        max_age = values.get("max_age")
        if max_age is not None and not (max_age.isascii() and max_age.isdecimal()):
            raise _RefusedError("invalid_request", "The max_age must be a number of seconds.")
        return _Request(
            client=client,
            redirect_uri=begun.redirect_uri,
            state=begun.state,
            # What we do not know or the client may not have is left out (Core, section 3.1.2.1).
            scopes=scopes & (IDENTITY_SCOPES.keys() | client.scopes),
            nonce=values.get("nonce"),
            challenge=_challenge(client, values),
            prompts=prompts,
            max_age=None if max_age is None else int(max_age[:9]),
            hinted=self._hinted(values.get("id_token_hint")),
        )

    def _hinted(self, token: str | None) -> str | None:
        if token is None:
            return None
        try:
            return str(self._keys.verify(token, issuer=self._issuer).get("sub"))
        except JwtError as exc:
            raise _RefusedError("invalid_request", "The id_token_hint is not one of ours.") from exc

    def _answer(
        self,
        request: _Request,
        values: dict[str, str],
        since: datetime | None,
        principal: Principal,
    ) -> SendBack | LogIn | AskConsent:
        silent = "none" in request.prompts
        username = principal.username
        wanted_since = _since(request, since, principal)
        if username is None or (
            wanted_since is not None
            and (principal.authenticated is None or principal.authenticated < wanted_since)
        ):
            if silent:
                raise _RefusedError("login_required", "Nobody is logged in, or not lately enough.")
            return self._log_in(values, wanted_since, again=username is not None)
        if request.hinted not in {None, username}:
            raise _RefusedError("login_required", "Somebody else is logged in.")
        scopes = _granted(request, principal)
        if not self._must_ask(request, username, scopes):
            return self._code(request, principal, username, scopes)
        if silent:
            raise _RefusedError("consent_required", "The user has not agreed yet.")
        form = self._root_key.seal(
            _CONSENT,
            {"parameters": values, "session": principal.token_key},
            seconds=_CONSENT_SECONDS,
        )
        return AskConsent(request.client, _in_words(scopes), form)

    def _log_in(self, values: dict[str, str], since: datetime | None, *, again: bool) -> LogIn:
        document: dict[str, Any] = {
            "parameters": values,
            "since": None if since is None else since.timestamp(),
        }
        return LogIn(self._root_key.seal(_RESUME, document, seconds=_RESUME_SECONDS), again)

    def _must_ask(self, request: _Request, username: str, scopes: frozenset[str]) -> bool:
        match request.client.consent:
            case Consent.IMPLICIT:
                return False
            case Consent.ALWAYS:
                return True
            case Consent.REMEMBER:
                return "consent" in request.prompts or not self._consents.covers(
                    username, request.client.client_id, scopes
                )

    def _code(
        self, request: _Request, principal: Principal, username: str, scopes: frozenset[str]
    ) -> SendBack:
        if principal.token_key is None or principal.authenticated is None:
            raise ForbiddenError("Logging in at another site needs a session.")
        code = self._grants.begin(
            request.client,
            username=username,
            session_key=principal.token_key,
            authenticated=principal.authenticated,
            scopes=scopes,
            redirect_uri=request.redirect_uri,
            nonce=request.nonce,
            challenge=request.challenge,
        )
        return self._back(request, code=code)

    def _back(self, request: _Request, **answer: str) -> SendBack:
        if request.state is not None:
            answer["state"] = request.state
        # Who answers, so that a client of several providers cannot mix them up (RFC 9207).
        query = urlencode({**answer, "iss": self._issuer})
        joint = "&" if "?" in request.redirect_uri else "?"
        return SendBack(f"{request.redirect_uri}{joint}{query}")


def _challenge(client: Client, values: Mapping[str, str]) -> str | None:
    challenge = values.get("code_challenge")
    if challenge is None:
        if client.pkce_required or "code_challenge_method" in values:
            raise _RefusedError("invalid_request", "A code_challenge is needed (PKCE, RFC 7636).")
        return None
    if values.get("code_challenge_method") != "S256":
        raise _RefusedError("invalid_request", "The code_challenge_method must be S256.")
    if _CHALLENGE.fullmatch(challenge) is None:
        raise _RefusedError("invalid_request", "The code_challenge must have 43 characters.")
    return challenge


def _since(request: _Request, since: datetime | None, principal: Principal) -> datetime | None:
    """Return when the login must have been at the earliest, `None` if any will do."""
    if since is not None:
        return since
    now = utc_now()
    if "login" in request.prompts:
        return now
    if request.max_age is None:
        return None
    oldest = now - timedelta(seconds=request.max_age)
    if principal.authenticated is not None and principal.authenticated >= oldest:
        return None
    # The login page takes its time: count from now, not from when it comes back.
    return oldest


def _granted(request: _Request, principal: Principal) -> frozenset[str]:
    """Return what the client gets: what it asked for and the session itself has."""
    return frozenset(
        scope for scope in request.scopes if scope in IDENTITY_SCOPES or scope in principal.scopes
    )


def _in_words(scopes: frozenset[str]) -> tuple[str, ...]:
    told = [words for scope, words in IDENTITY_SCOPES.items() if scope in scopes]
    may = [f"{words} in your name" for scope, words in SCOPES.items() if scope in scopes]
    return (*told, *may)
