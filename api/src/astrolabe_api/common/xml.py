"""Small helpers for the XML that is written by hand, where prefixes and order matter to clients."""

from __future__ import annotations

import re

__all__ = ["XML_DECLARATION", "attribute", "element", "text"]

XML_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TEXT = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})
_ATTRIBUTE = str.maketrans(
    {
        "&": "&amp;",
        "<": "&lt;",
        ">": "&gt;",
        '"': "&quot;",
        "\t": "&#9;",
        "\n": "&#10;",
        "\r": "&#13;",
    }
)


def text(value: str) -> str:
    """Return `value` as the text of an element; what XML 1.0 cannot hold becomes U+FFFD."""
    return _NOT_XML.sub("\ufffd", value).translate(_TEXT)


def attribute(value: str) -> str:
    """Return `value` as an attribute's value, with its double quotes."""
    return f'"{_NOT_XML.sub(chr(0xFFFD), value).translate(_ATTRIBUTE)}"'


def element(name: str, value: str | None) -> str:
    """Return ``<name>value</name>``, nothing at all for `None`."""
    return "" if value is None else f"<{name}>{text(value)}</{name}>"
