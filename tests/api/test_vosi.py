"""The documents that describe the service, valid against the IVOA's schemas."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import httpx
import pytest
from lxml import etree

from .conftest import ADDRESS, ROWS
from .test_sync import votable
from .xsd import assert_valid

pytestmark = pytest.mark.timeout(90)

TAP = "/api/tap"
XSI_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"


@pytest.fixture(scope="session")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("xsd")


async def fetch(client: httpx.AsyncClient, path: str) -> bytes:
    response = await client.get(TAP + path)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] in ("application/xml", "application/xhtml+xml")
    return response.content


def texts(root: etree._Element, path: str) -> list[str]:
    return [str(found.text) for found in root.iterfind(path)]


@pytest.mark.asyncio
async def test_capabilities(client: httpx.AsyncClient, schemas: Path) -> None:
    root = assert_valid(await fetch(client, "/capabilities"), schemas)
    found = {c.get("standardID"): c for c in root.iterfind("capability")}
    assert list(found) == [
        "ivo://ivoa.net/std/TAP",
        "ivo://ivoa.net/std/VOSI#capabilities",
        "ivo://ivoa.net/std/VOSI#availability",
        "ivo://ivoa.net/std/VOSI#tables-1.1",
        "ivo://ivoa.net/std/DALI#examples",
    ]
    tap = found["ivo://ivoa.net/std/TAP"]
    assert tap.get(XSI_TYPE) == "tr:TableAccess"
    (interface,) = tap.findall("interface")
    assert {str(k): str(v) for k, v in interface.attrib.items()} == {
        XSI_TYPE: "vs:ParamHTTP",
        "role": "std",
        "version": "1.1",
    }
    address = interface.find("accessURL")
    assert address is not None
    assert (address.text, address.get("use")) == (f"{ADDRESS}/api/tap", "base")
    assert [v.get("ivo-id") for v in tap.iterfind("language/version")] == [
        "ivo://ivoa.net/std/ADQL#v2.0",
        "ivo://ivoa.net/std/ADQL#v2.1",
    ]
    forms = texts(tap, "language/languageFeatures/feature/form")
    assert {"CIRCLE", "POLYGON", "DISTANCE", "CONTAINS"} <= set(forms)
    assert "REGION" not in forms
    assert {m.get("ivo-id") for m in tap.iterfind("uploadMethod")} == {
        "ivo://ivoa.net/std/TAPRegExt#upload-inline",
        "ivo://ivoa.net/std/TAPRegExt#upload-http",
    }
    assert texts(tap, "outputFormat/alias")[0] == "votable"
    assert texts(tap, "outputLimit/hard") == ["100000000"]
    assert texts(tap, "executionDuration/default") == ["14400"]
    assert texts(tap, "uploadLimit/hard") == ["5000000"]


@pytest.mark.asyncio
async def test_every_declared_feature_works(client: httpx.AsyncClient) -> None:
    root = etree.fromstring(await fetch(client, "/capabilities"))
    uses = {
        "AREA": "AREA(CIRCLE(1, 2, 3))",
        "BOX": "AREA(BOX(1, 2, 3, 4))",
        "CENTROID": "COORD1(CENTROID(CIRCLE(1, 2, 3)))",
        "CIRCLE": "AREA(CIRCLE(1, 2, 3))",
        "CONTAINS": "CONTAINS(POINT(1, 2), CIRCLE(1, 2, 3))",
        "COORD1": "COORD1(POINT(1, 2))",
        "COORD2": "COORD2(POINT(1, 2))",
        "COORDSYS": "COORDSYS(POINT('ICRS', 1, 2))",
        "DISTANCE": "DISTANCE(POINT(1, 2), POINT(3, 4))",
        "INTERSECTS": "INTERSECTS(CIRCLE(1, 2, 3), CIRCLE(1, 2, 3))",
        "POINT": "POINT(ra, dec)",
        "POLYGON": "AREA(POLYGON(1, 1, 2, 2, 3, 1))",
    }
    more = {
        "LOWER": "SELECT TOP 1 name FROM dr1.object WHERE LOWER(name) LIKE 'star%'",
        "UPPER": "SELECT TOP 1 UPPER(name) AS x FROM dr1.object",
        "ILIKE": "SELECT TOP 1 name FROM dr1.object WHERE name ILIKE 'STAR%'",
        "COALESCE": "SELECT TOP 1 COALESCE(name, 'none') AS x FROM dr1.object",
        "OFFSET": "SELECT TOP 1 objectId FROM dr1.object ORDER BY objectId OFFSET 3",
    }
    queries = {
        name: f"SELECT TOP 1 {use} AS x FROM dr1.object" for name, use in uses.items()
    } | more
    for form in root.iterfind(".//feature/form"):
        query = queries[str(form.text)]
        response = await client.get(f"{TAP}/sync", params={"LANG": "ADQL", "QUERY": query})
        assert response.status_code == 200, (query, response.text)
        assert len(votable(response).get_first_table().array) == 1, query


@pytest.mark.asyncio
async def test_capabilities_tell_when_they_changed(client: httpx.AsyncClient) -> None:
    first = await client.get(f"{TAP}/capabilities")
    again = await client.get(f"{TAP}/capabilities")
    assert first.headers["last-modified"] == again.headers["last-modified"]
    assert first.headers["last-modified"].endswith("GMT")


@pytest.mark.asyncio
async def test_availability(client: httpx.AsyncClient, schemas: Path) -> None:
    root = assert_valid(await fetch(client, "/availability"), schemas)
    assert next(child.text for child in root) == "true"


@pytest.mark.asyncio
async def test_tables_with_all_they_know(client: httpx.AsyncClient, schemas: Path) -> None:
    root = assert_valid(await fetch(client, "/tables"), schemas)
    assert root.tag == "{http://www.ivoa.net/xml/VOSITables/v1.0}tableset"
    assert {n.lower() for n in texts(root, "schema/name")} == {"dr1", "tap_schema"}
    tables = {str(t.findtext("name")): t for t in root.iterfind("schema/table")}
    assert {"dr1.object", "dr1.source", "tap_schema.columns"} <= set(tables)
    table = tables["dr1.object"]
    assert table.findtext("nrows") == str(ROWS)
    assert table.findtext("description") == "A table of tests & trials"
    names = texts(table, "column/name")
    assert names == ["objectId", "ra", "dec", "mag", '"size"', "name"]
    mag, size, name = (table.findall("column")[i] for i in (3, 4, 5))
    assert (mag.findtext("unit"), mag.findtext("ucd")) == ("mag", "phot.mag")
    assert mag.findtext("description") == "a < b"
    assert size.findtext("dataType") == "short"
    kind = name.find("dataType")
    assert kind is not None
    assert (kind.text, kind.get("arraysize"), kind.get(XSI_TYPE)) == (
        "char",
        "*",
        "vs:VOTableType",
    )
    key = tables["dr1.source"].find("foreignKey")
    assert key is not None
    assert key.findtext("targetTable") == "dr1.object"
    assert key.findtext("fkColumn/fromColumn") == "objectId"
    assert "esatapplus" not in etree.tostring(root).decode()


@pytest.mark.asyncio
async def test_tables_without_columns(client: httpx.AsyncClient, schemas: Path) -> None:
    root = assert_valid(await fetch(client, "/tables?detail=MIN"), schemas)
    assert "dr1.object" in texts(root, "schema/table/name")
    assert root.find(".//column") is None
    assert root.find(".//foreignKey") is None
    bad = await client.get(f"{TAP}/tables?detail=much")
    assert bad.status_code == 400


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["dr1.object", "DR1.Object", "tap_schema.COLUMNS"])
async def test_one_table(client: httpx.AsyncClient, schemas: Path, name: str) -> None:
    root = assert_valid(await fetch(client, f"/tables/{name}"), schemas)
    assert root.tag == "{http://www.ivoa.net/xml/VOSITables/v1.0}table"
    assert str(root.findtext("name")).lower() == name.lower()
    assert root.find("column") is not None
    assert (await client.get(f"{TAP}/tables/dr1.nothing")).status_code == 404
    assert (await client.put(f"{TAP}/tables/{name}")).status_code == 405


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "query", ["only_tables=true&share_accessible=true", "tables=dr1.object", "TABLES=DR1.object"]
)
async def test_tapplus_gets_its_flags(client: httpx.AsyncClient, query: str) -> None:
    root = etree.fromstring(await fetch(client, f"/tables?{query}"))
    esa = "{http://esa.int/xml/EsaTapPlus}"
    columns = root.findall(".//column")
    assert columns
    assert all(column.get(f"{esa}flags") is not None for column in columns)
    table = next(t for t in root.iterfind("schema/table") if t.findtext("name") == "dr1.object")
    flags = [column.get(f"{esa}flags") for column in table.iterfind("column")]
    assert flags == ["16", "1", "2", "8", "0", "0"]
    assert int(table.get(f"{esa}size_bytes", "0")) > 1000
    if "=dr1" in query.lower():
        assert texts(root, "schema/table/name") == ["dr1.object"]


@pytest.mark.asyncio
async def test_a_client_without_a_name_gets_the_flags_too(
    client: httpx.AsyncClient,
) -> None:
    """TapPlus asks for all tables by a bare GET, and crashes without its flags."""
    request = client.build_request("GET", f"{TAP}/tables")
    del request.headers["user-agent"]
    assert b"esatapplus:flags" in (await client.send(request)).content
    assert b"esatapplus" not in await fetch(client, "/tables")


@pytest.mark.asyncio
async def test_examples_run(client: httpx.AsyncClient) -> None:
    page = await fetch(client, "/examples")
    root = ET.fromstring(page)  # noqa: S314 - our own page, read as pyvo reads it
    xhtml = "{http://www.w3.org/1999/xhtml}"
    body = root.find(f"{xhtml}body")
    assert body is not None
    assert body.get("vocab") == "http://www.ivoa.net/rdf/examples#"
    examples = [e for e in root.iter() if e.get("typeof") == "example"]
    assert len(examples) >= 5
    for example in examples:
        assert example.get("resource") == f"#{example.get('id')}"
        assert len([e for e in example.iter() if e.get("property") == "name"]) == 1
        (query,) = [e for e in example.iter() if e.get("property") == "query"]
        response = await client.get(
            f"{TAP}/sync", params={"LANG": "ADQL", "QUERY": query.text or "", "FORMAT": "csv"}
        )
        assert response.status_code == 200, response.text
        assert len(response.text.splitlines()) > 1, f"no rows: {query.text}"


@pytest.mark.asyncio
async def test_large_documents_are_compressed_when_asked(client: httpx.AsyncClient) -> None:
    response = await client.get(f"{TAP}/tables", headers={"Accept-Encoding": "gzip"})
    assert response.headers["content-encoding"] == "gzip"
    plain = await client.get(f"{TAP}/tables", headers={"Accept-Encoding": "identity"})
    assert response.content == plain.content
    assert int(response.headers["content-length"]) < len(plain.content) / 2


@pytest.mark.asyncio
async def test_head_of_every_document(client: httpx.AsyncClient) -> None:
    for path in ("/capabilities", "/availability", "/tables", "/tables/dr1.object", "/examples"):
        response = await client.head(TAP + path)
        assert (response.status_code, response.content) == (200, b""), path


@pytest.mark.asyncio
async def test_addresses_come_from_the_settings_never_from_the_host(
    client: httpx.AsyncClient,
) -> None:
    for path in ("/capabilities", "/examples", "/tables"):
        response = await client.get(
            TAP + path, headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"}
        )
        assert not re.search("evil", response.text)
