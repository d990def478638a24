"""State notifications to systemd (``sd_notify``)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable
from typing import Final

#: How long systemd is asked to wait each time, and how often it is asked.
_EXTENDED_SECONDS: Final = 60
_ASK_SECONDS: Final = 15.0


def notify(state: str) -> None:
    """Send a state such as ``READY=1`` to systemd, where it asked for it."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # an abstract socket
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.sendto(state.encode(), address)


@contextlib.asynccontextmanager
async def extending_start(
    trouble: Callable[[], str], every_seconds: float = _ASK_SECONDS
) -> AsyncIterator[None]:
    """Ask systemd for more time to start while ``trouble`` names something that is waited for.

    Without trouble nothing is asked, and a start that hangs is ended by ``TimeoutStartSec`` as always.
    """
    asking = asyncio.create_task(_ask_while(trouble, every_seconds), name="ask for time to start")
    try:
        yield
    finally:
        asking.cancel()


async def _ask_while(trouble: Callable[[], str], every_seconds: float) -> None:
    while True:
        if waits_for := trouble():
            await asyncio.to_thread(
                notify, f"EXTEND_TIMEOUT_USEC={_EXTENDED_SECONDS * 1_000_000}\nSTATUS=Starting. {waits_for}"
            )
        await asyncio.sleep(every_seconds)
