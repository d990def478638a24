"""Keep people logged in: sessions on the server, of which the other side holds a secret alone."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence

import structlog

from innkeeper.errors import ErrorCode, IdentityError, ServiceError
from innkeeper.identity.caller import Caller, Person
from innkeeper.identity.ports import SessionStore
from innkeeper.identity.realms import Known
from innkeeper.identity.session import Session
from innkeeper.tasks.ports import Clock

_log = structlog.get_logger(__name__)

_SECRET_BYTES = 32
_PURGE_SECONDS = 3600.0
#: A session's last use is written down this seldom.
_SEEN_EVERY = dt.timedelta(minutes=1)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Lifetime:
    """How long a session lasts."""

    #: Unused.
    idle: dt.timedelta = dt.timedelta(hours=12)
    #: In all.
    whole: dt.timedelta = dt.timedelta(days=7)


class Sessions:
    """All sessions."""

    def __init__(
        self,
        store: SessionStore,
        clock: Clock,
        lifetime: Lifetime = Lifetime(),
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        """``on_end`` is called after sessions were ended."""
        self._on_end = on_end
        self._store = store
        self._clock = clock
        self._lifetime = lifetime

    async def open(self, caller: Caller, known: Known) -> tuple[str, Session]:
        """Begin a session; its secret is for the other side alone, and nobody finds it again.

        It lasts no longer than what was proven for it, such as a ticket.
        """
        secret = secrets.token_urlsafe(_SECRET_BYTES)
        now = self._clock.now()
        ends_at = now + self._lifetime.whole
        session = Session(
            digest=digest_of(secret),
            realm=caller.realm,
            known=known,
            address=caller.address,
            created_at=now,
            seen_at=now,
            expires_at=ends_at if known.ends_at is None else min(ends_at, known.ends_at),
        )
        await self._store.add(session)
        return secret, session

    async def find(self, secret: str) -> Session | None:
        """The session that this secret is of, while it lasts; it has been used now."""
        session = await self._store.get(digest_of(secret))
        now = self._clock.now()
        if session is None:
            return None
        if now >= session.expires_at or now - session.seen_at > self._lifetime.idle:
            await self._store.delete(session.digest)
            return None
        if now - session.seen_at > _SEEN_EVERY:
            await self._store.seen(session.digest, now)
        return session

    async def list(self, owner: Person | None = None) -> Sequence[Session]:
        """All that last, or one person's; oldest first."""
        now = self._clock.now()
        return [
            each
            for each in await self._store.list(owner)
            if now < each.expires_at and now - each.seen_at <= self._lifetime.idle
        ]

    async def end(self, session_id: str, owner: Person | None = None) -> None:
        """End the one of this id, among all or one person's. Raises ``IdentityError`` (0x80070490)."""
        found = [each for each in await self._store.list(owner) if each.id == session_id]
        if not found:
            raise IdentityError(
                f"There is no session {session_id[:64]}.",
                code=ErrorCode.ERROR_NOT_FOUND,
                advice="innkeeper session list shows the ids; with --all, those of others too.",
            )
        for each in found:
            await self._store.delete(each.digest)
        self._on_end()

    async def close(self, secret: str) -> bool:
        """End it; whether there was one."""
        ended = await self._store.delete(digest_of(secret))
        self._on_end()
        return ended

    async def close_all(self, owner: Person) -> int:
        """End all of one person's; how many."""
        ended = await self._store.delete_of(owner)
        self._on_end()
        return ended

    async def purge_for_ever(self) -> None:
        """Forget those that are over, every hour."""
        while True:
            try:
                await self.purge()
            except ServiceError as error:  # the next hour will do
                _log.warning("sessions_not_purged", error=str(error))
            await self._clock.sleep(_PURGE_SECONDS)

    async def purge(self) -> int:
        """Forget those that are over."""
        now = self._clock.now()
        return await self._store.purge(seen_before=now - self._lifetime.idle, now=now)


def digest_of(secret: str) -> str:
    """What is kept of a secret that is too long to be guessed."""
    return hashlib.sha256(secret.encode()).hexdigest()


def csrf_token_of(secret: str) -> str:
    """Return the token that a form of this session must carry: only its own pages know it."""
    return hmac.new(secret.encode(), b"innkeeper csrf", hashlib.sha256).hexdigest()
