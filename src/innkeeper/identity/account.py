"""An account of Innkeeper's own realm."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """Somebody who has a password here."""

    #: In lower case: ``Ana`` and ``ana`` are one.
    name: str
    #: argon2id, in its usual notation with its parameters.
    password_hash: str = dataclasses.field(repr=False)
    created_at: dt.datetime
    #: When the password was last set.
    changed_at: dt.datetime
    disabled: bool = False

    @property
    def version(self) -> str:
        """Changes with the password: sessions and tokens of the former one end."""
        return hashlib.sha256(self.password_hash.encode()).hexdigest()[:16]
