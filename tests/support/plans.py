"""What the planner decides for a query on a real catalog, and answers without its pruning."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from astrolabe.adql import check_query
from astrolabe.catalogs import query as query_module
from astrolabe.catalogs.engine import FileScan
from astrolabe.catalogs.planning import plan_query
from astrolabe.factory import ProcessContext
from tests.support.tiny import ask

__all__ = ["ask_unpruned", "groups_read", "planned"]


def planned(context: ProcessContext, query: str) -> dict[str, FileScan]:
    """Return the scan of each table of a query by its key: ``t0`` for the first one."""
    view = context.catalog.view()
    plan = plan_query(
        check_query(query, view), view, {}, row_limit=None, row_groups=context.row_groups
    )
    return {key: scan for key, scan in plan.scans.items() if isinstance(scan, FileScan)}


def groups_read(context: ProcessContext, query: str) -> dict[str, int]:
    """Return how many row groups of each table a query reads, by its key."""
    found = {}
    for key, scan in planned(context, query).items():
        assert scan.groups is not None
        found[key] = sum(len(groups) for groups in scan.groups)
    return found


def ask_unpruned(context: ProcessContext, query: str, monkeypatch: pytest.MonkeyPatch) -> pa.Table:
    """Run a query with every file and row group read."""

    def everything(
        checked: Any, view: Any, memory: Any, *, row_limit: int | None, **_options: Any
    ) -> Any:
        plan = plan_query(checked, view, memory, row_limit=row_limit)
        scans = dict(plan.scans)
        for source in checked.tables:
            if source.key not in memory:
                version = view.table(source.table.schema, source.table.name)
                paths = tuple(f"{version.root}/{path}" for path in version.index.paths)
                scans[source.key] = FileScan(paths=paths)
        return type(plan)(query=checked, scans=scans, row_limit=row_limit)

    with monkeypatch.context() as patch:
        patch.setattr(query_module, "plan_query", everything)
        return ask(context, query)
