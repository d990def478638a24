"""Make guessing slow: after a few wrong tries each further one must wait longer."""

from __future__ import annotations

import collections
import dataclasses
import ipaddress

from innkeeper.errors import TooManyTries
from innkeeper.tasks.ports import Clock


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LockoutRules:
    """How many wrong tries are free, and how long the next ones wait."""

    #: For one account.
    account_tries: int = 5
    #: From one address: several people may share it.
    address_tries: int = 20
    #: The first wait in seconds; each further one is twice as long.
    first_wait: float = 1.0
    longest_wait: float = 900.0
    #: Seconds after which wrong tries are forgotten.
    forgotten_after: float = 3600.0
    #: How many accounts, and how many addresses, are remembered at most.
    remembered: int = 20_000


@dataclasses.dataclass(slots=True)
class _Tries:
    wrong: int = 0
    last: float = 0.0
    shut_until: float = 0.0


class Lockout:
    """Counts wrong tries by account and by address, in bounded memory."""

    def __init__(self, clock: Clock, rules: LockoutRules = LockoutRules()) -> None:
        self._clock = clock
        self._rules = rules
        self._tries: collections.OrderedDict[str, _Tries] = collections.OrderedDict()
        #: Accounts with addresses that they logged in from: the guesses of others do not shut these out.
        self._trusted: collections.OrderedDict[tuple[str, str], None] = collections.OrderedDict()

    def __len__(self) -> int:
        return len(self._tries)

    def charge(self, account: str, address: str) -> None:
        """Count a try before its password is looked at: many at once are many.

        Raises ``TooManyTries`` where the account or the address must wait, and counts nothing then.
        """
        now = self._clock.monotonic()
        keys = self._keys(account, address)
        wait = max(self._wait(key, now) for key in keys)
        if wait > 0:
            seconds = max(1, round(wait))
            raise TooManyTries(
                f"Too many failed log-ins: try again in {seconds} s.",
                retry_after=seconds,
                advice="Each further failed log-in makes the wait longer.",
            )
        for key in keys:
            self._count(key, now)

    def refund(self, account: str, address: str) -> None:
        """Take a try back: the realm could not say whether it was right."""
        for key in self._keys(account, address):
            if key in self._tries:
                self._tries[key].wrong -= 1
                self._tries[key].shut_until = 0.0

    def right(self, account: str, address: str) -> None:
        """Forget the account's wrong tries, and remember that it comes from here."""
        network = network_of(address)
        self.refund(account, address)
        for key in (f":{account}", f":{account}@{network}"):
            self._tries.pop(key, None)
        self._trusted[account, network] = None
        self._trusted.move_to_end((account, network))
        while len(self._trusted) > self._rules.remembered:
            self._trusted.popitem(last=False)

    def _count(self, key: str, now: float) -> None:
        tries = self._tries.setdefault(key, _Tries())
        self._tries.move_to_end(key)
        tries.wrong, tries.last = tries.wrong + 1, now
        free = self._rules.address_tries if key[0] == "@" else self._rules.account_tries
        if tries.wrong >= free:
            wait = self._rules.first_wait * 2.0 ** min(tries.wrong - free, 32)
            tries.shut_until = now + min(wait, self._rules.longest_wait)
        while len(self._tries) > self._rules.remembered:
            self._tries.popitem(last=False)

    def _keys(self, account: str, address: str) -> tuple[str, str]:
        network = network_of(address)
        own = f"{account}@{network}" if (account, network) in self._trusted else account
        return f":{own}", f"@{network}"

    def _wait(self, key: str, now: float) -> float:
        tries = self._tries.get(key)
        if tries is None:
            return 0.0
        if now - tries.last > self._rules.forgotten_after:
            del self._tries[key]
            return 0.0
        return tries.shut_until - now


def network_of(address: str) -> str:
    """What one person is likely to have all of: an IPv4 address, or 64 bits of IPv6."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
