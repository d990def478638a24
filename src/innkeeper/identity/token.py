"""A token: a secret that stands for its owner, with a scope and an end."""

from __future__ import annotations

import dataclasses
import datetime as dt

from innkeeper.identity.caller import Person
from innkeeper.identity.realms import Known
from innkeeper.identity.roles import Grant


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Token:
    """One token, without its secret."""

    id: str
    #: Its owner's name for it.
    name: str
    #: Of the secret.
    digest: str = dataclasses.field(repr=False)
    realm: str
    known: Known
    #: What it leaves of its owner's roles; ``None`` leaves them whole.
    scope: tuple[Grant, ...] | None
    created_at: dt.datetime
    #: ``None``: not by itself.
    expires_at: dt.datetime | None
    used_at: dt.datetime | None = None
    revoked_at: dt.datetime | None = None

    @property
    def owner(self) -> Person:
        """Whose it is."""
        return Person(user=self.known.user, realm=self.realm)

    def is_good(self, now: dt.datetime) -> bool:
        """Whether the token is valid: neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)
