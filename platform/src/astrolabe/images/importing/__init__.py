"""Importing images: from FITS files to records, indexes and rows of ObsCore."""

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
    "HeaderMapping",
    "ImageImportOptions",
    "ImageImportProgress",
    "ImageImportReport",
    "ImageProgressListener",
    "RefusedFile",
    "parse_mapping",
    "read_mapping",
    "run_image_import",
]
