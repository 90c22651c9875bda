"""Releases, tables, snapshots, the partition index, query planning, TAP_SCHEMA."""
