"""How many are in at once, in all and of one address or user."""

from __future__ import annotations

import collections
from collections.abc import Collection, Sequence

from innkeeper.identity.lockout import network_of
from innkeeper.server.http.proxies import Network, is_trusted


class Crowd:
    """Counts connections or requests, in all and by who has them: an address, or a user."""

    def __init__(
        self,
        *,
        most: int,
        most_from_one: int,
        proxies: Sequence[Network] = (),
        rulers: Collection[str] = (),
    ) -> None:
        """``proxies`` are not held to ``most_from_one``: each stands for many; ``rulers`` not to ``most``."""
        self._proxies = proxies
        self._rulers = rulers
        self._most = most
        self._most_from_one = most_from_one
        self._by_network: collections.Counter[str] = collections.Counter()

    def enter(self, who: str) -> bool:
        """Whether one more is admitted from there."""
        network = network_of(who)
        is_full = self._by_network[network] >= self._most_from_one and not is_trusted(self._proxies, who)
        if is_full or (self._by_network.total() >= self._most and who not in self._rulers):
            return False
        self._by_network[network] += 1
        return True

    def leave(self, who: str) -> None:
        """Count one less from there."""
        network = network_of(who)
        self._by_network[network] -= 1
        if self._by_network[network] <= 0:
            del self._by_network[network]
