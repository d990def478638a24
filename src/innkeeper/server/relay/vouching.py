"""The caller of a relayed request: authenticated at the first door, and vouched for at the second."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from pydantic import TypeAdapter, ValidationError
from starlette.types import Scope

from innkeeper.errors import NotAuthenticated
from innkeeper.identity.caller import Caller

#: Where a request's scope names the server that it came from; there is none at any door but the peer door.
FROM_PEER: Final = "innkeeper.from_peer"

#: The header that carries the caller. It is believed at the peer door alone, and dropped at every other.
HEADER: Final = b"innkeeper-caller"

_CALLER: Final = TypeAdapter(Caller)


def vouch(caller: Caller) -> bytes:
    """Return the header's value for a caller."""
    return base64.b64encode(_CALLER.dump_json(caller))


def vouched_caller(scope: Scope) -> Caller | None:
    """Return the caller whom the peer vouches for; ``None`` where it does for nobody."""
    value = next((value for name, value in scope["headers"] if name == HEADER), None)
    if value is None:
        return None
    try:
        return _CALLER.validate_json(base64.b64decode(value, validate=True))
    except (binascii.Error, ValidationError) as error:
        raise NotAuthenticated(
            "Another server vouched for a caller in a way that this one does not understand.",
            advice="See that both run the same release: innkeeper server list",
        ) from error


def drop_vouching(scope: Scope) -> None:
    """Take the header off a request that has not come through the peer door."""
    if FROM_PEER not in scope and any(name == HEADER for name, _ in scope["headers"]):
        scope["headers"] = [header for header in scope["headers"] if header[0] != HEADER]
