"""A platform with tables that not everybody may read, and people with tokens."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from astrolabe.config import AuthSettings, QuotaSettings, Settings
from astrolabe.core.clock import utc_now
from astrolabe.factory import ProcessContext
from astrolabe.identity.access import Access, AccessRule, Resource
from astrolabe.identity.authority import OPERATOR
from astrolabe.tables.model import Datatype
from tests.support.tiny import import_columns, sky_points

from .conftest import small_settings

__all__ = ["RECENT", "TABLES", "guarded_settings", "make_tables", "token_of"]

TABLES = ("free.stars", "secret.stars", "secret.notes", "user_ada.mine")
ROWS = 4000


def guarded_settings(home: Path, *, quotas: dict[str, Any] | None = None) -> Settings:
    """Return settings of a small platform with cheap passwords."""
    return small_settings(home).model_copy(
        update={
            "auth": AuthSettings(argon2_memory_mb=0.1, argon2_passes=1, argon2_lanes=1),
            "quotas": QuotaSettings(**(quotas or {})),
        }
    )


def make_tables(context: ProcessContext) -> None:
    """Import the tables and make the schema `secret` the group's."""
    ra, dec = sky_points(ROWS, near=(10.0, 0.0, 1.0))
    for name in TABLES:
        schema, table = name.split(".")
        import_columns(
            context,
            schema,
            table,
            {
                "id": (Datatype.LONG, np.arange(ROWS)),
                "ra": (Datatype.DOUBLE, ra),
                "dec": (Datatype.DOUBLE, dec),
            },
            id_column="id",
        )
    context.users.create("ada", by=RECENT, groups=())
    context.users.create("bob", by=RECENT, groups=())
    context.groups.create("team", by=OPERATOR, owner="ada")
    rule = AccessRule(access=Access.GROUP, group="team")
    context.rights.set_rule(Resource.of_schema("secret"), rule, by=OPERATOR)


def token_of(
    context: ProcessContext, username: str, *, scopes: Iterable[str] = ("read:tap",)
) -> dict[str, str]:
    """Return the header of a new token of a user."""
    made = context.tokens.create_for(
        username, name=f"t{utc_now().timestamp()}", scopes=scopes, by=RECENT
    )
    return {"Authorization": f"Bearer {made.text}"}


RECENT = replace(OPERATOR, authenticated=utc_now())
