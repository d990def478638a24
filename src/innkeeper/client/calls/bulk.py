"""Calls about many machines by a selector."""

from __future__ import annotations

import dataclasses

from innkeeper.client.calls.call import Call, post, quoted
from innkeeper.wire import bulk as wire

#: Many machines, each on its host.
_SECONDS = 600.0


def book(request: wire.BulkBookRequest) -> Call[wire.BulkLine]:
    """Book one update for many machines."""
    return _long(post("/v1/updates/book", wire.BulkLine, request))


def cancel(request: wire.BulkCancelRequest) -> Call[wire.BulkLine]:
    """Take back what is booked for many machines."""
    return _long(post("/v1/updates/cancel", wire.BulkLine, request))


def label(request: wire.BulkLabelRequest) -> Call[wire.BulkLine]:
    """Give labels to many machines, or take labels from them."""
    return _long(post("/v1/machines/label", wire.BulkLine, request))


def window(name: str, request: wire.BulkWindowRequest) -> Call[wire.BulkLine]:
    """Put many machines into a window, or take them out of it."""
    return _long(post(f"/v1/windows/{quoted(name)}/machines", wire.BulkLine, request))


def _long(call: Call[wire.BulkLine]) -> Call[wire.BulkLine]:
    return dataclasses.replace(call, timeout_seconds=_SECONDS)
