"""Numbers in addresses and forms."""

from __future__ import annotations

from innkeeper.errors import InvalidArgument

_MOST = 2**53


def number_in(text: str | None, name: str, *, least: int = 0, most: int = _MOST) -> int | None:
    """Parse a whole number; ``None`` where nothing is given. Raises ``InvalidArgument``."""
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 18 and least <= int(text) <= most):
        raise InvalidArgument(
            f"The {name} “{text[:40]}” is not a whole number from {least} to {most}.",
            advice="Give another number.",
        )
    return int(text)
