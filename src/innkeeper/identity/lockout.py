"""Make guessing slow: after a few wrong tries each further one must wait longer."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import ipaddress
import itertools
from collections.abc import AsyncIterator, Sequence
from typing import Final

from innkeeper.errors import TooManyTries
from innkeeper.tasks.ports import Clock
from innkeeper.tasks.waiting import within

#: How many of the oldest are looked at for one that may be dropped.
_LOOKS: Final = 100


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
    #: How many wait for others under way, of one account or from one address, and how many seconds.
    queue: int = 256
    queue_seconds: float = 10.0


@dataclasses.dataclass(slots=True)
class _Tries:
    """Tries of one account, or from one address."""

    free: int
    wrong: int = 0
    #: Whose name all the wrong ones gave; ``None`` where they gave several.
    account: str | None = None
    under_way: int = 0
    waiting: int = 0
    last: float = 0.0
    shut_until: float = 0.0
    #: Set, and replaced, when one of those under way has ended.
    ended: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)

    @property
    def is_full(self) -> bool:
        """Whether one more would be too many if all those under way are wrong."""
        return self.under_way > 0 and self.wrong + self.under_way >= self.free

    def forget(self) -> None:
        """Forget the wrong ones."""
        self.wrong, self.shut_until = 0, 0.0

    def leave(self) -> None:
        """End one that was under way, and let those who wait look again."""
        self.under_way -= 1
        self.ended.set()
        self.ended = asyncio.Event()


@dataclasses.dataclass(slots=True)
class Try:
    """One log-in under way."""

    #: Whose it is: the account that was asked for, unless the realm names another.
    account: str
    #: Whether the password is right; ``None`` where the realm could not say, which counts as no try.
    is_right: bool | None = None


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

    @contextlib.asynccontextmanager
    async def trying(self, account: str, address: str, alike: str = "") -> AsyncIterator[Try]:
        """Count the try that is made within, by what is noted in it.

        It begins when it would not be too many even if all those under way are wrong: many at once are many,
        and wait for one another. Raises ``TooManyTries`` where the account or the address must wait, or the
        others take too long. Accounts that are ``alike`` have one count; a right password forgets wrong ones
        of its own account alone. From an address that the account is known at, no tries of others count.
        """
        network = network_of(address)
        is_known = (account, network) in self._trusted
        own = f":{account}@{network}" if is_known else f":{alike or account}"
        keys = [own] if is_known else [own, f"@{network}"]
        try:
            async with self._entered(keys):
                attempt = Try(account=account)
                yield attempt
                if attempt.is_right:
                    self._trust(attempt.account, network)
                    self._forget(own, attempt.account)
                elif attempt.is_right is False:
                    self._count(own, account)
                    self._count(f"@{network}", account)
        finally:
            self._tidy(keys)

    @contextlib.asynccontextmanager
    async def _entered(self, keys: Sequence[str]) -> AsyncIterator[None]:
        """Wait until one more try is not too many; it is under way within."""
        give_up = self._clock.monotonic() + self._rules.queue_seconds
        while full := [tries for tries in self._admitted(keys) if tries.is_full]:
            await self._queue(full[0], give_up)
        entered = self._admitted(keys)
        for tries in entered:
            tries.under_way += 1
        try:
            yield
        finally:
            for tries in entered:
                tries.leave()

    async def _queue(self, tries: _Tries, give_up: float) -> None:
        """Wait until one under way has ended. Raises ``TooManyTries`` where that takes too long."""
        seconds = give_up - self._clock.monotonic()
        if seconds <= 0 or tries.waiting >= self._rules.queue:
            raise self._too_many_at_once()
        tries.waiting += 1
        try:
            if not await within(self._clock, seconds, tries.ended.wait()):
                raise self._too_many_at_once()
        finally:
            tries.waiting -= 1

    def _too_many_at_once(self) -> TooManyTries:
        seconds = max(1, round(self._rules.queue_seconds))
        return TooManyTries(
            f"Too many log-ins are under way: try again in {seconds} s.",
            retry_after=seconds,
            advice="Where that lasts, see whether the realm that is asked answers.",
        )

    def _admitted(self, keys: Sequence[str]) -> Sequence[_Tries]:
        """Return the tries of these keys. Raises ``TooManyTries`` where one must wait."""
        found = [self._of(key) for key in keys]
        self._refuse_shut(found)
        return found

    def _refuse_shut(self, found: Sequence[_Tries]) -> None:
        wait = max(tries.shut_until for tries in found) - self._clock.monotonic()
        if wait > 0:
            seconds = max(1, round(wait))
            raise TooManyTries(
                f"Too many failed log-ins: try again in {seconds} s.",
                retry_after=seconds,
                advice="Each further failed log-in makes the wait longer.",
            )

    def _of(self, key: str) -> _Tries:
        """Return the tries of a key, without those that are forgotten."""
        tries = self._tries.get(key)
        if tries is None:
            free = self._rules.address_tries if key[0] == "@" else self._rules.account_tries
            self._make_room()
            tries = self._tries[key] = _Tries(free=free)
        elif self._clock.monotonic() - tries.last > self._rules.forgotten_after:
            tries.forget()
        self._tries.move_to_end(key)
        return tries

    def _make_room(self) -> None:
        """Drop the oldest where one more would be too many; those that are shut, or under way, last."""
        now = self._clock.monotonic()
        while len(self._tries) >= self._rules.remembered:
            for key, tries in list(itertools.islice(self._tries.items(), _LOOKS)):
                if tries.shut_until <= now and not tries.under_way:
                    break
                self._tries.move_to_end(key)
            self._tries.popitem(last=False)

    def _count(self, key: str, account: str) -> None:
        tries, now = self._of(key), self._clock.monotonic()
        tries.account = account if tries.wrong == 0 or tries.account == account else None
        tries.wrong, tries.last = tries.wrong + 1, now
        if tries.wrong >= tries.free:
            wait = self._rules.first_wait * 2.0 ** min(tries.wrong - tries.free, 32)
            tries.shut_until = now + min(wait, self._rules.longest_wait)

    def _forget(self, key: str, account: str) -> None:
        """Forget the wrong ones, unless they may have been meant for another account."""
        tries = self._of(key)
        if tries.account == account:
            tries.forget()

    def _tidy(self, keys: Sequence[str]) -> None:
        """Forget those of whom nothing is to be remembered."""
        for key in keys:
            tries = self._tries.get(key)
            if tries is not None and not tries.wrong and not tries.under_way:
                del self._tries[key]

    def _trust(self, account: str, network: str) -> None:
        self._trusted[account, network] = None
        self._trusted.move_to_end((account, network))
        while len(self._trusted) > self._rules.remembered:
            self._trusted.popitem(last=False)


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
