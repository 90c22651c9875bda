"""Text and attributes of the XML that writers make."""

from __future__ import annotations

import html
import re

__all__ = ["xml_attribute", "xml_text"]

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def xml_text(text: str) -> str:
    """Return `text` for the inside of an element; what XML cannot hold becomes U+FFFD."""
    return html.escape(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text), quote=False)


def xml_attribute(text: str) -> str:
    """Return `text` in double quotes for an attribute, white space kept."""
    escaped = html.escape(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text), quote=False)
    for character, reference in (
        ('"', "&quot;"),
        ("\t", "&#9;"),
        ("\n", "&#10;"),
        ("\r", "&#13;"),
    ):
        escaped = escaped.replace(character, reference)
    return f'"{escaped}"'
