"""What all sections of the settings tree share."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic_settings import NoDecode

__all__ = ["Section", "Strings"]


def _split(value: object) -> object:
    """Let a list come from an environment variable, divided by commas."""
    return (
        [part.strip() for part in value.split(",") if part.strip()]
        if isinstance(value, str)
        else value
    )


Strings = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""A list of words."""


class Section(BaseModel):
    """A section: unknown names are errors, and nothing changes once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)
