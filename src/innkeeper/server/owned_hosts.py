"""The hosts that this server owns now, among those that it has in its settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from innkeeper.machines.ports.host import Host
from innkeeper.servers.ownership import Ownership


class OwnedHosts(Mapping[str, Host]):
    """Hosts by name: those that are this server's now, and those that have never said who they are.

    A host that was lost a moment ago is still found by its name: what is asked of it is refused at its fence,
    with a sentence.
    """

    def __init__(self, hosts: Sequence[Host], ownership: Ownership) -> None:
        self._hosts = {host.name: host for host in hosts}
        self._ownership = ownership

    def __getitem__(self, name: str) -> Host:
        """Return a host of the settings."""
        return self._hosts[name]

    def __iter__(self) -> Iterator[str]:
        """Go over the names of the hosts that are this server's."""
        return iter([name for name in self._hosts if self._is_here(name)])

    def __len__(self) -> int:
        """Count the hosts that are this server's."""
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        """Whether the host is this server's."""
        return name in self._hosts and self._is_here(str(name))

    def _is_here(self, name: str) -> bool:
        return self._ownership.is_open(name) or not self._hosts[name].id
