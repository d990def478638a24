"""Keep the audit log: who did what, from where, on what, and how it ended."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from typing import Final, Protocol

from innkeeper.identity.caller import Caller
from innkeeper.tasks.ports import Clock

#: What the first entry has in place of the seal of the one before.
GENESIS: Final = "0" * 64

_LONGEST_TEXT: Final = 500
_PAGE: Final = 1000


class Outcome(enum.StrEnum):
    """What an entry says of an act."""

    #: It is about to be done: written before it, so that no act is without its entry.
    BEGUN = "begun"
    #: It was done; what takes long has its task, which says how that ended.
    DONE = "done"
    #: It was tried, and went wrong.
    FAILED = "failed"
    #: It was not allowed.
    REFUSED = "refused"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """What an entry tells."""

    at: dt.datetime
    #: ``root`` or ``ana@LAB``, or the name that somebody unknown has given.
    who: str
    #: How that was proven, and by which token or session.
    proof: str
    #: An address, or ``local``.
    address: str
    #: The operation (``operation_id``).
    action: str
    #: ``machine web-1``, ``folder \\Nightly``; empty for the inn.
    on: str
    outcome: Outcome
    #: What else is to be known of it; never a secret.
    detail: str = ""
    #: The number of the entry that told of the beginning of the same act.
    act: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One line of the log."""

    #: From 1, without a gap.
    number: int
    fact: Fact
    #: The seal of the entry before.
    previous: str
    #: SHA-256 over all that stands above, with the seal before.
    seal: str

    @property
    def is_whole(self) -> bool:
        """Whether its seal is that of what it says."""
        return self.seal == seal_of(self.number, self.fact, self.previous)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """The last entry's number and seal: what to keep elsewhere, to be compared with later."""

    number: int = 0
    seal: str = GENESIS


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What a look at the whole log has found."""

    head: Head
    #: The first entry that is not as it was written; ``None`` where all are.
    broken_at: int | None = None
    #: What is wrong with it; a sentence, or empty.
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing was changed, removed or put in another order."""
        return self.broken_at is None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """Which entries are looked for."""

    who: str | None = None
    action: str | None = None
    on: str | None = None
    since: dt.datetime | None = None


class AuditStore(Protocol):
    """Keeps the log, to which entries are added and nothing else is done."""

    async def append(self, fact: Fact) -> Entry:
        """Add an entry behind the last one, whichever server wrote that. It is on the disk then."""

    async def entries(self, *, after: int, limit: int) -> Sequence[Entry]:
        """Entries by their numbers, from the one after ``after`` on."""

    async def newest(self, search: Search, *, before: int | None, limit: int) -> Sequence[Entry]:
        """Entries, newest first."""

    async def head(self) -> Head:
        """What was written down of the last entry beside the log."""


def seal_of(number: int, fact: Fact, previous: str) -> str:
    """The seal of an entry: changing a letter of it, or of any before it, changes this."""
    told = [
        number,
        fact.at.astimezone(dt.UTC).isoformat(timespec="microseconds"),
        *(fact.who, fact.proof, fact.address, fact.action, fact.on, fact.outcome.value, fact.detail),
        fact.act,
        previous,
    ]
    return hashlib.sha256(json.dumps(told, ensure_ascii=True, separators=(",", ":")).encode()).hexdigest()


def next_entry(head: Head, fact: Fact) -> Entry:
    """The entry that follows the head."""
    number = head.number + 1
    return Entry(number=number, fact=fact, previous=head.seal, seal=seal_of(number, fact, head.seal))


class Audit:
    """The audit log."""

    def __init__(self, store: AuditStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def begin(self, caller: Caller, action: str, on: str, detail: str = "") -> Entry:
        """Record an act before it is done."""
        return await self._store.append(self._fact(caller, action, on, Outcome.BEGUN, detail))

    async def end(self, begun: Entry, outcome: Outcome, detail: str = "") -> None:
        """Record the outcome of an act."""
        fact = dataclasses.replace(
            begun.fact,
            at=self._clock.now(),
            outcome=outcome,
            detail=_plain(detail),
            act=begun.number,
        )
        await self._store.append(fact)

    async def refused(self, caller: Caller, action: str, on: str, detail: str = "") -> None:
        """Record an act that was refused."""
        await self._store.append(self._fact(caller, action, on, Outcome.REFUSED, detail))

    async def entered(self, caller: Caller) -> None:
        """Record a log-in."""
        await self._store.append(self._fact(caller, "log_in", "", Outcome.DONE, ""))

    async def left(self, caller: Caller) -> None:
        """Record a log-out."""
        await self._store.append(self._fact(caller, "log_out", "", Outcome.DONE, ""))

    async def shut_out(self, who: str, address: str, why: str) -> None:
        """Record a failed log-in."""
        fact = Fact(
            at=self._clock.now(),
            who=_plain(who),
            proof="password",
            address=_plain(address),
            action="log_in",
            on="",
            outcome=Outcome.REFUSED,
            detail=_plain(why),
        )
        await self._store.append(fact)

    async def newest(
        self, search: Search = Search(), *, before: int | None = None, limit: int = 100
    ) -> Sequence[Entry]:
        """Entries, newest first."""
        return await self._store.newest(search, before=before, limit=limit)

    async def all(self) -> AsyncIterator[Entry]:
        """Every entry, oldest first."""
        last = 0
        while page := await self._store.entries(after=last, limit=_PAGE):
            for entry in page:
                yield entry
            last = page[-1].number

    async def verify(self, known: Head | None = None) -> Verdict:
        """Look at the whole log; ``known`` is a head that was kept elsewhere."""
        written = await self._store.head()
        last = Head()
        async for entry in self.all():
            if reason := _fault(entry, last):
                return Verdict(head=last, broken_at=last.number + 1, reason=reason)
            last = Head(number=entry.number, seal=entry.seal)
            if known is not None and known.number == last.number and known.seal != last.seal:
                return Verdict(head=last, broken_at=last.number, reason="It is not the one that is known.")
        for wanted in (written, known):
            if wanted is not None and wanted.number > last.number:
                return Verdict(head=last, broken_at=last.number + 1, reason="Entries at the end are gone.")
        return Verdict(head=last)

    def _fact(self, caller: Caller, action: str, on: str, outcome: Outcome, detail: str) -> Fact:
        return Fact(
            at=self._clock.now(),
            who=caller.name,
            proof=f"{caller.proof.value} {caller.by}".rstrip(),
            address=caller.address,
            action=action,
            on=_plain(on),
            outcome=outcome,
            detail=_plain(detail),
        )


def _fault(entry: Entry, last: Head) -> str:
    if entry.number != last.number + 1:
        return f"It is gone: entry {entry.number} follows."
    if entry.previous != last.seal:
        return "It does not follow the entry before it."
    return "" if entry.is_whole else "It was changed after it was written."


def _plain(text: str) -> str:
    """One line that fools no terminal, and is not too long."""
    shown = "".join(letter if letter.isprintable() else "�" for letter in text[: _LONGEST_TEXT + 1])
    return shown if len(shown) <= _LONGEST_TEXT else shown[: _LONGEST_TEXT - 1] + "…"
