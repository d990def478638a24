"""Manage the windows in which machines may be maintained."""

from __future__ import annotations

from collections.abc import Iterator

from innkeeper.client import calls
from innkeeper.client.transport import Transport
from innkeeper.wire.messages import WindowMessage, WindowRequest


class WindowCollection:
    """The maintenance windows of the service."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def __iter__(self) -> Iterator[WindowMessage]:
        """All of them, by name."""
        return (window for page in self._transport.pages(calls.windows()) for window in page.windows)

    def add(self, window: WindowRequest) -> WindowMessage:
        """Add a window; raises ``InvalidArgument`` for one that can never be open."""
        return self._transport.send(calls.add_window(window))

    def remove(self, name: str) -> None:
        """Remove a window; runs that have started in it go on to its end."""
        self._transport.send(calls.remove_window(name))
