"""Fixtures of all tests; each capability keeps its own in ``tests/support``."""

from __future__ import annotations

import os

from hypothesis import settings

# The same examples at each run: a change is judged by what it changes. HYPOTHESIS_PROFILE=explore
# looks for new ones.
settings.register_profile("repeat", derandomize=True, database=None)
settings.register_profile("explore", max_examples=300)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeat"))

pytest_plugins = ["tests.support.databases"]
