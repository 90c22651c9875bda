"""Reading documents of links."""

from __future__ import annotations

import io
import re
import subprocess
from pathlib import Path
from typing import Any

import httpx
from astropy.io.votable import parse
from astropy.io.votable.tree import Resource, VOTableFile

__all__ = ["LINKS", "Row", "document", "infos", "lint", "rows", "services", "values"]

LINKS = "/api/datalink/links"

Row = dict[str, Any]


def document(response: httpx.Response) -> VOTableFile:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/x-votable+xml;content=datalink"
    return parse(io.BytesIO(response.content), verify="exception")


def rows(response: httpx.Response) -> list[Row]:
    """Return the links; missing values are `None`."""
    (table,) = document(response).resources[0].tables
    found = []
    for row in table.array:
        cells = {name: row[name] for name in table.array.dtype.names}
        found.append({name: _plain(cell) for name, cell in cells.items()})
    return found


def _plain(cell: Any) -> Any:
    if getattr(cell, "mask", False):
        return None
    value = cell.item() if hasattr(cell, "item") else cell
    return None if value == "" else value


def infos(response: httpx.Response) -> dict[str, str]:
    return {info.name: info.value for info in document(response).resources[0].infos}


def services(response: httpx.Response) -> dict[str | None, Resource]:
    """Return the described services by their XML ID."""
    return {r.ID: r for r in document(response).resources[1:]}


def values(response: httpx.Response, service_id: str) -> dict[str, dict[str, str]]:
    """Return the attributes of the inputs of a service, and its bounds, as they are written."""
    text = response.text
    found = re.search(rf'<RESOURCE [^>]*ID="{service_id}".*?</RESOURCE>', text, re.DOTALL)
    assert found is not None, service_id
    group = found[0].partition('<GROUP name="inputParams">')[2]
    params = {}
    for start, inside in re.findall(r"<PARAM ([^>]*?)(?:/>|>(.*?)</PARAM>)", group, re.DOTALL):
        attributes = dict(re.findall(r'(\w+)="([^"]*)"', start))
        attributes |= dict(re.findall(r'<(MIN|MAX) value="([^"]*)"/>', inside))
        options = re.findall(r'<OPTION value="([^"]*)"/>', inside)
        if options:
            attributes["OPTIONS"] = " ".join(options)
        params[attributes["name"]] = attributes
    return params


def lint(body: bytes, path: Path) -> list[str]:
    """Return what STILTS' DataLink validator says against a document, and that it looked at it."""
    path.write_bytes(body)
    run = subprocess.run(
        ["stilts", "datalinklint", f"votable={path}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    lines = (run.stdout + run.stderr).splitlines()
    assert any("rows checked" in line for line in lines), lines
    return [line for line in lines if re.match(r"[EWF]-", line)]
