"""Describe what is said of the audit log."""

from __future__ import annotations

from pydantic import AwareDatetime

from innkeeper.wire.messages import Message


class AuditEntry(Message):
    """One entry of the audit log."""

    #: From 1, without a gap.
    number: int
    at: AwareDatetime
    who: str
    #: ``peer``, ``password``, ``token``, ``session`` or ``ticket``, and which one.
    proof: str
    #: An address, or ``local``.
    address: str
    #: The operation (``operation_id``).
    action: str
    #: ``machine web-1``, ``folder \\Nightly``; empty for the inn.
    on: str
    #: ``begun``, ``done``, ``failed`` or ``refused``.
    outcome: str
    detail: str
    #: The number of the entry that told of the beginning of the same act.
    act: int | None
    #: The seal of the entry before.
    previous: str
    #: SHA-256 over all that stands above.
    seal: str


class AuditList(Message):
    """Entries, newest first."""

    entries: tuple[AuditEntry, ...]
    #: Ask with ``before`` for those before it.
    next_before: int | None = None


class AuditVerdict(Message):
    """What a look at the whole log has found."""

    ok: bool
    #: The last good entry's number and seal: keep both elsewhere, to be compared with later.
    number: int
    seal: str
    #: The first entry that is not as it was written.
    broken_at: int | None = None
    reason: str = ""
