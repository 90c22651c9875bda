"""The commands `astrolabe hips ...`, and the tool that fetches Aladin Lite."""

from __future__ import annotations

import base64
import hashlib
import http.server
import io
import json
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from typing_extensions import override

from astrolabe.cli.main import main
from tests.support.tiny import open_context

from .hips_support import DEC, RA, TinyCollection, wcs_at

pytestmark = pytest.mark.timeout(60)

FETCH = Path(__file__).parents[2] / "tools" / "fetch-aladin"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    with open_context(home) as context:
        collection = TinyCollection(home, context.images.store, "sky")
        for band in ("g", "r", "i"):
            collection.add(band, wcs_at(RA, DEC), band=band)
        collection.add("lost", wcs_at(RA, DEC), s_region=None)
    return home


def run(capsys: pytest.CaptureFixture[str], home: Path, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["hips", *arguments, "--home", str(home)])
    captured = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, captured.out, captured.err


def test_from_the_first_to_the_last(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, home, "list")
    assert (status, out) == (0, "")
    assert "astrolabe hips make" in err
    status, out, err = run(capsys, home, "make", "sky", "--rgb", "i,r,g", "--order", "6")
    assert status == 0
    assert out.startswith("sky_irg: 3 images, order 6, ")
    status, out, err = run(capsys, home, "make", "SKY", "--id", "all", "--cut", "0", "200")
    assert status == 0
    assert "left out: sky/lost: it has no position" in err
    status, out, _ = run(capsys, home, "make", "sky", "--id", "all")
    assert "nothing had changed" in out
    _, out, _ = run(capsys, home, "list", "--json")
    found = json.loads(out)
    assert [(tree["id"], tree["bands"], tree["order"]) for tree in found] == [
        ("all", [], 7),
        ("sky_irg", ["i", "r", "g"], 6),
    ]
    assert all((Path(tree["folder"]) / "properties").is_file() for tree in found)
    _, out, _ = run(capsys, home, "list")
    assert len(out.splitlines()) == 2
    assert run(capsys, home, "remove", "all")[:2] == (0, "all: removed\n")
    assert run(capsys, home, "remove", "all")[0] == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sky", "--rgb", "i,r"], "does not name three bands"),
        (["sky", "--rgb", "i,r,g", "--band", "r"], "say different things"),
        (["sky", "--band", "u"], "has no images of u"),
        (["nothing"], "no collection of images"),
        (["sky", "--order", "30"], "from 3 to 20"),
        (["sky", "--id", "a/b"], "is not the id of a HiPS"),
    ],
    ids=["two", "both", "band", "collection", "order", "id"],
)
def test_bad_input_is_one_clear_line(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    status, out, err = run(capsys, home, "make", *arguments)
    assert status != 0
    assert out == ""
    assert words in err
    assert len(err.splitlines()) == 1


class Registry:
    """A registry of npm packages with one package."""

    def __init__(self, content: bytes) -> None:
        self.content = content

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(content)

            @override
            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/npm/"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def package() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name in ("package/dist/aladin.js", "package/COPYING", "package/COPYING.LESSER"):
            info = tarfile.TarInfo(name)
            info.size = len(name)
            archive.addfile(info, io.BytesIO(name.encode()))
    return buffer.getvalue()


@pytest.fixture
def registry() -> Iterator[Registry]:
    registry = Registry(package())
    yield registry
    registry.close()


@pytest.mark.parametrize("known", ["right", "wrong"])
def test_aladin_is_fetched_if_it_is_the_known_one(
    tmp_path: Path, registry: Registry, known: str
) -> None:
    tool = tmp_path / "tools" / "fetch-aladin"
    tool.parent.mkdir()
    shutil.copy(FETCH, tool)
    folder = tmp_path / "api" / "src" / "astrolabe_api" / "vendor" / "aladin-lite"
    # The package of this test is made now: its checksum takes the place of the known one.
    if known == "right":
        text = tool.read_text("utf-8")
        checksum = next(line for line in text.splitlines() if line.startswith("SHA512 = "))
        digest = base64.b64encode(hashlib.sha512(registry.content).digest()).decode()
        tool.write_text(text.replace(checksum, f'SHA512 = "{digest}"'), "utf-8")
    done = subprocess.run(
        [sys.executable, str(tool)],
        check=False,
        capture_output=True,
        text=True,
        env={"npm_config_registry": registry.address},
    )
    if known == "right":
        assert done.returncode == 0, done.stderr
        assert (folder / "aladin.js").read_text() == "package/dist/aladin.js"
    else:
        assert done.returncode == 1
        assert "is not the release that is known here" in done.stderr
        assert not folder.exists()
