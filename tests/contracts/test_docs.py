"""What is not documented is not finished: settings, commands, errors, addresses."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from pydantic import BaseModel

from astrolabe.cli.main import COMMANDS, cli
from astrolabe.config import Settings
from astrolabe.core import errors
from tests.support import settings_page

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def _page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def test_the_page_of_settings_is_the_tree() -> None:
    """`python -m tests.support.settings_page` writes it again."""
    assert _page("operate/settings.md") == settings_page.render()


def _commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    if command.hidden:
        return
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _commands(inner, f"{path} {name}")


def test_every_command_and_option_is_described() -> None:
    page = _page("operate/commands.md")
    sections = re.split(r"^#+ ", page, flags=re.MULTILINE)
    for path, command in _commands(cli, "astrolabe"):
        own = [s for s in sections if s.startswith(f"`{path}`")]
        assert own, f"{path} has no section in operate/commands.md"
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                for name in (*parameter.opts, *parameter.secondary_opts):
                    if name.startswith("--") and name != "--help":
                        assert f"`{name}" in own[0], f"{path} {name}"


def test_no_command_is_described_that_is_not_there() -> None:
    known = {path for path, _ in _commands(cli, "astrolabe")}
    described = re.findall(r"^#+ `(astrolabe[^`]*)`", _page("operate/commands.md"), re.MULTILINE)
    assert set(described) == known
    assert set(COMMANDS) >= {path.split()[1] for path in known if " " in path}


def _error_codes() -> set[str]:
    classes = [c for _, c in inspect.getmembers(errors, inspect.isclass)]
    return {c.code for c in classes if issubclass(c, errors.AstrolabeError)}


def test_every_error_code_has_its_paragraph() -> None:
    described = set(re.findall(r"^#+ `([a-z-]+)`", _page("reference/errors.md"), re.MULTILINE))
    assert described == _error_codes()


@pytest.mark.timeout(60)
def test_every_address_is_described(tmp_path: Path) -> None:
    create_app = importlib.import_module("astrolabe_api.main").create_app
    paths = create_app(Settings(home=tmp_path)).openapi()["paths"]
    assert "/api/tap/sync" in paths
    page = _page("reference/http.md")
    missing = [path for path in paths if f"`{path}`" not in page]
    assert not missing, f"not in reference/http.md: {missing}"


@pytest.mark.parametrize("path", sorted(DOCS.rglob("*.md")), ids=lambda p: str(p.relative_to(DOCS)))
def test_a_page_has_one_title_and_ends_well(path: Path) -> None:
    if "_build" in path.parts:
        return
    text = path.read_text(encoding="utf-8")
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    assert len(re.findall(r"^# ", prose, re.MULTILINE)) == 1
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


def test_each_section_of_settings_is_a_model() -> None:
    for name, field in Settings.model_fields.items():
        is_model = isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        assert is_model or name == "home"
