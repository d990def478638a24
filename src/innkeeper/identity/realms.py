"""Realms: where accounts come from, and how they name people."""

from __future__ import annotations

import dataclasses

from innkeeper.errors import InvalidArgument

_LONGEST_NAME = 256


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """Somebody whom a realm knows."""

    #: The name as the realm spells it.
    user: str
    groups: frozenset[str] = frozenset()
    #: Changes when what was proven before no longer counts, as after a new password.
    version: str = ""


def checked_name(name: str, what: str = "user's name") -> str:
    """The name, or ``InvalidArgument`` for one that could be mistaken in a log or a header."""
    if not name or len(name) > _LONGEST_NAME or not name.isprintable() or name != name.strip():
        raise InvalidArgument(
            f"This is no {what}: {name[:40]!r}.",
            advice=f"Give 1 to {_LONGEST_NAME} printable characters, with no space at either end.",
        )
    return name
