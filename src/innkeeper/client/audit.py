"""Read the audit log."""

from __future__ import annotations

import datetime as dt

from innkeeper.client.calls import Call
from innkeeper.client.transport import Transport
from innkeeper.wire import audit as wire


class AuditLog:
    """Who did what, from where, on what, and how it ended. Takes an administrator."""

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
        query = {
            "who": who,
            "action": action,
            "on": on,
            "since": since.isoformat() if since else None,
            "before": before,
            "limit": limit,
        }
        return self._transport.send(Call(method="GET", path="/v1/audit", answer=wire.AuditList, query=query))

    def verify(self, number: int | None = None, seal: str | None = None) -> wire.AuditVerdict:
        """Whether an entry was changed, removed or moved; a head known from before shows a forged whole."""
        query = {"number": number, "seal": seal}
        call = Call(
            method="GET", path="/v1/audit/verify", answer=wire.AuditVerdict, query=query, timeout_seconds=600
        )
        return self._transport.send(call)

    def export(self) -> bytes:
        """The whole log, oldest first, one JSON object a line."""
        return self._transport.fetch("/v1/audit/export", {})
