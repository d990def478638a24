"""The pipe over a socket that QEMU has."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from innkeeper.channels.ports import QuickPipe
from innkeeper.hypervisor.libvirt.socket_pipe import SocketPipe


@pytest.fixture
async def ends() -> AsyncIterator[tuple[SocketPipe, socket.socket]]:
    """A pipe, and the socket that QEMU would hold."""
    ours, theirs = socket.socketpair()
    _, pipe = await asyncio.get_running_loop().create_connection(SocketPipe, sock=ours)
    with theirs:
        yield pipe, theirs
        await pipe.close()


async def test_what_is_heard_at_once_is_not_read_again(ends: tuple[SocketPipe, socket.socket]) -> None:
    """Bytes that the listener takes are his; those that he leaves are read, and nothing overtakes them."""
    pipe, theirs = ends
    assert isinstance(pipe, QuickPipe)
    heard, came = bytearray(), asyncio.Event()

    def take(data: bytes | memoryview) -> int:
        came.set()
        if heard:
            return 0
        heard.extend(data)
        return len(data)

    pipe.hear(take)
    theirs.send(b"one")
    await came.wait()
    theirs.send(b"two")
    assert (bytes(heard), await pipe.read()) == (b"one", b"two")
    heard.clear()
    came.clear()
    theirs.send(b"three")
    await came.wait()
    assert bytes(heard) == b"three"


async def test_nothing_is_heard_of_a_pipe_that_ends(ends: tuple[SocketPipe, socket.socket]) -> None:
    """The end is for whoever reads."""
    pipe, theirs = ends
    heard: list[bytes] = []

    def take(data: bytes | memoryview) -> int:
        heard.append(bytes(data))
        return len(data)

    pipe.hear(take)
    theirs.close()
    assert (await pipe.read(), heard) == (b"", [])


async def test_what_a_listener_leaves_of_a_piece_is_read(ends: tuple[SocketPipe, socket.socket]) -> None:
    """A listener that has had enough takes a part, and what follows waits behind the rest."""
    pipe, theirs = ends
    heard, came = bytearray(), asyncio.Event()

    def take(data: bytes | memoryview) -> int:
        came.set()
        size = 0 if heard else 2
        heard.extend(data[:size])
        return size

    pipe.hear(take)
    theirs.send(b"first")
    await came.wait()
    theirs.send(b"second")
    rest = b""
    while len(rest) < 9:
        rest += await pipe.read()
    assert (bytes(heard), rest) == (b"fi", b"rstsecond")
