"""Collections and images in the control database: the source of what ObsCore shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, and_, delete, func, insert, select, tuple_, update

from astrolabe.core.database import Database
from astrolabe.core.errors import NotFoundError
from astrolabe.images.model import (
    ImageCollection,
    ImageKey,
    ImageRecord,
    PlaneKind,
    check_collection_name,
    check_image_id,
)
from astrolabe.images.schema import IMAGE, IMAGE_COLLECTION

__all__ = ["ImageStore"]

_ROWS_AT_ONCE: Final = 500
"""Databases limit the values of one statement."""

_OWN: Final = "home:"
"""Begins the place of a file that the platform keeps itself."""


class ImageStore:
    """Keeps collections and images.  Safe to use from many threads and processes.

    Parameters
    ----------
    database
        The control database.
    folder
        Where the platform keeps files of its own: what lies below it is kept by its path from
        there, so that a home can be moved.
    """

    def __init__(self, database: Database, *, folder: Path | None = None) -> None:
        self._database = database
        self._own = None if folder is None else f"{folder.as_posix().rstrip('/')}/"

    # --- collections ----------------------------------------------------------------------------

    def ensure_collection(self, collection: ImageCollection) -> ImageCollection:
        """Make a collection if there is none of that name in any case of letters; return it."""
        key = check_collection_name(collection.name).lower()
        with self._database.write() as connection:
            found = _find_collection(connection, key)
            if found is not None:
                return found
            connection.execute(
                insert(IMAGE_COLLECTION).values(
                    collection_key=key,
                    name=collection.name,
                    title=collection.title,
                    description=collection.description,
                    documentation=collection.documentation,
                    release=collection.release,
                    created=collection.created,
                )
            )
        return collection

    def describe_collection(self, collection: ImageCollection) -> None:
        """Change what is said of a collection.

        Raises
        ------
        NotFoundError
            Raised if there is none of that name.
        """
        with self._database.write() as connection:
            changed = connection.execute(
                update(IMAGE_COLLECTION)
                .where(IMAGE_COLLECTION.c.collection_key == collection.name.lower())
                .values(
                    title=collection.title,
                    description=collection.description,
                    documentation=collection.documentation,
                    release=collection.release,
                )
            ).rowcount
        if not changed:
            raise _no_collection(collection.name)

    def collection(self, name: str) -> ImageCollection:
        """Return a collection by its name in any case.

        Raises
        ------
        NotFoundError
            Raised if there is none.
        """
        with self._database.read() as connection:
            found = _find_collection(connection, name.lower())
        if found is None:
            raise _no_collection(name)
        return found

    def collections(self) -> tuple[ImageCollection, ...]:
        """Return all collections by name."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(IMAGE_COLLECTION).order_by(IMAGE_COLLECTION.c.collection_key)
            )
            return tuple(_collection(row) for row in rows)

    def remove_collection(self, name: str) -> int:
        """Remove a collection and what is kept of its images (never their files); return how many.

        Raises
        ------
        NotFoundError
            Raised if there is none.
        """
        key = name.lower()
        with self._database.write() as connection:
            gone = connection.execute(delete(IMAGE).where(IMAGE.c.collection_key == key)).rowcount
            if not connection.execute(
                delete(IMAGE_COLLECTION).where(IMAGE_COLLECTION.c.collection_key == key)
            ).rowcount:
                raise _no_collection(name)
        return gone

    # --- images ---------------------------------------------------------------------------------

    def put(self, records: Sequence[ImageRecord]) -> None:
        """Write images, in the place of those of the same key, in one transaction.

        Raises
        ------
        NotFoundError
            Raised if a collection does not exist.
        BadParameterError
            Raised if an id is not one.
        """
        rows = [{**_values(record), "uri": self._stored(record.uri)} for record in records]
        with self._database.write() as connection:
            for name in {record.key.collection for record in records}:
                if _find_collection(connection, name.lower()) is None:
                    raise _no_collection(name)
            _delete(connection, [record.key for record in records])
            for start in range(0, len(rows), _ROWS_AT_ONCE):
                connection.execute(insert(IMAGE), rows[start : start + _ROWS_AT_ONCE])

    def remove(self, keys: Sequence[ImageKey]) -> int:
        """Remove what is kept of images (never their files); return how many there were."""
        with self._database.write() as connection:
            return _delete(connection, keys)

    def get(self, key: ImageKey) -> ImageRecord:
        """Return an image by its key in any case; asks nobody for rights.

        Raises
        ------
        NotFoundError
            Raised if there is none.
        """
        found = self.find([key]).get(key.folded)
        if found is None:
            raise NotFoundError(
                f"There is no image {key.image_id!r} in the collection {key.collection!r}."
            )
        return found

    def find(self, keys: Iterable[ImageKey]) -> dict[tuple[str, str], ImageRecord]:
        """Return those images that there are, by `ImageKey.folded`; asks nobody for rights."""
        wanted = sorted({key.folded for key in keys})
        found: dict[tuple[str, str], ImageRecord] = {}
        with self._database.read() as connection:
            for start in range(0, len(wanted), _ROWS_AT_ONCE):
                some = wanted[start : start + _ROWS_AT_ONCE]
                pair = tuple_(IMAGE.c.collection_key, IMAGE.c.image_key)
                for row in connection.execute(_select().where(pair.in_(some))):
                    found[row.collection_key, row.image_key] = self._record(row)
        return found

    def signatures(self, collection: str) -> dict[str, str]:
        """Return the signature of every file of a collection by its URI."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(IMAGE.c.uri, IMAGE.c.signature).where(
                    IMAGE.c.collection_key == collection.lower()
                )
            )
            return {self._located(row.uri): row.signature for row in rows}

    def of_files(self, collection: str, uris: Iterable[str]) -> list[ImageRecord]:
        """Return the images of a collection that lie in some files; asks nobody for rights."""
        wanted = sorted({self._stored(uri) for uri in uris})
        found: list[ImageRecord] = []
        with self._database.read() as connection:
            for start in range(0, len(wanted), _ROWS_AT_ONCE):
                some = wanted[start : start + _ROWS_AT_ONCE]
                query = _select().where(
                    IMAGE.c.collection_key == collection.lower(), IMAGE.c.uri.in_(some)
                )
                found += [self._record(row) for row in connection.execute(query)]
        return found

    def count(self, collection: str | None = None, *, until: datetime | None = None) -> int:
        """Return how many images there are, in one collection or in all.

        Parameters
        ----------
        collection
            Its name, `None` for all.
        until
            Count those only that were written then or before.
        """
        query = select(func.count()).select_from(IMAGE)
        if collection is not None:
            query = query.where(IMAGE.c.collection_key == collection.lower())
        if until is not None:
            query = query.where(IMAGE.c.imported <= until)
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def newest(self) -> datetime | None:
        """Return when the youngest image was written, `None` without images."""
        with self._database.read() as connection:
            found: datetime | None = connection.scalar(select(func.max(IMAGE.c.imported)))
        return found

    def scan(
        self, collection: str | None = None, *, since: datetime | None = None
    ) -> Iterator[list[ImageRecord]]:
        """Yield all images, of one collection or of all, in batches in the order of their keys.

        With `since` only those are given that were written after that.

        Each batch is a transaction of its own: memory does not grow with the number of images, and
        no writer waits.
        """
        after: tuple[str, str] | None = None
        while True:
            query = _select().order_by(IMAGE.c.collection_key, IMAGE.c.image_key)
            if collection is not None:
                query = query.where(IMAGE.c.collection_key == collection.lower())
            if since is not None:
                query = query.where(IMAGE.c.imported > since)
            if after is not None:
                pair = tuple_(IMAGE.c.collection_key, IMAGE.c.image_key)
                query = query.where(pair > after)
            with self._database.read() as connection:
                rows = connection.execute(query.limit(_ROWS_AT_ONCE)).all()
            if not rows:
                return
            yield [self._record(row) for row in rows]
            after = (rows[-1].collection_key, rows[-1].image_key)

    def _record(self, row: Row[Any]) -> ImageRecord:
        return ImageRecord(
            key=ImageKey(row.name, row.image_id),
            uri=self._located(row.uri),
            size_bytes=row.size_bytes,
            md5=row.md5,
            signature=row.signature,
            media_type=row.media_type,
            index_path=row.index_path,
            planes={PlaneKind(kind): hdu for kind, hdu in row.planes.items()},
            progenitors=tuple(row.progenitors),
            released=row.released,
            release=row.release,
            obscore=row.obscore,
            imported=row.imported,
        )

    def _stored(self, uri: str) -> str:
        """Return how the place of a file is written down."""
        if self._own is None or not uri.startswith(self._own):
            return uri
        return _OWN + uri.removeprefix(self._own)

    def _located(self, stored: str) -> str:
        """Return where a file is now."""
        if self._own is None or not stored.startswith(_OWN):
            return stored
        return self._own + stored.removeprefix(_OWN)


def _select() -> Select[Any]:
    return select(IMAGE, IMAGE_COLLECTION.c.name, IMAGE_COLLECTION.c.release).join_from(
        IMAGE, IMAGE_COLLECTION, IMAGE.c.collection_key == IMAGE_COLLECTION.c.collection_key
    )


def _find_collection(connection: Connection, key: str) -> ImageCollection | None:
    query = select(IMAGE_COLLECTION).where(IMAGE_COLLECTION.c.collection_key == key)
    row = connection.execute(query).first()
    return None if row is None else _collection(row)


def _collection(row: Row[Any]) -> ImageCollection:
    return ImageCollection(
        name=row.name,
        title=row.title,
        description=row.description,
        documentation=row.documentation,
        release=row.release,
        created=row.created,
    )


def _no_collection(name: str) -> NotFoundError:
    return NotFoundError(
        f"There is no collection of images {name[:100]!r}; `astrolabe image collections` lists "
        "those there are."
    )


def _delete(connection: Connection, keys: Sequence[ImageKey]) -> int:
    gone = 0
    for key in keys:
        collection, image = key.folded
        gone += connection.execute(
            delete(IMAGE).where(
                and_(IMAGE.c.collection_key == collection, IMAGE.c.image_key == image)
            )
        ).rowcount
    return gone


def _values(record: ImageRecord) -> dict[str, Any]:
    collection, image = record.key.folded
    check_image_id(record.key.image_id)
    return {
        "collection_key": collection,
        "image_key": image,
        "image_id": record.key.image_id,
        "size_bytes": record.size_bytes,
        "md5": record.md5,
        "signature": record.signature,
        "media_type": record.media_type,
        "index_path": record.index_path,
        "planes": {kind.value: hdu for kind, hdu in record.planes.items()},
        "progenitors": list(record.progenitors),
        "released": record.released,
        "obscore": dict(record.obscore),
        "imported": record.imported,
    }
