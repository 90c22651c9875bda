"""One settings tree; in a deployment it is the Helm chart's ``config:`` block.

Order of precedence: flags, then environment ``ASTROLABE_<SECTION>__<FIELD>``, then the YAML file,
then the defaults here.  Unknown names are errors.  Secrets come from the environment only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, HttpUrl
from pydantic_settings import (
    BaseSettings,
    SettingsConfigDict,
)

__all__ = [
    "DatabaseSettings",
    "EngineSettings",
    "ImportSettings",
    "LimitsSettings",
    "ServerSettings",
    "Settings",
    "StorageSettings",
    "TapSettings",
]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerSettings(_Section):
    """How the platform is reached and how it names itself."""

    public_url: HttpUrl = Field(
        HttpUrl("http://127.0.0.1:8080"),
        description="Address under which users reach the platform; every absolute link is built "
        "from it, never from the Host header.",
    )
    host: str = Field("127.0.0.1", description="Address that a gateway listens on.")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        8080, description="Port that a gateway listens on; 0 picks a free one."
    )
    gateways: Annotated[int, Field(ge=1, le=64)] = Field(
        1, description="Gateway processes that `astrolabe up` starts."
    )
    authority: str = Field(
        "astrolabe.invalid", description="Authority part of the identifiers that we make (ivo://)."
    )
    publisher: str = Field(
        "Astrolabe", description="Name of who publishes the data, shown in every result."
    )
    title: str = Field("Astrolabe", description="Name of this installation.")
    trusted_proxies: tuple[str, ...] = Field(
        (), description="Addresses whose X-Forwarded-* headers count."
    )
    cors_origins: tuple[str, ...] = Field(
        (), description="Origins whose pages may send credentials; all others get `*` without."
    )
    log_level: str = Field("info", description="debug, info, warning or error.")
    log_format: str = Field("auto", description="json, text, or auto (text on a terminal).")


class DatabaseSettings(_Section):
    """The control database and the Iceberg catalog."""

    url: str | None = Field(
        None, description="SQLAlchemy URL of the control database; default HOME/control.db."
    )
    catalog_url: str | None = Field(
        None, description="SQLAlchemy URL of the Iceberg SQL catalog; default HOME/catalog.db."
    )


class StorageSettings(_Section):
    """Where files are kept."""

    tables: Path | None = Field(None, description="Tables; default HOME/tables.")
    results: Path | None = Field(None, description="Results of jobs; default HOME/results.")
    uploads: Path | None = Field(None, description="Uploaded tables; default HOME/uploads.")
    staging: Path | None = Field(None, description="Imports in progress; default HOME/staging.")
    spill: Path | None = Field(None, description="Engine's temporary files; default HOME/spill.")


class EngineSettings(_Section):
    """The embedded engine, per process."""

    memory_fraction: Annotated[float, Field(gt=0, le=0.9)] = Field(
        0.25, description="Share of the machine's (or cgroup's) memory for each process's engine."
    )
    threads: Annotated[int, Field(ge=1, le=256)] | None = Field(
        None, description="Threads of the engine; default one for each processor."
    )
    spill_limit_gb: Annotated[float, Field(gt=0)] = Field(
        20.0, description="Largest size of the engine's temporary files (GB)."
    )
    workers: Annotated[int, Field(ge=1, le=256)] | None = Field(
        None, description="Queries that run at once in a process; default one a processor."
    )
    chunk_cache_mb: Annotated[int, Field(ge=0)] = Field(
        256, description="Memory for decoded column chunks (MB)."
    )
    small_plan_mb: Annotated[int, Field(ge=0)] = Field(
        64, description="Plans of at most so many compressed MB are read row group by row group."
    )


class LimitsSettings(_Section):
    """Limits on what one request may ask for."""

    request_mb: Annotated[int, Field(ge=1)] = Field(512, description="Largest request body (MB).")
    query_characters: Annotated[int, Field(ge=1)] = Field(
        1_000_000, description="Longest query text."
    )
    waiting_queries: Annotated[int, Field(ge=1)] = Field(
        512, description="Sync queries that may wait for a thread; more get 503."
    )
    anonymous_jobs: Annotated[int, Field(ge=1)] = Field(
        100_000, description="Anonymous jobs that may exist at once."
    )


class TapSettings(_Section):
    """The TAP service."""

    sync_seconds: Annotated[int, Field(ge=1)] = Field(
        60, description="Time limit of a sync query (s)."
    )
    async_seconds: Annotated[int, Field(ge=1)] = Field(
        14_400, description="Default and largest time limit of an async query (s)."
    )
    maxrec_default: Annotated[int, Field(ge=1)] = Field(
        1_000_000, description="Rows given when MAXREC is not sent."
    )
    maxrec_hard: Annotated[int, Field(ge=1)] = Field(
        100_000_000, description="Largest MAXREC; larger values are lowered to it."
    )
    retention_days: Annotated[float, Field(gt=0)] = Field(
        7.0, description="Days that a job and its result are kept."
    )
    retention_days_hard: Annotated[float, Field(gt=0)] = Field(
        30.0, description="Longest time to which a client may put off a job's destruction (days)."
    )
    wait_seconds: Annotated[int, Field(ge=1)] = Field(
        45, description="Longest time that a request with WAIT blocks (s)."
    )
    upload_mb: Annotated[int, Field(ge=1)] = Field(
        256, description="Largest upload of one request (MB)."
    )
    upload_rows: Annotated[int, Field(ge=1)] = Field(
        5_000_000, description="Most rows of one uploaded table."
    )


class ImportSettings(_Section):
    """`astrolabe table import`."""

    rows_per_file: Annotated[int, Field(ge=1)] = Field(
        1_000_000, description="A partition is divided when it has more rows."
    )
    rows_per_group: Annotated[int, Field(ge=100)] = Field(
        20_000, description="Rows of a row group."
    )
    compression_level: Annotated[int, Field(ge=1, le=22)] = Field(
        3, description="zstd level of the files."
    )
    memory_mb: Annotated[int, Field(ge=64)] = Field(
        2048, description="Memory that an import may use for rows in flight (MB)."
    )
    margin_arcsec: Annotated[float, Field(ge=0)] = Field(
        10.0, description="Width of the margin written around each partition; 0 writes none."
    )


class Settings(BaseSettings):
    """All settings of one process."""

    model_config = SettingsConfigDict(
        env_prefix="ASTROLABE_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        populate_by_name=True,
    )

    home: Path = Field(
        Path("~/.astrolabe"), description="Folder of all state of an embedded platform."
    )
    server: ServerSettings = ServerSettings()
    database: DatabaseSettings = DatabaseSettings()
    storage: StorageSettings = StorageSettings()
    engine: EngineSettings = EngineSettings()
    limits: LimitsSettings = LimitsSettings()
    tap: TapSettings = TapSettings()
    imports: ImportSettings = Field(default=ImportSettings(), alias="import")
