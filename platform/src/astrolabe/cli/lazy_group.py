"""A group of commands, some of which are loaded from other modules when they are asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click
from typing_extensions import override

__all__ = ["LazyGroup"]


class LazyGroup(click.Group):
    """Knows where commands of other modules are: ``--help`` of one loads no other.

    Parameters
    ----------
    elsewhere
        By the name of a command: its module in `astrolabe.cli`, a colon, and its name there.
    """

    def __init__(self, *args: Any, elsewhere: Mapping[str, str], **kwargs: Any) -> None:  # noqa: ANN401 - click's own
        super().__init__(*args, **kwargs)
        self._elsewhere = dict(elsewhere)

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *self._elsewhere]

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._elsewhere:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = self._elsewhere[cmd_name].partition(":")
        command = getattr(importlib.import_module(f"astrolabe.cli.{module}"), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{cmd_name} is not a command")
        return command
