"""Publishing ``ivoa.ObsCore`` from the images that the control database holds.

The control database is the source; the table is made from it and can be made again at any time.
Rows are only added where every image that was published is still as it was, otherwise all are
written anew.  That is told by two figures kept with the version: the time of the youngest image
published, and how many images there were up to then.  An image that is written again gets a new
time, so the count up to the old one falls short of it.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import pyarrow as pa
import structlog

from astrolabe.catalogs.importing import run_import
from astrolabe.catalogs.importing.options import ImportOptions, ProgressListener
from astrolabe.catalogs.locks import acquire
from astrolabe.catalogs.publishing import WriteMode
from astrolabe.catalogs.store import CatalogStore
from astrolabe.catalogs.view import TableEntry
from astrolabe.core.clock import parse_utc, utc_now
from astrolabe.core.database import Database
from astrolabe.core.errors import AstrolabeError, ConflictError, InternalError
from astrolabe.identity.access import PUBLIC, USERS, Resource
from astrolabe.identity.rights import Policy, Rights
from astrolabe.images.access import resource_of
from astrolabe.images.model import ImageRecord
from astrolabe.images.obscore.columns import (
    OBSCORE,
    OBSCORE_GROUP_ROWS,
    OBSCORE_NAME,
    OBSCORE_SCHEMA,
)
from astrolabe.images.obscore.row_rules import PUBLISHED
from astrolabe.images.obscore.rows import ObsCoreRows
from astrolabe.images.store import ImageStore
from astrolabe.tables.source import SourceMeta

__all__ = ["ObsCorePublisher", "PublishReport"]

_LOG = structlog.get_logger(__name__)

_LOCK: Final = "obscore"
_BUSY: Final = "ivoa.ObsCore is being published ({holder}). Wait until that is done and try again."
_LOOK_AGAIN_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishReport:
    """What a publication did.

    Parameters
    ----------
    mode
        ``create``, ``replace`` or ``append``; `None` where nothing had changed.
    rows
        Rows that were written.
    total_rows
        Rows of the table now.
    version
        The current version of the table.
    seconds
        Wall time.
    """

    mode: WriteMode | None
    rows: int
    total_rows: int
    version: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Published:
    """What is kept with a version.

    Parameters
    ----------
    basis
        Of all that rows are made of beside the images.
    until
        Time of the youngest image, `None` without images.
    count
        How many images were published; -1 if some were written meanwhile, so that what was
        published of them is not known.
    collections
        Every value of ``obs_collection``.
    """

    basis: str
    until: datetime | None
    count: int
    collections: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        until = None if self.until is None else self.until.isoformat()
        return {
            "basis": self.basis,
            "until": until,
            "count": self.count,
            "collections": list(self.collections),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> _Published:
        until = value["until"]
        return cls(
            basis=value["basis"],
            until=None if until is None else parse_utc(until),
            count=value["count"],
            collections=tuple(value["collections"]),
        )


class ObsCorePublisher:
    """Writes ``ivoa.ObsCore``.  Safe to use from many threads and processes.

    Parameters
    ----------
    store
        The images.
    catalog
        Where the table goes.
    database
        The control database.
    rights
        Says who may read what, for ``data_rights``.
    authority, public_url
        Of identifiers and of links.
    """

    def __init__(
        self,
        store: ImageStore,
        *,
        catalog: CatalogStore,
        database: Database,
        rights: Rights,
        authority: str,
        public_url: str,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._database = database
        self._rights = rights
        self._authority = authority
        self._public_url = public_url.rstrip("/")

    def publish(
        self,
        *,
        anew: bool = False,
        wait_seconds: float = 600.0,
        progress: ProgressListener | None = None,
    ) -> PublishReport:
        """Make the table show the images that there are; does nothing if it does already.

        Parameters
        ----------
        anew
            Write all rows again even if nothing has changed.
        wait_seconds
            How long to wait for another publication (s).
        progress
            Is told how far it is.

        Raises
        ------
        ConflictError
            Raised if another publication lasted longer than that.
        StorageFullError
            Raised if there is no room; the table is as it was.
        """
        started = time.monotonic()
        with self._alone(wait_seconds):
            rows, basis = self._rows()
            mode, since = self._mode(basis, anew=anew)
            if mode is None:
                return self._report(None, 0, started)
            newest = self._store.newest()
            source = _ImageSource(self._store, rows, since=since, newest=newest)
            before = self._published() if mode == "append" else None

            def kept() -> dict[str, object]:
                earlier = 0 if before is None else before.count
                count = -1 if source.later else source.rows + earlier
                names = source.collections | set(() if before is None else before.collections)
                now = _Published(
                    basis=basis, until=newest, count=count, collections=tuple(sorted(names))
                )
                return {PUBLISHED: now.as_json()}

            options = ImportOptions(
                schema=OBSCORE_SCHEMA,
                table=OBSCORE_NAME,
                mode=mode,
                declared=OBSCORE,
                keep_unplaced=True,
                properties=kept,
                margin_arcsec=0.0,
                rows_per_group=OBSCORE_GROUP_ROWS,
                owner="the publication of ObsCore",
            )
            run_import(source, options, self._catalog, progress=progress)
            return self._report(mode, source.rows, started)

    def refresh(self) -> None:
        """Publish anew what is there if the platform's address or another basis of it has changed.

        For the start of a process: never raises an error of ours, and waits for nobody.
        """
        try:
            if self._entry() is not None:
                self.publish(wait_seconds=0.0)
        except AstrolabeError as exc:
            _LOG.warning("ObsCore not refreshed", error=exc.message)

    @contextmanager
    def _alone(self, wait_seconds: float) -> Iterator[None]:
        """Wait until nobody else publishes, and keep others waiting."""
        until = time.monotonic() + wait_seconds
        while True:
            try:
                with self._database.write() as connection:
                    lease = acquire(self._database, connection, _LOCK, busy=_BUSY)
                break
            except ConflictError:
                if time.monotonic() >= until:
                    raise
                time.sleep(_LOOK_AGAIN_SECONDS)
        with lease:
            yield

    def _mode(self, basis: str, *, anew: bool) -> tuple[WriteMode | None, datetime | None]:
        """Return how to write, and the time after which images are new."""
        if self._entry() is None:
            return "create", None
        published = self._published()
        if published is None or anew or published.basis != basis or published.count < 0:
            return "replace", None
        if published.until is None:
            return ("replace" if self._store.count() else None), None
        if self._store.count(until=published.until) != published.count:
            return "replace", None
        if self._store.count() == published.count:
            return None, None
        return "append", published.until

    def _rows(self) -> tuple[ObsCoreRows, str]:
        """Return what makes rows, and what tells whether it would make others than before."""
        policy = self._rights.policy(fresh=True)
        rows = ObsCoreRows(
            authority=self._authority,
            public_url=self._public_url,
            rights_of=lambda record: _data_rights(policy, record),
        )
        collections = {
            c.name: sorted(policy.readers(Resource.of_collection(c.name, release=c.release)))
            for c in self._store.collections()
        }
        basis = json.dumps(
            [self._authority, self._public_url, repr(OBSCORE), collections], sort_keys=True
        )
        return rows, hashlib.sha256(basis.encode()).hexdigest()

    def _entry(self) -> TableEntry | None:
        view = self._catalog.view(fresh=True)
        return view.entries.get((OBSCORE_SCHEMA, OBSCORE_NAME))

    def _published(self) -> _Published | None:
        entry = self._entry()
        if entry is None:
            return None
        kept = (entry.row.details.get("properties") or {}).get(PUBLISHED)
        return None if kept is None else _Published.from_json(kept)

    def _report(self, mode: WriteMode | None, rows: int, started: float) -> PublishReport:
        entry = self._entry()
        if entry is None:
            raise InternalError("ivoa.ObsCore was dropped while it was being published.")
        report = PublishReport(
            mode=mode,
            rows=rows,
            total_rows=entry.row.row_count,
            version=entry.row.version,
            seconds=time.monotonic() - started,
        )
        _LOG.info("ObsCore published", mode=mode or "unchanged", rows=rows, total=report.total_rows)
        return report


class _ImageSource:
    """The images as a table that an import reads once."""

    def __init__(
        self,
        store: ImageStore,
        rows: ObsCoreRows,
        *,
        since: datetime | None,
        newest: datetime | None,
    ) -> None:
        self._store = store
        self._rows = rows
        self._since = since
        self._newest = newest
        self.rows = 0
        self.later = 0
        self.collections: set[str] = set()

    @property
    def meta(self) -> SourceMeta:
        """The columns of ObsCore."""
        return SourceMeta(columns=OBSCORE.columns, row_count=self._store.count())

    def batches(self, *, max_rows: int = 65_536) -> Iterator[pa.RecordBatch]:
        """Yield the rows; counts those that were written after the publication began."""
        gathered: list[ImageRecord] = []
        for records in self._store.scan(since=self._since):
            gathered += records
            while len(gathered) >= max_rows:
                yield self._batch(gathered[:max_rows])
                del gathered[:max_rows]
        if gathered:
            yield self._batch(gathered)

    def _batch(self, records: list[ImageRecord]) -> pa.RecordBatch:
        self.rows += len(records)
        self.collections.update(record.key.collection for record in records)
        if self._newest is not None:
            self.later += sum(record.imported > self._newest for record in records)
        return self._rows.batch(records)


def _data_rights(policy: Policy, record: ImageRecord) -> str:
    """Return who may have an image's pixels, in the words of ObsCore 1.1 (section B.4.4)."""
    resource = resource_of(record)
    released = record.released is not None and record.released <= utc_now()
    readers = policy.readers(resource)
    if PUBLIC in readers or (released and policy.rule_of(resource).listed):
        return "public"
    return "secure" if USERS in readers else "proprietary"
