"""Accounts, grants, tokens and sessions in the database."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from pydantic import TypeAdapter

from innkeeper.identity.account import Account
from innkeeper.identity.caller import Person
from innkeeper.identity.granted import Granted
from innkeeper.identity.realms import Known
from innkeeper.identity.roles import Grant, Reach, Role
from innkeeper.identity.session import Session
from innkeeper.identity.token import Token
from innkeeper.store.database import Database, add_if_free, upsert
from innkeeper.store.identity_tables import accounts, grants, sessions, tokens

_KNOWN: Final = TypeAdapter(Known)
_SCOPE: Final = TypeAdapter(tuple[Grant, ...] | None)


class SqlAccountStore:
    """An ``AccountStore`` on SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, account: Account) -> bool:
        """Add an account where there is none of its name; whether it was added."""
        row = dataclasses.asdict(account)
        return await self._database.write(lambda c: add_if_free(c, accounts, row))

    async def replace(self, seen: Account, account: Account) -> bool:
        """Replace an account that is still as it was seen; whether it was."""
        is_seen = sa.and_(*(accounts.c[name] == value for name, value in dataclasses.asdict(seen).items()))
        update = sa.update(accounts).where(is_seen).values(dataclasses.asdict(account))
        return bool(await self._database.write(lambda c: c.execute(update).rowcount))

    async def get(self, name: str) -> Account | None:
        """Return the account of this name, which is in lower case."""
        query = sa.select(accounts).where(accounts.c.name == name)
        row = await self._database.read(lambda c: c.execute(query).one_or_none())
        return None if row is None else Account(**row._mapping)

    async def list(self) -> Sequence[Account]:
        """Return all accounts, by name."""
        rows = await self._database.read(lambda c: c.execute(sa.select(accounts)).all())
        return sorted((Account(**row._mapping) for row in rows), key=lambda account: account.name)

    async def delete(self, name: str) -> bool:
        """Delete an account; returns whether there was one."""
        delete = sa.delete(accounts).where(accounts.c.name == name)
        return bool(await self._database.write(lambda c: c.execute(delete).rowcount))


class SqlGrantStore:
    """A ``GrantStore`` on SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, granted: Granted) -> None:
        """Add a role, in place of another of the same holder on the same thing."""
        row = {**_key(granted), "role": int(granted.grant.role)}
        await self._database.write(lambda c: upsert(c, grants, row))

    async def remove(self, granted: Granted) -> bool:
        """Remove a holder's role on a thing; returns whether there was one."""
        delete = sa.delete(grants).where(
            *(grants.c[column] == value for column, value in _key(granted).items())
        )
        return bool(await self._database.write(lambda c: c.execute(delete).rowcount))

    async def list(self) -> Sequence[Granted]:
        """Return all roles, by holder."""
        rows = await self._database.read(lambda c: c.execute(sa.select(grants)).all())
        found = (
            Granted(
                realm=row.realm,
                name=row.holder,
                is_group=row.is_group,
                grant=Grant(role=Role(row.role), reach=Reach(row.reach), name=row.name),
            )
            for row in rows
        )
        return sorted(found, key=lambda each: (each.holder, each.grant.reach, each.grant.name))


def _key(granted: Granted) -> dict[str, str | bool]:
    return {
        "realm": granted.realm,
        "is_group": granted.is_group,
        "holder": granted.name,
        "reach": granted.grant.reach.value,
        "name": granted.grant.name,
    }


class SqlTokenStore:
    """A ``TokenStore`` on SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, token: Token) -> None:
        """Add a token."""
        row = _row(token) | {"scope": None if token.scope is None else _SCOPE.dump_json(token.scope).decode()}
        await self._database.write(lambda c: c.execute(sa.insert(tokens).values(row)))

    async def get(self, token_id: str) -> Token | None:
        """Return the token of this id."""
        query = sa.select(tokens).where(tokens.c.id == token_id)
        row = await self._database.read(lambda c: c.execute(query).one_or_none())
        return None if row is None else _token(row)

    async def list(self, owner: Person | None = None) -> Sequence[Token]:
        """Return all tokens, or one person's; oldest first."""
        query = sa.select(tokens).order_by(tokens.c.created_at, tokens.c.id)
        if owner is not None:
            query = query.where(tokens.c.realm == owner.realm, tokens.c.holder == owner.user)
        return [_token(row) for row in await self._database.read(lambda c: c.execute(query).all())]

    async def used(self, token_id: str, at: dt.datetime) -> None:
        """Record a token's last use. A crash may lose it."""
        update = sa.update(tokens).where(tokens.c.id == token_id).values(used_at=at)
        await self._database.write(lambda c: c.execute(update), lazily=True)

    async def revoke(self, token_id: str, at: dt.datetime) -> bool:
        """Revoke a token; returns whether it was valid."""
        live = (tokens.c.id == token_id) & tokens.c.revoked_at.is_(None)
        update = sa.update(tokens).where(live).values(revoked_at=at)
        return bool(await self._database.write(lambda c: c.execute(update).rowcount))


class SqlSessionStore:
    """A ``SessionStore`` on SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, session: Session) -> None:
        """Add a session."""
        await self._database.write(lambda c: c.execute(sa.insert(sessions).values(_row(session))))

    async def get(self, digest: str) -> Session | None:
        """Return the session of this digest."""
        query = sa.select(sessions).where(sessions.c.digest == digest)
        row = await self._database.read(lambda c: c.execute(query).one_or_none())
        return None if row is None else _session(row)

    async def list(self, owner: Person | None = None) -> Sequence[Session]:
        """Return all sessions, or one person's; oldest first."""
        query = sa.select(sessions).order_by(sessions.c.created_at, sessions.c.digest)
        if owner is not None:
            query = query.where((sessions.c.realm == owner.realm) & (sessions.c.holder == owner.user))
        rows = await self._database.read(lambda c: c.execute(query).all())
        return [_session(row) for row in rows]

    async def seen(self, digest: str, at: dt.datetime) -> None:
        """Record a session's last use. A crash may lose it."""
        update = sa.update(sessions).where(sessions.c.digest == digest).values(seen_at=at)
        await self._database.write(lambda c: c.execute(update), lazily=True)

    async def delete(self, digest: str) -> bool:
        """End a session; returns whether there was one."""
        return bool(await self._delete(sessions.c.digest == digest))

    async def delete_of(self, owner: Person) -> int:
        """End all sessions of one person; returns how many."""
        return await self._delete((sessions.c.realm == owner.realm) & (sessions.c.holder == owner.user))

    async def purge(self, *, seen_before: dt.datetime, now: dt.datetime) -> int:
        """Delete sessions that are over, or were not used since ``seen_before``; returns how many."""
        return await self._delete((sessions.c.seen_at < seen_before) | (sessions.c.expires_at <= now))

    async def _delete(self, which: sa.ColumnElement[bool]) -> int:
        delete = sa.delete(sessions).where(which)
        return await self._database.write(lambda c: c.execute(delete).rowcount)


def _row(kept: Token | Session) -> dict[str, object]:
    """The fields that are kept as they are, and what the realm knew."""
    row = {field.name: getattr(kept, field.name) for field in dataclasses.fields(kept)}
    return row | {"holder": kept.known.user, "known": _KNOWN.dump_json(kept.known).decode()}


def _session(row: sa.Row[tuple[object, ...]]) -> Session:
    kept = dict(row._mapping)
    del kept["holder"]
    return Session(**kept | {"known": _KNOWN.validate_json(row.known)})


def _token(row: sa.Row[tuple[object, ...]]) -> Token:
    kept = dict(row._mapping)
    del kept["holder"]
    scope = None if row.scope is None else _SCOPE.validate_json(row.scope)
    return Token(**kept | {"known": _KNOWN.validate_json(row.known), "scope": scope})
