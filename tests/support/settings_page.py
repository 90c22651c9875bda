"""Writes the page of settings from the tree: ``python -m tests.support.settings_page``."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, HttpUrl, SecretStr
from pydantic.fields import FieldInfo

from astrolabe.config import Settings

__all__ = ["PAGE", "render"]

PAGE = Path(__file__).parents[2] / "docs" / "operate" / "settings.md"

_HEAD = """\
# Settings

Every setting has a default, so none is needed. A value comes from the first of these that has it:

1. a flag of the command (`--port 8081`),
2. the environment: `ASTROLABE_<SECTION>__<FIELD>`, such as `ASTROLABE_TAP__SYNC_SECONDS=30`
   (two underscores; lists are divided by commas),
3. the YAML file: the one named with `--config`, else `config.yaml` in the home folder,
4. the default below.

```yaml
server:
  title: Survey of the southern sky
  publisher: Example Observatory
  public_url: https://sky.example.org
tap:
  sync_seconds: 30
```

A name that does not exist is an error, and the message has the nearest one that does. Secrets come
from the environment only: a file that holds one is refused. The same tree is the block `config:` of
a deployment on Kubernetes.

<!-- From here on this page is written by `python -m tests.support.settings_page`. -->

## Top level

{top}
"""


def render() -> str:
    """Return the page as it should be."""
    top: list[str] = []
    sections: list[str] = []
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            label = field.alias or name
            lines = [_line(member, inner) for member, inner in section.model_fields.items()]
            about = (section.__doc__ or "").strip().splitlines()[0]
            sections.append(f"## `{label}`\n\n{about}\n\n" + "\n".join(lines) + "\n")
            sections.extend(_entries(label, section))
        else:
            top.append(_line(name, field))
    return _HEAD.format(top="\n".join(top)) + "\n".join(sections).rstrip() + "\n"


def _entries(label: str, section: type[BaseModel]) -> Iterator[str]:
    """Describe what one entry of each mapping of a section holds."""
    for name, field in section.model_fields.items():
        for model in typing.get_args(field.annotation):
            if isinstance(model, type) and issubclass(model, BaseModel):
                about = (model.__doc__ or "").strip().splitlines()[0]
                lines = [_line(member, inner) for member, inner in model.model_fields.items()]
                heading = f"### `{label}.{name}.<name>`"
                yield f"{heading}\n\n{about}\n\n" + "\n".join(lines) + "\n"


def _line(name: str, field: FieldInfo) -> str:
    default = "must be given" if field.is_required() else f"default {_default(field)}"
    return f"`{name}`\n: {field.description}\n  *{_form(field)}; {default}*\n"


def _form(field: FieldInfo) -> str:
    annotation: Any = field.annotation
    options = [a for a in typing.get_args(annotation) if a is not types.NoneType]
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        annotation = options[0]
    while typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) is typing.Literal:
        return "one of " + ", ".join(f"`{a}`" for a in typing.get_args(annotation))
    if typing.get_origin(annotation) is tuple:
        return "list of text"
    if typing.get_origin(annotation) is dict:
        return "mapping"
    words = {
        int: "whole number",
        float: "number",
        str: "text",
        bool: "true or false",
        Path: "path",
        HttpUrl: "address",
        SecretStr: "secret",
    }
    return words[annotation]


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is None or value in ((), {}):
        return "none"
    if isinstance(value, tuple):
        return ", ".join(f"`{item}`" for item in value)
    return f"`{value}`"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
