"""Keep accounts, grants, tokens and sessions in memory: for tests and simulations."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Sequence

from innkeeper.identity.account import Account
from innkeeper.identity.audit import Entry, Fact, Head, Search, next_entry
from innkeeper.identity.caller import Person
from innkeeper.identity.granted import Granted
from innkeeper.identity.session import Session
from innkeeper.identity.token import Token


class MemoryAccountStore:
    """An ``AccountStore`` that forgets at the end of the process."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}

    async def add(self, account: Account) -> bool:
        """Add it where there is none of its name; whether it was added."""
        return self._accounts.setdefault(account.name, account) is account

    async def replace(self, seen: Account, account: Account) -> bool:
        """Replace one that is still as it was seen; whether it was."""
        if self._accounts.get(seen.name) != seen:
            return False
        self._accounts[account.name] = account
        return True

    async def get(self, name: str) -> Account | None:
        """The account of this name, which is in lower case."""
        return self._accounts.get(name)

    async def list(self) -> Sequence[Account]:
        """By name."""
        return sorted(self._accounts.values(), key=lambda account: account.name)

    async def delete(self, name: str) -> bool:
        """Whether there was one."""
        return self._accounts.pop(name, None) is not None


class MemoryGrantStore:
    """A ``GrantStore`` that forgets at the end of the process."""

    def __init__(self) -> None:
        self._grants: dict[tuple[str, bool, str, str, str], Granted] = {}

    async def add(self, granted: Granted) -> None:
        """Keep it, in place of another role of the same holder on the same thing."""
        self._grants[_key(granted)] = granted

    async def remove(self, granted: Granted) -> bool:
        """Whether there was one: this holder's, on this thing, whatever the role."""
        return self._grants.pop(_key(granted), None) is not None

    async def list(self) -> Sequence[Granted]:
        """All, by holder."""
        return sorted(
            self._grants.values(), key=lambda each: (each.holder, each.grant.reach, each.grant.name)
        )


def _key(granted: Granted) -> tuple[str, bool, str, str, str]:
    return granted.realm, granted.is_group, granted.name, granted.grant.reach.value, granted.grant.name


class MemoryTokenStore:
    """A ``TokenStore`` that forgets at the end of the process."""

    def __init__(self) -> None:
        self._tokens: dict[str, Token] = {}

    async def add(self, token: Token) -> None:
        """Keep a new one."""
        self._tokens[token.id] = token

    async def get(self, token_id: str) -> Token | None:
        """The token of this id."""
        return self._tokens.get(token_id)

    async def list(self, owner: Person | None = None) -> Sequence[Token]:
        """All, or one person's; oldest first."""
        found = (token for token in self._tokens.values() if owner in (None, token.owner))
        return sorted(found, key=lambda token: (token.created_at, token.id))

    async def used(self, token_id: str, at: dt.datetime) -> None:
        """Write down when it was last used."""
        self._tokens[token_id] = dataclasses.replace(self._tokens[token_id], used_at=at)

    async def revoke(self, token_id: str, at: dt.datetime) -> bool:
        """End it; whether that was news."""
        token = self._tokens.get(token_id)
        if token is None or token.revoked_at is not None:
            return False
        self._tokens[token_id] = dataclasses.replace(token, revoked_at=at)
        return True


class MemorySessionStore:
    """A ``SessionStore`` that forgets at the end of the process."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}

    async def add(self, session: Session) -> None:
        """Keep a new one."""
        self._sessions[session.digest] = session

    async def get(self, digest: str) -> Session | None:
        """The session of this digest."""
        return self._sessions.get(digest)

    async def list(self, owner: Person | None = None) -> Sequence[Session]:
        """All, or one person's; oldest first."""
        found = [each for each in self._sessions.values() if owner is None or each.owner == owner]
        return sorted(found, key=lambda each: (each.created_at, each.digest))

    async def seen(self, digest: str, at: dt.datetime) -> None:
        """Write down when it was last used."""
        if digest in self._sessions:
            self._sessions[digest] = dataclasses.replace(self._sessions[digest], seen_at=at)

    async def delete(self, digest: str) -> bool:
        """End it; whether there was one."""
        return self._sessions.pop(digest, None) is not None

    async def delete_of(self, owner: Person) -> int:
        """End all of one person's; how many."""
        return self._forget(lambda each: each.owner == owner)

    async def purge(self, *, seen_before: dt.datetime, now: dt.datetime) -> int:
        """Forget those that are over, or were not used since ``seen_before``; how many."""
        return self._forget(lambda each: each.seen_at < seen_before or each.expires_at <= now)

    def _forget(self, over: Callable[[Session], bool]) -> int:
        gone = [digest for digest, session in self._sessions.items() if over(session)]
        for digest in gone:
            del self._sessions[digest]
        return len(gone)


class MemoryAuditStore:
    """An ``AuditStore`` that forgets at the end of the process."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []

    async def append(self, fact: Fact) -> Entry:
        """Add an entry behind the last one."""
        entry = next_entry(await self.head(), fact)
        self._entries.append(entry)
        return entry

    async def entries(self, *, after: int, limit: int) -> Sequence[Entry]:
        """Entries by their numbers, from the one after ``after`` on."""
        return self._entries[after : after + limit]

    async def newest(self, search: Search, *, before: int | None, limit: int) -> Sequence[Entry]:
        """Entries, newest first."""
        found = (entry for entry in reversed(self._entries) if before is None or entry.number < before)
        return [entry for entry in found if _matches(entry.fact, search)][:limit]

    async def head(self) -> Head:
        """The last entry."""
        return Head(number=self._entries[-1].number, seal=self._entries[-1].seal) if self._entries else Head()


def _matches(fact: Fact, search: Search) -> bool:
    return (
        search.who in (None, fact.who)
        and search.action in (None, fact.action)
        and search.on in (None, fact.on)
        and (search.since is None or fact.at >= search.since)
    )
