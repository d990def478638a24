"""Ports of identity: realms that know people, and stores."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Protocol

from innkeeper.identity.account import Account
from innkeeper.identity.caller import Person
from innkeeper.identity.granted import Granted
from innkeeper.identity.realms import Known
from innkeeper.identity.session import Session
from innkeeper.identity.token import Token


class Realm(Protocol):
    """A source of people: checks their passwords, and whether they are still who they were."""

    @property
    def name(self) -> str:
        """The *domain* that people give when they connect."""

    async def check(self, user: str, password: str) -> Known | None:
        """Return whom this name and password are for; ``None`` where they are not right.

        Takes as long for a user who is not there. Raises ``ServiceError`` where the realm cannot be asked.
        """

    async def recall(self, known: Known) -> Known | None:
        """Return a person as the realm knows them now; ``None`` where it no longer does."""


class TicketRealm(Realm, Protocol):
    """A realm whose people can come with a ticket in place of a password."""

    async def by_ticket(self, ticket: bytes) -> Known | None:
        """Return whose ticket for this service it is; ``None`` where it is not good."""


class AccountStore(Protocol):
    """Stores Innkeeper's own accounts."""

    async def add(self, account: Account) -> bool:
        """Add an account where there is none of its name; whether it was added."""

    async def replace(self, seen: Account, account: Account) -> bool:
        """Replace an account that is still as it was seen; whether it was."""

    async def get(self, name: str) -> Account | None:
        """Return the account of this name, which is in lower case."""

    async def list(self) -> Sequence[Account]:
        """Return all accounts, by name."""

    async def delete(self, name: str) -> bool:
        """Delete an account; returns whether there was one."""


class GrantStore(Protocol):
    """Stores who was given which role."""

    async def add(self, granted: Granted) -> None:
        """Add a role, in place of another of the same holder on the same thing."""

    async def remove(self, granted: Granted) -> bool:
        """Remove a holder's role on a thing; returns whether there was one."""

    async def list(self) -> Sequence[Granted]:
        """Return all roles, by holder."""


class TokenStore(Protocol):
    """Stores tokens, by a digest of their secret."""

    async def add(self, token: Token) -> None:
        """Add a token."""

    async def get(self, token_id: str) -> Token | None:
        """Return the token of this id."""

    async def list(self, owner: Person | None = None) -> Sequence[Token]:
        """Return all tokens, or one person's; oldest first."""

    async def used(self, token_id: str, at: dt.datetime) -> None:
        """Record a token's last use. A crash may lose it."""

    async def revoke(self, token_id: str, at: dt.datetime) -> bool:
        """Revoke a token; returns whether it was valid."""


class SessionStore(Protocol):
    """Stores sessions, by a digest of their secret."""

    async def add(self, session: Session) -> None:
        """Add a session."""

    async def get(self, digest: str) -> Session | None:
        """Return the session of this digest."""

    async def list(self, owner: Person | None = None) -> Sequence[Session]:
        """Return all sessions, or one person's; oldest first."""

    async def seen(self, digest: str, at: dt.datetime) -> None:
        """Record a session's last use. A crash may lose it."""

    async def delete(self, digest: str) -> bool:
        """End a session; returns whether there was one."""

    async def delete_of(self, owner: Person) -> int:
        """End all sessions of one person; returns how many."""

    async def purge(self, *, seen_before: dt.datetime, now: dt.datetime) -> int:
        """Delete sessions that are over, or were not used since ``seen_before``; returns how many."""
