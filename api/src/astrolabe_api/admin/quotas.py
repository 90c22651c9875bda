"""Quotas and the audit log: ``/api/admin/quotas`` and ``/api/admin/audit``."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, Field

from astrolabe.core.errors import NotFoundError
from astrolabe.identity.authority import require_recent_login
from astrolabe.identity.limits import QUOTAS, QuotaRule, SubjectKind
from astrolabe_api.admin.common import ADMIN_PATH, Cursor, Limit
from astrolabe_api.common.auth import Caller, ClientAddress, administers
from astrolabe_api.common.people import Sent
from astrolabe_api.common.state import State

__all__ = ["router"]

_MANAGE = administers("admin:platform")

router = APIRouter(prefix=ADMIN_PATH, tags=["administration"], dependencies=[_MANAGE])


class QuotaRuleEntry(BaseModel):
    """One quota of one subject."""

    kind: SubjectKind
    subject: str = Field(description="A group or user; empty where the kind needs none.")
    quota: str
    value: float | None = Field(description="null for no limit; 0 blocks.")
    ends: datetime | None
    changed_by: str | None
    changed_at: datetime | None


class QuotaRules(BaseModel):
    """All rules, and which quotas there are."""

    rules: list[QuotaRuleEntry]
    quotas: dict[str, str] = Field(description="Every quota and what it counts.")


class QuotaRuleRequest(Sent):
    """A quota to be set."""

    kind: SubjectKind
    subject: str = Field("", description="A group or user; empty where the kind needs none.")
    quota: str
    value: float | None = Field(description="null for no limit; 0 blocks.", allow_inf_nan=False)
    ends: AwareDatetime | None = Field(None, description="When it ends; default never.")


class AuditLine(BaseModel):
    """One line of the audit log."""

    entry_id: int
    time: datetime
    actor: str
    action: str
    target: str
    detail: dict[str, object]
    address: str | None


class AuditDocument(BaseModel):
    """Lines of the audit log, the newest first."""

    entries: list[AuditLine]
    next_cursor: str | None = Field(description="Send as `cursor` for the next page.")


@router.get("/quotas", summary="Every rule of quotas")
def list_quotas(state: State) -> QuotaRules:
    """List the rules that were set here; the settings hold the defaults."""
    return QuotaRules(
        rules=[
            QuotaRuleEntry(
                kind=rule.kind,
                subject=rule.subject,
                quota=rule.quota,
                value=rule.value,
                ends=rule.ends,
                changed_by=rule.changed_by,
                changed_at=rule.changed_at,
            )
            for rule in state.context.quotas.rules()
        ],
        quotas=dict(QUOTAS),
    )


@router.put("/quotas", status_code=HTTPStatus.NO_CONTENT, summary="Set a quota")
def set_quota(
    wanted: QuotaRuleRequest, state: State, caller: Caller, address: ClientAddress
) -> None:
    """Set one quota of one subject; all processes keep it within two seconds."""
    require_recent_login(caller)
    rule = QuotaRule(
        kind=wanted.kind,
        subject=wanted.subject,
        quota=wanted.quota,
        value=wanted.value,
        ends=wanted.ends,
    )
    state.context.quotas.set_rule(rule, by=caller, address=address)


@router.delete("/quotas", status_code=HTTPStatus.NO_CONTENT, summary="Remove a rule of a quota")
def remove_quota(
    state: State,
    caller: Caller,
    address: ClientAddress,
    kind: Annotated[SubjectKind, Query()],
    quota: Annotated[str, Query()],
    subject: Annotated[str, Query()] = "",
) -> None:
    """Remove one rule; what is below it holds again."""
    require_recent_login(caller)
    if not state.context.quotas.remove_rule(kind, subject, quota, by=caller, address=address):
        raise NotFoundError("There is no such rule.")


@router.get("/audit", summary="What was done, by whom")
def audit_log(
    state: State,
    limit: Limit = 100,
    cursor: Cursor = None,
    actor: Annotated[str | None, Query()] = None,
    action: Annotated[
        str | None, Query(description="user.disable; with a dot at its end all of a kind: user.")
    ] = None,
    target: Annotated[str | None, Query()] = None,
    since: Annotated[AwareDatetime | None, Query()] = None,
    until: Annotated[AwareDatetime | None, Query()] = None,
) -> AuditDocument:
    """List lines of the audit log."""
    page = state.context.audit.page(
        actor=actor,
        action=action,
        target=target,
        since=since,
        until=until,
        cursor=cursor,
        limit=limit,
    )
    return AuditDocument(
        entries=[
            AuditLine(
                entry_id=entry.entry_id,
                time=entry.time,
                actor=entry.actor,
                action=entry.action,
                target=entry.target,
                detail=dict(entry.detail),
                address=entry.address,
            )
            for entry in page.entries
        ],
        next_cursor=page.next_cursor,
    )
