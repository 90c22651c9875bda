"""The OpenID provider on one database, as the factory puts it together, and a client of it."""

from __future__ import annotations

import secrets
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from astrolabe.config.auth import AuthSettings
from astrolabe.config.openid import OpenIDClientSettings
from astrolabe.core.clock import utc_now
from astrolabe.identity.openid.assembly import make_provider
from astrolabe.identity.openid.authorize import AskConsent, LogIn, SendBack
from astrolabe.identity.openid.codes import challenge_of
from astrolabe.identity.openid.provider import OpenIDProvider
from astrolabe.identity.principal import ANONYMOUS, Principal
from astrolabe.identity.root_key import RootKey

from .people import People

__all__ = ["CALLBACK", "ISSUER", "ROOT", "SECRET", "Login", "make", "session_of"]

ISSUER = "https://astrolabe.example"
CALLBACK = "https://hub.example.org/hub/oauth_callback"
SECRET = "s" * 40
ROOT = RootKey(b"r" * 32)

HUB: dict[str, Any] = {
    "name": "The hub",
    "secret": SECRET,
    "redirect_uris": (CALLBACK, "https://hub.example.org/other?x=1"),
    "scopes": ("read:tap", "exec:notebook"),
    "consent": "implicit",
}
PARTNER: dict[str, Any] = {
    "name": "A <b>partner</b>",
    "secret": SECRET,
    "redirect_uris": ("https://partner.example.org/cb",),
    "scopes": ("read:tap",),
}
PROGRAM: dict[str, Any] = {"public": True, "redirect_uris": ("http://127.0.0.1:18200/cb",)}


def make(people: People, **clients: dict[str, Any]) -> OpenIDProvider:
    """Make a provider with the clients hub, partner and program, or other ones."""
    known = clients or {"hub": HUB, "partner": PARTNER, "program": PROGRAM}
    settings = AuthSettings(
        clients={name: OpenIDClientSettings(**given) for name, given in known.items()}
    )
    return make_provider(
        people.database,
        settings,
        root_key=ROOT,
        public_url=ISSUER,
        users=people.users,
        groups=people.groups,
        tokens=people.tokens,
        audit=people.audit,
    )


def session_of(people: People, username: str) -> Principal:
    """Log somebody in."""
    made = people.tokens.create_session(username, address=None, authenticated=utc_now())
    return people.authenticator.authenticate(made.text, address=None)


class Login:
    """One login at a client, which does what a library would."""

    def __init__(
        self,
        provider: OpenIDProvider,
        client_id: str = "hub",
        *,
        redirect_uri: str = CALLBACK,
        **changes: str | None,
    ) -> None:
        self.provider = provider
        self.client_id = client_id
        self.redirect_uri = redirect_uri
        self.verifier = secrets.token_urlsafe(48)
        self.state = secrets.token_urlsafe(12)
        self.nonce = secrets.token_urlsafe(12)
        given: dict[str, str | None] = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": redirect_uri,
            "scope": "openid profile email groups read:tap exec:notebook admin:user nonsense",
            "state": self.state,
            "nonce": self.nonce,
            "code_challenge": challenge_of(self.verifier),
            "code_challenge_method": "S256",
        }
        given |= changes
        self.parameters = [(name, value) for name, value in given.items() if value is not None]

    def ask(self, principal: Principal = ANONYMOUS) -> SendBack | LogIn | AskConsent:
        return self.provider.authorization.ask(self.parameters, principal)

    def answer(self, outcome: object) -> dict[str, str]:
        """Return what the client finds in its address."""
        assert isinstance(outcome, SendBack), outcome
        assert outcome.url.startswith(self.redirect_uri)
        answer = dict(parse_qsl(urlsplit(outcome.url).query))
        assert answer["state"] == self.state
        assert answer["iss"] == ISSUER
        return answer

    def code(self, principal: Principal) -> str:
        """Log in as `principal`, who is not asked."""
        answer = self.answer(self.ask(principal))
        assert "error" not in answer, answer
        return answer["code"]

    def redeem(
        self, code: str, /, *, secret: str | None = SECRET, **changes: str
    ) -> dict[str, Any]:
        """Send the code to the token endpoint."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "client_id": self.client_id,
            "code_verifier": self.verifier,
        }
        return self.send(form | changes, secret=secret)

    def refresh(self, token: str, *, secret: str | None = SECRET, **changes: str) -> dict[str, Any]:
        """Send a refresh token to the token endpoint."""
        form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": self.client_id}
        return self.send(form | changes, secret=secret)

    def send(self, form: dict[str, str], *, secret: str | None = SECRET) -> dict[str, Any]:
        if secret is not None:
            form = {"client_secret": secret} | form
        return self.provider.exchange.answer(form.items(), authorization=None, address=None)
