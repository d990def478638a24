"""What identity needs from the world: realms that know people, and stores that keep what is settled."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Protocol

from innkeeper.identity.accounts import Account
from innkeeper.identity.caller import Person
from innkeeper.identity.grants import Granted
from innkeeper.identity.realms import Known
from innkeeper.identity.sessions import Session
from innkeeper.identity.tokens import Token


class Realm(Protocol):
    """Knows people: by their passwords, and whether they are still who they were."""

    @property
    def name(self) -> str:
        """The *domain* that people give when they connect."""

    async def check(self, user: str, password: str) -> Known | None:
        """Whom this name and password are for; ``None`` where they are not right.

        Takes as long for a user who is not there. Raises ``ServiceError`` where the realm cannot be asked.
        """

    async def recall(self, known: Known) -> Known | None:
        """Somebody who was known before, as the realm knows them now; ``None`` where it no longer does."""


class TicketRealm(Realm, Protocol):
    """A realm whose people can come with a ticket in place of a password."""

    async def by_ticket(self, ticket: bytes) -> Known | None:
        """Whose ticket for this service it is; ``None`` where it is not good."""


class AccountStore(Protocol):
    """Keeps Innkeeper's own accounts."""

    async def put(self, account: Account) -> None:
        """Add it, or replace the one of this name."""

    async def get(self, name: str) -> Account | None:
        """The account of this name, which is in lower case."""

    async def list(self) -> Sequence[Account]:
        """By name."""

    async def delete(self, name: str) -> bool:
        """Whether there was one."""


class GrantStore(Protocol):
    """Keeps who was given which role."""

    async def add(self, granted: Granted) -> None:
        """Keep it, in place of another role of the same holder on the same thing."""

    async def remove(self, granted: Granted) -> bool:
        """Whether there was one: this holder's, on this thing, whatever the role."""

    async def list(self) -> Sequence[Granted]:
        """All, by holder."""


class TokenStore(Protocol):
    """Keeps tokens, by a digest of their secret."""

    async def add(self, token: Token) -> None:
        """Keep a new one."""

    async def get(self, token_id: str) -> Token | None:
        """The token of this id."""

    async def list(self, owner: Person | None = None) -> Sequence[Token]:
        """All, or one person's; oldest first."""

    async def used(self, token_id: str, at: dt.datetime) -> None:
        """Write down when it was last used. A crash may take it back."""

    async def revoke(self, token_id: str, at: dt.datetime) -> bool:
        """End it; whether that was news."""


class SessionStore(Protocol):
    """Keeps sessions, by a digest of their secret."""

    async def add(self, session: Session) -> None:
        """Keep a new one."""

    async def get(self, digest: str) -> Session | None:
        """The session of this digest."""

    async def seen(self, digest: str, at: dt.datetime) -> None:
        """Write down when it was last used. A crash may take it back."""

    async def delete(self, digest: str) -> bool:
        """End it; whether there was one."""

    async def delete_of(self, owner: Person) -> int:
        """End all of one person's; how many."""

    async def purge(self, *, seen_before: dt.datetime, now: dt.datetime) -> int:
        """Forget those that are over, or were not used since ``seen_before``; how many."""
