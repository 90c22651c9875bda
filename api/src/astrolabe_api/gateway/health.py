"""``/health``: whether the platform can be used, and the state of each part."""

from __future__ import annotations

import json
import threading
from contextlib import closing
from typing import Literal

import structlog
from pydantic import BaseModel, Field
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from astrolabe.catalogs.cancel import QueryCancel
from astrolabe.catalogs.model import CatalogView
from astrolabe.catalogs.query import QueryRequest
from astrolabe.core.version import VERSION
from astrolabe.factory import ProcessContext
from astrolabe.identity.authority import PLATFORM
from astrolabe.tables.model import TableMeta

__all__ = ["Health", "HealthChecks"]

_log = structlog.get_logger(__name__)

_CHECK_SECONDS = 20.0

PartState = Literal["ok", "starting", "failed"]


class Part(BaseModel):
    """The state of one part."""

    state: PartState = Field(description="ok, starting or failed.")
    detail: str | None = Field(None, description="More about it, for people.")


class Health(BaseModel):
    """The state of the platform."""

    ready: bool = Field(description="Whether every installed table answers.")
    version: str = Field(description="Version of the software.")
    parts: dict[str, Part] = Field(description="State of each part by its name.")


class HealthChecks:
    """Looks at the parts; each table is asked once for each of its versions.

    Parameters
    ----------
    context
        The domain's services.
    """

    def __init__(self, context: ProcessContext) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._answered: set[tuple[str, int]] = set()
        self._checked_view: CatalogView | None = None

    def look(self) -> Health:
        """Return the state as it is now; blocks while tables are asked for the first time."""
        # Before the tables: where it says that all are there, they are looked for after that.
        demo = self._demo()
        parts = {"database": self._database()}
        if parts["database"].state == "ok":
            parts["tap"] = self._tap()
        else:
            parts["tap"] = Part(state="failed", detail="needs the database")
        if demo is not None:
            parts["demo"] = demo
        # Images come later: nobody need wait for them.
        ready = all(part.state == "ok" for part in parts.values())
        images = self._demo_images()
        if images is not None:
            parts["images"] = images
        return Health(ready=ready, version=VERSION, parts=parts)

    def _database(self) -> Part:
        try:
            with self._context.database.read() as connection:
                connection.execute(text("SELECT 1"))
        except SQLAlchemyError as exc:
            _log.warning("the control database does not answer", exc_info=exc)
            return Part(state="failed", detail="the control database does not answer")
        return Part(state="ok")

    def _tap(self) -> Part:
        try:
            view = self._context.catalog.view(fresh=True)
            with self._lock:
                if self._checked_view is not view:
                    self._ask_tables(view)
                    self._checked_view = view
        except Exception as exc:  # noqa: BLE001 - whatever broke, health is what tells of it
            _log.warning("a table does not answer", exc_info=exc)
            # Which one it is, and how many there are, is not for everybody: the log says it.
            return Part(state="failed", detail="a table cannot be read")
        return Part(state="ok")

    def _ask_tables(self, view: CatalogView) -> None:
        for schema in view.schemas:
            for table in schema.tables:
                version = view.table(table.schema, table.name)
                key = (table.qualified_name, 0 if version is None else version.version)
                if key not in self._answered:
                    self._ask(table)
                    self._answered.add(key)

    def _ask(self, table: TableMeta) -> None:
        query = f"SELECT TOP 1 * FROM {table.adql_name}"  # noqa: S608 - ADQL, a quoted name
        request = QueryRequest(query=query, maxrec=1)
        cancel = QueryCancel(seconds=_CHECK_SECONDS)
        queries = self._context.queries
        with closing(queries.start(request, principal=PLATFORM, cancel=cancel)) as running:
            for _ in running:
                pass

    def _demo(self) -> Part | None:
        """Return how far the demo survey is, `None` where none was asked for."""
        return self._made("demo.json", "the demo survey is being made")

    def _demo_images(self) -> Part | None:
        """Return how far the images of the demo survey are, `None` where there are to be none."""
        return self._made("demo-images.json", "the images of the demo survey are being made")

    def _made(self, file: str, making: str) -> Part | None:
        try:
            state = json.loads((self._context.settings.home / file).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        if isinstance(state, dict) and state.get("state") == "making":
            return Part(state="starting", detail=making)
        return Part(state="ok")
