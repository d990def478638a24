"""Accounts, roles, sessions and tokens, as routes and pages use them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from innkeeper.identity.accounts import Accounts
from innkeeper.identity.audit import Audit
from innkeeper.identity.grants import Grants, Standing
from innkeeper.identity.lockout import Lockout
from innkeeper.identity.logins import Logins
from innkeeper.identity.passwords import Passwords
from innkeeper.identity.ports import AccountStore, GrantStore, Realm, SessionStore, TicketRealm, TokenStore
from innkeeper.identity.sessions import Lifetime, Sessions
from innkeeper.identity.tokens import Tokens
from innkeeper.tasks.ports import Clock


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Stores:
    """The stores of accounts, roles, sessions and tokens."""

    accounts: AccountStore
    grants: GrantStore
    tokens: TokenStore
    sessions: SessionStore


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class People:
    """Accounts, roles, sessions and tokens, and log-in."""

    passwords: Passwords
    accounts: Accounts
    grants: Grants
    sessions: Sessions
    tokens: Tokens
    logins: Logins


def people(
    stores: Stores,
    *,
    clock: Clock,
    audit: Audit,
    realms: Sequence[Realm] = (),
    tickets: Sequence[TicketRealm] = (),
    standing: Standing | None = None,
    lifetime: Lifetime,
) -> People:
    """Compose them; ``realms`` are those beside Innkeeper's own accounts."""
    passwords = Passwords()
    accounts = Accounts(stores.accounts, passwords, clock)
    grants = Grants(stores.grants, clock, standing)
    sessions = Sessions(stores.sessions, clock, lifetime)
    tokens = Tokens(stores.tokens, clock)
    logins = Logins(
        realms=(accounts, *realms, *tickets),
        tickets=tickets,
        grants=grants,
        sessions=sessions,
        tokens=tokens,
        lockout=Lockout(clock),
        audit=audit,
    )
    return People(
        passwords=passwords,
        accounts=accounts,
        grants=grants,
        sessions=sessions,
        tokens=tokens,
        logins=logins,
    )
