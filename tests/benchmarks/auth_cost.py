"""What identity costs a cone search: with a token against without, and the parts in this process.

usage: python -m tests.benchmarks.auth_cost [--rows N] [--requests N]

Over loopback each authenticated request follows an anonymous one on a connection of its own, so
that whatever else the machine does falls on both. The parts are timed in this process: the view
that the caller may read, the count of the request, the slot for the query and its bytes.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import numpy as np

from astrolabe.core.clock import utc_now
from astrolabe.factory import ProcessContext
from astrolabe.identity import ANONYMOUS, Principal
from astrolabe.identity.access import Access, AccessRule, Resource
from astrolabe.identity.authority import OPERATOR
from astrolabe.identity.limits import QuotaRule, SubjectKind
from astrolabe.tables.model import Datatype
from astrolabe_api.common.admission import count_request
from tests.support.platform import running_platform
from tests.support.tiny import import_columns, open_context, sky_points

_WARM_UP = 50
_PARTS = 20_000
_LIMITS = {"requests_per_minute": 10_000_000, "concurrent_queries": 100, "bytes_per_day": 10**15}


def prepare(home: Path, rows: int) -> str:
    """Make a table, a hidden one and a user; return the user's token."""
    with open_context(home) as context:
        ra, dec = sky_points(rows)
        for schema in ("bench", "hidden"):
            columns = {
                "id": (Datatype.LONG, np.arange(rows)),
                "ra": (Datatype.DOUBLE, ra),
                "dec": (Datatype.DOUBLE, dec),
            }
            import_columns(context, schema, "object", columns, id_column="id")
        private = AccessRule(access=Access.PRIVATE)
        context.rights.set_rule(Resource.of_schema("hidden"), private, by=OPERATOR)
        recent = replace(OPERATOR, authenticated=utc_now())
        context.users.create("ada", by=recent)
        made = context.tokens.create_for("ada", name="bench", scopes=["read:tap"], by=recent)
        return made.text


def set_limits(context: ProcessContext) -> None:
    """Give everybody limits that are never reached, so that all is counted."""
    for kind in (SubjectKind.DEFAULT, SubjectKind.ANONYMOUS):
        for quota, value in _LIMITS.items():
            rule = QuotaRule(kind=kind, quota=quota, value=float(value))
            context.quotas.set_rule(rule, by=OPERATOR)


class Client:
    """One keep-alive connection that asks for cones."""

    def __init__(self, address: str, token: str | None) -> None:
        parts = urlsplit(address)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    def cone(self, rng: random.Random) -> float:
        """Ask for a small cone; return how long the whole answer took (s)."""
        place = {"RA": rng.uniform(0, 360), "DEC": rng.uniform(-80, 80), "SR": 0.2}
        began = time.perf_counter()
        self._connection.request(
            "GET", f"/api/scs/bench.object?{urlencode(place)}", headers=self._headers
        )
        answer = self._connection.getresponse()
        answer.read()
        seconds = time.perf_counter() - began
        if answer.status != 200:
            raise SystemExit(f"status {answer.status}")
        return seconds


def compare(address: str, token: str, requests: int) -> None:
    """Print the times of anonymous and authenticated cones."""
    rng = random.Random(3)
    anonymous, known = Client(address, None), Client(address, token)
    for client in (anonymous, known):
        for _ in range(_WARM_UP):
            client.cone(rng)
    pairs = [(anonymous.cone(rng), known.cone(rng)) for _ in range(requests)]
    for name, seconds in (
        ("anonymous", [pair[0] for pair in pairs]),
        ("authenticated", [pair[1] for pair in pairs]),
    ):
        cuts = statistics.quantiles(seconds, n=20)
        print(f"  {name:<14} p50 {1e3 * cuts[9]:7.3f} ms   p95 {1e3 * cuts[18]:7.3f} ms")
    p50 = [statistics.median(pair[n] for pair in pairs) for n in (0, 1)]
    print(f"  difference at p50: {1e3 * (p50[1] - p50[0]):+.3f} ms")


def microseconds(call: Callable[[], object]) -> float:
    """Return the time of one call, of many after one another (µs)."""
    call()
    began = time.perf_counter()
    for _ in range(_PARTS):
        call()
    return (time.perf_counter() - began) / _PARTS * 1e6


def parts(context: ProcessContext, principal: Principal) -> None:
    """Print what each part of rights and quotas costs a request of `principal`."""
    quotas, address = context.quotas, "192.0.2.1"

    def slot() -> None:
        held = quotas.try_slot(principal, address=address)
        if held is not None:
            held.release()

    async def counting() -> float:
        await count_request(quotas, principal, "scs", address)
        began = time.perf_counter()
        for _ in range(_PARTS):
            await count_request(quotas, principal, "scs", address)
        return (time.perf_counter() - began) / _PARTS * 1e6

    figures = {
        "view that may be read": microseconds(lambda: context.readable.view(principal)),
        "count of the request": asyncio.run(counting()),
        "slot for the query": microseconds(slot),
        "rows of the result": microseconds(lambda: quotas.max_rows(principal)),
        "bytes of the query": microseconds(
            lambda: quotas.charge_bytes(principal, 1000, address=address)
        ),
    }
    for name, value in figures.items():
        print(f"  {name:<24} {value:8.2f} µs")
    print(f"  {'together':<24} {sum(figures.values()):8.2f} µs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--requests", type=int, default=500)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="astrolabe-auth-") as folder:
        home = Path(folder) / "home"
        token = prepare(home, given.rows)
        ada = Principal(username="ada", kind="user", scopes=frozenset({"read:tap"}))
        for title in ("no limits", "limits that are never reached"):
            if title != "no limits":
                with open_context(home) as context:
                    set_limits(context)
            with open_context(home) as context:
                for name, principal in (("anonymous", ANONYMOUS), ("a user", ada)):
                    print(f"rights and quotas, {title}, {name}")
                    parts(context, principal)
            with running_platform(home) as platform:
                print(f"cone over loopback, {title}, {given.rows:,} rows")
                compare(platform.address, token, given.requests)


if __name__ == "__main__":
    main()
