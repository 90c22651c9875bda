"""Importing tables: from any source to a published version in the storage's format."""

from astrolabe.catalogs.importing.options import (
    ImportOptions,
    ImportProgress,
    ImportReport,
    ProgressListener,
)
from astrolabe.catalogs.importing.pipeline import run_import

__all__ = ["ImportOptions", "ImportProgress", "ImportReport", "ProgressListener", "run_import"]
