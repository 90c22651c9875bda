"""Structured logs: one event a line, with the request's or job's id, never with a secret.

Everything goes to standard error.  Events of libraries that use the standard library's `logging`
pass through the same processors, so that they look alike and are redacted alike.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import structlog
from structlog.stdlib import BoundLogger
from structlog.typing import EventDict, Processor

from astrolabe.core.errors import BadParameterError

__all__ = ["REDACTED", "configure_logging", "get_logger", "redact_secrets"]

REDACTED: Final = "[redacted]"
"""Stands in a log where a secret would have stood."""

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_FORMATS: Final = ("auto", "json", "text")

_SECRET_NAMES: Final = re.compile(
    r"authori[sz]ation|cookie|token|passw|secret|api[-_]?key|private[-_]?key|credential|signature"
    r"|\bsig\b",
    re.IGNORECASE,
)
_HARMLESS_NAMES: Final = frozenset({"token_key"})
# Our own tokens keep their public key; of the others nothing is known to be harmless.
# al: token, ac and ar: code and refresh token of a client.
_OWN_TOKEN: Final = re.compile(r"\b(a[lcr]-[A-Za-z0-9_-]{22})\.[A-Za-z0-9_-]{22}")
_CREDENTIALS: Final = re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9+/=._~-]{8,}", re.IGNORECASE)
# One-time login links.
_LOGIN_LINK: Final = re.compile(r"(/auth/link#)[A-Za-z0-9_-]+")
# Signed links, of a resource and of a tree: who made them may be logged, not the signature.
_SIGNED_LINK: Final = re.compile(r"((?:[?&]signed=|/~)[A-Za-z0-9_-]{22}\.[0-9]+)\.[0-9a-f]+")
_URL_PASSWORD: Final = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s/:@]*:)[^\s/@]+@", re.IGNORECASE)

# What each of the five has somewhere: a text without it needs no closer look.
_SUSPECT: Final = re.compile(r"a[lcr]-|bearer|basic|/auth/link#|signed=|/~|://", re.IGNORECASE)

# Libraries whose every request or statement would be an event of its own.
_QUIET: Final = {
    "alembic": logging.WARNING,
    "asyncio": logging.WARNING,
    "httpcore": logging.WARNING,
    "httpx": logging.WARNING,
    "pyiceberg": logging.WARNING,
    "uvicorn.access": logging.WARNING,
}


def get_logger(name: str) -> BoundLogger:
    """Return a logger; call its methods with an event's name and keywords.

    Parameters
    ----------
    name
        The module's ``__name__``.

    Examples
    --------
    >>> log = get_logger("astrolabe.jobs.worker")
    >>> log.debug("job started", job_id="abc")
    """
    logger: BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def configure_logging(level: str = "info", fmt: str = "auto") -> None:
    """Set up logging for this process; may be called again.

    Parameters
    ----------
    level
        ``debug``, ``info``, ``warning`` or ``error``.
    fmt
        ``json``, ``text``, or ``auto``: text on a terminal, else JSON.

    Raises
    ------
    BadParameterError
        Raised if `level` or `fmt` is none of these.
    """
    number = _LEVELS.get(level.lower())
    if number is None:
        raise BadParameterError(f"The log level is one of {', '.join(_LEVELS)}, not {level!r}.")
    if fmt not in _FORMATS:
        raise BadParameterError(f"The log format is one of {', '.join(_FORMATS)}, not {fmt!r}.")
    as_text = fmt == "text" or (fmt == "auto" and sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        # After the traceback has become text, which may quote a secret too.
        redact_secrets,
    ]
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
        if as_text
        else structlog.processors.JSONRenderer()
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    logging.captureWarnings(capture=True)
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(max(least, number))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def redact_secrets(_logger: Any, _method: str, event: EventDict) -> EventDict:  # noqa: ANN401 - structlog's signature
    """Replace secrets: by the name they stand under, and by their look inside other text."""
    return {name: _redacted(name, value) for name, value in event.items()}


def _redacted(name: str, value: Any) -> Any:  # noqa: ANN401 - any value may be logged
    if _is_secret_name(name):
        return REDACTED
    if isinstance(value, str):
        return _redacted_text(value)
    if isinstance(value, Mapping):
        return {str(key): _redacted(str(key), item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_redacted_item(item) for item in value]
    return value


def _redacted_item(item: Any) -> Any:  # noqa: ANN401 - any value may be logged
    # Headers come as pairs: (b"cookie", b"...").
    if isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], (str, bytes)):
        name, value = (part.decode("latin-1") if isinstance(part, bytes) else part for part in item)
        return [name, _redacted(name, value)]
    return _redacted("", item)


@lru_cache(maxsize=1024)
def _is_secret_name(name: str) -> bool:
    return _SECRET_NAMES.search(name) is not None and name not in _HARMLESS_NAMES


def _redacted_text(text: str) -> str:
    if _SUSPECT.search(text) is None:
        return text
    text = _OWN_TOKEN.sub(rf"\1.{REDACTED}", text)
    text = _CREDENTIALS.sub(rf"\1 {REDACTED}", text)
    text = _LOGIN_LINK.sub(rf"\1{REDACTED}", text)
    text = _SIGNED_LINK.sub(rf"\1.{REDACTED}", text)
    return _URL_PASSWORD.sub(rf"\1{REDACTED}@", text)
