"""Reading the settings from flags, environment and file, and saying what is wrong with them."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_settings import EnvSettingsSource
from pydantic_settings.exceptions import SettingsError
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from astrolabe.config.tree import ServerSettings, Settings
from astrolabe.core.errors import BadParameterError

__all__ = ["load_settings"]


def load_settings(
    *,
    home: Path | None = None,
    config_file: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """Read the settings: flags, then environment, then the file, then defaults.

    Parameters
    ----------
    home
        Folder of the state, as given by a flag.
    config_file
        YAML file; default ``config.yaml`` in the home folder, which may be missing.
    overrides
        Values given by other flags, by section: ``{"server": {"port": 0}}``.

    Raises
    ------
    BadParameterError
        Raised if a name is unknown, a value does not fit, a secret stands in the file, or a file
        that was named cannot be read.
    """
    flags: dict[str, Any] = dict(overrides or {})
    if home is not None:
        flags["home"] = home
    environment = _read_environment()
    source = config_file
    if source is None:
        default_home = Path(
            flags.get("home") or environment.get("home") or Settings.model_fields["home"].default
        )
        source = default_home.expanduser() / "config.yaml"
        from_file = _read_file(source) if source.exists() else {}
    else:
        from_file = _read_file(source)
    merged = _merge(_merge(from_file, environment), flags)
    _derive_public_url(merged)
    try:
        return Settings(**merged)
    except ValidationError as exc:
        origins = (("flag", flags), ("environment", environment), (str(source), from_file))
        raise BadParameterError(_explain(exc, origins)) from exc


def _read_environment() -> dict[str, Any]:
    # A name with a section is meant for us; one without may be anybody's (Kubernetes sets
    # ASTROLABE_PORT and the like for a service called astrolabe).
    sections = _names(Settings)
    for name in os.environ:
        section, delimiter, _ = name.upper().removeprefix("ASTROLABE_").partition("__")
        if not name.upper().startswith("ASTROLABE_") or not delimiter:
            continue
        if section.lower() not in sections:
            hint = _nearest(section.lower(), sections, prefix="")
            raise BadParameterError(f"unknown section of settings in the environment: {name}{hint}")
    try:
        return _tidy(EnvSettingsSource(Settings)())
    except SettingsError as exc:
        raise BadParameterError(f"environment: {exc}; lists and sections are JSON") from exc


def _read_file(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise BadParameterError(f"cannot read the settings file {path}: {exc.strerror}") from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        reason = " ".join(str(exc).split())
        raise BadParameterError(f"the settings file {path} is not YAML: {reason}") from exc
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise BadParameterError(f"the settings file {path} must hold sections, such as `server:`")
    settings = _tidy(cast("dict[str, Any]", content))
    _refuse_secrets(settings, path)
    return settings


def _refuse_secrets(settings: Mapping[str, Any], path: Path) -> None:
    auth = settings.get("auth")
    if isinstance(auth, dict) and auth.get("secret_key") is not None:
        raise BadParameterError(
            f"{path}: auth.secret_key is a secret: set ASTROLABE_AUTH__SECRET_KEY instead"
        )
    for section, field in (("openid", "client_secret"), ("clients", "secret")):
        named = auth.get(section) if isinstance(auth, dict) else None
        for name, entry in named.items() if isinstance(named, dict) else ():
            if isinstance(entry, dict) and entry.get(field) is not None:
                variable = f"ASTROLABE_AUTH__{section}__{name}__{field}".upper()
                raise BadParameterError(
                    f"{path}: auth.{section}.{name}.{field} is a secret: set {variable} instead"
                )
    database = settings.get("database")
    if not isinstance(database, dict):
        return
    if database.get("password") is not None:
        raise BadParameterError(
            f"{path}: database.password is a secret: set ASTROLABE_DATABASE__PASSWORD instead"
        )
    for name in ("url", "catalog_url"):
        url = database.get(name)
        try:
            has_password = isinstance(url, str) and make_url(url).password is not None
        except ArgumentError:
            continue  # validation says what is wrong with it
        if has_password:
            raise BadParameterError(
                f"{path}: database.{name} holds a password: take it out and set "
                "ASTROLABE_DATABASE__PASSWORD instead"
            )


def _tidy(settings: dict[str, Any]) -> dict[str, Any]:
    """Give the section `import` the one name that merging uses; an empty section is none."""
    tidy = {str(k): v for k, v in settings.items() if v is not None}
    if "imports" in tidy and "import" not in tidy:
        tidy["import"] = tidy.pop("imports")
    return tidy


def _merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(low)
    for key, value in high.items():
        below = merged.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            merged[key] = _merge(below, value)
        else:
            merged[key] = value
    return merged


def _derive_public_url(settings: dict[str, Any]) -> None:
    """Without a public address it is that of the port that we listen on."""
    server = settings.get("server")
    if not isinstance(server, Mapping) or server.get("public_url") is not None:
        return
    host = str(server.get("host", "127.0.0.1"))
    if host in {"0.0.0.0", "::", ""}:  # noqa: S104 - compared, not listened on
        host = "127.0.0.1"
    if ":" in host:
        host = f"[{host}]"
    port = str(server.get("port", ServerSettings.model_fields["port"].default))
    if port.isdecimal() and 0 < int(port) < 65_536:
        settings["server"] = {**server, "public_url": f"http://{host}:{port}"}


def _explain(exc: ValidationError, origins: tuple[tuple[str, Mapping[str, Any]], ...]) -> str:
    """Say in one line what the first error is, where it came from and what would be right."""
    error = exc.errors(include_url=False)[0]
    location = tuple(str(part) for part in error["loc"])
    name = ".".join(location)
    origin = next((o for o, values in origins if _holds(values, location)), "settings")
    if origin == "environment":
        origin += " ASTROLABE_" + "__".join(location).upper()
    if error["type"] == "extra_forbidden":
        known = _names(Settings)
        prefix = ""
        if len(location) > 1:
            known = known[location[0]]
            prefix = f"{location[0]}."
        if len(location) > 3:
            known = _entry_names(location[0], location[1])
            prefix = ".".join(location[:-1]) + "."
        return f"{origin}: unknown setting {name}{_nearest(location[-1], known, prefix=prefix)}"
    reason = error["msg"].removeprefix("Value error, ")
    reason = reason[0].lower() + reason[1:]
    # A password may stand in what was given for the database, a key in what was for `auth`.
    is_secret = location[0] == "database" or any("secret" in part for part in location)
    # So may one in a whole entry, which is what a missing field is reported with.
    given = "" if is_secret or isinstance(error["input"], dict) else f" = {error['input']!r}"
    return f"{origin}: {name}{given}: {reason}"


def _holds(values: Mapping[str, Any], location: tuple[str, ...]) -> bool:
    here: Any = values
    for part in location:
        if not isinstance(here, Mapping):
            return True  # the value itself is of the wrong form
        if part not in here:
            return False
        here = here[part]
    return True


def _names(model: type[BaseModel]) -> dict[str, Any]:
    """Return the names of all settings, a section's as a mapping of its own."""
    return {
        field.alias or name: _names(field.annotation)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        else None
        for name, field in model.model_fields.items()
    }


def _entry_names(section: str, field: str) -> dict[str, Any]:
    """Return the names of what one entry of a section's mapping holds (`auth.openid.<name>`)."""
    model = Settings.model_fields[section].annotation
    entries = getattr(model, "model_fields", {})[field].annotation
    return next((_names(a) for a in get_args(entries) if hasattr(a, "model_fields")), {})


def _nearest(name: str, known: Mapping[str, Any], *, prefix: str) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        return f"; did you mean {prefix}{near[0]}?"
    return f"; known here: {', '.join(sorted(known))}"
