"""ADQL 2.1 as a sqlglot dialect: its tokens.

sqlglot's tokenizer accepts the union of many dialects.  The one here knows ADQL's few operators and
refuses whatever else is in the text, so that the parser (:mod:`astrolabe.adql.parser`) only ever
sees ADQL's own tokens.
"""

from __future__ import annotations

import re
from typing import ClassVar

from sqlglot import tokens
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import TokenError
from sqlglot.tokenizer_core import Token, TokenType
from typing_extensions import override

from astrolabe.adql import hints
from astrolabe.adql.parser import AdqlParser
from astrolabe.adql.position import position_at
from astrolabe.core.errors import AdqlSyntaxError, AdqlUnsupportedError

__all__ = ["MAX_NESTING", "Adql", "AdqlTokenizer"]

MAX_NESTING = 200
"""Parentheses may be nested this deep; no sensible query comes near it."""

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
_NUMBER = re.compile(r"(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?\Z")

_KNOWN = frozenset(
    [
        TokenType.VAR,
        TokenType.IDENTIFIER,
        TokenType.STRING,
        TokenType.NUMBER,
        TokenType.L_PAREN,
        TokenType.R_PAREN,
        TokenType.COMMA,
        TokenType.DOT,
        TokenType.PLUS,
        TokenType.DASH,
        TokenType.STAR,
        TokenType.SLASH,
        TokenType.DPIPE,
        TokenType.EQ,
        TokenType.NEQ,
        TokenType.LT,
        TokenType.LTE,
        TokenType.GT,
        TokenType.GTE,
        TokenType.SEMICOLON,
    ]
)
_WORDLIKE = frozenset([TokenType.VAR, TokenType.IDENTIFIER, TokenType.NUMBER])


class AdqlTokenizer(tokens.Tokenizer):
    """Tokens of ADQL 2.1; words stay words, the parser knows which are reserved."""

    COMMENTS: ClassVar = ["--"]
    QUOTES: ClassVar = ["'"]
    IDENTIFIERS: ClassVar = ['"']
    KEYWORDS: ClassVar = {
        "||": TokenType.DPIPE,
        ">=": TokenType.GTE,
        "<=": TokenType.LTE,
        "<>": TokenType.NEQ,
        "!=": TokenType.NEQ,
        "==": TokenType.UNKNOWN,
        "::": TokenType.UNKNOWN,
        "/*": TokenType.UNKNOWN,
    }

    @override
    def tokenize(self, sql: str) -> list[Token]:
        """Split `sql` into tokens.

        Raises
        ------
        AdqlSyntaxError
            Raised if something in the text is no token of ADQL, or parentheses are nested more
            than `MAX_NESTING` deep.
        AdqlUnsupportedError
            Raised if it is an operator of other SQL dialects; names the ADQL way.
        """
        if sql.startswith("\ufeff"):  # what some editors put before a file's text
            sql = " " + sql[1:]
        try:
            raw = super().tokenize(sql)
        except TokenError as error:
            raise _unterminated(sql) from error
        result = _merge_fractions(raw)
        _check_tokens(result, sql)
        return result


class Adql(Dialect):
    """The Astronomical Data Query Language, version 2.1."""

    Tokenizer = AdqlTokenizer
    Parser = AdqlParser


def _unterminated(sql: str) -> AdqlSyntaxError:
    """Find the quote that is never closed."""
    opened, where = "", 0
    index = 0
    while index < len(sql):
        char = sql[index]
        if opened:
            if char == opened:
                opened = ""
        elif char in "'\"":
            opened, where = char, index
        elif sql.startswith("--", index):
            end = sql.find("\n", index)
            index = len(sql) if end < 0 else end
        index += 1
    what = "string" if opened == "'" else "quoted identifier"
    return AdqlSyntaxError(
        f"This {what} is never closed; end it with {opened}", position=position_at(sql, where)
    )


def _merge_fractions(raw: list[Token]) -> list[Token]:
    """Join ``.`` and a number that follows at once, as in ``.5``, into one number."""
    result: list[Token] = []
    for token in raw:
        previous = result[-1] if result else None
        if (
            token.token_type == TokenType.NUMBER
            and previous is not None
            and previous.token_type == TokenType.DOT
            and previous.end + 1 == token.start
        ):
            result[-1] = Token(
                TokenType.NUMBER, "." + token.text, token.line, token.col, previous.start, token.end
            )
        else:
            result.append(token)
    return result


def _check_tokens(items: list[Token], sql: str) -> None:
    depth = 0
    previous: Token | None = None
    for token in items:
        _check_text(token, sql)
        kind = token.token_type
        if kind == TokenType.L_PAREN:
            depth += 1
            if depth > MAX_NESTING:
                raise AdqlSyntaxError(
                    f"Parentheses are nested more than {MAX_NESTING} deep; simplify the query",
                    position=position_at(sql, token.start),
                )
        elif kind == TokenType.R_PAREN:
            depth -= 1
        if previous is not None and _run_together(previous, token):
            raise AdqlSyntaxError(
                f"{sql[previous.start : token.end + 1]!r} is neither a number nor a name;"
                " put a space or an operator between them",
                position=position_at(sql, previous.start),
            )
        previous = token


def _check_text(token: Token, sql: str) -> None:
    kind = token.token_type
    if kind not in _KNOWN:
        raise _foreign(token, sql)
    if kind == TokenType.VAR and not _WORD.match(token.text):
        raise _bad_word(token, sql)
    if kind == TokenType.NUMBER and not _NUMBER.match(token.text):
        raise AdqlSyntaxError(
            f"{token.text!r} is not a number", position=position_at(sql, token.start)
        )


def _run_together(previous: Token, token: Token) -> bool:
    """Whether two tokens touch that must not: ``1.2.3``, ``"a"b``, ``0x1F`` (but ``2desc`` may)."""
    if previous.end + 1 != token.start or token.token_type not in _WORDLIKE:
        return False
    if previous.token_type == TokenType.NUMBER and token.token_type == TokenType.VAR:
        return previous.text == "0" and token.text[0] in "xX"
    return previous.token_type in _WORDLIKE


def _foreign(token: Token, sql: str) -> AdqlSyntaxError | AdqlUnsupportedError:
    where = position_at(sql, token.start)
    hint = hints.OPERATORS.get(token.text)
    if hint is not None:
        return AdqlUnsupportedError(hint, position=where)
    return AdqlSyntaxError(f"{token.text!r} has no meaning in ADQL", position=where)


def _bad_word(token: Token, sql: str) -> AdqlSyntaxError:
    where = position_at(sql, token.start)
    text = token.text
    if text.startswith("_"):
        return AdqlSyntaxError(
            f'A name that begins with an underscore must be quoted: "{text}"', position=where
        )
    offending = next((c for c in text if not (c.isascii() and (c.isalnum() or c == "_"))), text[0])
    return AdqlSyntaxError(
        f"The character {offending!r} may not stand in an unquoted name; quote the name"
        f' if it is one: "{text}"',
        position=where,
    )
