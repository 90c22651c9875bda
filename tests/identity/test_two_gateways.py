"""Two gateways on one PostgreSQL: what one of them ends, the other refuses; limits are shared."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import httpx
import pytest
from sqlalchemy import func, select

from astrolabe.config import load_settings
from astrolabe.core.clock import utc_now
from astrolabe.factory import ProcessContext
from astrolabe.identity.access import Access, AccessRule, Resource
from astrolabe.identity.authority import OPERATOR
from astrolabe.identity.limits import QuotaRule, SubjectKind
from astrolabe.identity.policy_schema import QUOTA_SLOT
from tests.api.rights_support import make_tables
from tests.support.databases import fresh_postgresql
from tests.support.gateways import running_gateways, write_config

pytestmark = [pytest.mark.server, pytest.mark.timeout(180)]

RECENT = replace(OPERATOR, authenticated=utc_now())
WITHIN_SECONDS = 5.0


@dataclass
class Deployment:
    """Two gateways, and a process beside them that administers."""

    addresses: tuple[str, ...]
    context: ProcessContext

    def token(self, username: str, *scopes: str) -> tuple[str, dict[str, str]]:
        """Return the key of a new token, and the header that it is sent in."""
        name = f"t{time.monotonic_ns()}"
        made = self.context.tokens.create_for(
            username, name=name, scopes=("read:tap", *scopes), by=RECENT
        )
        return made.info.key, {"Authorization": f"Bearer {made.text}"}


@pytest.fixture(scope="module")
def deployment(
    postgresql_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("deployment")
    cheap = {"argon2_memory_mb": 0.1, "argon2_passes": 1, "argon2_lanes": 1}
    with fresh_postgresql(postgresql_server) as url:
        config = write_config(folder, auth=cheap)
        database = {"database": {"url": url, "catalog_url": url}}
        settings = load_settings(config_file=config, overrides=database)
        with ProcessContext.open(settings) as context:
            make_tables(context)
            with running_gateways(config, 2, database_url=url) as addresses:
                yield Deployment(addresses, context)


def count_rows(address: str, table: str, headers: dict[str, str]) -> httpx.Response:
    form = {"LANG": "ADQL", "QUERY": f"SELECT COUNT(*) AS n FROM {table}", "RESPONSEFORMAT": "csv"}
    return httpx.post(f"{address}/api/tap/sync", data=form, headers=headers, timeout=60)


def test_a_token_revoked_in_one_is_refused_in_the_other(deployment: Deployment) -> None:
    one, two = deployment.addresses
    key, headers = deployment.token("ada", "user:token")
    for _ in range(3):
        assert count_rows(two, "secret.stars", headers).status_code == 200
    revoked = httpx.delete(f"{one}/auth/api/v1/tokens/{key}", headers=headers)
    assert revoked.status_code in {200, 204}, revoked.text
    deadline = time.monotonic() + WITHIN_SECONDS
    assert count_rows(one, "free.stars", headers).status_code == 401
    while count_rows(two, "free.stars", headers).status_code != 401:
        assert time.monotonic() < deadline, "it is still accepted"
        time.sleep(0.1)
    assert count_rows(two, "free.stars", headers).status_code == 401


def test_a_right_taken_away_is_gone_in_both(deployment: Deployment) -> None:
    _, headers = deployment.token("ada")
    secret = Resource.of_schema("secret")
    stored = deployment.context.rights.find(secret)
    assert stored is not None
    for address in deployment.addresses:
        assert count_rows(address, "secret.stars", headers).status_code == 200
    try:
        private = AccessRule(access=Access.PRIVATE)
        deployment.context.rights.set_rule(secret, private, by=OPERATOR)
        deadline = time.monotonic() + WITHIN_SECONDS
        for address in deployment.addresses:
            while count_rows(address, "secret.stars", headers).status_code == 200:
                assert time.monotonic() < deadline, "it may still be read"
                time.sleep(0.1)
    finally:
        deployment.context.rights.set_rule(secret, stored.rule, by=OPERATOR)


async def _hundred(
    deployment: Deployment, path: str, form: dict[str, str], headers: dict[str, str]
) -> Counter[int]:
    """Send a hundred requests at once, to the two gateways by turns."""
    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(timeout=90, limits=limits) as client:
        calls = [
            client.post(f"{deployment.addresses[n % 2]}{path}", data=form, headers=headers)
            for n in range(100)
        ]
        return Counter(answer.status_code for answer in await asyncio.gather(*calls))


def _limit(deployment: Deployment, quota: str, value: float | None) -> None:
    rule = QuotaRule(kind=SubjectKind.USER, subject="bob", quota=quota, value=value)
    deployment.context.quotas.set_rule(rule, by=OPERATOR)
    time.sleep(2.2)  # no gateway goes by rules that are older than two seconds


def test_a_rate_holds_under_a_hundred_requests_at_once(deployment: Deployment) -> None:
    _, headers = deployment.token("bob")
    limit = 60
    _limit(deployment, "requests_per_minute", limit)
    try:
        form = {"LANG": "ADQL", "QUERY": "SELECT TOP 1 id FROM free.stars"}
        codes = asyncio.run(_hundred(deployment, "/api/tap/sync", form, headers))
    finally:
        _limit(deployment, "requests_per_minute", None)
    assert set(codes) == {200, 429}
    # Never more; each of the two may hold a fortieth that it did not come to use.
    assert limit * 0.95 <= codes[200] <= limit


def test_concurrency_holds_under_a_hundred_queries_at_once(deployment: Deployment) -> None:
    _, headers = deployment.token("bob")
    limit = 3
    _limit(deployment, "concurrent_queries", limit)
    held: list[int] = []

    async def watch() -> None:
        query = select(func.coalesce(func.sum(QUOTA_SLOT.c.held), 0)).where(
            QUOTA_SLOT.c.subject == "user:bob"
        )
        while True:
            with deployment.context.database.read() as connection:
                held.append(int(connection.execute(query).scalar_one()))
            await asyncio.sleep(0.01)

    async def run() -> Counter[int]:
        watcher = asyncio.create_task(watch())
        form = {"LANG": "ADQL", "QUERY": "SELECT AVG(ra) AS m FROM free.stars"}
        try:
            return await _hundred(deployment, "/api/tap/sync", form, headers)
        finally:
            watcher.cancel()

    try:
        codes = asyncio.run(run())
    finally:
        _limit(deployment, "concurrent_queries", None)
    assert set(codes) <= {200, 429}
    assert codes[200] >= limit
    assert 1 <= max(held) <= limit
