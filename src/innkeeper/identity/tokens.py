"""Tokens for programs: made, checked and revoked."""

from __future__ import annotations

import datetime as dt
import hmac
import re
import secrets
from collections.abc import Callable, Sequence

from innkeeper.errors import ErrorCode, IdentityError
from innkeeper.identity.caller import Person
from innkeeper.identity.ports import TokenStore
from innkeeper.identity.realms import Known, checked_name
from innkeeper.identity.roles import Grant
from innkeeper.identity.sessions import digest_of
from innkeeper.identity.token import Token
from innkeeper.tasks.ports import Clock

#: How a token looks, so that one that has leaked is found by those who look for such.
PREFIX = "innkeeper_"
_SHAPE = re.compile(PREFIX + r"([0-9a-f]{12})_([A-Za-z0-9_-]{43})")

_USED_EVERY = dt.timedelta(minutes=1)


class Tokens:
    """All tokens."""

    def __init__(
        self, store: TokenStore, clock: Clock, on_revoked: Callable[[], None] = lambda: None
    ) -> None:
        """``on_revoked`` is called after tokens were revoked."""
        self._on_revoked = on_revoked
        self._store = store
        self._clock = clock

    async def make(
        self,
        name: str,
        *,
        realm: str,
        known: Known,
        scope: tuple[Grant, ...] | None,
        expires_at: dt.datetime | None,
    ) -> tuple[str, Token]:
        """Make a token; its secret is shown this once. Raises ``IdentityError`` for a name that is taken."""
        checked_name(name, "token's name")
        owner = Person(user=known.user, realm=realm)
        now = self._clock.now()
        if any(token.name == name and token.is_good(now) for token in await self._store.list(owner)):
            raise IdentityError(
                f"{owner} has a token “{name}” already.",
                code=ErrorCode.ERROR_ALREADY_EXISTS,
                advice="Revoke it first, or give this one another name.",
            )
        token_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        token = Token(
            id=token_id,
            name=name,
            digest=digest_of(secret),
            realm=realm,
            known=known,
            scope=scope,
            created_at=now,
            expires_at=expires_at,
        )
        await self._store.add(token)
        return f"{PREFIX}{token_id}_{secret}", token

    async def find(self, text: str) -> Token | None:
        """The token of this text, while it is good; it has been used now."""
        shape = _SHAPE.fullmatch(text)
        token = await self._store.get(shape[1]) if shape else None
        if shape is None or token is None:
            return None
        now = self._clock.now()
        if not hmac.compare_digest(token.digest, digest_of(shape[2])) or not token.is_good(now):
            return None
        if token.used_at is None or now - token.used_at > _USED_EVERY:
            await self._store.used(token.id, now)
        return token

    async def list(self, owner: Person | None = None) -> Sequence[Token]:
        """All, or one person's; oldest first."""
        return await self._store.list(owner)

    async def get(self, token_id: str) -> Token:
        """One token. Raises ``IdentityError`` (0x80070490)."""
        token = await self._store.get(token_id)
        if token is None:
            raise IdentityError(
                f"There is no token {token_id}.",
                code=ErrorCode.ERROR_NOT_FOUND,
                advice="innkeeper user token list shows all of them.",
            )
        return token

    async def revoke(self, token_id: str) -> None:
        """End it for ever."""
        await self._store.revoke((await self.get(token_id)).id, self._clock.now())
        self._on_revoked()

    async def revoke_all(self, owner: Person) -> None:
        """End all of one person's."""
        for token in await self._store.list(owner):
            await self._store.revoke(token.id, self._clock.now())
        self._on_revoked()
