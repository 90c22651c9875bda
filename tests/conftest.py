"""Fixtures of all tests; each capability keeps its own in ``tests/support``."""

from __future__ import annotations

pytest_plugins = ["tests.support.databases"]
