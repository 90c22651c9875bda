"""Settings: precedence, forms, and what is said about wrong ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from astrolabe.config import Settings, load_settings
from astrolabe.core.errors import BadParameterError


@pytest.fixture(autouse=True)
def _no_settings_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("ASTROLABE_"):
            monkeypatch.delenv(name)


def _write(home: Path, text: str) -> Path:
    path = home / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_flags_stand_above_the_environment_that_above_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(
        tmp_path,
        "tap: {sync_seconds: 1, async_seconds: 2, maxrec_default: 3}\nserver: {title: File}\n",
    )
    monkeypatch.setenv("ASTROLABE_TAP__SYNC_SECONDS", "10")
    monkeypatch.setenv("ASTROLABE_TAP__ASYNC_SECONDS", "20")
    settings = load_settings(home=tmp_path, overrides={"tap": {"sync_seconds": 100}})
    assert settings.tap.sync_seconds == 100
    assert settings.tap.async_seconds == 20
    assert settings.tap.maxrec_default == 3
    assert settings.tap.wait_seconds == 45
    assert settings.server.title == "File"


def test_the_home_may_come_from_the_environment_and_leads_to_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path, "server: {title: From its home}")
    monkeypatch.setenv("ASTROLABE_HOME", str(tmp_path))
    settings = load_settings()
    assert settings.home == tmp_path
    assert settings.server.title == "From its home"


def test_a_named_file_replaces_the_one_of_the_home(tmp_path: Path) -> None:
    _write(tmp_path, "server: {title: Home}")
    other = tmp_path / "other.yaml"
    other.write_text("server: {publisher: Other}", encoding="utf-8")
    settings = load_settings(home=tmp_path, config_file=other)
    assert settings.server.publisher == "Other"
    assert settings.server.title == "Astrolabe"


def test_the_section_import_has_its_name_in_file_and_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path, "import: {memory_mb: 100, margin_arcsec: 3.5}")
    monkeypatch.setenv("ASTROLABE_IMPORT__MEMORY_MB", "200")
    settings = load_settings(home=tmp_path)
    assert settings.imports.memory_mb == 200
    assert settings.imports.margin_arcsec == 3.5


def test_lists_in_the_environment_are_divided_by_commas(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASTROLABE_SERVER__CORS_ORIGINS", "https://a.example, https://b.example")
    origins = load_settings(home=tmp_path).server.cors_origins
    assert origins == ("https://a.example", "https://b.example")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tap: {sync_secnds: 5}", "unknown setting tap.sync_secnds; did you mean tap.sync_seconds"),
        ("tapp: {sync_seconds: 5}", "unknown setting tapp; did you mean tap?"),
        ("tap: {qqqqqqqq: 5}", "known here: async_seconds, maxrec_default"),
        ("tap: {sync_seconds: 0}", "tap.sync_seconds = 0: input should be greater"),
        ("tap: five", "tap = 'five': input should be"),
        ("server: {log_level: loud}", "'debug', 'info', 'warning' or 'error'"),
        ("database: {url: nonsense}", "database.url: not an SQLAlchemy URL"),
        ("database: {url: 'mysql://host/name'}", "mysql is not supported"),
        ("database: {password: hush}", "set ASTROLABE_DATABASE__PASSWORD instead"),
        ("database: {url: 'postgresql+psycopg://u:hush@h/d'}", "holds a password"),
        ("tap: [1,", "is not YAML"),
        ("[1, 2]", "must hold sections"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line_that_names_it(
    tmp_path: Path, text: str, expected: str
) -> None:
    path = _write(tmp_path, text)
    with pytest.raises(BadParameterError) as caught:
        load_settings(home=tmp_path)
    message = str(caught.value)
    assert expected in message
    assert str(path) in message
    assert "\n" not in message
    assert "hush" not in message


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("ASTROLABE_TAP__SYNC_SECNDS", "5", "did you mean tap.sync_seconds"),
        ("ASTROLABE_TPA__SYNC_SECONDS", "5", "ASTROLABE_TPA__SYNC_SECONDS; did you mean tap?"),
        ("ASTROLABE_TAP__SYNC_SECONDS", "soon", "ASTROLABE_TAP__SYNC_SECONDS: tap.sync_seconds ="),
        ("ASTROLABE_TAP", "{", "environment: "),
    ],
)
def test_a_wrong_variable_is_refused_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(BadParameterError) as caught:
        load_settings(home=tmp_path)
    assert expected in str(caught.value)


def test_variables_that_kubernetes_sets_for_a_service_are_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASTROLABE_PORT", "tcp://10.0.0.1:80")
    monkeypatch.setenv("ASTROLABE_SERVICE_HOST", "10.0.0.1")
    assert load_settings(home=tmp_path).server.port == 8080


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(BadParameterError, match="cannot read the settings file"):
        load_settings(home=tmp_path, config_file=tmp_path / "missing.yaml")


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ({}, "http://127.0.0.1:8080/"),
        ({"port": 81}, "http://127.0.0.1:81/"),
        ({"port": 81, "host": "0.0.0.0"}, "http://127.0.0.1:81/"),  # noqa: S104 - only written down
        ({"port": 81, "host": "::1"}, "http://[::1]:81/"),
        ({"port": 81, "public_url": "https://sky.example/"}, "https://sky.example/"),
    ],
)
def test_the_public_address_follows_the_port_unless_it_is_set(
    tmp_path: Path, server: dict[str, object], expected: str
) -> None:
    settings = load_settings(home=tmp_path, overrides={"server": server})
    assert str(settings.server.public_url) == expected


def test_paths_are_under_the_home_and_closed_to_others(tmp_path: Path) -> None:
    home = tmp_path / "deep" / "home"
    settings = load_settings(
        home=home, overrides={"storage": {"tables": str(tmp_path / "elsewhere")}}
    )
    paths = settings.paths
    assert paths.results == home / "results"
    assert paths.tables == tmp_path / "elsewhere"
    home.mkdir(mode=0o755, parents=True)
    paths.make()
    assert home.stat().st_mode & 0o777 == 0o700
    for folder in (paths.results, paths.run, paths.secrets, paths.tables, paths.staging):
        assert folder.is_dir()
        assert folder.stat().st_mode & 0o077 == 0
    assert settings.database_url == f"sqlite:///{home}/control.db"


def test_the_password_goes_into_urls_that_lack_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path, "database: {url: 'postgresql+psycopg://astro@db.example/control'}")
    monkeypatch.setenv("ASTROLABE_DATABASE__PASSWORD", "p/w@1")
    settings = load_settings(home=tmp_path)
    assert settings.database_url == "postgresql+psycopg://astro:p%2Fw%401@db.example/control"
    assert "p/w@1" not in repr(settings)
    assert settings.catalog_url.startswith("sqlite:///")


def test_every_setting_is_described() -> None:
    for name, field in Settings.model_fields.items():
        section = field.annotation
        members = getattr(section, "model_fields", None) or {name: field}
        for member, inner in members.items():
            assert inner.description, f"{name}.{member}"
