"""Time: UTC `datetime`, and the form in which UWS and VOSI write it."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["format_utc", "parse_utc", "utc_now"]


def utc_now() -> datetime:
    """Return the present time as an aware UTC `datetime`."""
    return datetime.now(UTC)


def format_utc(when: datetime) -> str:
    """Write a time as ``YYYY-MM-DDThh:mm:ss.sssZ`` (DALI 1.1, section 3.1.2).

    A naive `when` is taken as UTC (SQLite gives such times back).
    """
    aware = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
    return (
        aware.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{aware.microsecond // 1000:03d}Z"
    )


def parse_utc(text: str) -> datetime:
    """Read an ISO 8601 time, with or without zone; without one it is UTC.

    Raises
    ------
    ValueError
        Raised if `text` is not an ISO 8601 date or date and time.
    """
    when = datetime.fromisoformat(text.strip())
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
