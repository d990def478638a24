"""Routes of the audit log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from innkeeper.identity.audit import Audit, Entry, Head, Search
from innkeeper.identity.roles import Role
from innkeeper.server.identity.needs import needs
from innkeeper.server.identity.subjects import MAX_ID
from innkeeper.server.routes.asking import TheHouse
from innkeeper.wire import audit as wire
from innkeeper.wire.moment import Moment

router = APIRouter(prefix="/audit", tags=["audit"])

_FACTS = ("at", "who", "proof", "address", "action", "on", "detail", "act")


@router.get("", operation_id="list_audit", dependencies=needs(Role.ADMINISTRATOR))
async def list_audit(
    house: TheHouse,
    who: str | None = None,
    action: str | None = None,
    on: str | None = None,
    since: Moment | None = None,
    before: Annotated[int | None, Query(ge=0, le=MAX_ID)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> wire.AuditList:
    """Entries, newest first, page by page."""
    search = Search(who=who, action=action, on=on, since=since)
    found = await house.audit.newest(search, before=before, limit=limit)
    more = found[-1].number if len(found) == limit else None
    return wire.AuditList(entries=tuple(map(audit_entry, found)), next_before=more)


@router.get("/verify", operation_id="verify_audit", dependencies=needs(Role.ADMINISTRATOR))
async def verify_audit(
    house: TheHouse, number: Annotated[int | None, Query(ge=1, le=MAX_ID)] = None, seal: str | None = None
) -> wire.AuditVerdict:
    """Whether an entry was changed, removed or moved; ``number`` and ``seal`` are those known from before."""
    known = Head(number=number, seal=seal) if number is not None and seal is not None else None
    verdict = await house.audit.verify(known)
    return wire.AuditVerdict(
        ok=verdict.ok,
        number=verdict.head.number,
        seal=verdict.head.seal,
        broken_at=verdict.broken_at,
        reason=verdict.reason,
    )


@router.get(
    "/export",
    operation_id="export_audit",
    response_class=StreamingResponse,
    dependencies=needs(Role.ADMINISTRATOR),
)
async def export_audit(house: TheHouse) -> StreamingResponse:
    """The whole log, oldest first, one JSON object a line."""
    return StreamingResponse(_lines(house.audit), media_type="application/x-ndjson")


async def _lines(audit: Audit) -> AsyncIterator[str]:
    async for entry in audit.all():
        yield audit_entry(entry).model_dump_json() + "\n"


def audit_entry(entry: Entry) -> wire.AuditEntry:
    """An entry as a message."""
    facts = {name: getattr(entry.fact, name) for name in _FACTS}
    return wire.AuditEntry(
        **facts,
        number=entry.number,
        outcome=entry.fact.outcome.value,
        previous=entry.previous,
        seal=entry.seal,
    )
