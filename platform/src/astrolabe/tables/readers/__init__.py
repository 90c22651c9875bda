"""Readers of tables, one a form, and how the form of a file is found."""

from __future__ import annotations

from astrolabe.tables.readers.opening import SOURCE_FORMATS, open_source, open_upload

__all__ = ["SOURCE_FORMATS", "open_source", "open_upload"]
