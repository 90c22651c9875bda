"""Keys that sign ID tokens: shared, encrypted, rotated in time, and hard to imitate."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, OctKey, RSAKey
from sqlalchemy import select, update

from astrolabe.core import clock
from astrolabe.core.database import Database
from astrolabe.identity.openid import keys as keys_module
from astrolabe.identity.openid.keys import JwtError, SigningKeys
from astrolabe.identity.openid.schema import KEY
from astrolabe.identity.root_key import RootKey

ISSUER = "https://astrolabe.example"
ROOT = RootKey(b"r" * 32)
CLAIMS = {"iss": ISSUER, "aud": "hub", "sub": "alice"}


class Time:
    """The time that keys are told."""

    def __init__(self) -> None:
        self.now = clock.utc_now()

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, **how_long: float) -> None:
        self.now += timedelta(**how_long)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    told = Time()
    monkeypatch.setattr(keys_module, "utc_now", told)
    # No memory between looks: the tests move the time by days.
    monkeypatch.setattr(keys_module, "_CACHE_SECONDS", -1.0)
    return told


def signing_keys(database: Database, root_key: RootKey = ROOT) -> SigningKeys:
    return SigningKeys(
        database,
        root_key=root_key,
        rotation=timedelta(days=30),
        lifetime=timedelta(hours=1),
    )


def kid_of(token: str) -> str:
    head = token.split(".", maxsplit=1)[0]
    return str(json.loads(base64.urlsafe_b64decode(head + "=="))["kid"])


def part(document: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize("algorithm", keys_module.ALGORITHMS)
def test_a_client_verifies_with_the_published_keys_alone(
    database: Database, algorithm: keys_module.Algorithm
) -> None:
    token = signing_keys(database).sign(CLAIMS, algorithm=algorithm)
    published: Any = json.loads(json.dumps(signing_keys(database).jwks()))
    assert all(not {"d", "p", "q", "k"} & key.keys() for key in published["keys"])
    decoded = jwt.decode(token, KeySet.import_key_set(published), algorithms=[algorithm])
    assert decoded.claims == CLAIMS
    assert decoded.header["alg"] == algorithm


def test_all_processes_sign_with_the_same_key(database: Database) -> None:
    one, two = signing_keys(database), signing_keys(database)
    assert kid_of(one.sign(CLAIMS)) == kid_of(two.sign(CLAIMS))
    assert two.verify(one.sign(CLAIMS), issuer=ISSUER) == CLAIMS


def test_private_halves_are_not_readable_in_the_database(database: Database) -> None:
    keys = signing_keys(database)
    keys.jwks()
    with database.read() as connection:
        rows = connection.execute(select(KEY)).all()
    assert len(rows) == 2
    for row in rows:
        assert row.private.count(".") == 4
        assert "PRIVATE" not in row.private
        assert not {"d", "p", "q"} & row.public.keys()


def test_a_row_cannot_take_another_keys_place(database: Database) -> None:
    signing_keys(database).jwks()
    with database.write() as connection:
        rows = connection.execute(select(KEY).where(KEY.c.algorithm == "RS256")).all()
        stolen = rows[0].private
        signing_keys_after = signing_keys(database)
        connection.execute(update(KEY).where(KEY.c.algorithm == "ES256").values(private=stolen))
    # The row is not used; another key is made in its place.
    token = signing_keys_after.sign(CLAIMS, algorithm="ES256")
    assert signing_keys_after.verify(token, issuer=ISSUER) == CLAIMS
    with database.read() as connection:
        assert len(connection.execute(select(KEY)).all()) == 3


def test_a_lost_root_key_costs_new_keys_and_old_tokens_stay_valid(database: Database) -> None:
    old = signing_keys(database).sign(CLAIMS)
    keys = signing_keys(database, RootKey(b"s" * 32))
    new = keys.sign(CLAIMS)
    assert kid_of(new) != kid_of(old)
    assert keys.verify(old, issuer=ISSUER) == keys.verify(new, issuer=ISSUER) == CLAIMS


def test_a_key_is_published_a_day_before_it_signs_and_an_hour_after(
    database: Database, time: Time
) -> None:
    keys = signing_keys(database)

    def published() -> set[str]:
        return {key["kid"] for key in keys.jwks()["keys"] if key["alg"] == "RS256"}

    first = kid_of(keys.sign(CLAIMS))
    assert published() == {first}
    time.pass_by(days=28.9)
    assert published() == {first}
    time.pass_by(days=0.2)
    old_token = keys.sign(CLAIMS)
    assert kid_of(old_token) == first
    assert len(published()) == 2
    time.pass_by(days=0.9)
    assert kid_of(keys.sign(CLAIMS)) == first
    time.pass_by(days=0.2)
    second = kid_of(keys.sign(CLAIMS))
    assert second != first
    # Not for long: what the first has signed may still be on its way.
    assert published() == {first, second}
    assert keys.verify(old_token, issuer=ISSUER) == CLAIMS
    time.pass_by(days=29)
    keys.sign(CLAIMS)
    assert first not in published()
    with pytest.raises(JwtError):
        keys.verify(old_token, issuer=ISSUER)


def test_a_key_that_leaked_is_replaced_at_once(database: Database) -> None:
    keys = signing_keys(database)
    old = keys.sign(CLAIMS)
    keys.rotate(at_once=True)
    assert kid_of(keys.sign(CLAIMS)) != kid_of(old)
    with pytest.raises(JwtError):
        keys.verify(old, issuer=ISSUER)


def test_rotation_on_request_waits_until_clients_know_the_key(
    database: Database, time: Time
) -> None:
    keys = signing_keys(database)
    first = kid_of(keys.sign(CLAIMS))
    keys.rotate()
    assert kid_of(keys.sign(CLAIMS)) == first
    time.pass_by(days=1.01)
    assert kid_of(keys.sign(CLAIMS)) != first


@pytest.mark.parametrize("audience", ["other", ["other"], None])
def test_another_issuer_or_audience_is_refused(database: Database, audience: object) -> None:
    keys = signing_keys(database)
    with pytest.raises(JwtError, match="another client"):
        keys.verify(keys.sign(CLAIMS | {"aud": audience}), issuer=ISSUER, audience="hub")
    with pytest.raises(JwtError, match="another issuer"):
        keys.verify(keys.sign(CLAIMS | {"iss": "https://else"}), issuer=ISSUER)


def test_forged_tokens_are_refused(database: Database) -> None:
    keys = signing_keys(database)
    real = keys.sign(CLAIMS)
    kid = kid_of(real)
    public: Any = next(key for key in keys.jwks()["keys"] if key["kid"] == kid)
    stranger = RSAKey.generate_key(2048, parameters={"kid": kid})
    # The public key used as if it were the secret of a symmetric algorithm.
    pem = RSAKey.import_key(public).as_pem(private=False)
    head, body, signature = real.split(".")
    confused = jwt.encode(
        {"alg": "HS256", "kid": kid}, dict(CLAIMS), OctKey.import_key(base64.b64encode(pem))
    )
    forged = {
        "none": f"{part({'alg': 'none', 'kid': kid})}.{body}.",
        "None": f"{part({'alg': 'None', 'kid': kid})}.{body}.{signature}",
        "no kid": f"{part({'alg': 'none'})}.{body}.",
        "wrong key": jwt.encode({"alg": "RS256", "kid": kid}, dict(CLAIMS), stranger),
        "unknown key": jwt.encode({"alg": "RS256", "kid": "x"}, dict(CLAIMS), stranger),
        "confusion": confused,
        "other claims": f"{head}.{part(CLAIMS | {'sub': 'bob'})}.{signature}",
        "embedded key": jwt.encode(
            {"alg": "RS256", "jwk": stranger.as_dict(private=False)}, dict(CLAIMS), stranger
        ),
        "cut": f"{head}.{body}",
        "nonsense": "a.b.c",
        "empty": "",
    }
    assert keys.verify(real, issuer=ISSUER) == CLAIMS
    for how, token in forged.items():
        with pytest.raises(JwtError):
            pytest.fail(f"{how} was accepted: {keys.verify(token, issuer=ISSUER)}")
