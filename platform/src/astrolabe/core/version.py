"""The version of this installation."""

from __future__ import annotations

from importlib.metadata import version

__all__ = ["SERVER_SOFTWARE", "VERSION"]

VERSION = version("astrolabe-platform")
"""Version of the distribution."""

SERVER_SOFTWARE = f"astrolabe/{VERSION}"
"""How the platform names itself to clients (a SoftID product token)."""
