"""The grammar of ADQL's expressions: values, functions and conditions.

sqlglot's own grammar is the union of many dialects and forgives much; here its machinery is kept
(tokens, nodes) and its grammar replaced by ADQL's, so that nothing else can get through.  What the
BNF of ADQL 2.1 keeps apart (numeric, string and geometry expressions, conditions) is one grammar
with precedences here; conditions are told from values by their node, types by the checker.
"""

from __future__ import annotations

from typing import NoReturn

from sqlglot import exp
from sqlglot.parser import Parser
from sqlglot.tokenizer_core import Token, TokenType

from astrolabe.adql import hints
from astrolabe.adql.functions import AGGREGATES, GEOMETRY_FUNCTIONS, SCALAR_FUNCTIONS
from astrolabe.adql.position import mark, offset_of, position_at
from astrolabe.core.errors import AdqlSyntaxError, AdqlUnsupportedError, Position
from astrolabe.tables.reserved import ADQL_RESERVED_WORDS

__all__ = ["CONDITIONS", "ExpressionParser"]

CONDITIONS = (
    exp.EQ,
    exp.NEQ,
    exp.LT,
    exp.LTE,
    exp.GT,
    exp.GTE,
    exp.And,
    exp.Or,
    exp.Not,
    exp.Between,
    exp.In,
    exp.Exists,
    exp.Like,
    exp.ILike,
    exp.Is,
)
"""Nodes that are conditions; every other expression is a value."""

_OR, _AND, _NOT, _PREDICATE, _CONCAT, _SUM, _PRODUCT = range(1, 8)

_COMPARISONS: dict[TokenType, type[exp.Expression]] = {
    TokenType.EQ: exp.EQ,
    TokenType.NEQ: exp.NEQ,
    TokenType.LT: exp.LT,
    TokenType.LTE: exp.LTE,
    TokenType.GT: exp.GT,
    TokenType.GTE: exp.GTE,
}
_ARITHMETIC: dict[TokenType, tuple[int, type[exp.Expression]]] = {
    TokenType.DPIPE: (_CONCAT, exp.DPipe),
    TokenType.PLUS: (_SUM, exp.Add),
    TokenType.DASH: (_SUM, exp.Sub),
    TokenType.STAR: (_PRODUCT, exp.Mul),
    TokenType.SLASH: (_PRODUCT, exp.Div),
}
_SIGNS = frozenset([TokenType.PLUS, TokenType.DASH])
_PREDICATE_WORDS = frozenset(["BETWEEN", "IN", "LIKE", "ILIKE"])
_CALLABLE_WORDS = frozenset([*SCALAR_FUNCTIONS, *AGGREGATES, *GEOMETRY_FUNCTIONS])
_CALLABLE_LATER = frozenset(["CAST", "IN_UNIT", "REGION"])


class ExpressionParser(Parser):
    """Parses ADQL expressions into sqlglot's nodes; each notes where it stands in the text."""

    # --- helpers ---------------------------------------------------------------------------------

    def _word(self) -> str:
        """Return the current token in capitals if it is an unquoted word, else nothing."""
        token = self._curr
        return token.text.upper() if token.token_type == TokenType.VAR else ""

    def _next_word(self) -> str:
        token = self._next
        return token.text.upper() if token.token_type == TokenType.VAR else ""

    def _take_word(self, word: str) -> bool:
        if self._word() == word:
            self._advance()
            return True
        return False

    def _expect_word(self, word: str, after: str) -> None:
        if not self._take_word(word):
            self._unexpected(f"{word} after {after}")

    def _take(self, kind: TokenType) -> bool:
        if self._curr.token_type == kind:
            self._advance()
            return True
        return False

    def _expect(self, kind: TokenType, what: str) -> Token:
        if self._curr.token_type != kind:
            self._unexpected(what)
        self._advance()
        return self._prev

    def _where(self, token: Token | None = None) -> Position:
        token = token or self._curr
        return position_at(self.sql, token.start if token else len(self.sql.rstrip()))

    def _unexpected(self, wanted: str) -> NoReturn:
        """Refuse the current token; says what other dialects' words are in ADQL."""
        token = self._curr
        if not token:
            raise AdqlSyntaxError(
                f"The query ends where {wanted} is missing", position=self._where()
            )
        word = self._word()
        hint = hints.LATER.get(word) or hints.WORDS.get(word)
        if hint is not None:
            raise AdqlUnsupportedError(hint, position=self._where())
        if token.token_type == TokenType.SEMICOLON:
            raise AdqlSyntaxError(
                "One query at a time: nothing may follow the semicolon", position=self._where()
            )
        shown = self.sql[token.start : token.end + 1]
        raise AdqlSyntaxError(f"Expected {wanted}, found {shown!r}", position=self._where())

    # --- names -----------------------------------------------------------------------------------

    def _identifier(self, what: str) -> exp.Identifier:
        token = self._curr
        if token.token_type == TokenType.IDENTIFIER:
            if not token.text:
                raise AdqlSyntaxError("A quoted name may not be empty", position=self._where())
            self._advance()
            return mark(exp.Identifier(this=token.text, quoted=True), token)
        if token.token_type != TokenType.VAR:
            self._unexpected(what)
        if token.text.upper() in ADQL_RESERVED_WORDS:
            self._reserved(what)
        self._advance()
        return mark(exp.Identifier(this=token.text, quoted=False), token)

    def _reserved(self, what: str) -> NoReturn:
        token = self._curr
        hint = hints.LATER.get(token.text.upper()) or hints.WORDS.get(token.text.upper())
        if hint is not None:
            raise AdqlUnsupportedError(hint, position=self._where())
        raise AdqlSyntaxError(
            f"Expected {what}, found the reserved word {token.text.upper()}"
            f'; a name that is a reserved word must be quoted: "{token.text}"',
            position=self._where(),
        )

    def _column(self) -> exp.Column:
        first = self._curr
        parts = [self._identifier("a column or a value")]
        while self._take(TokenType.DOT):
            if self._curr.token_type == TokenType.STAR:
                raise AdqlSyntaxError(
                    "table.* may only stand alone in the SELECT list", position=self._where(first)
                )
            parts.append(self._identifier("a name after the dot"))
        if len(parts) > 4:
            raise AdqlSyntaxError(
                "A column's name has at most the parts catalog.schema.table.column",
                position=self._where(first),
            )
        parts.reverse()
        return mark(
            exp.Column(**dict(zip(("this", "table", "db", "catalog"), parts, strict=False))), first
        )

    # --- expressions -----------------------------------------------------------------------------

    def parse_value(self) -> exp.Expression:
        """Parse a value expression."""
        return self._require_value(self._adql_level(_CONCAT))

    def parse_condition(self) -> exp.Expression:
        """Parse a search condition."""
        return self._require_condition(self._adql_level(_OR))

    def _require_value(self, node: exp.Expression) -> exp.Expression:
        if isinstance(node, CONDITIONS):
            raise AdqlSyntaxError(
                "A condition is not a value in ADQL", position=self._position(node)
            )
        return node

    def _require_condition(self, node: exp.Expression) -> exp.Expression:
        if not isinstance(node, CONDITIONS):
            hint = (
                "; compare it: 1 = " + str(node.this) + "(...)"
                if isinstance(node, exp.Anonymous)
                else "; compare it with something"
            )
            raise AdqlSyntaxError(
                f"A value is not a condition in ADQL{hint}", position=self._position(node)
            )
        return node

    def _position(self, node: exp.Expression) -> Position:
        offset = offset_of(node)
        return self._where() if offset is None else position_at(self.sql, offset)

    def _adql_level(self, level: int) -> exp.Expression:
        """Parse operators that bind at least as tight as `level`."""
        start = self._curr
        left = self._adql_prefix(level)
        while True:
            kind = self._curr.token_type
            arithmetic = _ARITHMETIC.get(kind)
            if arithmetic is not None:
                strength, node_type = arithmetic
                if strength < level:
                    return left
                self._advance()
                right = self._require_value(self._adql_level(strength + 1))
                left = mark(node_type(this=self._require_value(left), expression=right), start)
            elif kind in _COMPARISONS:
                if level > _PREDICATE:
                    return left
                self._advance()
                right = self._require_value(self._adql_level(_CONCAT))
                left = mark(
                    _COMPARISONS[kind](this=self._require_value(left), expression=right), start
                )
            elif kind == TokenType.VAR:
                joined = self._adql_word_operator(left, level, start)
                if joined is None:
                    return left
                left = joined
            else:
                return left

    def _adql_word_operator(
        self, left: exp.Expression, level: int, start: Token
    ) -> exp.Expression | None:
        word = self._word()
        if word in ("AND", "OR"):
            strength = _AND if word == "AND" else _OR
            if strength < level:
                return None
            self._advance()
            right = self._require_condition(self._adql_level(strength + 1))
            left = self._require_condition(left)
            node = exp.And if word == "AND" else exp.Or
            return mark(node(this=left, expression=right), start)
        if level > _PREDICATE:
            return None
        negated = word == "NOT" and self._next_word() in _PREDICATE_WORDS
        if word not in _PREDICATE_WORDS and word != "IS" and not negated:
            return None
        self._require_value(left)
        if negated:
            self._advance()
        result = mark(self._adql_predicate(left), start)
        return mark(exp.Not(this=result), start) if negated else result

    def _adql_predicate(self, left: exp.Expression) -> exp.Expression:
        word = self._word()
        self._advance()
        if word == "BETWEEN":
            low = self.parse_value()
            self._expect_word("AND", "the lower limit of BETWEEN")
            return exp.Between(this=left, low=low, high=self.parse_value())
        if word in ("LIKE", "ILIKE"):
            node = exp.Like if word == "LIKE" else exp.ILike
            return node(this=left, expression=self.parse_value())
        if word == "IN":
            return self._adql_in(left)
        negated = self._take_word("NOT")
        if not self._take_word("NULL"):
            self._unexpected("NULL (ADQL has IS NULL and IS NOT NULL only)")
        is_null = exp.Is(this=left, expression=exp.Null())
        return mark(exp.Not(this=is_null), self._prev) if negated else is_null

    def _adql_in(self, left: exp.Expression) -> exp.Expression:
        self._expect(TokenType.L_PAREN, "a list or a subquery in parentheses after IN")
        if self._at_subquery():
            query = self.parse_query()
            self._expect(TokenType.R_PAREN, ") after the subquery")
            return exp.In(this=left, query=query)
        items = [self.parse_value()]
        while self._take(TokenType.COMMA):
            items.append(self.parse_value())
        self._expect(TokenType.R_PAREN, ", or ) in the list of IN")
        return exp.In(this=left, expressions=items)

    def _at_subquery(self) -> bool:
        """Whether a query begins here, perhaps in parentheses of its own."""
        index = self._index
        tokens = self._tokens
        while index < len(tokens) and tokens[index].token_type == TokenType.L_PAREN:
            index += 1
        if index == len(tokens) or tokens[index].token_type != TokenType.VAR:
            return False
        return tokens[index].text.upper() in ("SELECT", "WITH")

    def _adql_prefix(self, level: int) -> exp.Expression:
        token = self._curr
        if token.token_type in _SIGNS:
            self._advance()
            if self._curr.token_type in _SIGNS:
                raise AdqlSyntaxError(
                    "Only one sign may stand before a value; use parentheses",
                    position=self._where(),
                )
            operand = self._require_value(self._adql_primary())
            node_type = exp.Neg if token.token_type == TokenType.DASH else exp.Paren
            return mark(node_type(this=operand), token)
        if token.token_type == TokenType.VAR and token.text.upper() == "NOT" and level <= _NOT:
            self._advance()
            if self._word() == "NOT":
                raise AdqlSyntaxError(
                    "Only one NOT may stand before a condition; use parentheses",
                    position=self._where(),
                )
            return mark(exp.Not(this=self._require_condition(self._adql_level(_PREDICATE))), token)
        return self._adql_primary()

    def _adql_primary(self) -> exp.Expression:
        token = self._curr
        kind = token.token_type
        if kind == TokenType.VAR:
            return self._adql_word_primary(token)
        if kind == TokenType.IDENTIFIER:
            return self._column()
        if kind == TokenType.NUMBER:
            self._advance()
            return mark(exp.Literal.number(token.text), token)
        if kind == TokenType.STRING:
            self._advance()
            if self._curr.token_type == TokenType.STRING:
                raise AdqlSyntaxError(
                    "Two strings side by side; join them with ||", position=self._where()
                )
            return mark(exp.Literal.string(token.text), token)
        if kind == TokenType.L_PAREN:
            return self._adql_parenthesis(token)
        return self._unexpected("a value")

    def _adql_parenthesis(self, token: Token) -> exp.Expression:
        self._advance()
        if self._at_subquery():
            raise AdqlUnsupportedError(
                "ADQL has no subquery as a value; write it in FROM with an alias, or use IN or"
                " EXISTS",
                position=self._where(token),
            )
        inner = self._adql_level(_OR)
        if self._curr.token_type == TokenType.COMMA:
            raise AdqlUnsupportedError(
                "ADQL has no lists of values as one value; compare column by column",
                position=self._where(token),
            )
        self._expect(TokenType.R_PAREN, "an operator or )")
        return inner

    def _adql_word_primary(self, token: Token) -> exp.Expression:
        word = token.text.upper()
        if word == "NULL":
            self._advance()
            return mark(exp.Null(), token)
        if word == "EXISTS":
            self._advance()
            self._expect(TokenType.L_PAREN, "a subquery in parentheses after EXISTS")
            query = self.parse_query()
            self._expect(TokenType.R_PAREN, ") after the subquery")
            return mark(exp.Exists(this=query), token)
        if self._next.token_type == TokenType.L_PAREN:
            if word in _CALLABLE_LATER:
                self._reserved("a value")
            if word in _CALLABLE_WORDS or word not in ADQL_RESERVED_WORDS:
                return self._adql_call(token, word)
        return self._column()

    def _adql_call(self, token: Token, name: str) -> exp.Expression:
        self._advance()
        self._advance()
        arguments: list[exp.Expression] = []
        if name == "COUNT" and self._take(TokenType.STAR):
            arguments.append(exp.Star())
        elif self._word() in ("DISTINCT", "ALL"):
            if name not in ("COUNT", "SUM", "AVG", "MIN", "MAX"):
                self._unexpected("an argument (DISTINCT belongs to aggregate functions)")
            distinct = self._word() == "DISTINCT"
            self._advance()
            value = self.parse_value()
            arguments.append(exp.Distinct(expressions=[value]) if distinct else value)
        elif self._curr.token_type != TokenType.R_PAREN:
            arguments.append(self.parse_value())
            while self._take(TokenType.COMMA):
                arguments.append(self.parse_value())
        self._expect(TokenType.R_PAREN, f", or ) in the arguments of {name}")
        if self._word() == "OVER":
            raise AdqlUnsupportedError(hints.WORDS["OVER"], position=self._where())
        return mark(exp.Anonymous(this=name, expressions=arguments), token)

    def parse_query(self) -> exp.Select:
        """Parse a query, perhaps in parentheses; the subclass knows how."""
        raise NotImplementedError
