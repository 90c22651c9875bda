"""The composition root: the only module that names implementations.

`ProcessContext` lives as long as the process and is opened and closed in order; everything below
gets its collaborators from here as keyword arguments and reads no settings.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Self
from urllib.parse import urlsplit

from astrolabe.catalogs.engine import Engine
from astrolabe.catalogs.engines.duckdb import DuckDBEngine
from astrolabe.catalogs.engines.row_groups import RowGroupReader
from astrolabe.catalogs.engines.small_plans import SmallPlanEngine
from astrolabe.catalogs.iceberg import IcebergTables
from astrolabe.catalogs.job_admission import JobAdmission
from astrolabe.catalogs.permissions import ReadableCatalog
from astrolabe.catalogs.query import QueryService
from astrolabe.catalogs.results import ResultStore, StoredResult
from astrolabe.catalogs.store import CatalogStore
from astrolabe.catalogs.tap_jobs import TAP_JOB, TapJobRunner
from astrolabe.catalogs.tap_schema import TapSchemaCache
from astrolabe.catalogs.uploads import UploadResolver, UploadStore
from astrolabe.config import Settings
from astrolabe.core.database import Database
from astrolabe.core.errors import AstrolabeError
from astrolabe.core.migrate import upgrade
from astrolabe.core.version import SERVER_SOFTWARE
from astrolabe.identity import Principal
from astrolabe.identity.assembly import PeopleServices
from astrolabe.identity.audit import AuditLog
from astrolabe.identity.authenticator import Authenticator
from astrolabe.identity.authority import PLATFORM
from astrolabe.identity.groups import GroupService
from astrolabe.identity.model import AccountEnd
from astrolabe.identity.openid.assembly import make_login, make_provider
from astrolabe.identity.openid.client import OpenIDLogin
from astrolabe.identity.openid.provider import OpenIDProvider
from astrolabe.identity.openid_accounts import OpenIDAccounts
from astrolabe.identity.quotas import Quotas
from astrolabe.identity.rights import Rights
from astrolabe.identity.root_key import RootKey
from astrolabe.identity.scopes import ScopePolicy
from astrolabe.identity.signed_links import SignedLinks
from astrolabe.identity.signing import Signer
from astrolabe.identity.tokens import TokenService
from astrolabe.identity.upkeep import IdentityUpkeep
from astrolabe.identity.users import UserService
from astrolabe.images.assembly import ImageServices
from astrolabe.images.links.of_rows import LinkedRows
from astrolabe.images.mosaics.runner import MOSAIC_JOB, MosaicJobRunner
from astrolabe.images.mosaics.service import MosaicService
from astrolabe.images.soda.choosing import StampImages
from astrolabe.images.soda.runner import SODA_JOB, SodaJobRunner
from astrolabe.images.soda.service import SodaService
from astrolabe.jobs.model import Job, Phase
from astrolabe.jobs.owners import JobOwners
from astrolabe.jobs.quotes import JobQuotes, QuoteRule
from astrolabe.jobs.service import JobService
from astrolabe.jobs.store import JobStore
from astrolabe.jobs.worker import Worker

__all__ = ["ProcessContext"]


@dataclass(kw_only=True)
class ProcessContext:
    """All that a process of any role shares; made by `open`, ended by `close`."""

    settings: Settings
    database: Database
    catalog: CatalogStore
    tap_schema: TapSchemaCache
    job_store: JobStore
    results: ResultStore
    uploads: UploadStore
    _resources: ExitStack

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Open everything that does not cost much; the engine starts at its first use.

        Raises
        ------
        ConflictError
            Raised if the database is newer than this code.
        """
        paths = settings.paths
        paths.make()
        with ExitStack() as stack:
            database = Database(settings.database_url)
            stack.callback(database.close)
            upgrade(database)
            PeopleServices(database, settings.auth).users.ensure_owner()
            iceberg = IcebergTables(settings.catalog_url, warehouse=paths.tables)
            stack.callback(iceberg.close)
            catalog = CatalogStore(database, tables_root=paths.tables, iceberg=iceberg)
            return cls(
                settings=settings,
                database=database,
                catalog=catalog,
                tap_schema=TapSchemaCache(),
                job_store=JobStore(database),
                results=ResultStore(paths.results),
                uploads=UploadStore(paths.uploads),
                _resources=stack.pop_all(),
            )

    def close(self) -> None:
        """Close everything, last opened first."""
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    @cached_property
    def people(self) -> PeopleServices:
        """Accounts, groups and tokens."""
        people = PeopleServices(self.database, self.settings.auth)
        self._resources.callback(people.close)
        people.users.on_end(self._end_jobs)
        return people

    @property
    def users(self) -> UserService:
        """Accounts: made, logged in to, changed and ended."""
        return self.people.users

    @property
    def openid_accounts(self) -> OpenIDAccounts:
        """Accounts of people who log in at an OpenID Connect provider."""
        return self.people.openid_accounts

    @property
    def groups(self) -> GroupService:
        """Makes, changes and ends groups."""
        return self.people.groups

    @property
    def tokens(self) -> TokenService:
        """Makes and ends tokens."""
        return self.people.tokens

    @property
    def authenticator(self) -> Authenticator:
        """From a token to a principal."""
        return self.people.authenticator

    @property
    def audit(self) -> AuditLog:
        """What was done to people, groups, rights and quotas."""
        return self.people.audit

    @property
    def scope_policy(self) -> ScopePolicy:
        """What groups allow."""
        return self.people.scope_policy

    @cached_property
    def identity_upkeep(self) -> IdentityUpkeep:
        """What has to be done about identity from time to time, by any worker."""
        return IdentityUpkeep(
            self.database,
            users=self.users,
            audit=self.audit,
            throttle=self.people.throttle,
            keep=timedelta(days=self.settings.auth.history_days),
            active_owners=JobOwners(self.job_store).active,
            end_jobs=self._end_jobs,
        )

    @cached_property
    def rights(self) -> Rights:
        """Says who may do what."""
        auth = self.settings.auth
        return Rights(
            self.database,
            audit=self.audit,
            default_access=auth.default_access,
            data_rights_group=auth.data_rights_group,
        )

    @cached_property
    def readable(self) -> ReadableCatalog:
        """The catalog as each caller may see it."""
        return ReadableCatalog(self.catalog, self.rights, row_rules=self.images.row_rules)

    @cached_property
    def quotas(self) -> Quotas:
        """Keeps every user within quotas."""
        given = self.settings.quotas.model_dump()
        wait_seconds = given.pop("wait_seconds")
        prefix = "anonymous_"
        quotas = Quotas(
            self.database,
            audit=self.audit,
            defaults={name: v for name, v in given.items() if not name.startswith(prefix)},
            anonymous={
                name.removeprefix(prefix): v for name, v in given.items() if name.startswith(prefix)
            },
            wait_seconds=wait_seconds,
        )
        self._resources.callback(quotas.close)
        return quotas

    @cached_property
    def images(self) -> ImageServices:
        """Images: what there is, and their pixels."""
        return ImageServices(
            database=self.database,
            folder=self.settings.paths.images,
            rights=self.rights,
            options=self.settings.images,
            authority=self.settings.server.authority,
            catalog=self.catalog,
            public_url=self._public_url,
            on_close=self._resources.callback,
        )

    @cached_property
    def soda(self) -> SodaService:
        """Cuts images."""
        return SodaService(
            access=self.images.access,
            images=StampImages(
                access=self.images.access,
                store=self.images.store,
                queries=self.queries,
                readable=self.readable,
                authority=self.settings.server.authority,
            ),
            reader=self.images.reader,
            quotas=self.quotas,
            options=self.settings.images,
            authority=self.settings.server.authority,
            scratch=self.settings.paths.spill,
        )

    @cached_property
    def mosaics(self) -> MosaicService:
        """Makes mosaics and coadds."""
        return MosaicService(
            access=self.images.access,
            queries=self.queries,
            reader=self.images.reader,
            quotas=self.quotas,
            options=self.settings.images,
            authority=self.settings.server.authority,
        )

    @cached_property
    def row_groups(self) -> RowGroupReader:
        """Reads row groups for the engine and for the planner, with one cache."""
        return RowGroupReader(cache_bytes=self.settings.engine.chunk_cache_mb << 20)

    @cached_property
    def duckdb(self) -> DuckDBEngine:
        """The embedded engine of this process."""
        settings = self.settings
        engine = DuckDBEngine(
            memory_bytes=settings.engine_memory_bytes,
            threads=settings.engine_threads,
            spill=settings.paths.spill,
            spill_bytes=int(settings.engine.spill_limit_gb * 1e9),
            reader=self.row_groups,
            small_plan_bytes=settings.engine.small_plan_mb << 20,
        )
        self._resources.callback(engine.close)
        return engine

    @cached_property
    def engine(self) -> Engine:
        """The engine of this process: NumPy for the small plans, DuckDB for all others."""
        engine = SmallPlanEngine(
            reader=self.row_groups,
            behind=self.duckdb,
            most_rows=self.settings.engine.small_plan_rows,
        )
        self._resources.callback(engine.close)
        return engine

    @cached_property
    def queries(self) -> QueryService:
        """Runs ADQL."""
        settings = self.settings
        return QueryService(
            readable=self.readable,
            metadata_tables=self.tap_schema.of,
            engine=self.engine,
            maxrec_default=settings.tap.maxrec_default,
            maxrec_hard=settings.tap.maxrec_hard,
            query_characters=settings.limits.query_characters,
            server_software=SERVER_SOFTWARE,
            publisher=settings.server.publisher,
            row_groups=self.row_groups,
            quotas=self.quotas,
        )

    @cached_property
    def linked_rows(self) -> LinkedRows:
        """Rows of catalogs with what belongs to them."""
        return LinkedRows(
            queries=self.queries,
            readable=self.readable,
            access=self.images.access,
            images=self.images.linked,
            authority=self.settings.server.authority,
        )

    @cached_property
    def jobs(self) -> JobService:
        """Creates and steers jobs."""
        settings = self.settings
        jobs = JobService(
            self.job_store,
            execution_seconds=settings.tap.async_seconds,
            retention_days=settings.tap.retention_days,
            retention_days_hard=settings.tap.retention_days_hard,
            anonymous_jobs=settings.limits.anonymous_jobs,
            wait_seconds=settings.tap.wait_seconds,
            on_delete=self._clean_up,
        )
        self._resources.callback(jobs.close)
        return jobs

    @cached_property
    def root_key(self) -> RootKey:
        """The platform's own secret, from which every key that it signs with is derived."""
        configured = self.settings.auth.secret_key
        return RootKey.open(
            self.settings.paths.secrets,
            configured=None if configured is None else configured.get_secret_value(),
        )

    @cached_property
    def signed_links(self) -> SignedLinks:
        """Makes and checks signed links."""
        return SignedLinks(Signer(self.root_key.derive("signed-link")))

    @cached_property
    def openid_login(self) -> OpenIDLogin:
        """Logs people in by the accounts of other providers."""
        login = make_login(self.settings.auth, root_key=self.root_key, public_url=self._public_url)
        self._resources.callback(login.close)
        return login

    @cached_property
    def openid_provider(self) -> OpenIDProvider:
        """Logs people in at other sites."""
        return make_provider(
            self.database,
            self.settings.auth,
            root_key=self.root_key,
            public_url=self._public_url,
            users=self.users,
            groups=self.groups,
            tokens=self.tokens,
            audit=self.audit,
        )

    @property
    def _public_url(self) -> str:
        return str(self.settings.server.public_url).rstrip("/")

    @cached_property
    def upload_resolver(self) -> UploadResolver:
        """Reads uploaded tables."""
        return UploadResolver(
            open_address=self._open_result_address, max_rows=self.settings.tap.upload_rows
        )

    @cached_property
    def job_admission(self) -> JobAdmission:
        """Whose jobs may run, and with which rights."""
        return JobAdmission(groups_of=self.groups.of, quotas=self.quotas)

    def worker(self) -> Worker:
        """Make a worker that runs every kind of job there is."""
        tap = TapJobRunner(
            queries=self.queries,
            results=self.results,
            uploads=self.uploads,
            resolver=self.upload_resolver,
            principal_of=self.job_admission.principal_of,
        )
        soda = SodaJobRunner(
            soda=self.soda,
            results=self.results,
            uploads=self.uploads,
            resolver=self.upload_resolver,
            principal_of=self.job_admission.principal_of,
        )
        return Worker(
            self.job_store,
            runners={TAP_JOB: tap, SODA_JOB: soda, MOSAIC_JOB: self._mosaic_runner},
            slots=self.settings.engine_workers,
            on_delete=self._clean_up,
            admission=self.job_admission.admit,
        )

    @cached_property
    def _mosaic_runner(self) -> MosaicJobRunner:
        return MosaicJobRunner(
            mosaics=self.mosaics,
            results=self.results,
            principal_of=self.job_admission.principal_of,
        )

    @cached_property
    def job_quotes(self) -> JobQuotes:
        """When jobs will end."""
        rules = {
            MOSAIC_JOB: QuoteRule("blocks_done", "blocks", self._mosaic_runner.estimate),
            SODA_JOB: QuoteRule("cutouts_made", "cutouts_asked"),
        }
        return JobQuotes(self.job_store, rules, slots=self.settings.engine_workers)

    def _end_jobs(self, end: AccountEnd) -> None:
        owners = JobOwners(self.job_store)
        owners.abort(end.username)
        if end.hand_over_to is not None:
            owners.hand_over(end.username, end.hand_over_to)
            self.rights.hand_over(end.username, end.hand_over_to, by=PLATFORM)

    def _clean_up(self, job: Job) -> None:
        self.results.delete(job.job_id)
        self.uploads.delete(job.job_id)

    def _open_result_address(self, address: str, principal: Principal) -> StoredResult | None:
        """Open one of our own results by its address, with the rights of `principal`."""
        base = str(self.settings.server.public_url).rstrip("/") + "/api/tap/async/"
        if not address.startswith(base):
            return None
        parts = urlsplit(address.removeprefix(base)).path.split("/")
        if len(parts) != 3 or parts[1:] != ["results", "result"]:
            return None
        try:
            job = self.jobs.get(parts[0], kind=TAP_JOB, principal_name=principal.username)
            return self.results.open(job) if job.phase is Phase.COMPLETED else None
        except AstrolabeError:
            return None
