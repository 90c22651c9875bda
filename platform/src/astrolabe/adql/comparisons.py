"""What can be done with a comparison without looking at its sides."""

from __future__ import annotations

from typing import Final

__all__ = ["MIRRORED", "OPPOSITE"]

OPPOSITE: Final = {"=": "<>", "<>": "=", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}
"""What holds where a comparison of two numbers does not."""

MIRRORED: Final = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
"""The same comparison with its sides exchanged."""
