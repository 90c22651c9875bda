"""ADQL 2.1: parse, check against the schema, infer result columns, emit an engine's SQL."""

from astrolabe.adql.check import check_query, check_syntax
from astrolabe.adql.names import Identifier, SchemaLookup
from astrolabe.adql.tree import CheckedQuery

__all__ = ["CheckedQuery", "Identifier", "SchemaLookup", "check_query", "check_syntax"]
