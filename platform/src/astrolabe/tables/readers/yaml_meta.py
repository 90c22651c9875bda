"""The YAML in which astropy describes the columns of a table (ECSV 1.0)."""

from __future__ import annotations

from typing import Any

import yaml

__all__ = ["described_columns", "load_description", "mapping_of", "text_of"]


class _Loader(yaml.SafeLoader):
    """A safe loader that reads objects of other programs as plain values."""


def _plain_value(loader: yaml.SafeLoader, _suffix: str, node: yaml.Node) -> Any:  # noqa: ANN401 - YAML holds anything
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node) if isinstance(node, yaml.ScalarNode) else None


_Loader.add_multi_constructor("!", _plain_value)
_Loader.add_multi_constructor("tag:yaml.org,2002:", _plain_value)


def load_description(text: str | bytes) -> dict[str, Any]:
    """Return the description as plain values.

    Raises
    ------
    ValueError
        Raised if the text is no YAML mapping.
    """
    if b"&" in (text if isinstance(text, bytes) else text.encode()):
        # Aliases can grow without bound; what astropy writes has none.
        for event in yaml.parse(text, Loader=_Loader):
            if isinstance(event, yaml.AliasEvent):
                raise ValueError("the YAML uses aliases")  # noqa: TRY004 - the value is wrong
    try:
        document = yaml.load(text, Loader=_Loader)  # noqa: S506 - derived from SafeLoader
    except (yaml.YAMLError, RecursionError) as exc:
        raise ValueError(f"the YAML is broken: {exc}") from exc
    if not isinstance(document, dict):
        raise ValueError("the YAML is no mapping")  # noqa: TRY004 - the value is wrong
    return document


def described_columns(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the entries of the ``datatype`` list.

    Raises
    ------
    ValueError
        Raised if there is none, or an entry has no name.
    """
    entries = document.get("datatype")
    if not isinstance(entries, list):
        raise ValueError("the YAML has no list of columns (datatype)")  # noqa: TRY004 - the value is wrong
    for entry in entries:
        if not isinstance(entry, dict) or not entry.get("name"):
            raise ValueError("a column of the YAML has no name")
    return entries


def mapping_of(value: object) -> dict[Any, Any]:
    """Return a mapping, also from YAML's list of pairs; of anything else an empty one."""
    if isinstance(value, dict):
        return value
    if isinstance(value, list) and all(isinstance(v, tuple) and len(v) == 2 for v in value):
        return dict(value)
    return {}


def text_of(value: object) -> str | None:
    """Return a value as a text that is not empty, or `None`."""
    text = "" if value is None or isinstance(value, dict | list) else str(value).strip()
    return text or None
