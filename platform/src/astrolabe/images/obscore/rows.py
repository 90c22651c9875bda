"""From images to rows of ``ivoa.ObsCore``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

import pyarrow as pa
import structlog

from astrolabe.core.clock import parse_utc
from astrolabe.images.model import ImageRecord
from astrolabe.images.obscore.columns import DERIVED_COLUMNS, OBSCORE
from astrolabe.tables.model import Column, Datatype, arrow_type

__all__ = ["DATALINK_MEDIA_TYPE", "ObsCoreRows", "links_address"]

_LOG = structlog.get_logger(__name__)

DATALINK_MEDIA_TYPE: Final = "application/x-votable+xml;content=datalink"

_SCHEMA = pa.schema([pa.field(column.name, arrow_type(column)) for column in OBSCORE.columns])
_LARGEST: Final = 2**63


def links_address(public_url: str, did: str) -> str:
    """Return the address of an image's links.

    Parameters
    ----------
    public_url
        Of the platform, without a slash at its end.
    did
        Identifier of the image.
    """
    return f"{public_url}/api/datalink/links?ID={quote(did, safe='')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObsCoreRows:
    """Makes rows of ObsCore.

    Parameters
    ----------
    authority
        Of the identifiers.
    public_url
        Of the platform, without a slash at its end.
    rights_of
        Gives ``data_rights`` of an image that does not say so itself.
    """

    authority: str
    public_url: str
    rights_of: Callable[[ImageRecord], str]

    def batch(self, records: Sequence[ImageRecord]) -> pa.RecordBatch:
        """Return one row for each image, in the columns of `OBSCORE`.

        A value that is not what its column holds becomes null and is told to the log: one odd
        image must not keep all others from being found.
        """
        rows = [self.row(record) for record in records]
        return pa.RecordBatch.from_pylist(rows, schema=_SCHEMA)

    def row(self, record: ImageRecord) -> dict[str, Any]:
        """Return the row of one image."""
        row: dict[str, Any] = {}
        for column in OBSCORE.columns:
            if column.name in DERIVED_COLUMNS:
                continue
            given = record.obscore.get(column.name)
            try:
                row[column.name] = None if given is None else _value(column, given)
            except (TypeError, ValueError, OverflowError) as exc:
                _LOG.warning(
                    "odd value left out of ObsCore",
                    image=record.key.path,
                    column=column.name,
                    error=str(exc)[:200],
                )
                row[column.name] = None
        self._place(row)
        self._fill(row, record)
        return row

    @staticmethod
    def _place(row: dict[str, Any]) -> None:
        """Take away a position that is none; a footprint without centre would never be found."""
        ra, dec = row["s_ra"], row["s_dec"]
        if ra is None or dec is None or not -90.0 <= dec <= 90.0:
            row["s_ra"] = row["s_dec"] = row["s_region"] = None
        elif not 0.0 <= ra < 360.0:
            # The remainder of a tiny negative number rounds to 360 itself.
            row["s_ra"] = ra % 360.0 if ra % 360.0 < 360.0 else 0.0

    def _fill(self, row: dict[str, Any], record: ImageRecord) -> None:
        did = record.key.did(self.authority)
        row["obs_collection"] = record.key.collection
        row["obs_publisher_did"] = did
        row["obs_release_date"] = _naive_utc(record.released)
        row["access_url"] = links_address(self.public_url, did)
        row["access_format"] = DATALINK_MEDIA_TYPE
        row["access_estsize"] = max(1, -(-record.size_bytes // 1000))
        defaults = {
            "obs_id": record.key.image_id,
            "dataproduct_type": "image",
            # What is known of any FITS file: "instrumental data in a standard format".
            "calib_level": 1,
            "publisher_id": f"ivo://{self.authority}",
        }
        for name, value in defaults.items():
            if row[name] is None:
                row[name] = value
        if row["data_rights"] is None:
            row["data_rights"] = self.rights_of(record)


def _value(column: Column, given: Any) -> Any:  # noqa: ANN401 - what JSON may hold
    """Return a value as Arrow wants it."""
    if isinstance(given, bool):
        raise TypeError(f"{given!r} is no value of {column.name}")
    if column.is_timestamp:
        return _naive_utc(given if isinstance(given, datetime) else parse_utc(given))
    if column.xtype == "polygon":
        return _polygon(given)
    if column.is_string:
        return str(given).strip() or None
    if column.datatype is Datatype.DOUBLE:
        number = float(given)
        return number if math.isfinite(number) else None
    whole = int(given)
    if whole != given or not -_LARGEST <= whole < _LARGEST:
        raise ValueError(f"{given!r} is no whole number")
    return whole


def _polygon(given: Sequence[float]) -> list[float]:
    corners = [float(number) for number in given]
    if len(corners) < 6 or len(corners) % 2:
        raise ValueError(f"a polygon needs three corners or more, not {len(corners)} numbers")
    if not all(math.isfinite(number) for number in corners):
        raise ValueError("a corner is not finite")
    if not all(-90.0 <= lat <= 90.0 for lat in corners[1::2]):
        raise ValueError("a corner's declination is beyond a pole")
    return corners


def _naive_utc(when: datetime | None) -> datetime | None:
    """Return an instant as the columns hold it: UTC, without saying so."""
    if when is None or when.tzinfo is None:
        return when
    return when.astimezone(UTC).replace(tzinfo=None)
