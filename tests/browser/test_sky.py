"""The page /sky in Chromium: Aladin Lite shows a HiPS, a coverage, a cutout and footprints."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, urlencode

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page

from astrolabe.identity.access import Access, AccessRule, Resource
from astrolabe.identity.authority import OPERATOR
from astrolabe.images.hips.making import HipsRequest
from astrolabe.tables.model import Datatype
from tests.images.hips_support import DEC, RA, TinyCollection, brighter, wcs_at
from tests.support.tiny import import_columns

from .conftest import Platform
from .test_identity_pages import check

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

FETCH = Path(__file__).parents[2] / "tools" / "fetch-aladin"
SCREENSHOTS = os.environ.get("ASTROLABE_TEST_SCREENSHOTS")
PLACE = f"ra={RA}&dec={DEC}"
FIELD = f"{PLACE}&fov=1"


def pattern(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Stars on a dark sky, brighter to the north, so that up and down can be told apart."""
    light = np.zeros(ra.shape)
    rng = np.random.default_rng(5)
    for _ in range(150):
        at_ra, at_dec = RA + rng.uniform(-0.4, 0.4), DEC + rng.uniform(-0.3, 0.3)
        far2 = (ra - at_ra) ** 2 + (dec - at_dec) ** 2
        light += rng.uniform(50, 500) * np.exp(-far2 / (2 * 0.004**2))
    return light + 120.0 * (dec - DEC > 0.1) + rng.normal(0, 1, ra.shape)


@pytest.fixture(scope="module")
def sky(platform: Platform) -> Platform:
    """The platform with a collection for all, one for users, and a table."""
    done = subprocess.run([sys.executable, str(FETCH)], check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"needs Aladin Lite: {done.stderr}")
    context = platform.context
    home = context.settings.paths.images.parent
    for name, access in (("tiny", Access.PUBLIC), ("hidden", Access.USERS)):
        collection = TinyCollection(home, context.images.store, name)
        for band, light in (("g", 0.8), ("r", 1.0), ("i", 1.1)):
            for place in (-0.2, 0.2):
                collection.add(
                    f"{band}{'ab'[place > 0]}",
                    wcs_at(RA + place, DEC, angle_deg=20.0),
                    sky=brighter(light, pattern),
                    band=band,
                )
        context.rights.set_rule(
            Resource.of_collection(name), AccessRule(access=access), by=OPERATOR
        )
        made = context.images.hips.maker.make(
            HipsRequest(collection=name, bands=("i", "r", "g"), hips_id=f"{name}_color")
        )
        assert made.tiles > 3
    context.images.obscore.publish()
    rng = np.random.default_rng(3)
    ra, dec = rng.normal(RA, 0.3, 5000), rng.normal(DEC, 0.3, 5000)
    import_columns(
        context,
        "tiny",
        "object",
        {
            "id": (Datatype.LONG, np.arange(5000)),
            "ra": (Datatype.DOUBLE, ra),
            "dec": (Datatype.DOUBLE, dec),
        },
        ra_column="ra",
        dec_column="dec",
    )
    return platform


def shown(page: Page, address: str) -> np.ndarray:
    """Open the page and return what the map shows, (h, w, 3), when it stays the same."""
    page.set_viewport_size({"width": 1200, "height": 1000})
    page.goto(address)
    page.wait_for_selector("body[data-sky]")
    assert page.get_attribute("body", "data-sky") == "shown", page.inner_text("#sky-status")
    return settled(page)


def settled(page: Page) -> np.ndarray:
    """Return what the map shows, (h, w, 3), as soon as it stays the same."""
    before = np.zeros(0)
    for _ in range(40):
        page.wait_for_timeout(500)
        picture = page.locator("#sky-map").screenshot()
        now = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)
        if before.shape == now.shape and np.abs(now - before).max() < 8 and now.max() > 60:
            return now
        before = now
    return before


def keep(page: Page, name: str) -> None:
    """Keep a screenshot where somebody wants to look at it."""
    if SCREENSHOTS:
        page.screenshot(path=f"{SCREENSHOTS}/{name}.png")


def test_a_hips_is_shown_the_right_way_round(sky: Platform, page: Page) -> None:
    elsewhere: list[str] = []
    page.on("request", lambda r: elsewhere.append(r.url) if not ours(sky, r.url) else None)
    missing: list[str] = []
    page.on("response", lambda r: missing.append(r.url) if r.status >= 500 else None)
    picture = shown(page, f"{sky.address}/sky?hips=tiny_color&{FIELD}")
    keep(page, "sky-hips")
    assert not elsewhere
    assert not missing
    height, width, _ = picture.shape
    middle = picture[:, width // 3 : 2 * width // 3].mean(axis=2)
    north, south = middle[height // 5 : 2 * height // 5], middle[3 * height // 5 : 4 * height // 5]
    assert np.median(north) > 2 * np.median(south) + 10
    check(page)


def ours(platform: Platform, address: str) -> bool:
    return address.startswith((platform.address, "data:", "blob:"))


def test_a_coverage_is_shown(sky: Platform, page: Page) -> None:
    plain = shown(page, f"{sky.address}/sky?hips=tiny_color&{PLACE}&fov=4")
    covered = shown(page, f"{sky.address}/sky?hips=tiny_color&{PLACE}&fov=4&moc=tiny.object")
    keep(page, "sky-moc")
    # Light blue lies over what was black or grey.
    blue = (covered[..., 2] - covered[..., 0]) - (plain[..., 2] - plain[..., 0])
    assert (blue > 20).mean() > 0.02


def test_footprints_are_shown(sky: Platform, page: Page) -> None:
    plain = shown(page, f"{sky.address}/sky?hips=tiny_color&{PLACE}&fov=2")
    outlined = shown(page, f"{sky.address}/sky?hips=tiny_color&{PLACE}&fov=2&footprints=tiny")
    keep(page, "sky-footprints")

    # Orange lines on grey and black.
    def orange(picture: np.ndarray) -> int:
        red, green, blue = (picture[..., i] for i in range(3))
        return int(((red > 150) & (green > 100) & (blue < 80)).sum())

    assert orange(outlined) > orange(plain) + 500
    links = page.locator("#sky-found a")
    assert links.count() == 6
    assert page.inner_text("#sky-found-title") == "6 images in view"
    assert sorted(links.all_inner_texts()) == ["ga", "gb", "ia", "ib", "ra", "rb"]
    assert "datalink" in str(links.first.get_attribute("href"))


def test_the_density_of_a_table_is_shown(sky: Platform, page: Page) -> None:
    picture = shown(page, f"{sky.address}/sky?hips=tiny.object&{PLACE}&fov=3")
    keep(page, "sky-density")
    height, width, _ = picture.shape
    assert picture[height // 2, width // 2].sum() > picture[10, 10].sum() + 100


def test_an_image_is_shown(sky: Platform, page: Page) -> None:
    address = f"{sky.address}/sky?fits=/api/images/tiny/ra&{FIELD}"
    picture = shown(page, address)
    keep(page, "sky-fits")
    assert picture.max() > 150
    # It is where it should be: the star field ends within the view on the left and the right.
    light = picture.max(axis=2)
    assert np.median(light[:, :20]) < 80
    address = f"{sky.address}/sky?fits=/api/images/tiny/ra"
    fitted = shown(page, address)
    keep(page, "sky-fits-alone")
    assert fitted.max() > 150


def test_a_cutout_lies_over_a_picture(sky: Platform, page: Page) -> None:
    region = {"ID": "ivo://astrolabe.invalid/tiny?rb", "CIRCLE": f"{RA + 0.2} {DEC} 0.15"}
    cutout = quote(f"/api/cutout/sync?{urlencode(region)}", safe="")
    without = shown(page, f"{sky.address}/sky?hips=tiny.object&{FIELD}")
    picture = shown(page, f"{sky.address}/sky?hips=tiny.object&{FIELD}&fits={cutout}")
    keep(page, "sky-fits-over")
    assert (np.abs(picture - without).max(axis=2) > 30).mean() > 0.05


def test_another_sites_image_is_refused(sky: Platform, page: Page) -> None:
    page.goto(f"{sky.address}/sky?fits=https://example.org/x.fits&{FIELD}")
    page.wait_for_selector("body[data-sky=failed]")
    assert "not an address of this platform" in page.inner_text("#sky-status")


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("hips=no_such", "no no_such here"),
        ("moc=no.table", "no no.table here"),
        ("ra=abc&dec=2", "abc 2 is no position"),
        ("ra=10&dec=20&fov=-3", "-3 is no field"),
        ("fits=/api/images/tiny/no_such", "/api/images/tiny/no_such cannot be shown"),
    ],
    ids=["hips", "moc", "position", "field", "fits"],
)
def test_what_cannot_be_shown_is_said(sky: Platform, page: Page, asked: str, says: str) -> None:
    page.goto(f"{sky.address}/sky?{asked}")
    page.wait_for_selector("body[data-sky=failed]")
    page.wait_for_timeout(500)  # the map's own moves come a little later
    assert says in page.inner_text("#sky-status")


def test_a_hips_for_users_is_shown_to_users_only(
    sky: Platform, page: Page, enter: Callable[[str], None]
) -> None:
    page.goto(f"{sky.address}/sky?hips=hidden_color&{FIELD}")
    page.wait_for_selector("body[data-sky]")
    assert page.locator("#sky-hips option[value=hidden_color]").count() == 0
    enter("bob")
    picture = shown(page, f"{sky.address}/sky?hips=hidden_color&{FIELD}")
    assert (picture.max(axis=2) > 100).mean() > 0.01


def test_a_link_for_other_programs_is_made(
    sky: Platform, page: Page, enter: Callable[[str], None]
) -> None:
    page.goto(f"{sky.address}/sky?hips=tiny_color&{FIELD}")
    page.wait_for_selector("body[data-sky]")
    assert page.get_by_role("button", name="Link for other programs").count() == 0
    enter("bob")
    shown(page, f"{sky.address}/sky?hips=hidden_color&{FIELD}")
    page.get_by_role("button", name="Link for other programs").click()
    page.wait_for_selector("#sky-link-made:not([hidden])")
    keep(page, "sky-link")
    address = page.input_value("#sky-link-address")
    check(page)
    # A program without our cookie reads it, and only it.
    properties = httpx.get(f"{address}/properties")
    assert properties.status_code == 200
    assert address in properties.text
    assert httpx.get(f"{address}/Norder3/Allsky.png").status_code == 200
    other = address.replace("/hidden_color", "/tiny.object")
    assert httpx.get(f"{other}/properties").status_code == 401


def test_controls_move_the_map(sky: Platform, page: Page) -> None:
    shown(page, f"{sky.address}/sky?hips=tiny_color&{FIELD}")
    page.get_by_role("button", name="Closer").click()
    assert "field 0.5" in page.inner_text("#sky-status")
    page.get_by_label("Position").fill(f"{RA + 0.1} {DEC - 0.1}")
    page.get_by_label("Field").fill("0.25")
    page.get_by_role("button", name="Show").click()
    page.wait_for_function(
        f"document.getElementById('sky-status').textContent.includes('{RA + 0.1:.5f}')"
    )
    assert "fov=0.25" in page.url


def test_without_aladin_the_page_says_so(sky: Platform, page: Page) -> None:
    page.route("**/sky/aladin.js", lambda route: route.fulfill(status=404))
    page.goto(f"{sky.address}/sky")
    page.wait_for_selector("body[data-sky=no-map]")
    assert "tools/fetch-aladin" in page.inner_text("#sky-status")
    assert page.locator("#sky-moc option").count() == 2
