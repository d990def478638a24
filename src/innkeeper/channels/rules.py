"""Documented rules of ``StartCommunicationChannel``'s arguments."""

from __future__ import annotations

from innkeeper.errors import ErrorCode, InvalidArgument
from innkeeper.wire.states import EndpointType


def require_endpoints(
    host_endpoint_type: int | None, guest_endpoint_type: int | None, *names: str | int | None
) -> None:
    """Refuse missing endpoints (E_POINTER), and others than a pipe and a TCP port (E_INVALIDARG)."""
    if None in (host_endpoint_type, guest_endpoint_type, *names):
        raise InvalidArgument(
            "A channel needs both endpoint types, a pipe's name and a port.",
            code=ErrorCode.E_POINTER,
            advice="Give all of them.",
        )
    if host_endpoint_type != EndpointType.NAMED_PIPE:
        raise InvalidArgument(
            f"The host's end of a channel is a named pipe (0), not {host_endpoint_type}.",
            advice="Give EndpointType.NAMED_PIPE.",
        )
    if guest_endpoint_type != EndpointType.TCPIP:
        raise InvalidArgument(
            f"The guest's end of a channel is a TCP port (1), not {guest_endpoint_type}.",
            advice="Give EndpointType.TCPIP.",
        )


def parse_guest_port(message: str | int | None) -> int:
    """Parse the port, a number or its text. Raises ``InvalidArgument`` (E_INVALIDARG)."""
    text = str(message).strip()
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:6]) <= 65535):
        raise InvalidArgument(
            f"“{text[:40]}” is not a TCP port.", advice="Give a number from 1 to 65535, such as 5432."
        )
    return int(text)
