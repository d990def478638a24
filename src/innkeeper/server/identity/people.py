"""Accounts, roles, sessions and tokens, as routes and pages use them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from innkeeper.identity.accounts import Accounts
from innkeeper.identity.audit import Audit
from innkeeper.identity.grants import Grants, Standing
from innkeeper.identity.lockout import Lockout
from innkeeper.identity.logins import Logins
from innkeeper.identity.password_policy import PasswordPolicy
from innkeeper.identity.passwords import Passwords
from innkeeper.identity.ports import AccountStore, GrantStore, Realm, SessionStore, TicketRealm, TokenStore
from innkeeper.identity.sessions import Lifetime, Sessions
from innkeeper.identity.tokens import Tokens
from innkeeper.server.identity.session_revocation import Revocations
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
    #: Told at each change that can end what somebody has open.
    revocations: Revocations


def people(
    stores: Stores,
    *,
    clock: Clock,
    audit: Audit,
    realms: Sequence[Realm] = (),
    tickets: Sequence[TicketRealm] = (),
    standing: Standing | None = None,
    lifetime: Lifetime,
    policy: PasswordPolicy | None = None,
) -> People:
    """Compose them; ``realms`` are those beside Innkeeper's own accounts."""
    passwords, revocations = Passwords(policy=policy), Revocations()
    accounts = Accounts(stores.accounts, passwords, clock, revocations.happened)
    grants = Grants(stores.grants, clock, standing, revocations.happened)
    sessions = Sessions(stores.sessions, clock, lifetime, revocations.happened)
    tokens = Tokens(stores.tokens, clock, revocations.happened)
    logins = Logins(
        realms=(accounts, *realms, *tickets),
        tickets=tickets,
        grants=grants,
        sessions=sessions,
        tokens=tokens,
        lockout=Lockout(clock),
        audit=audit,
        clock=clock,
    )
    return People(
        passwords=passwords,
        accounts=accounts,
        grants=grants,
        sessions=sessions,
        tokens=tokens,
        logins=logins,
        revocations=revocations,
    )
