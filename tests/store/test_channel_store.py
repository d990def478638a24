"""What every channel store promises: the one in memory, on SQLite and on PostgreSQL."""

from __future__ import annotations

import dataclasses
import datetime as dt

import pytest

from innkeeper.channels.channel import Channel, ChannelStore, MemoryChannelStore
from innkeeper.store.channel_store import SqlChannelStore
from innkeeper.store.database import Database

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
def store(place: Database | None) -> ChannelStore:
    """Each store in turn."""
    return MemoryChannelStore() if place is None else SqlChannelStore(place)


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
