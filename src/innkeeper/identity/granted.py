"""A role that somebody was given on something."""

from __future__ import annotations

import dataclasses

from innkeeper.identity.caller import Person
from innkeeper.identity.roles import Grant


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Granted:
    """A role that was given to a person or a group of a realm."""

    realm: str
    #: The user's or the group's name.
    name: str
    is_group: bool
    grant: Grant

    @property
    def holder(self) -> str:
        """``ana@LAB``; a group as ``%admins@LAB``."""
        return f"{'%' if self.is_group else ''}{Person(user=self.name, realm=self.realm)}"
