"""A writer that is killed at a chosen point: run as a process of its own by ``test_killed.py``.

Arguments: database URL, Iceberg URL, tables' folder, point.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from astrolabe.catalogs.iceberg import IcebergTables
from astrolabe.catalogs.publishing import WriteMode
from astrolabe.catalogs.store import CatalogStore
from astrolabe.catalogs.table_write import TableWrite
from astrolabe.core.database import Database

from .staging import object_meta, stage


def _die(*_args: Any, **_kwargs: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(database_url: str, iceberg_url: str, folder: str, point: str) -> None:
    root = Path(folder)
    store = CatalogStore(
        Database(database_url),
        tables_root=root,
        iceberg=IcebergTables(iceberg_url, warehouse=root),
        durable=False,
    )
    if point == "iceberg":
        IcebergTables.publish = _die  # type: ignore[method-assign,assignment]
    elif point == "commit":
        TableWrite._commit = _die  # type: ignore[method-assign]
    elif point == "committed":
        TableWrite._name_current = _die  # type: ignore[method-assign]
    mode: WriteMode = "replace" if store.view().schemas else "create"
    with store.begin_write("dr1", "object", mode=mode, owner="the one that dies") as lease:
        staged = stage(lease, object_meta())
        if point == "files":
            _die()
        lease.publish(staged)


if __name__ == "__main__":
    main(*sys.argv[1:])
