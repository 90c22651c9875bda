"""Libraries that a server must not wait for."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import cast

__all__ = ["leave_out_unused"]

_UNUSED = ("matplotlib", "pandas")


def leave_out_unused() -> None:
    """Keep other libraries from loading pandas and matplotlib into this process.

    Arrow and mocpy load them where they are installed, to offer conversions and plots that no
    server needs; that is a third of the time of a start, and memory in each process.
    """
    # None is how Python's import system is told that there is no such module.
    modules = cast("dict[str, ModuleType | None]", sys.modules)
    for name in _UNUSED:
        modules.setdefault(name, None)
