"""The settings tree: names, types, limits, defaults and what each setting is for."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    Field,
    HttpUrl,
    SecretStr,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    SettingsConfigDict,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from astrolabe.config.auth import AuthSettings
from astrolabe.config.images import ImageSettings
from astrolabe.config.sections import Section, Strings
from astrolabe.core.machine import memory_bytes, processors

__all__ = [
    "AuthSettings",
    "DatabaseSettings",
    "EngineSettings",
    "ImageSettings",
    "ImportSettings",
    "LimitsSettings",
    "Paths",
    "QuotaSettings",
    "ServerSettings",
    "Settings",
    "StorageSettings",
    "TapSettings",
]


class ServerSettings(Section):
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
    trusted_proxies: Strings = Field((), description="Addresses whose X-Forwarded-* headers count.")
    cors_origins: Strings = Field(
        (), description="Origins whose pages may send credentials; all others get `*` without."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severity that is logged: debug, info, warning or error."
    )
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="json, text, or auto (text on a terminal)."
    )


class DatabaseSettings(Section):
    """The control database and the Iceberg catalog."""

    url: str | None = Field(
        None, description="SQLAlchemy URL of the control database; default HOME/control.db."
    )
    catalog_url: str | None = Field(
        None, description="SQLAlchemy URL of the Iceberg SQL catalog; default HOME/catalog.db."
    )
    password: SecretStr | None = Field(
        None,
        description="Password for those of the two URLs that name a user and no password; only "
        "from the environment.",
    )

    @field_validator("url", "catalog_url")
    @classmethod
    def _is_url(cls, url: str | None) -> str | None:
        try:
            backend = "sqlite" if url is None else make_url(url).get_backend_name()
        except ArgumentError as exc:
            raise ValueError(
                "not an SQLAlchemy URL such as postgresql+psycopg://host/name"
            ) from exc
        if backend not in {"sqlite", "postgresql"}:
            raise ValueError(f"{backend} is not supported: sqlite or postgresql is")
        return url


class StorageSettings(Section):
    """Where files are kept."""

    tables: Path | None = Field(None, description="Tables; default HOME/tables.")
    images: Path | None = Field(
        None, description="Indexes of images, HiPS and images made here; default HOME/images."
    )
    results: Path | None = Field(None, description="Results of jobs; default HOME/results.")
    uploads: Path | None = Field(None, description="Uploaded tables; default HOME/uploads.")
    staging: Path | None = Field(None, description="Imports in progress; default HOME/staging.")
    spill: Path | None = Field(None, description="Engine's temporary files; default HOME/spill.")


class EngineSettings(Section):
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
    small_plan_rows: Annotated[int, Field(ge=0)] = Field(
        400_000,
        description="Plans of one table of at most so many rows are run by NumPy where it can, "
        "not by DuckDB; 0 for never.",
    )


class LimitsSettings(Section):
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


class TapSettings(Section):
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


class ImportSettings(Section):
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


class QuotaSettings(Section):
    """What each user may use; groups, users and overrides in the database may say otherwise."""

    requests_per_minute: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Requests of a user to one service in a minute."
    )
    concurrent_queries: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Queries and jobs of a user's programs that run at once."
    )
    interactive_queries: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Queries and jobs that a user runs at once in the portal, beside those."
    )
    bytes_per_day: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Bytes that a user's queries may read from tables in a day (UTC)."
    )
    rows: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Rows of one result of a user."
    )
    storage_bytes: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Bytes of files and tables that a user may keep."
    )
    labs: Annotated[int, Field(ge=0)] | None = Field(
        1, description="Labs that a user may run at once."
    )
    lab_cpus: Annotated[float, Field(ge=0)] | None = Field(
        4.0, description="Processors of a user's labs together."
    )
    lab_memory_bytes: Annotated[int, Field(ge=0)] | None = Field(
        16_000_000_000, description="Memory of a user's labs together (bytes)."
    )
    lab_gpus: Annotated[int, Field(ge=0)] | None = Field(
        0, description="GPUs of a user's labs together."
    )
    anonymous_requests_per_minute: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Requests to one service in a minute from an address without a login."
    )
    anonymous_concurrent_queries: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Queries that run at once for an address without a login."
    )
    anonymous_bytes_per_day: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Bytes that an address without a login may have read in a day (UTC)."
    )
    anonymous_rows: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Rows of one result without a login."
    )
    wait_seconds: Annotated[float, Field(ge=0, le=300)] = Field(
        10.0, description="How long a sync query over the limit of concurrent ones waits (s)."
    )


@dataclass(frozen=True, slots=True)
class Paths:
    """Where an embedded platform keeps its state; all absolute.

    Everything but `home` and `config` is a folder; those that are missing are made by `make`.
    """

    home: Path
    config: Path
    tables: Path
    images: Path
    results: Path
    uploads: Path
    staging: Path
    spill: Path
    secrets: Path
    logs: Path
    run: Path

    def make(self) -> None:
        """Make the folders that are missing, open to their owner only (mode 0700).

        Raises
        ------
        OSError
            Raised if a folder cannot be made, or `home` belongs to somebody else.
        """
        for field in fields(self):
            if field.name != "config":
                folder: Path = getattr(self, field.name)
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.home.stat().st_mode & 0o077:
            self.home.chmod(0o700)


class Settings(BaseSettings):
    """All settings of one process; `load_settings` makes them."""

    model_config = SettingsConfigDict(
        env_prefix="ASTROLABE_",
        env_prefix_target="all",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        populate_by_name=True,
    )

    home: Path = Field(
        Path("~/.astrolabe"),
        description="Folder of all state of an embedded platform.",
        validate_default=True,
    )
    server: ServerSettings = ServerSettings()
    database: DatabaseSettings = DatabaseSettings()
    storage: StorageSettings = StorageSettings()
    engine: EngineSettings = EngineSettings()
    limits: LimitsSettings = LimitsSettings()
    tap: TapSettings = TapSettings()
    imports: ImportSettings = Field(default=ImportSettings(), alias="import")
    auth: AuthSettings = AuthSettings()
    quotas: QuotaSettings = QuotaSettings()
    images: ImageSettings = ImageSettings()

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().absolute()

    @property
    def paths(self) -> Paths:
        """Where state is kept: `storage` where it says so, else under `home`."""
        home = self.home

        def place(name: str) -> Path:
            chosen: Path | None = getattr(self.storage, name, None)
            return home / name if chosen is None else chosen.expanduser().absolute()

        return Paths(
            home=home,
            config=home / "config.yaml",
            **{f.name: place(f.name) for f in fields(Paths) if f.name not in {"home", "config"}},
        )

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of the control database, with its password."""
        return self._complete(self.database.url, "control.db")

    @property
    def catalog_url(self) -> str:
        """SQLAlchemy URL of the Iceberg SQL catalog, with its password."""
        return self._complete(self.database.catalog_url, "catalog.db")

    @property
    def engine_memory_bytes(self) -> int:
        """Memory that one process's engine may use (bytes)."""
        return int(memory_bytes() * self.engine.memory_fraction)

    @property
    def engine_threads(self) -> int:
        """Threads of one process's engine."""
        return self.engine.threads or processors()

    @property
    def engine_workers(self) -> int:
        """Queries that run at once in one process."""
        return self.engine.workers or processors()

    def _complete(self, url: str | None, file_name: str) -> str:
        if url is None:
            return URL.create("sqlite", database=str(self.home / file_name)).render_as_string()
        parsed = make_url(url)
        password = self.database.password
        if password is not None and parsed.username and not parsed.password:
            parsed = parsed.set(password=password.get_secret_value())
        return parsed.render_as_string(hide_password=False)
