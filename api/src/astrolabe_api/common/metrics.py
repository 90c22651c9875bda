"""Prometheus metrics of the HTTP services.

With several gateways each process writes its numbers into the folder named by
``PROMETHEUS_MULTIPROC_DIR`` (it must be set before this module is imported) and any of them
answers ``/metrics`` for all.
"""

from __future__ import annotations

import os

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

__all__ = ["METRICS_MIME", "observe_query", "observe_request", "render_metrics", "waiting_queries"]

METRICS_MIME = CONTENT_TYPE_LATEST

# Times of creation double the number of series and tell nothing that uptime does not.
disable_created_metrics()  # type: ignore[no-untyped-call]  # no types in the library

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

_requests = Counter(
    "astrolabe_http_requests",
    "Requests answered, by route, method and status.",
    ("route", "method", "status"),
)
_request_seconds = Histogram(
    "astrolabe_http_request_seconds",
    "Time from a request to the end of its answer (s).",
    ("route",),
    buckets=_SECONDS,
)
_response_bytes = Counter(
    "astrolabe_http_response_bytes", "Bytes of the answers' bodies, by route.", ("route",)
)
_queries = Counter("astrolabe_sync_queries", "Sync queries by how they ended.", ("pool", "outcome"))
waiting_queries = Gauge(
    "astrolabe_waiting_queries",
    "Sync queries that wait for a thread.",
    ("pool",),
    multiprocess_mode="livesum",
)

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})


def observe_request(
    *, route: str, method: str, status: int, seconds: float, body_bytes: int
) -> None:
    """Count one request; methods that HTTP does not know are all one."""
    known = method if method in _METHODS else "other"
    _requests.labels(route, known, str(status)).inc()
    _request_seconds.labels(route).observe(seconds)
    _response_bytes.labels(route).inc(body_bytes)


def observe_query(*, pool: str, outcome: str) -> None:
    """Count one sync query; `outcome` is ``ok`` or an error's code."""
    _queries.labels(pool, outcome).inc()


def render_metrics() -> bytes:
    """Return all metrics in Prometheus' text form, those of all gateways where there are more."""
    registry = REGISTRY
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # no types in the library
    return generate_latest(registry)
