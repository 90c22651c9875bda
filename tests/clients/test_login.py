"""Real clients that log in, over TLS, to a platform whose tables are for its users only."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import pyvo
import requests
from astroquery.utils.tap import TapPlus
from cadctap import CadcTapClient
from cadcutils.net import Subject
from pyvo.auth import AuthSession
from pyvo.dal import DALQueryError, DALServiceError

from tests.support.gateways import free_port
from tests.support.platform import run_astrolabe, running_platform
from tests.support.tls_front import TestAuthority, tls_front

pytestmark = [
    pytest.mark.client,
    pytest.mark.timeout(300),
    # These clients leave files and connections open.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning"),
]

PASSWORD = "a-long-and-quiet-walk"
QUERY = "SELECT id, ra FROM obs.stars ORDER BY id"
STARS = "id,ra,dec\n1,10.0,-5.0\n2,10.5,-5.5\n3,11.0,-6.0\n"


@dataclass(frozen=True)
class SecurePlatform:
    """A platform behind TLS with one table that only users may read.

    alice is a user with a password and a token; `weak` is a token of hers that reads no tables.
    """

    address: str
    tap: str
    token: str
    weak: str
    authority: TestAuthority


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecurePlatform]:
    folder = tmp_path_factory.mktemp("secure")
    home = folder / "home"
    settings = {
        "ASTROLABE_AUTH__DEFAULT_ACCESS": "users",
        # STILTS logs in where it is asked to, so queries must ask for it.
        "ASTROLABE_AUTH__ANONYMOUS": "scs",
    }
    stars = folder / "stars.csv"
    stars.write_text(STARS)
    options = ("--schema", "obs", "--table", "stars", "--id", "id", "--ra", "ra", "--dec", "dec")
    run_astrolabe("table", "import", str(stars), *options, "--home", str(home), extra=settings)
    user = [sys.executable, "-m", "astrolabe.cli.main", "user", "create", "alice"]
    subprocess.run(
        [*user, "--password-stdin", "--home", str(home)],
        input=f"{PASSWORD}\n",
        text=True,
        check=True,
        timeout=120,
    )
    tokens = [
        run_astrolabe(
            "token", "create", "--user", "alice", "--scope", scope, "--home", str(home)
        ).stdout.strip()
        for scope in ("read:tap", "read:workspace")
    ]
    authority = TestAuthority.make(folder)
    port = free_port()
    address = f"https://localhost:{port}"
    settings["ASTROLABE_SERVER__PUBLIC_URL"] = address
    with running_platform(home, extra=settings) as running:
        backend = httpx.URL(running.address).port
        assert backend is not None
        with tls_front(port, backend, authority.server):
            yield SecurePlatform(
                address=address,
                tap=f"{address}/api/tap",
                token=tokens[0],
                weak=tokens[1],
                authority=authority,
            )


@pytest.fixture(autouse=True)
def _trusting(platform: SecurePlatform, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the clients in this process and below it trust the authority of the test."""
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(platform.authority.certificate))


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


def ids_of(service: pyvo.dal.TAPService) -> list[int]:
    return [int(row["id"]) for row in service.run_sync(QUERY)]


# --- pyvo ---------------------------------------------------------------------------------------


def test_pyvo_is_asked_to_log_in(platform: SecurePlatform, session: requests.Session) -> None:
    service = pyvo.dal.TAPService(platform.tap, session=session)
    with pytest.raises((DALQueryError, DALServiceError), match=r"401|[Ll]og in"):
        ids_of(service)


def test_pyvo_with_a_bearer_session(platform: SecurePlatform, session: requests.Session) -> None:
    session.headers["Authorization"] = f"Bearer {platform.token}"
    service = pyvo.dal.TAPService(platform.tap, session=session)
    assert ids_of(service) == [1, 2, 3]
    assert "obs.stars" in service.tables
    job = service.submit_job(QUERY)
    try:
        job.run().wait(timeout=120)
        assert [int(row["id"]) for row in job.fetch_result()] == [1, 2, 3]
        assert job.owner == "alice"
    finally:
        job.delete()


def auth_session(platform: SecurePlatform) -> AuthSession:
    """Return pyvo's session, which finds out by itself which credential a service takes."""
    session = AuthSession()
    session.update_from_capabilities(pyvo.dal.TAPService(platform.tap).capabilities)
    return session


def test_pyvos_auth_session_with_a_token(
    platform: SecurePlatform, session: requests.Session
) -> None:
    session.headers["Authorization"] = f"Bearer {platform.token}"
    chosen = auth_session(platform)
    chosen.credentials.set("ivo://ivoa.net/sso#token", session)
    assert ids_of(pyvo.dal.TAPService(platform.tap, session=chosen)) == [1, 2, 3]


def test_pyvos_auth_session_with_basic(platform: SecurePlatform) -> None:
    chosen = auth_session(platform)
    chosen.credentials.set_password("x-oauth-basic", platform.token)
    service = pyvo.dal.TAPService(platform.tap, session=chosen)
    assert ids_of(service) == [1, 2, 3]
    job = service.submit_job(QUERY)
    try:
        job.run().wait(timeout=120)
        assert len(job.fetch_result()) == 3
    finally:
        job.delete()


def test_pyvos_auth_session_with_a_cookie(
    platform: SecurePlatform, session: requests.Session
) -> None:
    form = {"username": "alice", "password": PASSWORD}
    session.post(f"{platform.address}/api/login", data=form, timeout=60).raise_for_status()
    chosen = auth_session(platform)
    chosen.credentials.set("ivo://ivoa.net/sso#cookie", session)
    assert ids_of(pyvo.dal.TAPService(platform.tap, session=chosen)) == [1, 2, 3]


def test_pyvo_with_basic(platform: SecurePlatform, session: requests.Session) -> None:
    session.auth = ("x-oauth-basic", platform.token)
    assert ids_of(pyvo.dal.TAPService(platform.tap, session=session)) == [1, 2, 3]


def test_pyvo_hears_why_it_was_refused(platform: SecurePlatform, session: requests.Session) -> None:
    session.headers["Authorization"] = f"Bearer {platform.weak}"
    service = pyvo.dal.TAPService(platform.tap, session=session)
    with pytest.raises((DALQueryError, DALServiceError), match="read:tap"):
        ids_of(service)


# --- STILTS -------------------------------------------------------------------------------------


def tapquery(
    platform: SecurePlatform, user: str, password: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            "stilts",
            f"-Djavax.net.ssl.trustStore={platform.authority.trust_store}",
            "-Djavax.net.ssl.trustStorePassword=changeit",
            f"-Dstar.basicauth.user={user}",
            f"-Dstar.basicauth.password={password}",
            "tapquery",
            f"tapurl={platform.tap}",
            f"adql={QUERY}",
            "sync=true",
            "ofmt=csv",
        ],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_stilts(platform: SecurePlatform) -> None:
    """It answers the challenge for Basic, which takes a token and no password."""
    run = tapquery(platform, "x-oauth-basic", platform.token)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["id,ra", "1,10.0", "2,10.5", "3,11.0"]


def test_stilts_with_a_password(platform: SecurePlatform) -> None:
    run = tapquery(platform, "alice", PASSWORD)
    assert run.returncode != 0
    assert "1,10.0" not in run.stdout


# --- TapPlus ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["token", "password"])
def test_tapplus(platform: SecurePlatform, kind: str) -> None:
    tap = TapPlus(url=platform.tap)
    tap.login(user="alice", password=platform.token if kind == "token" else PASSWORD)
    result = tap.launch_job(QUERY).get_results()
    assert list(result["id"]) == [1, 2, 3]
    job = tap.launch_job_async(QUERY)
    assert list(job.get_results()["id"]) == [1, 2, 3]
    tables = {table.name for table in tap.load_tables()}
    assert "obs.stars" in tables
    tap.logout()


def test_tapplus_with_a_wrong_password(platform: SecurePlatform) -> None:
    tap = TapPlus(url=platform.tap)
    with pytest.raises(requests.exceptions.HTTPError):
        tap.login(user="alice", password="not the one")


# --- OpenCADC -----------------------------------------------------------------------------------
# Its tools trust the authorities that they bring along and cannot be told of another one, so they
# are told not to check the certificate.


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@pytest.mark.parametrize("header", ["Authorization", "X-CADC-DelegationToken"])
def test_cadctap(platform: SecurePlatform, header: str, tmp_path: Path) -> None:
    """The tool sends Bearer today; its older versions and OpenCADC's services the other header."""
    client = CadcTapClient(Subject(token=platform.token), resource_id=platform.tap, insecure=True)
    if header != "Authorization":
        session = client._tap_client._get_session()
        del session.headers["Authorization"]
        session.headers[header] = platform.token
    out = tmp_path / "out.csv"
    with working_in(tmp_path):
        client.query(QUERY, output_file=str(out), response_format="csv")
    # The tool writes tables in a way of its own.
    told = out.read_text().split()
    assert "2,10.5" in told
    assert "(3" in told, "three rows"


def test_cadctaps_command(platform: SecurePlatform) -> None:
    command = [str(Path(sys.executable).with_name("cadc-tap")), "query", "--token"]
    run = subprocess.run(
        [*command, platform.token, "-s", platform.tap, "-k", "-f", "csv", QUERY],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "2,10.5" in run.stdout
