"""What cone searches say of themselves."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from astropy.io.votable import parse_single_table
from lxml import etree

from tests.api.conftest import ADDRESS
from tests.api.xsd import assert_valid

pytestmark = [pytest.mark.timeout(90), pytest.mark.asyncio]

XSI_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
CONE_SEARCH = "ivo://ivoa.net/std/ConeSearch"
OWN_ELEMENTS = ["maxSR", "maxRecords", "verbosity", "testQuery"]


@pytest.fixture(scope="session")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("xsd")


async def capabilities(client: httpx.AsyncClient, path: str) -> list[etree._Element]:
    response = await client.get(path)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/xml"
    return list(etree.fromstring(response.content))


async def test_one_table(client: httpx.AsyncClient) -> None:
    found = await capabilities(client, "/api/scs/dr1.object/capabilities")
    assert [c.get("standardID") for c in found] == [
        CONE_SEARCH,
        "ivo://ivoa.net/std/VOSI#capabilities",
        "ivo://ivoa.net/std/VOSI#availability",
    ]
    cone = found[0]
    assert cone.get(XSI_TYPE) == "cs:ConeSearch"
    assert cone.nsmap["cs"] == "http://www.ivoa.net/xml/ConeSearch/v1.0"
    assert cone.findtext("interface/accessURL") == f"{ADDRESS}/api/scs/dr1.object?"
    assert [p.findtext("name") for p in cone.iterfind("interface/param[@use='required']")] == [
        "RA",
        "DEC",
        "SR",
    ]
    assert [child.tag for child in cone][-4:] == OWN_ELEMENTS
    assert (cone.findtext("maxSR"), cone.findtext("verbosity")) == ("180", "true")
    assert found[1].findtext("interface/accessURL") == (
        f"{ADDRESS}/api/scs/dr1.object/capabilities"
    )


async def test_the_part_that_the_ivoa_has_a_schema_for_is_valid(
    client: httpx.AsyncClient, schemas: Path
) -> None:
    response = await client.get("/api/scs/capabilities")
    root = etree.fromstring(response.content)
    # The schemas at hand do not know cone search's own few elements.
    for cone in root.iterfind(f"capability[@standardID='{CONE_SEARCH}']"):
        del cone.attrib[XSI_TYPE]
        for name in OWN_ELEMENTS:
            for child in cone.findall(name):
                cone.remove(child)
    assert_valid(etree.tostring(root), schemas)


@pytest.mark.parametrize("path", ["/api/scs", "/api/scs/capabilities"])
async def test_all_tables_with_positions(client: httpx.AsyncClient, path: str) -> None:
    found = await capabilities(client, path)
    addresses = [
        str(c.findtext("interface/accessURL")) for c in found if c.get("standardID") == CONE_SEARCH
    ]
    assert addresses == [f"{ADDRESS}/api/scs/dr1.{t}?" for t in ("named", "object", "plain")]


async def test_the_test_query_finds_something(client: httpx.AsyncClient, tmp_path: Path) -> None:
    for cone in (await capabilities(client, "/api/scs"))[:3]:
        query = cone.find("testQuery")
        assert query is not None
        asked = "&".join(f"{str(child.tag).upper()}={child.text}" for child in query)
        address = str(cone.findtext("interface/accessURL")) + asked
        (tmp_path / "found.vot").write_bytes((await client.get(address)).content)
        assert 1 <= len(parse_single_table(tmp_path / "found.vot").array) < 5


@pytest.mark.parametrize("path", ["/api/scs/availability", "/api/scs/dr1.object/availability"])
async def test_availability(client: httpx.AsyncClient, schemas: Path, path: str) -> None:
    response = await client.get(path)
    root = assert_valid(response.content, schemas)
    assert root.findtext("{*}available") == "true"


async def test_discovery_names_them(client: httpx.AsyncClient) -> None:
    document = (await client.get("/.well-known/astrolabe")).json()
    service = next(s for s in document["services"] if s["name"] == "scs")
    assert service["standardID"] == CONE_SEARCH
    tables = {t["name"]: t["cone_search"] for t in document["schemas"][0]["tables"]}
    assert tables['dr1."log"'] is None
    assert tables["dr1.object"] == f"{ADDRESS}/api/scs/dr1.object"
