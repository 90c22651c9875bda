"""Signed links: what is signed, for how long, and by whom."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from astrolabe.core.errors import (
    BadParameterError,
    ForbiddenError,
    InternalError,
    UnauthenticatedError,
)
from astrolabe.identity import ANONYMOUS, Principal
from astrolabe.identity.root_key import RootKey
from astrolabe.identity.signed_links import LINK_KIND, LINK_PARAMETER, TREE_MARK, SignedLinks
from astrolabe.identity.signing import Signer

KEY = "k" * 22
ALICE = Principal(username="alice", token_key=KEY, kind="session")
PATH = "/api/tap/async/abc/results/result?RESPONSEFORMAT=fits"
NOW = datetime(2026, 11, 22, 12, 0, 0, 500_000, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def links(clock: Clock) -> SignedLinks:
    return SignedLinks(Signer(b"s" * 32), clock=clock)


def credential_of(address: str) -> str:
    return address.rpartition(f"{LINK_PARAMETER}=")[2]


def test_a_link_names_its_token_and_ends_after_an_hour(links: SignedLinks, clock: Clock) -> None:
    link = links.sign(ALICE, PATH)
    assert link.address.startswith(f"{PATH}&{LINK_PARAMETER}={KEY}.")
    assert link.expires == datetime(2026, 11, 22, 13, 0, 0, tzinfo=UTC)
    credential = credential_of(link.address)
    assert links.token_key(credential, PATH) == KEY
    clock.now = link.expires - timedelta(seconds=1)
    assert links.token_key(credential, PATH) == KEY
    clock.now = link.expires
    with pytest.raises(UnauthenticatedError, match="ended"):
        links.token_key(credential, PATH)


def test_a_path_without_a_query(links: SignedLinks) -> None:
    link = links.sign(ALICE, "/dav/a%20b.fits", lifetime=timedelta(minutes=1))
    assert link.address.startswith(f"/dav/a%20b.fits?{LINK_PARAMETER}=")
    assert links.token_key(credential_of(link.address), "/dav/a%20b.fits") == KEY


@pytest.mark.parametrize("lifetime", [timedelta(0), timedelta(seconds=-1), timedelta(minutes=61)])
def test_no_link_is_good_for_longer(links: SignedLinks, lifetime: timedelta) -> None:
    with pytest.raises(BadParameterError, match="hour"):
        links.sign(ALICE, PATH, lifetime=lifetime)


@pytest.mark.parametrize(
    "principal", [ANONYMOUS, Principal("alice", token_key=KEY, kind=LINK_KIND)]
)
def test_who_may_not_sign(links: SignedLinks, principal: Principal) -> None:
    with pytest.raises(ForbiddenError):
        links.sign(principal, PATH)


def test_nothing_of_a_link_can_be_changed(links: SignedLinks) -> None:
    credential = credential_of(links.sign(ALICE, PATH).address)
    key, seconds, signature = credential.split(".")
    for changed, address in (
        (f"{'x' * 22}.{seconds}.{signature}", PATH),
        (f"{key}.{int(seconds) + 1}.{signature}", PATH),
        (f"{key}.{seconds}.{signature[::-1]}", PATH),
        (f"{key}.{seconds}.{signature.upper()}", PATH),
        (f"{key}.{seconds}", PATH),
        (f"{credential}\n", PATH),
        ("", PATH),
        (credential, PATH + "&x=1"),
        (credential, PATH.replace("abc", "abd")),
        (credential, PATH.partition("?")[0]),
    ):
        with pytest.raises(UnauthenticatedError):
            links.token_key(changed, address)


def test_a_link_of_a_tree_has_its_credential_in_the_path(links: SignedLinks, clock: Clock) -> None:
    link = links.sign_tree(ALICE, "/api/hips/sky")
    place, credential, name = link.address.rsplit("/", 2)
    assert (place, name, credential[:1]) == ("/api/hips", "sky", TREE_MARK)
    credential = credential[1:]
    assert links.tree_token_key(credential, "/api/hips/sky") == KEY
    of_resource = credential_of(links.sign(ALICE, "/api/hips/sky").address)
    for changed, address in (
        (credential, "/api/hips/sky2"),
        (credential, "/api/hips"),
        (credential, "/api/hips/sky/properties"),
        (of_resource, "/api/hips/sky"),
        (credential[:-1], "/api/hips/sky"),
    ):
        with pytest.raises(UnauthenticatedError):
            links.tree_token_key(changed, address)
    with pytest.raises(UnauthenticatedError, match="not good for this address"):
        links.token_key(credential, "/api/hips/sky")
    clock.now = link.expires
    with pytest.raises(UnauthenticatedError, match="ended"):
        links.tree_token_key(credential, "/api/hips/sky")


@pytest.mark.parametrize("address", ["/api/hips/", "/api/hips/sky?x=1", "/auth/x", "/api/../x"])
def test_only_a_tree_can_be_signed_as_one(links: SignedLinks, address: str) -> None:
    with pytest.raises(BadParameterError):
        links.sign_tree(ALICE, address)


def test_another_platform_or_purpose_signs_otherwise(tmp_path: Path, clock: Clock) -> None:
    root = RootKey.open(tmp_path, configured=None)
    mine = SignedLinks(Signer(root.derive("signed-link")), clock=clock)
    credential = credential_of(mine.sign(ALICE, PATH).address)
    again = SignedLinks(
        Signer(RootKey.open(tmp_path, configured=None).derive("signed-link")), clock=clock
    )
    assert again.token_key(credential, PATH) == KEY, "another process of the same platform"
    for other in (root.derive("csrf"), RootKey(b"o" * 32).derive("signed-link")):
        with pytest.raises(UnauthenticatedError):
            SignedLinks(Signer(other), clock=clock).token_key(credential, PATH)


def test_a_short_key_signs_nothing() -> None:
    with pytest.raises(InternalError):
        Signer(b"short")


def test_a_signature_of_strange_text_is_none() -> None:
    signer = Signer(b"s" * 32)
    assert signer.is_signature(signer.sign("x"), "x")
    for wrong in ("", "\ud800", "é" * 64, signer.sign("y")):
        assert not signer.is_signature(wrong, "x")
