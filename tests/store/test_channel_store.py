"""What every channel store promises: the one in memory, on SQLite and on PostgreSQL."""

from __future__ import annotations

import dataclasses
import datetime as dt

import pytest

from innkeeper.channels.channel import Channel, ChannelStore, MemoryChannelStore
from innkeeper.store.channel_store import SqlChannelStore
from innkeeper.store.database import Database
from innkeeper.store.servers import Servers

CHANNEL = Channel(
    pipe_name="\\\\.\\pipe\\Web-1 ü",
    machine="web-1",
    guest_port=5432,
    owner="ana@LAB",
    opened_at=dt.datetime(2026, 11, 25, 1, 2, 3, 4, tzinfo=dt.UTC),
    server="here",
)
OTHER = dataclasses.replace(CHANNEL, pipe_name="\\\\.\\pipe\\another")
ELSEWHERE = dataclasses.replace(CHANNEL, server="elsewhere")


@pytest.fixture
async def store(place: Database | None) -> ChannelStore:
    """Each store in turn; the server ``elsewhere`` lives."""
    if place is None:
        return MemoryChannelStore()
    await Servers(place).enrol("elsewhere")
    return SqlChannelStore(place)


async def test_a_channel_is_read_as_it_was_put(store: ChannelStore) -> None:
    """Every field, by name, and each server its own."""
    for channel in (CHANNEL, OTHER, ELSEWHERE):
        await store.put(channel)
    assert list(await store.list("here")) == [OTHER, CHANNEL]
    assert list(await store.list("elsewhere")) == [ELSEWHERE]
    assert list(await store.list("nowhere")) == []


async def test_a_deleted_channel_is_gone_and_no_other(store: ChannelStore) -> None:
    """Twice is once."""
    for channel in (CHANNEL, OTHER, ELSEWHERE):
        await store.put(channel)
    await store.delete(CHANNEL)
    await store.delete(CHANNEL)
    assert list(await store.list("here")) == [OTHER]
    assert list(await store.list("elsewhere")) == [ELSEWHERE]


async def test_a_name_that_another_server_has_is_told(store: ChannelStore) -> None:
    """Whatever its case; one's own counts for nothing."""
    await store.put(CHANNEL)
    assert list(await store.others_with(CHANNEL)) == []
    await store.put(
        dataclasses.replace(ELSEWHERE, pipe_name=CHANNEL.pipe_name.upper().replace("PIPE", "pipe"))
    )
    assert list(await store.others_with(CHANNEL)) == ["elsewhere"]
    assert list(await store.others_with(OTHER)) == []


async def test_a_name_of_a_server_that_is_away_is_free(place: Database | None) -> None:
    """Its hosts may have gone to another one, at which the machine runs on."""
    if place is None:
        return
    store, gone = SqlChannelStore(place), await Servers(place).enrol("elsewhere")
    await store.put(ELSEWHERE)
    await Servers(place).leave(gone)
    assert list(await store.others_with(CHANNEL)) == []
