"""What is at an address of a HiPS: a file of a tree, or one that is drawn when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Final

from astrolabe.catalogs.view import StoredView, TableEntry
from astrolabe.core.errors import ForbiddenError, NotFoundError
from astrolabe.identity import ANONYMOUS, Principal
from astrolabe.images.hips.allsky import (
    allsky_of_density,
    allsky_of_tree,
    has_allsky,
    parse_allsky,
)
from astrolabe.images.hips.coverage import MOC_FORMS, moc_bytes
from astrolabe.images.hips.density import DENSITY_ORDER
from astrolabe.images.hips.properties import format_properties
from astrolabe.images.hips.tables import TableCoverage, has_coverage
from astrolabe.images.hips.tiles import Tile, fits_bytes, png_bytes
from astrolabe.images.hips.trees import HipsTree
from astrolabe_api.common.ranges import SizedBytes
from astrolabe_api.common.state import ApiState

__all__ = ["HIPS_PATH", "HipsFile", "MemoryBytes", "find_entry", "find_file", "hips_records"]

HIPS_PATH: Final = "/api/hips"

_PROPERTIES: Final = "properties"
_MOC: Final = "Moc.fits"
_MEDIA_TYPES: Final = {
    "fits": "image/fits",
    "png": "image/png",
    "jpg": "image/jpeg",
    _PROPERTIES: "text/plain; charset=utf-8",
}


class MemoryBytes:
    """Bytes in memory."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.size = len(content)

    def chunks(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes from `start` to before `stop`."""
        yield self._content[start:stop]


@dataclass(frozen=True, slots=True)
class HipsFile:
    """A file of a HiPS.

    Parameters
    ----------
    etag
        Changes when its bytes do.
    media_type
        Content-Type.
    open
        Gives the bytes; it may take a moment.
    """

    etag: str
    media_type: str
    open: Callable[[], SizedBytes]


def find_file(
    state: ApiState,
    caller: Principal,
    hips_id: str,
    path: str,
    *,
    address: str | None = None,
) -> HipsFile | None:
    """Return a file of a HiPS that a caller may read; `None` if that HiPS has none of this name.

    Parameters
    ----------
    hips_id
        The id of a tree, or ``schema.table`` for the density of a table.
    path
        Within the tree.
    address
        Of the HiPS, where it is not the usual one.

    Raises
    ------
    NotFoundError
        Raised if there is no such HiPS that he may see.
    UnauthenticatedError, ForbiddenError
        Raised if he may see but not read it.
    """
    if "." in hips_id:
        return _of_table(state, caller, hips_id, path, address)
    hips = state.context.images.hips
    tree = hips.access.get(caller, hips_id)
    if path == _PROPERTIES:
        record = _tree_record(state, tree)
        return _text(format_properties(record if address is None else _at(record, address)))
    preview = parse_allsky(path, order=tree.info.order)
    if preview is not None and has_allsky(tree, *preview):
        return _allsky(state, str(tree.folder), preview, partial(allsky_of_tree, tree, *preview))
    file = tree.file(path)
    if file is None:
        return None
    try:
        status = file.stat()
    except FileNotFoundError:
        # Another generation took its place just now; the next request sees it.
        return None
    return HipsFile(
        f'"{status.st_mtime_ns:x}-{status.st_size:x}"',
        _MEDIA_TYPES[file.suffix.removeprefix(".")],
        lambda: MemoryBytes(_content(state, tree, path)),
    )


def hips_records(state: ApiState, caller: Principal) -> list[dict[str, str]]:
    """Return the properties of every HiPS that a caller may read, with its address."""
    records = [
        _tree_record(state, tree) for tree in state.context.images.hips.access.readable(caller)
    ]
    coverages = state.context.images.hips.tables
    for entry in state.context.readable.view(caller).entries.values():
        if has_coverage(entry) and entry.row.row_count:
            try:
                coverage = coverages.of(entry)
            except NotFoundError:
                continue  # a table from before there were counts
            records.append(_table_record(state, entry, coverage))
    return records


def find_entry(state: ApiState, caller: Principal, name: str) -> TableEntry:
    """Return the table that a name ``schema.table`` means, in any case of letters.

    Raises
    ------
    NotFoundError
        Raised if there is none that `caller` may read.
    """
    folded = name.lower()

    def search(view: StoredView) -> TableEntry:
        for entry in view.entries.values():
            if folded in {entry.meta.qualified_name.lower(), entry.meta.adql_name.lower()}:
                return entry
        raise NotFoundError(
            f"There is no table {name[:200]!r}; /api/tap/tables lists those there are."
        )

    return state.context.readable.find(caller, search)


def _of_table(
    state: ApiState, caller: Principal, name: str, path: str, address: str | None
) -> HipsFile | None:
    if not caller.is_anonymous and "read:tap" not in caller.scopes:
        raise ForbiddenError("This needs the scope read:tap, which your token does not have.")
    entry = find_entry(state, caller, name)
    coverage = state.context.images.hips.tables.of(entry)
    if path == _PROPERTIES:
        record = _table_record(state, entry, coverage)
        return _text(format_properties(record if address is None else _at(record, address)))
    density = coverage.density
    preview = parse_allsky(path, order=DENSITY_ORDER)
    if preview is not None and preview[1] != "jpg" and not density.is_empty:
        make = partial(allsky_of_density, density, *preview)
        return _allsky(state, entry.root, preview, make)
    etag = f'"{sha256(f"{entry.root} {path}".encode()).hexdigest()[:32]}"'
    if path == _MOC:
        form = MOC_FORMS[0]
        return HipsFile(
            etag, _MEDIA_TYPES["fits"], lambda: MemoryBytes(moc_bytes(coverage.moc, form))
        )
    parsed = Tile.parse(path)
    if parsed is None or parsed[1] == "jpg":
        return None
    tile, extension = parsed
    if coverage.density.values(tile) is None:
        return None
    return HipsFile(
        etag, _MEDIA_TYPES[extension], lambda: MemoryBytes(_drawn(coverage, tile, extension))
    )


def _allsky(
    state: ApiState, version: str, preview: tuple[int, str], make: Callable[[], bytes | None]
) -> HipsFile:
    """Return the file of all tiles of a low order, made when it is opened."""
    order, extension = preview
    key = f"{version} {order} {extension}"

    def content() -> MemoryBytes:
        found = state.context.images.hips.allsky.get(key, make)
        if found is None:
            raise NotFoundError("The HiPS was made anew just now; ask again.")
        return MemoryBytes(found)

    return HipsFile(f'"{sha256(key.encode()).hexdigest()[:32]}"', _MEDIA_TYPES[extension], content)


def _at(record: dict[str, str], address: str) -> dict[str, str]:
    return record | {"hips_service_url": address}


def _content(state: ApiState, tree: HipsTree, path: str) -> bytes:
    """Return a file of a tree, or of the generation that has taken its place meanwhile."""
    trees = state.context.images.hips.trees
    for _ in range(3):
        file = tree.file(path)
        try:
            if file is not None:
                return file.read_bytes()
        except FileNotFoundError:
            pass  # removed after it was looked for
        tree = trees.get(tree.info.hips_id, fresh=True)
    raise NotFoundError(f"The HiPS {tree.info.hips_id} has no {path} any more.")


def _drawn(coverage: TableCoverage, tile: Tile, extension: str) -> bytes:
    values, picture = coverage.density.values(tile), coverage.density.picture(tile)
    if values is None or picture is None:
        raise NotFoundError(f"There are no rows in {tile.path(extension)}.")
    return fits_bytes(tile, values, "deg-2") if extension == "fits" else png_bytes(picture)


def _tree_record(state: ApiState, tree: HipsTree) -> dict[str, str]:
    hips = state.context.images.hips
    record = tree.info.properties(authority=hips.authority, is_public=hips.access.is_public(tree))
    return record | {"hips_service_url": state.url(f"{HIPS_PATH}/{tree.info.hips_id}")}


def _table_record(state: ApiState, entry: TableEntry, coverage: TableCoverage) -> dict[str, str]:
    name = entry.meta.qualified_name
    public = state.context.readable.view(ANONYMOUS).entries
    record = coverage.density.properties(
        name=name,
        creator_did=f"ivo://{state.context.images.authority}/hips?{name}",
        changed=entry.row.created_at,
        is_public=(entry.meta.schema, entry.meta.name) in public,
    )
    return record | {"hips_service_url": state.url(f"{HIPS_PATH}/{name}")}


def _text(content: str) -> HipsFile:
    body = content.encode()
    etag = f'"{sha256(body).hexdigest()[:32]}"'
    return HipsFile(etag, _MEDIA_TYPES[_PROPERTIES], lambda: MemoryBytes(body))
