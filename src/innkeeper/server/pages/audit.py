"""The audit log's page, newest first, and its verification."""

from __future__ import annotations

from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from innkeeper.server.pages.door import Door
from innkeeper.server.pages.numbers import number_in
from innkeeper.server.pages.rendering import answer, is_fragment, show
from innkeeper.wire.audit import AuditList, AuditVerdict

#: Entries on one page.
_PAGE = 100


async def audit(request: Request) -> Response:
    """Show the audit log: who did what, from where, on what, and how it ended."""
    query = request.query_params
    asked = {name: query.get(name, "").strip() for name in ("who", "action", "on")}
    before = number_in(query.get("before"), "before")
    found = await Door(request).get(
        "/audit",
        AuditList,
        **{name: text or None for name, text in asked.items()},
        before=before,
        limit=_PAGE,
    )
    older = urlencode({**asked, "before": str(found.next_before or "")})
    values = {
        "entries": found.entries,
        "asked": asked,
        "older": f"/audit?{older}" if found.next_before else "",
        "is_first": before is None,
    }
    if is_fragment(request):
        return await answer(request, "audit_entries.html", values)
    return await show(request, "audit.html", values, here="Audit")


async def verify(request: Request) -> Response:
    """Verify the whole log for changed entries."""
    verdict = await Door(request).get("/audit/verify", AuditVerdict)
    if is_fragment(request):
        return await answer(request, "audit_verdict.html", {"verdict": verdict})
    return await show(request, "audit_verified.html", {"verdict": verdict}, here="Audit")
