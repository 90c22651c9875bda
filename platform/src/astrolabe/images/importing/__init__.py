"""Importing images: from FITS files to records, indexes and rows of ObsCore."""

from astrolabe.images.importing.butler import ButlerQuery, find_butler_files
from astrolabe.images.importing.mapping import HeaderMapping, parse_mapping, read_mapping
from astrolabe.images.importing.options import (
    ImageImportOptions,
    ImageImportProgress,
    ImageImportReport,
    ImageProgressListener,
    RefusedFile,
)
from astrolabe.images.importing.run import run_image_import

__all__ = [
    "ButlerQuery",
    "HeaderMapping",
    "ImageImportOptions",
    "ImageImportProgress",
    "ImageImportReport",
    "ImageProgressListener",
    "RefusedFile",
    "find_butler_files",
    "parse_mapping",
    "read_mapping",
    "run_image_import",
]
