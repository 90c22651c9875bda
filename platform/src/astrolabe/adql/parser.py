"""The grammar of ADQL's queries: SELECT, FROM with its joins, and the clauses after it."""

from __future__ import annotations

from sqlglot import exp
from sqlglot.tokenizer_core import TokenType
from typing_extensions import override

from astrolabe.adql import hints
from astrolabe.adql.expression_parser import ExpressionParser
from astrolabe.adql.position import mark
from astrolabe.core.errors import AdqlSyntaxError, AdqlUnsupportedError
from astrolabe.tables.reserved import ADQL_RESERVED_WORDS

__all__ = ["AdqlParser"]

_SET_OPERATORS = frozenset(["UNION", "EXCEPT", "INTERSECT"])
_NO_ALIAS = frozenset(
    ["LIMIT", "QUALIFY", "WINDOW", "TABLESAMPLE", "LATERAL", "PIVOT", "UNPIVOT", "SEMI", "ANTI"]
)
_JOIN_WORDS = frozenset(["NATURAL", "INNER", "LEFT", "RIGHT", "FULL", "JOIN"])
_NAMED_SIDES = frozenset(["LEFT", "RIGHT", "FULL"])


class AdqlParser(ExpressionParser):
    """Parses one ADQL query into sqlglot's nodes.

    A FROM clause becomes ``From(first)`` and a ``Join`` without side or kind for each comma; the
    joins of a table reference stand in its own ``joins``; a join in parentheses is a ``Subquery``
    around a table reference.
    """

    @override
    def _parse_statement(self) -> exp.Expression:
        word = self._word()
        if word in hints.STATEMENTS:
            raise AdqlUnsupportedError(
                f"ADQL only reads: a query begins with SELECT, not {word}", position=self._where()
            )
        if self._chunk_index > 1 and self._tokens:
            raise AdqlSyntaxError("One query at a time", position=self._where())
        if not self._curr:
            raise AdqlSyntaxError(
                "There is no query; it begins with SELECT", position=self._where()
            )
        query = self.parse_query()
        if self._curr:
            self._unexpected("the end of the query")
        return query

    @override
    def parse_query(self) -> exp.Select:
        """Parse a query, perhaps in parentheses."""
        if self._curr.token_type == TokenType.L_PAREN:
            self._advance()
            query = self.parse_query()
            self._expect(TokenType.R_PAREN, ") after the query")
        else:
            query = self._adql_select_query()
        if self._word() in _SET_OPERATORS:
            self._reserved("the end of the query")
        return query

    def _adql_select_query(self) -> exp.Select:
        start = self._curr
        if self._word() == "WITH":
            self._reserved("SELECT")
        if not self._take_word("SELECT"):
            self._unexpected("SELECT")
        args: dict[str, object] = {}
        if self._take_word("DISTINCT"):
            args["distinct"] = exp.Distinct()
        else:
            self._take_word("ALL")
        if self._take_word("TOP"):
            args["limit"] = exp.Limit(expression=self._unsigned_integer("TOP"))
        args["expressions"] = self._adql_select_list()
        self._expect_word("FROM", "the SELECT list")
        references = [self._adql_table_reference()]
        while self._take(TokenType.COMMA):
            references.append(self._adql_table_reference())
        args["from_"] = exp.From(this=references[0])
        args["joins"] = [exp.Join(this=reference) for reference in references[1:]]
        self._adql_clauses(args)
        return mark(exp.Select(**args), start)

    def _adql_clauses(self, args: dict[str, object]) -> None:
        if self._take_word("WHERE"):
            args["where"] = exp.Where(this=self.parse_condition())
        if self._take_word("GROUP"):
            self._expect_word("BY", "GROUP")
            args["group"] = exp.Group(expressions=self._adql_values())
        if self._take_word("HAVING"):
            args["having"] = exp.Having(this=self.parse_condition())
        if self._take_word("ORDER"):
            self._expect_word("BY", "ORDER")
            items = [self._adql_order_item()]
            while self._take(TokenType.COMMA):
                items.append(self._adql_order_item())
            args["order"] = exp.Order(expressions=items)
        if self._take_word("OFFSET"):
            args["offset"] = exp.Offset(expression=self._unsigned_integer("OFFSET"))
        if self._word() == "LIMIT":
            raise AdqlUnsupportedError(hints.WORDS["LIMIT"], position=self._where())

    def _adql_values(self) -> list[exp.Expression]:
        values = [self.parse_value()]
        while self._take(TokenType.COMMA):
            values.append(self.parse_value())
        return values

    def _adql_order_item(self) -> exp.Ordered:
        value = self.parse_value()
        descending = False
        if self._word() in ("ASC", "DESC"):
            descending = self._word() == "DESC"
            self._advance()
        if self._word() == "NULLS":
            raise AdqlUnsupportedError(
                "ADQL has no NULLS FIRST or NULLS LAST; nulls come last", position=self._where()
            )
        return exp.Ordered(this=value, desc=descending)

    def _unsigned_integer(self, clause: str) -> exp.Literal:
        token = self._curr
        if token.token_type != TokenType.NUMBER or not token.text.isdigit():
            self._unexpected(f"a whole number after {clause}")
        self._advance()
        if int(token.text) >= 2**63:
            raise AdqlSyntaxError(
                f"The number after {clause} is too large", position=self._where(token)
            )
        return mark(exp.Literal(this=token.text, is_string=False), token)

    # --- the SELECT list -------------------------------------------------------------------------

    def _adql_select_list(self) -> list[exp.Expression]:
        token = self._curr
        if self._take(TokenType.STAR):
            if self._curr.token_type == TokenType.COMMA:
                raise AdqlSyntaxError(
                    "* must be the whole SELECT list; write table.* beside other columns",
                    position=self._where(token),
                )
            return [mark(exp.Star(), token)]
        items = [self._adql_select_item()]
        while self._take(TokenType.COMMA):
            items.append(self._adql_select_item())
        return items

    def _adql_select_item(self) -> exp.Expression:
        star = self._adql_qualified_star()
        if star is not None:
            return star
        start = self._curr
        if self._word() == "FROM":
            self._unexpected("a column or a value")
        value = self.parse_value()
        alias = self._adql_alias_name("a column name")
        return value if alias is None else mark(exp.Alias(this=value, alias=alias), start)

    def _adql_qualified_star(self) -> exp.Column | None:
        """Parse ``table.*`` or ``schema.table.*`` if it stands here."""
        index = self._index
        tokens = self._tokens
        parts = 0
        while (
            index + 1 < len(tokens)
            and tokens[index].token_type in (TokenType.VAR, TokenType.IDENTIFIER)
            and tokens[index + 1].token_type == TokenType.DOT
        ):
            index += 2
            parts += 1
        if not parts or index >= len(tokens) or tokens[index].token_type != TokenType.STAR:
            return None
        start = self._curr
        if parts > 3:
            raise AdqlSyntaxError(
                "A table's name has at most the parts catalog.schema.table",
                position=self._where(start),
            )
        names = []
        for _ in range(parts):
            names.append(self._identifier("a table's name"))
            self._advance()
        self._advance()
        names.reverse()
        qualifiers = dict(zip(("table", "db", "catalog"), names, strict=False))
        return mark(exp.Column(this=exp.Star(), **qualifiers), start)

    def _adql_alias_name(self, what: str) -> exp.Identifier | None:
        if self._take_word("AS"):
            return self._identifier(f"{what} after AS")
        token = self._curr
        if token.token_type == TokenType.IDENTIFIER:
            return self._identifier(what)
        word = self._word()
        if not word or word in ADQL_RESERVED_WORDS:
            return None
        if word in _NO_ALIAS:
            hint = hints.WORDS.get(word, f"ADQL has no {word}")
            raise AdqlUnsupportedError(hint, position=self._where())
        return self._identifier(what)

    # --- FROM ------------------------------------------------------------------------------------

    def _adql_table_reference(self) -> exp.Expression:
        left = self._adql_table_primary()
        joins = []
        while (join := self._adql_one_join()) is not None:
            joins.append(join)
        if joins:
            left.set("joins", joins)
        return left

    def _adql_table_primary(self) -> exp.Expression:
        token = self._curr
        if token.token_type == TokenType.L_PAREN:
            if self._at_subquery():
                query = self.parse_query_in_from()
                alias = self._adql_alias_name("an alias")
                if alias is None:
                    raise AdqlSyntaxError(
                        "A subquery in FROM needs an alias: (SELECT ...) AS name",
                        position=self._where(token),
                    )
                return mark(exp.Subquery(this=query, alias=exp.TableAlias(this=alias)), token)
            self._advance()
            inner = self._adql_table_reference()
            self._expect(TokenType.R_PAREN, "a join or ) in FROM")
            if not inner.args.get("joins") and not isinstance(inner, exp.Subquery):
                raise AdqlSyntaxError(
                    "Only a join or a subquery may stand in parentheses in FROM",
                    position=self._where(token),
                )
            return mark(exp.Subquery(this=inner), token)
        parts = [self._identifier("a table's name")]
        while self._take(TokenType.DOT):
            parts.append(self._identifier("a name after the dot"))
        if len(parts) > 3:
            raise AdqlSyntaxError(
                "A table's name has at most the parts catalog.schema.table",
                position=self._where(token),
            )
        if self._curr.token_type == TokenType.L_PAREN:
            raise AdqlUnsupportedError(
                "ADQL has no table functions in FROM", position=self._where(token)
            )
        parts.reverse()
        args: dict[str, object] = dict(zip(("this", "db", "catalog"), parts, strict=False))
        alias = self._adql_alias_name("an alias")
        if alias is not None:
            args["alias"] = exp.TableAlias(this=alias)
        if self._take(TokenType.L_PAREN):
            raise AdqlUnsupportedError(
                "ADQL has no column lists behind a table's alias", position=self._where(self._prev)
            )
        return mark(exp.Table(**args), token)

    def parse_query_in_from(self) -> exp.Select:
        """Parse a parenthesised query."""
        self._expect(TokenType.L_PAREN, "(")
        query = self.parse_query()
        self._expect(TokenType.R_PAREN, ") after the subquery")
        return query

    def _adql_one_join(self) -> exp.Join | None:
        token = self._curr
        word = self._word()
        if word == "CROSS":
            self._unexpected("a join")
        if word not in _JOIN_WORDS:
            return None
        natural = self._take_word("NATURAL")
        side = self._word() if self._word() in _NAMED_SIDES else ""
        if side:
            self._advance()
            self._take_word("OUTER")
        else:
            self._take_word("INNER")
        if not self._take_word("JOIN"):
            self._unexpected("JOIN")
        args: dict[str, object] = {"this": self._adql_table_primary(), "side": side}
        if natural:
            args["method"] = "NATURAL"
        elif self._take_word("ON"):
            args["on"] = self.parse_condition()
        elif self._take_word("USING"):
            args["using"] = self._adql_using()
        elif side:
            self._unexpected("ON or USING after the joined table")
        return mark(exp.Join(**args), token)

    def _adql_using(self) -> list[exp.Identifier]:
        self._expect(TokenType.L_PAREN, "( after USING")
        names = [self._identifier("a column's name")]
        while self._take(TokenType.COMMA):
            names.append(self._identifier("a column's name"))
        self._expect(TokenType.R_PAREN, ", or ) in USING (column names without a table)")
        return names
