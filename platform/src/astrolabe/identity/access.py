"""Rules of access as values: what they are about, and what they ask of who wants in.

A rule is turned into *grants*: whoever holds one of them may read.  Grants are plain pairs, so
that "what may U read" is the intersection of two sets.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal

from astrolabe.core.errors import BadParameterError

__all__ = [
    "PUBLIC",
    "USERS",
    "Access",
    "AccessRule",
    "Action",
    "Grant",
    "Resource",
    "ResourceKind",
]

Grant = tuple[str, str]
"""``("public", "")``, ``("users", "")``, ``("group", name)`` or ``("user", name)``."""

PUBLIC: Final[Grant] = ("public", "")
USERS: Final[Grant] = ("users", "")

Action = Literal["list", "read", "write", "manage"]
"""What one may do: see that it is there, read it, change what is in it, change who may."""

_LONGEST_NAME: Final = 400


class Access(StrEnum):
    """Who may read."""

    PUBLIC = "public"
    USERS = "users"
    GROUP = "group"
    PRIVATE = "private"


class ResourceKind(StrEnum):
    """What a rule may be about."""

    RELEASE = "release"
    SCHEMA = "schema"
    TABLE = "table"
    COLLECTION = "collection"
    PATH = "path"


@dataclass(frozen=True, slots=True)
class Resource:
    """Something that has rights; the class methods make one from its parts.

    Parameters
    ----------
    kind
        What it is.
    name
        Of a schema, a table (``schema.table``) or a collection in lower case, of a path without a
        slash at its end.
    release
        The release that it belongs to, if any.
    released
        When its files become public (``obs_release_date``), for what is in a listed collection.
    """

    kind: ResourceKind
    name: str
    release: str | None = None
    released: datetime | None = None

    @classmethod
    def of_schema(cls, name: str) -> Resource:
        """Return a schema of the catalog."""
        return cls(ResourceKind.SCHEMA, _checked(name).lower())

    @classmethod
    def of_table(cls, schema: str, name: str, *, release: str | None = None) -> Resource:
        """Return a table of the catalog by its raw names."""
        return cls(ResourceKind.TABLE, f"{_checked(schema)}.{_checked(name)}".lower(), release)

    @classmethod
    def of_release(cls, name: str) -> Resource:
        """Return a release."""
        return cls(ResourceKind.RELEASE, _checked(name))

    @classmethod
    def of_collection(
        cls, name: str, *, release: str | None = None, released: datetime | None = None
    ) -> Resource:
        """Return a collection of images, or one image of it that becomes public at `released`."""
        return cls(ResourceKind.COLLECTION, _checked(name).lower(), release, released)

    @classmethod
    def of_path(cls, path: str) -> Resource:
        """Return a file or folder.

        Parameters
        ----------
        path
            From the root, with slashes, decoded; a slash at its end means nothing.

        Raises
        ------
        BadParameterError
            Raised if `path` could mean another place than it says: if it does not begin with a
            slash or has an empty part, ``.``, ``..``, a backslash or a control character.
        """
        parts = path.removesuffix("/").split("/")
        odd = any(ord(c) < 32 or ord(c) == 127 or c == "\\" for c in path)
        if not path.startswith("/") or odd or any(part in {"", ".", ".."} for part in parts[1:]):
            raise BadParameterError(
                f"{path[:200]!r} is not a plain path: begin it with a slash, and use no empty "
                "parts, '.', '..', backslashes or control characters."
            )
        return cls(ResourceKind.PATH, _checked("/".join(parts) or "/"))

    @classmethod
    def parse(cls, kind: str, name: str) -> Resource:
        """Return the resource that a kind and a name as text mean.

        Raises
        ------
        BadParameterError
            Raised if there is no such kind or the name does not fit it.
        """
        match kind:
            case ResourceKind.SCHEMA:
                return cls.of_schema(name)
            case ResourceKind.TABLE:
                schema, dot, table = name.partition(".")
                if not dot or "." in table:
                    raise BadParameterError(f"A table is named SCHEMA.TABLE, not {name[:200]!r}.")
                return cls.of_table(schema, table)
            case ResourceKind.RELEASE:
                return cls.of_release(name)
            case ResourceKind.COLLECTION:
                return cls.of_collection(name)
            case ResourceKind.PATH:
                return cls.of_path(name)
            case _:
                raise BadParameterError(
                    f"There are no rights of a {kind[:50]!r}; there are those of a "
                    f"{', '.join(ResourceKind)}."
                )

    def above(self) -> tuple[Resource, ...]:
        """Return what it inherits rules from, the nearest first."""
        found: list[Resource] = []
        if self.kind is ResourceKind.TABLE:
            found.append(Resource(ResourceKind.SCHEMA, self.name.partition(".")[0]))
        if self.kind is ResourceKind.PATH:
            name = self.name
            while name != "/":
                name = name.rpartition("/")[0] or "/"
                found.append(Resource(ResourceKind.PATH, name))
        if self.release is not None:
            found.append(Resource.of_release(self.release))
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRule:
    """Who may do what with one resource and with all that inherits from it.

    Parameters
    ----------
    access
        Who may read.
    group
        The group of `Access.GROUP`; with an embargo, the group that may read before its end.
    owner
        A user who may read, write and change the rule.
    embargo_until
        Until then only `group` and `owner` may read, whatever `access` says.  It holds for
        everything below too, even where that has a rule of its own.
    listed
        Whether everybody may see that it exists and what it is (collections).
    """

    access: Access
    group: str | None = None
    owner: str | None = None
    embargo_until: datetime | None = None
    listed: bool = False

    def grants(self, *, embargoed: bool) -> frozenset[Grant]:
        """Return what one must hold one of in order to read.

        Parameters
        ----------
        embargoed
            Whether to answer for the time before the embargo's end.
        """
        grants: set[Grant] = set() if self.owner is None else {("user", self.owner)}
        if self.group is not None and (embargoed or self.access is Access.GROUP):
            grants.add(("group", self.group))
        if not embargoed and self.access is Access.PUBLIC:
            grants.add(PUBLIC)
        if not embargoed and self.access is Access.USERS:
            grants.add(USERS)
        return frozenset(grants)


def _checked(name: str) -> str:
    if not name or len(name) > _LONGEST_NAME or "\0" in name:
        raise BadParameterError(f"A name has from 1 to {_LONGEST_NAME} characters and no NUL.")
    return name
