"""A session: a log-in that lasts for a while."""

from __future__ import annotations

import dataclasses
import datetime as dt

from innkeeper.identity.caller import Person
from innkeeper.identity.realms import Known


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """Somebody who has logged in."""

    #: Of the secret that the other side holds.
    digest: str
    realm: str
    known: Known
    #: Where they logged in from.
    address: str
    created_at: dt.datetime
    seen_at: dt.datetime
    #: When it ends, used or not.
    expires_at: dt.datetime

    @property
    def owner(self) -> Person:
        """Whose it is."""
        return Person(user=self.known.user, realm=self.realm)

    @property
    def id(self) -> str:
        """A name that may be shown: nobody finds the secret by it."""
        return self.digest[:12]
