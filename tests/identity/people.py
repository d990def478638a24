"""People for the tests: in memory, with a clock in the hand and hashes that are quick."""

from __future__ import annotations

import argon2

from innkeeper.identity.audit import Audit
from innkeeper.identity.memory import (
    MemoryAccountStore,
    MemoryAuditStore,
    MemoryGrantStore,
    MemorySessionStore,
    MemoryTokenStore,
)
from innkeeper.identity.passwords import Passwords
from innkeeper.identity.sessions import Lifetime
from innkeeper.server.identity.people import People, Stores, people
from innkeeper.tasks.ports import Clock

#: A password that is long enough.
GOOD = "correct horse battery"


def quick_passwords() -> Passwords:
    """argon2id as in earnest, with the smallest work there is."""
    return Passwords(argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


def memory_people(clock: Clock) -> People:
    """Everything that is known of people, in memory."""
    stores = Stores(
        accounts=MemoryAccountStore(),
        grants=MemoryGrantStore(),
        tokens=MemoryTokenStore(),
        sessions=MemorySessionStore(),
    )
    return people(stores, clock=clock, audit=Audit(MemoryAuditStore(), clock), lifetime=Lifetime())
