"""What systemd is told while the service starts."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

import pytest

from innkeeper.server.notify import extending_start


async def test_systemd_waits_for_a_start_as_long_as_the_database_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked for time with the reason, again and again; and for none where nothing is waited for."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        loop, trouble = asyncio.get_running_loop(), ["The database does not answer."]
        async with asyncio.timeout(30), extending_start(lambda: trouble[0], every_seconds=0.001):
            for _ in range(2):
                asked = await loop.sock_recv(systemd, 200)
                assert (
                    asked == b"EXTEND_TIMEOUT_USEC=60000000\nSTATUS=Starting. The database does not answer."
                )
            trouble[0] = ""
        with contextlib.suppress(BlockingIOError):
            while systemd.recv(200):
                pass
        async with extending_start(lambda: "", every_seconds=0.001):
            await asyncio.sleep(0.01)
        with pytest.raises(BlockingIOError):
            systemd.recv(200)
