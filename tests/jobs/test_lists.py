"""Lists of jobs: filters of UWS 1.1 and pages."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from astrolabe.core.clock import utc_now
from astrolabe.core.errors import BadParameterError
from astrolabe.jobs.model import Phase
from astrolabe.jobs.schema import JOB
from astrolabe.jobs.service import JobService

from .support import KIND


def _make(service: JobService, count: int, *, owner: str | None = "ada") -> list[str]:
    return [service.create(KIND, (), owner=owner).job_id for _ in range(count)]


def test_the_list_has_the_callers_jobs_only_newest_first(service: JobService) -> None:
    mine = _make(service, 4)
    _make(service, 2, owner="bob")
    _make(service, 2, owner=None)
    assert [job.job_id for job in service.list(principal_name="ada")] == mine[::-1]
    assert service.list(principal_name=None) == ()


def test_filters_join(service: JobService) -> None:
    first, second, third, fourth = _make(service, 4)
    service.abort(first, principal_name="ada")
    service.start(second, principal_name="ada")
    service.abort(fourth, principal_name="ada")

    def listed(**filters: Any) -> list[str]:
        return [job.job_id for job in service.list(principal_name="ada", **filters)]

    assert listed(phases=[Phase.ABORTED]) == [fourth, first]
    assert listed(phases=[Phase.QUEUED, Phase.PENDING]) == [third, second]
    assert listed(last=2) == [fourth, third]
    assert listed(last=0) == []
    assert listed(phases=[Phase.ABORTED], last=1) == [fourth]
    created = service.get(second, principal_name="ada").created
    assert listed(after=created) == [fourth, third]
    assert listed(after=created, phases=[Phase.ABORTED]) == [fourth]
    assert listed(kind="cutout") == []
    assert listed(phases=[Phase.ARCHIVED]) == []


def test_archived_jobs_show_only_when_asked_for(service: JobService) -> None:
    plain, archived = _make(service, 2)
    service._store.update(archived, lambda job: replace(job, phase=Phase.ARCHIVED))
    assert [job.job_id for job in service.list(principal_name="ada")] == [plain]
    asked = service.list(principal_name="ada", phases=[Phase.ARCHIVED])
    assert [job.job_id for job in asked] == [archived]


def test_a_negative_last_is_refused(service: JobService) -> None:
    with pytest.raises(BadParameterError, match="LAST"):
        service.list(principal_name="ada", last=-1)


def test_pages_cover_all_jobs_once_while_new_ones_come(service: JobService) -> None:
    mine = _make(service, 7)
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = service.page(principal_name="ada", limit=3, cursor=cursor)
        seen += [job.job_id for job in page.jobs]
        _make(service, 1)
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == mine[::-1]


def test_jobs_of_one_instant_are_paged_too(service: JobService) -> None:
    mine = _make(service, 5)
    when = utc_now() - timedelta(seconds=1)
    with service._store.database.write() as connection:
        connection.execute(update(JOB).values(created=when))
    first = service.page(principal_name="ada", limit=2)
    second = service.page(principal_name="ada", limit=3, cursor=first.next_cursor)
    assert sorted(job.job_id for job in first.jobs + second.jobs) == sorted(mine)
    assert second.next_cursor is None


@pytest.mark.parametrize(
    "cursor", ["", "x", "%%%", "ééé", "bm90IGEgdGltZSBhYmM", "MjAyNi0wMS0wMSBh"]
)
def test_a_cursor_that_is_not_ours_is_refused(service: JobService, cursor: str) -> None:
    with pytest.raises(BadParameterError, match="cursor"):
        service.page(principal_name="ada", limit=3, cursor=cursor)


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_page_has_a_sensible_length(service: JobService, limit: int) -> None:
    with pytest.raises(BadParameterError, match="1000"):
        service.page(principal_name="ada", limit=limit)
