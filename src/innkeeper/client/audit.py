"""Read the audit log."""

from __future__ import annotations

import datetime as dt

from innkeeper.client.calls import Query
from innkeeper.client.calls import people as calls
from innkeeper.client.transport import Transport
from innkeeper.wire import audit as wire


class AuditLog:
    """The audit log: who did what, from where, on what, and how it ended. For administrators."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self,
        *,
        who: str | None = None,
        action: str | None = None,
        on: str | None = None,
        since: dt.datetime | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> wire.AuditList:
        """Entries, newest first, page by page."""
        query: Query = {
            "who": who,
            "action": action,
            "on": on,
            "since": since.isoformat() if since else None,
            "before": before,
            "limit": limit,
        }
        return self._transport.send(calls.audit_log(query))

    def verify(self, number: int | None = None, seal: str | None = None) -> wire.AuditVerdict:
        """Whether an entry was changed, removed or moved; a head known from before shows a forged whole."""
        return self._transport.send(calls.verify_audit_log(number, seal))

    def export(self) -> bytes:
        """The whole log, oldest first, one JSON object a line."""
        return self._transport.fetch("/v1/audit/export", {})
