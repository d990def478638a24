"""Hear which machines elsewhere have the names of those here, before these are called by them."""

from __future__ import annotations

from collections.abc import Mapping

from innkeeper.machines.directory import Directory
from innkeeper.machines.places import Places
from innkeeper.machines.ports.host import Host


class Namesakes:
    """Asks the directory of all servers for machines with names or UUIDs of those here.

    Whoever keeps the directory asks now and then. What comes here, a host or a machine, is asked for at once:
    roles, and acts by a name, go by whether others have it.
    """

    def __init__(self, places: Places, directory: Directory | None, hosts: Mapping[str, Host]) -> None:
        """``directory``: ``None`` where there are no other servers."""
        self._places = places
        self._directory = directory
        self._hosts = hosts
        #: The hosts, by their ids, of whose machines it was heard which have namesakes elsewhere.
        self._heard_for: frozenset[str] = frozenset()
        #: Whether that was news which whoever keeps the directory has not been told of yet.
        self._has_news = False
        #: How often it was asked, and which of the answers was taken last.
        self._asked = 0
        self._taken = 0

    async def hear(self) -> bool:
        """Hear of all; whether that is news. One asked for before the last answer is not taken."""
        if self._directory is None:
            return False
        self._asked += 1
        asked, hosts, new = self._asked, self._host_ids(), self._places.new
        namesakes, is_news = await self._directory.namesakes(hosts, new), False
        if asked > self._taken:
            is_news = self._places.hear_elsewhere(namesakes, new)
            self._taken, self._heard_for = asked, hosts
        is_news, self._has_news = is_news or self._has_news, False
        return is_news

    async def hear_of_new(self) -> bool:
        """Hear of those of hosts and machines that have come; whether some have, and none was away."""
        if self._directory is None:
            return False
        if not self._places.has_unheard and self._host_ids() in (frozenset(), self._heard_for):
            return False
        self._has_news = await self.hear()
        return True

    def _host_ids(self) -> frozenset[str]:
        """The ids of the hosts that were ever met."""
        return frozenset(host.id for host in self._hosts.values() if host.id)
