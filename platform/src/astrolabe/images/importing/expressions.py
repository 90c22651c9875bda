"""What a value of an image is taken from: a keyword, a constant, a template, a date.

A mapping's file gives one expression for each column; here they are read and evaluated.  Nothing
of a header is ever run as code, and no header makes a value longer than `LONGEST_TEXT`.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Final, Protocol

from astropy import units
from astropy.time import Time
from typing_extensions import override

from astrolabe.core.errors import ImportRefusedError
from astrolabe.images.fits.cards import FitsHeader

__all__ = [
    "LONGEST_TEXT",
    "MJD_ZERO",
    "Constant",
    "Expression",
    "Headers",
    "Keyword",
    "Template",
    "Value",
    "ValueProblemError",
    "date_and_time",
    "parse_expression",
]

Value = str | int | float | bool

MJD_ZERO: Final = datetime(1858, 11, 17, tzinfo=UTC)
"""When MJD 0 was."""

LONGEST_TEXT: Final = 2_000
"""Characters of a value; the rest of a longer one is cut off."""

_TIME_SCALES: Final = frozenset({"utc", "tai", "tt", "tdb", "tcb", "tcg", "ut1"})
_TIME_FORMS: Final = frozenset({"iso", "mjd", "jd", "unix"})
_FIELD: Final = re.compile(r"\{([^{}:]+)(?::(0?[0-9]{0,2}(?:\.[0-9])?[dfs]?))?\}")
_ISO_DATE: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d(?:\.\d*)?))?)?(?:Z|\+00:00)?",
    re.IGNORECASE,
)
_OLD_DATE: Final = re.compile(r"(\d\d)/(\d\d)/(\d\d)")
_MJD_OF_JD: Final = 2_400_000.5
_MJD_OF_UNIX: Final = 40_587.0
_MJD_ORDINAL: Final = MJD_ZERO.date().toordinal()
_DAY_SECONDS: Final = 86_400.0


class ValueProblemError(Exception):
    """A value of a header cannot be what it should be; says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Headers:
    """The headers of one image in the order in which keywords are looked up.

    Parameters
    ----------
    own
        Of the HDU with the pixels.
    primary
        Of the file.
    others
        Of all HDUs by their number (as text) and by their upper-case name.
    """

    own: FitsHeader
    primary: FitsHeader
    others: Mapping[str, FitsHeader] = field(default_factory=dict)

    def get(self, keyword: str, hdu: str | None = None) -> Value | None:
        """Return what a keyword says; `None` where it is missing, empty or undefined.

        The HDU's own header comes before the primary one, as ``INHERIT`` of the FITS standard has
        it; files that need it seldom say it.
        """
        if hdu is not None:
            found = self.others.get(hdu.upper())
            places: tuple[FitsHeader, ...] = () if found is None else (found,)
        else:
            places = (self.own, self.primary)
        for header in places:
            value = _plain(header, keyword)
            if value is not None:
                return value
        return None

    def series(self, prefix: str) -> list[Value]:
        """Return what numbered keywords say (``PROG1``, ``PROG0002``), in order of the numbers."""
        pattern = re.compile(re.escape(prefix) + r"0*([0-9]{1,6})\Z", re.IGNORECASE)
        found: dict[int, Value] = {}
        for header in (self.primary, self.own):
            for keyword in header:
                match = pattern.match(keyword)
                value = _plain(header, keyword) if match else None
                if match and value is not None:
                    found[int(match[1])] = value
        return [found[number] for number in sorted(found)]


class Expression(Protocol):
    """Gives a value for an image."""

    def evaluate(self, headers: Headers) -> Value | None:
        """Return the value, `None` if the headers have none.

        Raises
        ------
        ValueProblemError
            Raised if they have one that does not fit.
        """
        ...


@dataclass(frozen=True, slots=True)
class Constant(Expression):
    """The same for all images."""

    value: Value | None

    @override
    def evaluate(self, headers: Headers) -> Value | None:
        return self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyword(Expression):
    """The value of the first of several keywords that is there.

    Parameters
    ----------
    names
        Keywords, the best first.
    hdu
        Number or name of the HDU to look into, instead of the image's own and the primary one.
    factor
        From the header's unit to the column's.
    values
        Other names for values, compared as text.
    time
        What a date is given as: ``iso mjd jd unix``; text is always ISO.  The result is MJD (UTC).
    scale
        Time scale of the date instead of the one that TIMESYS names.
    default
        For images whose headers have none.
    """

    names: tuple[str, ...]
    hdu: str | None = None
    factor: float | None = None
    values: Mapping[str, Value] = field(default_factory=dict)
    time: str | None = None
    scale: str | None = None
    default: Value | None = None

    @override
    def evaluate(self, headers: Headers) -> Value | None:
        for name in self.names:
            value = headers.get(name, self.hdu)
            if value is None:
                continue
            if self.values:
                value = self.values.get(str(value).strip(), value)
            return self._converted(headers, name, value)
        return self.default

    def _converted(self, headers: Headers, name: str, value: Value) -> Value:
        try:
            if self.time is not None:
                date = _with_time_of_day(headers, name, value)
                return date_and_time(date, form=self.time, scale=self.scale or _time_scale(headers))
            if self.factor is not None:
                return float(value) * self.factor
        except ValueError as exc:
            raise ValueProblemError(f"{name} = {str(value)[:60]!r}: {exc}") from exc
        return value


@dataclass(frozen=True, slots=True)
class Template(Expression):
    """Text with the values of keywords in it: ``{FIELD}_{CCDNUM:02d}``.

    Parameters
    ----------
    text
        In braces a keyword, and after a colon a width, precision and ``d``, ``f`` or ``s``.
    """

    text: str

    @override
    def evaluate(self, headers: Headers) -> Value | None:
        parts: list[str] = []
        end = 0
        for match in _FIELD.finditer(self.text):
            value = headers.get(match[1].strip())
            if value is None:
                return None
            parts += [self.text[end : match.start()], _formatted(value, match[2] or "", match[1])]
            end = match.end()
        return "".join([*parts, self.text[end:]])[:LONGEST_TEXT]


def parse_expression(given: object, *, where: str, unit: str | None = None) -> Expression:
    """Read an expression of a mapping's file.

    Parameters
    ----------
    given
        A keyword (text); a number, truth value or null, which are constants; or a mapping with one
        of ``constant``, ``template`` and ``keyword`` (one or a list), the last with ``hdu``,
        ``unit``, ``values``, ``time``, ``scale`` and ``default``.
    where
        What it is for, for messages.
    unit
        Of the result; ``unit`` of the expression is converted to it.

    Raises
    ------
    ImportRefusedError
        Raised if it is none.
    """
    if given is None or isinstance(given, bool | int | float):
        return Constant(given)
    if isinstance(given, str):
        return Keyword(names=_keywords(given, where))
    if not isinstance(given, Mapping):
        raise _refused(where, "give a keyword, a number, or one of constant, template and keyword")
    kinds = [kind for kind in ("constant", "template", "keyword") if kind in given]
    if len(kinds) != 1:
        raise _refused(where, "give exactly one of constant, template and keyword")
    kind = kinds[0]
    allowed = {"hdu", "unit", "values", "time", "scale", "default"} if kind == "keyword" else set()
    unknown = sorted(str(key) for key in given if key != kind and key not in allowed)
    if unknown:
        raise _refused(where, f"{unknown[0]!r} does not go with {kind!r}")
    if kind == "constant":
        return Constant(_value(given["constant"], where))
    if kind == "template":
        return Template(_template(given["template"], where))
    return _keyword(given, where=where, unit=unit)


def date_and_time(value: Value, *, form: str = "iso", scale: str = "utc") -> float:
    """Return a date as MJD in UTC.

    Parameters
    ----------
    value
        ISO 8601 text, ``DD/MM/YY`` (the FITS form of before 2000), or a number.
    form
        What a number is: ``mjd``, ``jd`` or ``unix``.
    scale
        The time scale that it is in, as ``TIMESYS`` names it.

    Raises
    ------
    ValueError
        Raised if it is not a date.
    """
    text = str(value).strip()
    number = None if isinstance(value, bool) else _number(text)
    if number is None:
        mjd = _calendar_mjd(text)
    elif form == "jd":
        mjd = number - _MJD_OF_JD
    elif form == "unix":
        mjd, scale = number / _DAY_SECONDS + _MJD_OF_UNIX, "utc"
    else:
        mjd = number
    if not -1e6 < mjd < 1e6:  # NaN too
        raise ValueError("is not a date of this age")
    # UT1 keeps within a second of UTC; how far needs tables that are not here.
    return mjd if scale in {"utc", "ut1"} else _to_utc(mjd, scale)


def _calendar_mjd(text: str) -> float:
    match = _OLD_DATE.fullmatch(text)
    year, month, day = (1900 + int(match[3]), int(match[2]), int(match[1])) if match else (0, 0, 0)
    clock = (0.0, 0.0, 0.0)
    if match is None:
        match = _ISO_DATE.fullmatch(text)
        if match is None:
            raise ValueError("is not a date such as 2027-01-31T12:00:00")
        year, month, day = int(match[1]), int(match[2]), int(match[3])
        clock = (float(match[4] or 0), float(match[5] or 0), float(match[6] or 0))
    if clock[0] >= 24 or clock[1] >= 60 or clock[2] >= 61:  # 60: a leap second
        raise ValueError("is not a date such as 2027-01-31T12:00:00")
    try:
        days = date(year, month, day).toordinal() - _MJD_ORDINAL
    except ValueError as exc:
        raise ValueError(f"is not a date: {exc}") from exc
    return days + (clock[0] * 3600.0 + clock[1] * 60.0 + clock[2]) / _DAY_SECONDS


def _to_utc(mjd: float, scale: str) -> float:
    with warnings.catch_warnings():
        # Of years for which nobody knows the leap seconds yet.
        warnings.simplefilter("ignore")
        return float(Time(mjd, format="mjd", scale=scale).utc.mjd)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _time_scale(headers: Headers) -> str:
    named = str(headers.get("TIMESYS") or "utc").strip().lower()
    # GPS, LOCAL and the like: nothing better is known than that they are near UTC.
    return named if named in _TIME_SCALES else "utc"


def _with_time_of_day(headers: Headers, name: str, value: Value) -> Value:
    """Add the time of day that older files keep in a keyword of its own."""
    if name.upper() != "DATE-OBS" or not isinstance(value, str) or "T" in value or " " in value:
        return value
    for keyword in ("TIME-OBS", "UTC-OBS", "UT"):
        time = headers.get(keyword)
        if isinstance(time, str) and re.fullmatch(r"\d\d:\d\d:\d\d(\.\d*)?", time.strip()):
            old = _OLD_DATE.fullmatch(value.strip())
            date = f"19{old[3]}-{old[2]}-{old[1]}" if old else value.strip()
            return f"{date}T{time.strip()}"
    return value


def _plain(header: FitsHeader, keyword: str) -> Value | None:
    value = header.get(keyword.upper(), header.get(keyword))  # HIERARCH may have any case
    if isinstance(value, str):
        value = value.strip()[:LONGEST_TEXT]
        return value or None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, bool | int) else None


def _formatted(value: Value, form: str, keyword: str) -> str:
    try:
        if form.endswith("d"):
            return format(int(value), form)
        if form.endswith("f"):
            return format(float(value), form)
        return format(str(value), form.lstrip("0"))
    except ValueError as exc:
        raise ValueProblemError(
            f"{keyword} = {str(value)[:60]!r} cannot be written as {form!r}"
        ) from exc


def _keywords(given: object, where: str) -> tuple[str, ...]:
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, Sequence) or not names:
        raise _refused(where, "'keyword' is a FITS keyword or a list of them")
    for name in names:
        if not isinstance(name, str) or not name.strip() or not name.isascii() or len(name) > 68:
            raise _refused(where, f"{name!r} is not a FITS keyword")
    return tuple(name.strip() for name in names)


def _keyword(given: Mapping[Any, Any], *, where: str, unit: str | None) -> Keyword:
    time, scale, hdu = given.get("time"), given.get("scale"), given.get("hdu")
    if time is not None and time not in _TIME_FORMS:
        raise _refused(where, f"'time' is one of {', '.join(sorted(_TIME_FORMS))}")
    if scale is not None and scale not in _TIME_SCALES:
        raise _refused(where, f"'scale' is one of {', '.join(sorted(_TIME_SCALES))}")
    if hdu is not None and not isinstance(hdu, str | int):
        raise _refused(where, "'hdu' is the number or the name of an HDU")
    values = given.get("values", {})
    if not isinstance(values, Mapping):
        raise _refused(where, "'values' is a mapping from what is in the header")
    factor = None
    if given.get("unit") is not None:
        factor = _factor(str(given["unit"]), unit, where)
    return Keyword(
        names=_keywords(given["keyword"], where),
        hdu=None if hdu is None else str(hdu),
        factor=factor,
        values={str(key): _value(value, where) for key, value in values.items()},
        time=time,
        scale=scale,
        default=None if given.get("default") is None else _value(given["default"], where),
    )


def _factor(given: str, wanted: str | None, where: str) -> float:
    if wanted is None:
        raise _refused(where, "has no unit, so that 'unit' means nothing here")
    try:
        return float(units.Unit(given).to(units.Unit(wanted)))
    except (ValueError, TypeError) as exc:
        raise _refused(where, f"the unit {given!r} cannot be converted to {wanted}") from exc


def _template(given: object, where: str) -> str:
    if not isinstance(given, str) or not given:
        raise _refused(where, "'template' is text")
    rest = _FIELD.sub("", given)
    if "{" in rest or "}" in rest:
        raise _refused(
            where, "in a template braces hold a keyword and a format such as {VISIT:06d} or {BAND}"
        )
    return given


def _value(given: object, where: str) -> Value:
    if isinstance(given, bool | int | float | str):
        return given
    raise _refused(where, "values are text, numbers or true and false")


def _refused(where: str, message: str) -> ImportRefusedError:
    return ImportRefusedError(f"mapping: {where}: {message}")
