"""Tables that come with a query: TAP's UPLOAD parameter (TAP 1.1, section 2.5)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from shutil import rmtree

import pyarrow as pa

from astrolabe.core.errors import UploadInvalidError
from astrolabe.identity import Principal
from astrolabe.tables.model import TableMeta, arrow_type, quote_name
from astrolabe.tables.readers import open_upload
from astrolabe.tables.source import TableSource

__all__ = ["UPLOAD_SCHEMA", "UploadResolver", "UploadStore", "UploadedTable", "parse_upload"]

UPLOAD_SCHEMA = "TAP_UPLOAD"
"""Schema in which a query finds its uploaded tables; never in TAP_SCHEMA."""

_TABLE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}\Z")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UploadedTable:
    """One uploaded table in memory."""

    meta: TableMeta
    data: pa.Table


def parse_upload(values: Sequence[str]) -> dict[str, str]:
    """Read UPLOAD parameters: ``name,uri`` pairs, several by ``;`` or by repeating.

    Returns
    -------
    dict
        Table name to URI (``param:part`` or an address).

    Raises
    ------
    UploadInvalidError
        Raised if a pair is malformed, a name is no regular identifier or is used twice.
    """
    found: dict[str, str] = {}
    for pair in (part.strip() for value in values for part in value.split(";")):
        if not pair:
            continue
        name, comma, uri = (part.strip() for part in pair.partition(","))
        if not comma or not uri:
            raise UploadInvalidError(f"UPLOAD must be 'table_name,uri', not {pair!r}.")
        if not _TABLE_NAME.match(name) or quote_name(name) != name:
            raise UploadInvalidError(
                f"{name!r} cannot name an uploaded table: give a letter followed by letters, "
                "digits or underscores that is not a reserved word of ADQL, without a schema."
            )
        if any(name.upper() == other.upper() and found[other] != uri for other in found):
            raise UploadInvalidError(f"Two uploaded tables are called {name!r}.")
        found[name] = uri
    return found


class UploadStore:
    """Uploaded files of waiting and running queries, one folder for each.

    Parameters
    ----------
    root
        Folder of all uploads.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, owner_id: str, part: str) -> Path:
        """Return where the part `part` of the query or job `owner_id` is kept.

        The name is a hash: what a client calls its file never becomes a path.
        """
        return self._folder(owner_id) / sha256(part.encode()).hexdigest()[:32]

    def prepare(self, owner_id: str, part: str) -> Path:
        """Make the folder and return the path to write `part` to."""
        path = self.path(owner_id, part)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def delete(self, owner_id: str) -> None:
        """Remove everything that was uploaded for `owner_id`."""
        rmtree(self._folder(owner_id), ignore_errors=True)

    def _folder(self, owner_id: str) -> Path:
        if not owner_id.isalnum():
            raise UploadInvalidError("That is not the id of a query or job.")
        return self._root / owner_id


class UploadResolver:
    """Turns UPLOAD parameters into tables.

    Parameters
    ----------
    open_address
        Opens one of the platform's own result addresses with the rights of a principal; gives
        `None` for any other address.
    max_rows
        Most rows of one table.
    """

    def __init__(
        self,
        *,
        open_address: Callable[[str, Principal], TableSource | None],
        max_rows: int,
    ) -> None:
        self._open_address = open_address
        self._max_rows = max_rows

    def resolve(
        self, values: Sequence[str], *, files: Mapping[str, Path], principal: Principal
    ) -> tuple[UploadedTable, ...]:
        """Read every table that the UPLOAD parameters `values` name.

        Parameters
        ----------
        files
            Multipart parts by the name that ``param:`` uses.

        Raises
        ------
        UploadInvalidError
            Raised if a parameter is malformed, a part is missing, an address is not one of the
            platform's own, or a table cannot be read.
        """
        return tuple(
            self._load(name, self._open(name, uri, files, principal))
            for name, uri in parse_upload(values).items()
        )

    def _open(
        self, name: str, uri: str, files: Mapping[str, Path], principal: Principal
    ) -> TableSource:
        scheme, _, rest = uri.partition(":")
        if scheme.lower() == "param":
            path = files.get(rest)
            if path is None or not path.exists():
                raise UploadInvalidError(
                    f"UPLOAD names the part {rest!r} for table {name!r}, but the request has no "
                    "such multipart part."
                )
            return open_upload(path, max_rows=self._max_rows)
        source = self._open_address(uri, principal) if scheme.lower() in ("http", "https") else None
        if source is None:
            raise UploadInvalidError(
                f"The table {name!r} cannot be fetched from {uri!r}: only this platform's own "
                "result addresses can be uploaded by address. Send the table inline as "
                f"UPLOAD={name},param:part instead."
            )
        return source

    def _load(self, name: str, source: TableSource) -> UploadedTable:
        columns = source.meta.columns
        _refuse_case_clash(name, [column.name for column in columns])
        if not columns:
            raise UploadInvalidError(f"The uploaded table {name!r} has no columns.")
        schema = pa.schema([(column.name, arrow_type(column)) for column in columns])
        data = pa.Table.from_batches(self._bounded(name, source), schema=schema)
        meta = TableMeta(
            schema=UPLOAD_SCHEMA,
            name=name,
            columns=columns,
            description=source.meta.description,
            coordinate_system=source.meta.coordinate_system,
            row_count=data.num_rows,
        )
        return UploadedTable(meta=meta, data=data)

    def _bounded(self, name: str, source: TableSource) -> Iterator[pa.RecordBatch]:
        rows = 0
        for batch in source.batches():
            rows += batch.num_rows
            if rows > self._max_rows:
                raise UploadInvalidError(
                    f"The uploaded table {name!r} has more than {self._max_rows} rows, the limit "
                    "(setting tap.upload_rows)."
                )
            yield batch


def _refuse_case_clash(table: str, names: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.upper(), name)
        if other is not name:
            raise UploadInvalidError(
                f"The uploaded table {table!r} has the columns {other!r} and {name!r}, which "
                "differ only in case: rename one."
            )
