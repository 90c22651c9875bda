"""The table of jobs in the control database."""

from __future__ import annotations

from typing import Final

from sqlalchemy import JSON, BigInteger, Column, Index, Integer, String, Table, Text

from astrolabe.core.database import METADATA, UtcDateTime

__all__ = ["JOB"]

JOB: Final = Table(
    "job",
    METADATA,
    Column("job_id", String(26), primary_key=True),
    Column("kind", String(32), nullable=False),
    # None: an anonymous job.
    Column("owner", String(64)),
    Column("run_id", Text),
    Column("phase", String(16), nullable=False),
    Column("parameters", JSON, nullable=False),
    Column("results", JSON, nullable=False),
    Column("error", JSON(none_as_null=True)),
    Column("progress", JSON, nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("queued", UtcDateTime),
    Column("started", UtcDateTime),
    Column("ended", UtcDateTime),
    Column("destruction", UtcDateTime, nullable=False),
    Column("execution_seconds", Integer, nullable=False),
    # Place in the queue: the lowest turn is claimed first, age breaks ties.
    Column("turn", BigInteger),
    # Divides an owner's jobs into such as take turns with each other: the portal's and those of
    # programs, or the anonymous ones by where they come from.
    Column("lane", String(100)),
    # How many times a worker has begun the job; with lease_owner it tells a worker that still
    # holds the job from one that has lost it.
    Column("attempt", Integer, nullable=False),
    Column("lease_owner", String(128)),
    Column("lease_until", UtcDateTime),
    Index("ix_job_claim", "phase", "turn", "queued"),
    Index("ix_job_owner_turn", "owner", "phase", "turn"),
    Index("ix_job_owner_created", "owner", "created", "job_id"),
    Index("ix_job_destruction", "destruction"),
)
"""One row a job; `astrolabe.jobs.store` is the only module that reads or writes it."""
