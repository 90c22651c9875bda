"""A table's folder as a HATS collection: names of folders, and the file that names the version.

``{tables_root}/{schema}/{table}/`` holds ``collection.properties``, one folder ``vNNNN`` a version
and ``_iceberg`` with Iceberg's own metadata.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = [
    "ICEBERG_FOLDER",
    "PROPERTIES_FILE",
    "remove_collection_properties",
    "remove_folder",
    "sync_files",
    "version_folder_name",
    "version_folders",
    "write_collection_properties",
]

ICEBERG_FOLDER = "_iceberg"
PROPERTIES_FILE = "collection.properties"
_VERSION_FOLDER = re.compile(r"v(\d{4,})\Z")


def version_folder_name(version: int) -> str:
    """Return ``v0001`` for 1."""
    return f"v{version:04d}"


def version_folders(collection_root: Path) -> Iterator[tuple[int, Path]]:
    """Yield (version, folder) of every version's folder that is there, published or not."""
    if not collection_root.is_dir():
        return
    for path in sorted(collection_root.iterdir()):
        match = _VERSION_FOLDER.match(path.name)
        if match and path.is_dir():
            yield int(match[1]), path


def write_collection_properties(
    collection_root: Path, *, catalog_path: Path, details: Mapping[str, Any]
) -> None:
    """Let HATS readers find the current version, by one rename.

    Parameters
    ----------
    collection_root
        The table's folder.
    catalog_path
        The current HATS catalog, relative to `collection_root`.
    details
        As stored with the version: margin and id indexes, relative to the version's folder.
    """
    version = catalog_path.parts[0]
    lines = {
        "obs_collection": collection_root.name,
        "hats_primary_table_url": catalog_path.as_posix(),
    }
    margin = details.get("margin")
    if margin is not None:
        lines["all_margins"] = lines["default_margin"] = f"{version}/{margin['path']}"
    # The format parts names by blanks.
    indexes = {
        c: path for c, path in (details.get("id_indexes") or {}).items() if len(c.split()) == 1
    }
    if indexes:
        lines["all_indexes"] = " ".join(f"{c} {version}/{path}" for c, path in indexes.items())
        lines["default_index"] = next(iter(indexes))
    lines |= {"hats_builder": "astrolabe", "hats_version": "v1.0"}
    text = "".join(f"{key}={value}\n" for key, value in lines.items())
    target = collection_root / PROPERTIES_FILE
    if target.exists() and target.read_text("utf-8") == text:
        return
    draft = collection_root / f".{PROPERTIES_FILE}.{os.getpid()}"
    draft.write_text(text, "utf-8")
    draft.replace(target)


def remove_collection_properties(collection_root: Path) -> None:
    """Let HATS readers no longer find the table."""
    (collection_root / PROPERTIES_FILE).unlink(missing_ok=True)


def sync_files(files: Iterable[Path], root: Path) -> None:
    """Wait until `files`, and the folders between them and `root`, are on the disk.

    Without it a power cut could leave a database that names files which were never written.
    """
    folders = {root.parent, root}
    for file in files:
        _sync(file)
        folders |= {folder for folder in file.parents if folder.is_relative_to(root)}
    for folder in folders:
        _sync(folder)


def remove_folder(folder: Path) -> int:
    """Remove a folder with all in it and return the bytes that this frees.

    A file that another version shares by a hard link frees nothing.
    """
    freed = 0
    for path in folder.rglob("*"):
        status = path.lstat()
        if path.is_file() and status.st_nlink == 1:
            freed += status.st_size
    shutil.rmtree(folder, ignore_errors=False)
    return freed


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
