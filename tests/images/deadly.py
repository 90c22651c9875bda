"""An expression that ends the process which evaluates it, as a fault in a library would."""

from __future__ import annotations

import os
from dataclasses import dataclass

from typing_extensions import override

from astrolabe.images.importing.expressions import Expression, Headers, Value

__all__ = ["Deadly"]


@dataclass(frozen=True, slots=True)
class Deadly(Expression):
    """Ends the process if OBJECT has some value."""

    fatal: str

    @override
    def evaluate(self, headers: Headers) -> Value | None:
        if headers.get("OBJECT") == self.fatal:
            os._exit(9)
        return headers.get("OBJECT")
