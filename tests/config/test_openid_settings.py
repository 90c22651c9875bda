"""Settings of login by OpenID Connect: secrets from the environment, clear words for mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from astrolabe.config import Settings, load_settings
from astrolabe.core.errors import BadParameterError

SECRET = "s" * 32


def load(home: Path, auth: dict[str, object]) -> Settings:
    (home / "config.yaml").write_text(yaml.safe_dump({"auth": auth}))
    return load_settings(home=home)


def provider(**changes: object) -> dict[str, object]:
    entry = {"issuer": "https://login.example.org/realms/sky", "client_id": "astrolabe"}
    return {"openid": {"keycloak": entry | changes}}


def client(**changes: object) -> dict[str, object]:
    return {
        "clients": {"hub_one": {"redirect_uris": ["https://hub.example.org/callback"]} | changes}
    }


def test_secrets_come_from_the_environment_beside_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASTROLABE_AUTH__OPENID__KEYCLOAK__CLIENT_SECRET", "from outside")
    monkeypatch.setenv("ASTROLABE_AUTH__CLIENTS__HUB_ONE__SECRET", SECRET)
    auth = load(tmp_path, provider() | client()).auth
    entry = auth.openid["keycloak"]
    assert entry.issuer == "https://login.example.org/realms/sky"
    assert entry.client_secret is not None
    assert entry.client_secret.get_secret_value() == "from outside"
    assert auth.clients["hub_one"].redirect_uris == ("https://hub.example.org/callback",)
    assert SECRET not in repr(auth)


def test_all_can_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = "ASTROLABE_AUTH__OPENID__ORCID"
    monkeypatch.setenv(f"{prefix}__ISSUER", "https://orcid.org")
    monkeypatch.setenv(f"{prefix}__CLIENT_ID", "APP-1")
    monkeypatch.setenv(f"{prefix}__SCOPES", "openid,profile")
    entry = load_settings(home=tmp_path).auth.openid["orcid"]
    assert (entry.issuer, entry.scopes) == ("https://orcid.org", ("openid", "profile"))


@pytest.mark.parametrize(
    ("auth", "variable"),
    [
        (provider(client_secret="x" * 40), "ASTROLABE_AUTH__OPENID__KEYCLOAK__CLIENT_SECRET"),
        (client(secret="x" * 40), "ASTROLABE_AUTH__CLIENTS__HUB_ONE__SECRET"),
    ],
)
def test_a_file_with_a_secret_is_refused(
    tmp_path: Path, auth: dict[str, object], variable: str
) -> None:
    with pytest.raises(BadParameterError) as caught:
        load(tmp_path, auth)
    assert variable in caught.value.message
    assert "x" * 40 not in caught.value.message


@pytest.mark.parametrize(
    ("auth", "message"),
    [
        (provider(issuer="http://login.example.org"), "an issuer is an https address"),
        (provider(issuer="https://login.example.org/?a=b"), "without query"),
        (provider(scopes=["profile"]), "must have openid"),
        (provider(isuer="https://x"), r"did you mean auth\.openid\.keycloak\.issuer\?"),
        ({"openid": {"Key-Cloak": {}}}, "lower-case letters"),
        ({"openid": {"keycloak": {"client_id": "x"}}}, "field required"),
        (client(public=True, redirect_urls=[]), r"did you mean auth\.clients\.hub_one\."),
    ],
)
def test_mistakes_are_named(tmp_path: Path, auth: dict[str, object], message: str) -> None:
    with pytest.raises(BadParameterError, match=message):
        load(tmp_path, auth)


def test_a_short_secret_is_refused_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASTROLABE_AUTH__CLIENTS__HUB_ONE__SECRET", "short-secret")
    with pytest.raises(BadParameterError, match="at least 32") as caught:
        load(tmp_path, client())
    assert "short-secret" not in caught.value.message


def test_a_public_client_has_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASTROLABE_AUTH__CLIENTS__HUB_ONE__SECRET", SECRET)
    with pytest.raises(BadParameterError, match="public has no secret"):
        load(tmp_path, client(public=True))


def test_commands_need_no_secret_of_a_client(tmp_path: Path) -> None:
    assert load(tmp_path, client()).auth.clients["hub_one"].secret is None


def test_http_is_right_on_the_own_machine(tmp_path: Path) -> None:
    entry = load(tmp_path, provider(issuer="http://127.0.0.1:18190")).auth.openid["keycloak"]
    assert entry.issuer == "http://127.0.0.1:18190"
