"""Keep channels in the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from pydantic import TypeAdapter

from innkeeper.channels.channel import Channel
from innkeeper.channels.pipe_name import PREFIX, PipeName
from innkeeper.store.database import Database, upsert
from innkeeper.store.moments import moment
from innkeeper.store.tables import channels, servers

_CHANNEL: Final = TypeAdapter(Channel)


class SqlChannelStore:
    """A ``ChannelStore`` on SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, channel: Channel) -> None:
        """Add it."""
        row = {
            "server": channel.server,
            "key": channel.name.key,
            "body": _CHANNEL.dump_json(channel).decode(),
        }
        await self._database.write(lambda c: upsert(c, channels, row))

    async def list(self, server: str) -> Sequence[Channel]:
        """Those of one server, by pipe name."""
        wanted = sa.select(channels.c.body).where(channels.c.server == server).order_by(channels.c.key)
        bodies = await self._database.read(lambda c: c.scalars(wanted).all())
        return [_CHANNEL.validate_json(body) for body in bodies]

    async def servers_of(self, name: str) -> Sequence[str]:
        """The servers at which a channel is open, by what follows the prefix of its pipe's name."""
        key = PipeName(PREFIX + name).key
        query = sa.select(channels.c.server).where(channels.c.key == key).order_by(channels.c.server)
        return await self._database.read(lambda c: c.scalars(query).all())

    async def delete(self, channel: Channel) -> None:
        """Forget it, if it is there."""
        unwanted = sa.delete(channels).where(
            channels.c.server == channel.server, channels.c.key == channel.name.key
        )
        await self._database.write(lambda c: c.execute(unwanted))

    async def others_with(self, channel: Channel) -> Sequence[str]:
        """Return the other servers that live and have a channel of this pipe name, by name."""

        def others(connection: sa.Connection) -> Sequence[str]:
            query = sa.select(channels.c.server).join(servers, servers.c.name == channels.c.server)
            return connection.scalars(
                query.where(
                    channels.c.key == channel.name.key,
                    channels.c.server != channel.server,
                    servers.c.until > moment(connection),
                ).order_by(channels.c.server)
            ).all()

        return await self._database.read(others)
