"""Compare the time of wrong log-ins for names that are there and for names that are not.

``python -m benchmarks.login_timing``: a thousand tries each, in turn, of Innkeeper's own accounts and of a
realm that asks its store only for people whom it has, as a directory does.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import time
from pathlib import Path

from innkeeper.errors import NotAuthenticated
from innkeeper.identity.accounts import Accounts
from innkeeper.identity.audit import Audit
from innkeeper.identity.grants import Grants
from innkeeper.identity.lockout import Lockout, LockoutRules
from innkeeper.identity.logins import Logins
from innkeeper.identity.memory import (
    MemoryAccountStore,
    MemoryAuditStore,
    MemoryGrantStore,
    MemorySessionStore,
    MemoryTokenStore,
)
from innkeeper.identity.passwords import Passwords
from innkeeper.identity.realms import Known
from innkeeper.identity.sessions import Sessions
from innkeeper.identity.tokens import Tokens
from innkeeper.tasks.clock import SystemClock

_OUT = Path(__file__).resolve().parent.parent / "build" / "bench" / "login_timing.json"
_RIGHT = "a right answer to all"
#: By chance alone, of a thousand tries each, the share of pairs strays so far from a half once in a thousand.
_CHANCE = 0.043


class _Uneven:
    """A realm that takes ten times as long for people whom it has."""

    name = "uneven"

    async def check(self, user: str, password: str) -> Known | None:
        """Return whom this is."""
        await asyncio.sleep(0.02 if user == "ana" else 0.002)
        return None

    async def recall(self, known: Known) -> Known | None:
        """Return nobody."""
        return None


def main() -> None:
    """Measure, and print a line a realm."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=1000)
    asyncio.run(_measure(parser.parse_args().tries))


async def _measure(tries: int) -> None:
    clock, passwords = SystemClock(), Passwords()
    accounts = Accounts(MemoryAccountStore(), passwords, clock)
    await accounts.add("ana", _RIGHT)
    told = {}
    for realm in ("local", "uneven"):
        times: dict[str, list[float]] = {"ana": [], "nobody": []}
        logins = _logins(accounts, clock)
        for number in range(tries):
            for user in ("ana", "nobody") if number % 2 else ("nobody", "ana"):
                began = time.perf_counter()
                with contextlib.suppress(NotAuthenticated):
                    await logins.by_password(user, realm, "a wrong answer to all", "192.0.2.1")
                times[user].append((time.perf_counter() - began) * 1000)
        share = _share_slower(times["ana"], times["nobody"])
        told[realm] = {"share": share, **{user: statistics.median(each) for user, each in times.items()}}
        print(
            f"{realm}: median {told[realm]['ana']:.2f} ms for a known name, {told[realm]['nobody']:.2f} for"
            f" an unknown one; the known one took longer in {share:.1%} of all pairs"
            f" (aim: 50 ± {_CHANCE:.1%}) {'' if abs(share - 0.5) <= _CHANCE else 'missed'}"
        )
    passwords.close()
    _OUT.parent.mkdir(parents=True, exist_ok=True)
    _OUT.write_text(json.dumps({"load": os.getloadavg(), "tries": tries, "realms": told}, indent=2))


def _logins(accounts: Accounts, clock: SystemClock) -> Logins:
    """Log-ins that nobody is locked out of."""
    return Logins(
        realms=(accounts, _Uneven()),
        grants=Grants(MemoryGrantStore(), clock),
        sessions=Sessions(MemorySessionStore(), clock),
        tokens=Tokens(MemoryTokenStore(), clock),
        lockout=Lockout(clock, LockoutRules(account_tries=10**6, address_tries=10**6)),
        audit=Audit(MemoryAuditStore(), clock),
        clock=clock,
    )


def _share_slower(ones: list[float], others: list[float]) -> float:
    """In which share of all pairs the first took longer."""
    return sum(one > other for one in ones for other in others) / (len(ones) * len(others))


if __name__ == "__main__":
    main()
