"""Options that commands share: where the state and the settings are."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

__all__ = ["settings_options"]

_Result = TypeVar("_Result")


def settings_options(function: Callable[..., _Result]) -> Callable[..., _Result]:
    """Give a command the options ``--home`` and ``--config`` and call it with ``settings``.

    An option of the command whose parameter is called ``section__field`` goes into the settings
    as well, above the environment and the file: ``click.option("--port", "server__port")``.

    Parameters
    ----------
    function
        The command's body; takes the keyword ``settings``.
    """

    @click.option(
        "--home",
        type=click.Path(file_okay=False, path_type=Path),
        help="Folder of the platform's state.  [default: ~/.astrolabe]",
    )
    @click.option(
        "--config",
        "config_file",
        type=click.Path(dir_okay=False, path_type=Path),
        help="YAML file with settings.  [default: HOME/config.yaml]",
    )
    @functools.wraps(function)
    def command(
        *args: Any,  # noqa: ANN401 - passed on as they are
        home: Path | None,
        config_file: Path | None,
        **kwargs: Any,  # noqa: ANN401 - passed on as they are
    ) -> _Result:
        from astrolabe.config import load_settings  # noqa: PLC0415 - keeps --help fast

        overrides: dict[str, dict[str, Any]] = {}
        for name in [name for name in kwargs if "__" in name]:
            section, _, field = name.partition("__")
            value = kwargs.pop(name)
            if value is not None:
                overrides.setdefault(section, {})[field] = value
        settings = load_settings(home=home, config_file=config_file, overrides=overrides)
        return function(*args, settings=settings, **kwargs)

    return command
