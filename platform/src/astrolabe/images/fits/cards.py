"""FITS headers as the cards that they are made of (FITS 4.0, section 4).

astropy's `Header` parses, checks and comments each card; a service that copies a header of 200
cards a thousand times a second changes three of them and pastes the others.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, Final

from astropy.io.fits import Header
from typing_extensions import override

from astrolabe.core.errors import ImageInvalidError

__all__ = ["BLOCK", "CARD", "CardValue", "FitsHeader", "format_card"]

CARD: Final = 80
"""Bytes of a card."""
BLOCK: Final = 2880
"""Bytes of a block; headers and data are filled up to whole ones."""

CardValue = bool | int | float | str | None

_STRING: Final = re.compile(r"\s*'((?:[^']|'')*)'")
_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e]")
_COMMENTARY: Final = frozenset({"", "COMMENT", "HISTORY"})


class FitsHeader:
    """The cards of one header, without the END card.

    Parameters
    ----------
    cards
        Of 80 characters each.
    text
        All of them in a row, in the place of `cards`; divided when somebody asks for one.

    Notes
    -----
    Values are looked up by keyword in capital letters; of a keyword that is there twice the first
    card counts.  A header never changes: `replaced` gives another one.
    """

    def __init__(self, cards: Iterable[str] = (), *, text: str | None = None) -> None:
        self._text = text
        if text is None:
            self.__dict__["cards"] = tuple(cards)

    @classmethod
    def from_text(cls, text: str) -> FitsHeader:
        """Return the header of cards that follow each other without anything between them."""
        # An index has the headers of all HDUs, and most of them nobody looks at.
        return cls(text=text)

    @cached_property
    def cards(self) -> tuple[str, ...]:
        """The cards, of 80 characters each."""
        text = self._text or ""
        return tuple([text[i : i + CARD].ljust(CARD) for i in range(0, len(text), CARD)])

    @classmethod
    def from_astropy(cls, header: Header) -> FitsHeader:
        """Return astropy's header as cards."""
        return cls.from_text(header.tostring(endcard=False, padding=False))

    @property
    def text(self) -> str:
        """All cards in a row, without END."""
        return "".join(self.cards)

    @override
    def __repr__(self) -> str:
        return f"FitsHeader({len(self.cards)} cards)"

    def __len__(self) -> int:
        return len(self.cards)

    def __iter__(self) -> Iterator[str]:
        """Yield the keyword of each card."""
        return iter(self.keywords)

    def __contains__(self, keyword: str) -> bool:
        return keyword in self._places

    @cached_property
    def keywords(self) -> tuple[str, ...]:
        """The keyword of each card; the same ones in all images of a survey, or nearly."""
        return tuple([card[:8].rstrip() for card in self.cards])

    @cached_property
    def _places(self) -> dict[str, int]:
        keywords = self.keywords
        if "HIERARCH" in keywords:
            keywords = tuple([_keyword(card) for card in self.cards])
        # The first card of a keyword counts: it comes last here.
        return dict(zip(reversed(keywords), range(len(keywords) - 1, -1, -1), strict=True))

    def picked(self, places: Iterable[int]) -> FitsHeader:
        """Return a header of some of the cards, by their places from 0."""
        cards = self.cards
        return FitsHeader([cards[place] for place in places])

    def get(self, keyword: str, default: Any = None) -> Any:  # noqa: ANN401 - a header has no types
        """Return the value of a keyword: bool, int, float or str; `default` if it has none."""
        place = self._places.get(keyword)
        if place is None:
            return default
        value = self._value(place)
        return default if value is None else value

    def number(self, keyword: str, default: float) -> float:
        """Return the finite number that a keyword has.

        Raises
        ------
        ImageInvalidError
            Raised if it has something else.
        """
        value = self.get(keyword, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ImageInvalidError(f"The header says {keyword} = {value!r}, which is no number.")
        if not math.isfinite(value):
            raise ImageInvalidError(f"The header says {keyword} = {value!r}, which is not finite.")
        return value

    def integer(self, keyword: str, default: int | None = None) -> int:
        """Return the integer that a keyword has.

        Raises
        ------
        ImageInvalidError
            Raised if it has something else, or if it is missing and has no default.
        """
        value = self.get(keyword, default)
        if value is None:
            raise ImageInvalidError(f"The header has no keyword {keyword}, which it must have.")
        if isinstance(value, bool) or not isinstance(value, int):
            raise ImageInvalidError(f"The header says {keyword} = {value!r}, which is no integer.")
        return value

    def replaced(
        self,
        values: Mapping[str, CardValue],
        *,
        without: frozenset[str] = frozenset(),
        comments: Mapping[str, str] | None = None,
    ) -> FitsHeader:
        """Return a header with other values; new keywords come after all others.

        Parameters
        ----------
        values
            By keyword.  Comments of cards that were there go, but for those of `comments`.
        without
            Keywords to leave out.
        comments
            By keyword.
        """
        comments = comments or {}
        left = dict(values)
        cards: list[str] = []
        for card in self.cards:
            keyword = _keyword(card)
            if keyword in without:
                continue
            if keyword in values:
                if keyword in left:
                    text = format_card(keyword, left.pop(keyword), comments.get(keyword, ""))
                    cards.extend(_cut(text))
                continue
            cards.append(card)
        for keyword, value in left.items():
            cards.extend(_cut(format_card(keyword, value, comments.get(keyword, ""))))
        return FitsHeader(cards)

    def to_astropy(self) -> Header:
        """Return the header for astropy."""
        return Header.fromstring(self.text)

    def _value(self, place: int) -> CardValue:
        card = self.cards[place]
        if card[8:10] == "= ":
            field = card[10:]
        elif card.startswith("HIERARCH ") and "=" in card:
            field = card.partition("=")[2]
        else:
            return None
        text = _STRING.match(field)
        if text is None:
            return _parse_plain(field.partition("/")[0].strip())
        value = text[1].replace("''", "'").rstrip()
        while value.endswith("&") and place + 1 < len(self.cards):
            place += 1
            more = self.cards[place]
            text = _STRING.match(more[8:]) if more.startswith("CONTINUE  ") else None
            if text is None:
                break
            value = value[:-1] + text[1].replace("''", "'").rstrip()
        return value


def format_card(keyword: str, value: CardValue, comment: str = "") -> str:
    """Return the card or cards (a multiple of 80 characters) of a keyword.

    Parameters
    ----------
    keyword
        Up to 8 capital letters, digits, hyphens and underscores.
    value
        Floats are written so that the same double is read again; long strings with CONTINUE
        cards; what cannot stand in a header becomes a question mark.
    comment
        Left out where there is no room for it.
    """
    name = keyword.ljust(8)
    if keyword in _COMMENTARY:
        text = _UNPRINTABLE.sub("?", str(value))
        parts = [text[i : i + 72] for i in range(0, max(len(text), 1), 72)]
        return "".join((name + part).ljust(CARD) for part in parts)
    if isinstance(value, str):
        return _string_cards(name, value, comment)
    field = _format_plain(value).rjust(20)
    return _with_comment(f"{name}= {field}", comment)


def _string_cards(name: str, value: str, comment: str) -> str:
    quoted = _UNPRINTABLE.sub("?", value).replace("'", "''")
    if len(quoted) <= 68:
        quoted = f"'{quoted:<8}'"
        return _with_comment(f"{name}= {quoted:<20}", comment)
    cards = []
    head = f"{name}= "
    while quoted:
        end = min(len(quoted), 67)
        # A doubled quote stays on one card.
        if end < len(quoted) and (len(quoted[:end]) - len(quoted[:end].rstrip("'"))) % 2:
            end -= 1
        part, quoted = quoted[:end], quoted[end:]
        cards.append(f"{head}'{part}{'&' if quoted else ''}'".ljust(CARD))
        head = "CONTINUE  "
    return "".join(cards)


def _with_comment(card: str, comment: str) -> str:
    comment = _UNPRINTABLE.sub("?", comment)
    if comment and len(card) + 3 + len(comment) <= CARD:
        card = f"{card} / {comment}"
    return card.ljust(CARD)


def _format_plain(value: CardValue) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "T" if value else "F"
        case int():
            return str(value)
        case _:
            if not math.isfinite(value):  # type: ignore[arg-type]  # strings came before
                raise ImageInvalidError(f"A FITS header cannot hold the number {value!r}.")
            text = repr(float(value)).upper()
            mantissa, exponent_sign, exponent = text.partition("E")
            if "." not in mantissa:
                mantissa += ".0"
            return mantissa + exponent_sign + exponent


def _parse_plain(field: str) -> CardValue:
    if field in {"T", "F"}:
        return field == "T"
    try:
        return int(field)
    except ValueError:
        pass
    try:
        return float(field.upper().replace("D", "E"))
    except ValueError:
        return field or None


def _keyword(card: str) -> str:
    if card.startswith("HIERARCH ") and "=" in card:
        return card[9:].partition("=")[0].strip()
    return card[:8].rstrip()


def _cut(text: str) -> list[str]:
    return [text[i : i + CARD] for i in range(0, len(text), CARD)]
