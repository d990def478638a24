"""What tells a host from all others."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(kw_only=True, slots=True)
class HostIdentity:
    """What a host is called by programs, whatever its name and its address are.

    The host fills it in when it answers for the first time; a service that has met the host before does so
    earlier.
    """

    #: The same for as long as the host lives; empty while nobody knows it.
    id: str = ""
    #: What only this host says of itself now, though it may say something else after a restart; empty where
    #: ``id`` is all that is known. Two addresses at which the same is said lead to one host.
    now: str = ""

    @property
    def is_remembered(self) -> bool:
        """Whether the id is of a former life of the service, and the host has not answered in this one."""
        return False

    def is_of(self, other: HostIdentity) -> bool:
        """Whether both are of one host; at an address that has not answered there may be another by now."""
        if self.is_remembered or other.is_remembered:
            return self is other
        return bool((self.id and self.id == other.id) or (self.now and self.now == other.now))
