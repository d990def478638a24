"""Realms: where accounts come from, and how they name people."""

from __future__ import annotations

import dataclasses
import datetime as dt
import unicodedata

from innkeeper.errors import InvalidArgument

#: The realm of this computer's own users: the kernel's word at the local door, PAM at the remote one.
SYSTEM_REALM = "system"

#: The realm of Innkeeper's own accounts.
LOCAL_REALM = "local"

_LONGEST_NAME = 256


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """Somebody whom a realm knows."""

    #: The name as the realm spells it.
    user: str
    groups: frozenset[str] = frozenset()
    #: Changes when what was proven before no longer counts, as after a new password.
    version: str = ""
    #: When what was proven ends by itself; ``None`` where it does not.
    ends_at: dt.datetime | None = None


def normal_name(realm: str, name: str) -> str:
    """The one form in which names of a realm are compared, whatever way they are written.

    This computer tells its users apart by the case of letters; every other realm takes ``Ana`` for ``ana``.
    """
    composed = unicodedata.normalize("NFC", name)
    return (
        composed if is_same_realm(realm, SYSTEM_REALM) else unicodedata.normalize("NFC", composed.casefold())
    )


def skeleton(name: str) -> str:
    """The form that all spellings share which any realm takes for one name; a few other names share it too.

    Directories pass over spaces, marks that are not seen, accents and the width of letters.
    """
    parts = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", name).casefold())
    return "".join(each for each in parts if unicodedata.category(each)[0] not in "MZC")


def is_same_realm(one: str, other: str) -> bool:
    """Whether both are names of one realm."""
    return one.casefold() == other.casefold()


def checked_name(name: str, what: str = "user's name") -> str:
    """The name, or ``InvalidArgument`` for one that could be mistaken in a log or a header."""
    if not name or len(name) > _LONGEST_NAME or not name.isprintable() or name != name.strip():
        raise InvalidArgument(
            f"This is no {what}: {name[:40]!r}.",
            advice=f"Give 1 to {_LONGEST_NAME} printable characters, with no space at either end.",
        )
    return name
