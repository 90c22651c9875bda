"""Alembic's environment for the control database; `astrolabe.core.migrate` runs it."""
