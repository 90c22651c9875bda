"""ADQL 2.1: parse, check against the schema, infer result columns, emit an engine's SQL."""
