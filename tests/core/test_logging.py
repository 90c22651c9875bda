"""Logs: one JSON event a line, for our loggers and the libraries', without secrets."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from structlog.contextvars import bound_contextvars

from astrolabe.core.errors import BadParameterError
from astrolabe.core.logging import REDACTED, configure_logging, get_logger

TOKEN = "al-" + "k" * 22 + "." + "s" * 22


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def _events(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    out, err = capsys.readouterr()
    assert out == ""
    return [json.loads(line) for line in err.splitlines()]


def test_an_event_is_one_line_of_json_with_its_context(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging("info", "json")
    with bound_contextvars(request_id="abc"):
        get_logger("astrolabe.x").info("query\nran", rows=3)
    (event,) = _events(capsys)
    assert event["event"] == "query\nran"
    assert event["rows"] == 3
    assert event["request_id"] == "abc"
    assert event["level"] == "info"
    assert event["logger"] == "astrolabe.x"
    assert str(event["timestamp"]).endswith("Z")


def test_a_librarys_events_look_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    with bound_contextvars(request_id="abc"):
        logging.getLogger("library").warning("took %s s", 3, extra={"cookie": "c00kie"})
    (event,) = _events(capsys)
    assert event["event"] == "took 3 s"
    assert event["logger"] == "library"
    assert event["request_id"] == "abc"
    assert event["cookie"] == REDACTED


def test_events_below_the_level_are_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("warning", "json")
    get_logger("astrolabe.x").info("quiet")
    logging.getLogger("library").info("quiet")
    get_logger("astrolabe.x").warning("loud")
    assert [event["event"] for event in _events(capsys)] == ["loud"]


def test_configuring_twice_does_not_write_twice(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    configure_logging("info", "json")
    get_logger("astrolabe.x").info("once")
    assert len(_events(capsys)) == 1


def _log_exception(text: str) -> None:
    try:
        int(text)
    except ValueError:
        get_logger("astrolabe.x").exception("failed")


@pytest.mark.parametrize(
    "name",
    ["authorization", "Authorization", "cookie", "set-cookie", "token", "access_token", "password",
     "passwd", "client_secret", "X-CADC-DelegationToken", "api_key", "sig"],
)  # fmt: skip
def test_what_stands_under_a_secrets_name_is_not_written(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    configure_logging("info", "json")
    get_logger("astrolabe.x").info(
        "request",
        **{name: "hush-hush"},
        headers={name: "hush-hush", "accept": "*/*"},
        scope=[(name.encode(), b"hush-hush"), (b"accept", b"*/*")],
        deep={"list": [{name: ["hush-hush"]}]},
    )
    (event,) = _events(capsys)
    assert "hush-hush" not in json.dumps(event)
    assert event["headers"] == {name: REDACTED, "accept": "*/*"}


@pytest.mark.parametrize(
    ("text", "secret", "kept"),
    [
        (f"bad token {TOKEN}", "s" * 22, "al-" + "k" * 22),
        (f"code={TOKEN.replace('al-', 'ac-')}", "s" * 22, "ac-" + "k" * 22),
        (f"refresh {TOKEN.replace('al-', 'ar-')}", "s" * 22, "ar-" + "k" * 22),
        (f"/api/hips/~{'k' * 22}.99.{'ab' * 32}/sky/x.png", "ab" * 32, f"/~{'k' * 22}.99"),
        (f"GET /a?x=1&signed={'k' * 22}.99.{'ab' * 32}", "ab" * 32, f"&signed={'k' * 22}.99"),
        ("header Authorization: Bearer abcdef123456", "abcdef123456", "Bearer"),
        ("Basic dXNlcjpwYXNzd29yZA==", "dXNlcjpwYXNzd29yZA", "Basic"),
        ("no connection to postgresql+psycopg://me:pw1234@db:5432/x", "pw1234", "@db:5432/x"),
    ],
)
def test_secrets_inside_text_are_not_written(
    capsys: pytest.CaptureFixture[str], text: str, secret: str, kept: str
) -> None:
    configure_logging("info", "json")
    get_logger("astrolabe.x").info(text, detail=text)
    logging.getLogger("library").warning("%s", text)
    _log_exception(text)
    events = _events(capsys)
    assert len(events) == 3
    assert secret not in json.dumps(events)
    assert kept in str(events[0]["event"])
    assert "ValueError" in str(events[2]["exception"])


def test_text_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "text")
    get_logger("astrolabe.x").info("query ran", password="hush-hush")
    _log_exception("no good")
    err = capsys.readouterr().err
    assert "query ran" in err
    assert "hush-hush" not in err
    assert "ValueError: invalid literal" in err


@pytest.mark.parametrize(("level", "fmt"), [("loud", "json"), ("info", "xml")])
def test_unknown_settings_are_refused(level: str, fmt: str) -> None:
    with pytest.raises(BadParameterError, match="one of"):
        configure_logging(level, fmt)
