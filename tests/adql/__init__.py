"""The language: from text to checked trees to DuckDB's SQL."""
