"""From which images the stamps around a table of positions are cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from astrolabe.catalogs.identifying import OBSCORE_TABLE
from astrolabe.catalogs.permissions import ReadableCatalog
from astrolabe.catalogs.query import QueryRequest, QueryService
from astrolabe.catalogs.uploads import UPLOAD_SCHEMA, UploadedTable
from astrolabe.core.errors import (
    BadParameterError,
    NotFoundError,
    TooLargeError,
    UploadInvalidError,
)
from astrolabe.identity import Principal
from astrolabe.images.access import ImageAccess
from astrolabe.images.model import ImageKey, ImageRecord, parse_image_did
from astrolabe.images.soda.cutting import Cutting
from astrolabe.images.soda.positions import POSITIONS_TABLE, Positions
from astrolabe.images.soda.request import ImageChoice
from astrolabe.images.store import ImageStore
from astrolabe.tables.model import Column, Datatype, TableMeta

__all__ = ["StampImages", "read_image_keys"]

_ID_COLUMNS: Final = ("obs_publisher_did", "image")
"""What the column of a table of images is called: in ObsCore, and in the index of a bundle."""
_RECORDS_AT_ONCE: Final = 500
_MARGIN_DEG: Final = 0.01
"""How far from a footprint positions may be: its sides keep within 0.2 pixels of the image's edges,
and pixels of surveys of the whole sky are large.  The WCS has the last word."""
_POSITIONS: Final = (
    Column(name="ra", datatype=Datatype.DOUBLE, unit="deg"),
    Column(name="dec", datatype=Datatype.DOUBLE, unit="deg"),
)
_AT_POSITIONS: Final = (
    f"EXISTS (SELECT p.ra FROM {UPLOAD_SCHEMA}.{POSITIONS_TABLE} AS p WHERE"  # noqa: S608 - ours
    f" INTERSECTS(CIRCLE(p.ra, p.dec, {_MARGIN_DEG!r}), ivoa.ObsCore.s_region) = 1)"
)
_NO_FOOTPRINT: Final = "s_region IS NULL AND s_ra IS NOT NULL"
"""Of images that cover so much of the sky that no polygon says it."""


class StampImages:
    """Chooses images as one caller may have them.  Safe to use from many threads.

    Parameters
    ----------
    access
        Finds images that a caller may see.
    store
        All images: looked through where ``ivoa.ObsCore`` was never published.
    queries
        Looks for images in ``ivoa.ObsCore``.
    readable
        Says whether there is that table.
    authority
        Of identifiers.
    """

    def __init__(
        self,
        *,
        access: ImageAccess,
        store: ImageStore,
        queries: QueryService,
        readable: ReadableCatalog,
        authority: str,
    ) -> None:
        self._access = access
        self._store = store
        self._queries = queries
        self._readable = readable
        self._authority = authority

    def named(
        self, keys: Sequence[ImageKey], choice: ImageChoice, cutting: Cutting
    ) -> Iterator[ImageRecord]:
        """Yield images that a table names; those that the caller may see but not read are not.

        Raises
        ------
        NotFoundError
            Raised if there is one that he may not see.
        """
        for some in _batches(keys):
            found = self._access.find(cutting.principal, some)
            for key in some:
                record = found.get(key.folded)
                if record is None:
                    raise NotFoundError(
                        f"There is no image {key.image_id!r} in the collection "
                        f"{key.collection!r}, which the table of images names."
                    )
                if choice.holds(record) and self._access.may_read(cutting.principal, record):
                    yield record

    def of_collection(
        self, choice: ImageChoice, positions: Positions, cutting: Cutting, *, most: int
    ) -> Iterator[ImageRecord]:
        """Yield the images of a collection that positions may lie on and that the caller may read.

        Parameters
        ----------
        choice
            Which images.
        positions
            Around which stamps will be cut.
        cutting
            The request.
        most
            Most images.

        Raises
        ------
        NotFoundError
            Raised if there is no such collection for the caller.
        TooLargeError
            Raised if there are more images than `most` at the positions.
        """
        names = {c.name.lower(): c.name for c in self._access.collections(cutting.principal)}
        name = names.get(str(choice.collection).lower())
        if name is None:
            raise NotFoundError(f"There is no collection {choice.collection!r}.")
        if not self._is_published(cutting.principal):
            return self._scanned(name, choice, cutting)
        return self._searched(name, choice, positions, cutting, most)

    def _is_published(self, principal: Principal) -> bool:
        tables = self._readable.view(principal).entries.values()
        return any(entry.meta.qualified_name.lower() == OBSCORE_TABLE for entry in tables)

    def _scanned(
        self, collection: str, choice: ImageChoice, cutting: Cutting
    ) -> Iterator[ImageRecord]:
        for batch in self._store.scan(collection):
            for record in batch:
                if choice.holds(record) and self._access.may_read(cutting.principal, record):
                    yield record

    def _searched(
        self,
        collection: str,
        choice: ImageChoice,
        positions: Positions,
        cutting: Cutting,
        most: int,
    ) -> Iterator[ImageRecord]:
        # The name of a collection has no quote.
        conditions = [f"obs_collection = '{collection}'", *choice.conditions()]
        uploads = (_uploaded(positions),)
        dids: list[str] = []
        for place, tables in ((_AT_POSITIONS, uploads), (_NO_FOOTPRINT, ())):
            query = (
                "SELECT obs_publisher_did FROM ivoa.ObsCore "  # noqa: S608 - numbers and quoted texts
                f"WHERE {' AND '.join([place, *conditions])}"
            )
            dids += self._identifiers(query, tables, cutting, most + 1 - len(dids))
            if len(dids) > most:
                raise TooLargeError(
                    f"The positions lie on more than {most:,} images; choose fewer by BAND, TIME "
                    "or FILTER, or divide the table."
                )
        keys = [parse_image_did(did, authority=self._authority) for did in dids]
        for some in _batches(keys):
            for record in self._access.find(cutting.principal, some).values():
                # What was published may be older than the records.
                if choice.holds(record) and self._access.may_read(cutting.principal, record):
                    yield record

    def _identifiers(
        self, query: str, uploads: tuple[UploadedTable, ...], cutting: Cutting, most: int
    ) -> list[str]:
        request = QueryRequest(query=query, maxrec=most, uploads=uploads, address=cutting.address)
        running = self._queries.start(request, principal=cutting.principal, cancel=cutting.cancel)
        found: list[str] = []
        with closing(running):
            for batch in running:
                found += [str(did) for did in batch.column(0).to_pylist()]
        return found


def read_image_keys(table: UploadedTable, *, authority: str, most: int) -> tuple[ImageKey, ...]:
    """Return the images that a table names in a column ``obs_publisher_did`` or ``image``.

    Each once, in the table's order; rows without an identifier are passed over.

    Raises
    ------
    UploadInvalidError
        Raised if the table has no such column, or one that names no images of this platform.
    TooLargeError
        Raised if it names more than `most` images.
    """
    columns = {column.name.lower(): column.name for column in reversed(table.meta.columns)}
    name = next((columns[known] for known in _ID_COLUMNS if known in columns), None)
    if name is None:
        raise UploadInvalidError(
            f"The table of images has no column {' or '.join(map(repr, _ID_COLUMNS))}; it has "
            f"{', '.join(columns.values())[:500]}."
        )
    texts: list[Any] = pc.cast(table.data.column(name), pa.string()).unique().to_pylist()
    keys: dict[tuple[str, str], ImageKey] = {}
    for text in texts:
        if text is None or not text.strip():
            continue
        try:
            key = parse_image_did(text.strip(), authority=authority)
        except BadParameterError as exc:
            raise UploadInvalidError(f"The table of images: {exc.message}") from exc
        keys.setdefault(key.folded, key)
    if len(keys) > most:
        raise TooLargeError(f"The table names {len(keys):,} images; a job takes at most {most:,}.")
    return tuple(keys.values())


def _uploaded(positions: Positions) -> UploadedTable:
    """Return the positions as the table that a query reads; those without numbers find nothing."""
    known = np.isfinite(positions.ra_deg) & np.isfinite(positions.dec_deg)
    values = {"ra": positions.ra_deg[known], "dec": positions.dec_deg[known]}
    meta = TableMeta(
        schema=UPLOAD_SCHEMA,
        name=POSITIONS_TABLE,
        columns=_POSITIONS,
        row_count=int(known.sum()),
    )
    return UploadedTable(meta=meta, data=pa.table(values))


def _batches(keys: Iterable[ImageKey]) -> Iterator[list[ImageKey]]:
    left = iter(keys)
    while some := list(islice(left, _RECORDS_AT_ONCE)):
        yield some
