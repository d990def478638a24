"""Accounts, roles and tokens as HTTP messages."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from innkeeper.identity.account import Account
from innkeeper.identity.caller import LOCAL_REALM, Caller
from innkeeper.identity.granted import Granted
from innkeeper.identity.roles import Grant
from innkeeper.identity.session import Session
from innkeeper.identity.token import Token
from innkeeper.wire import identity as wire


def user_messages(accounts: Sequence[Account], granted: Sequence[Granted]) -> tuple[wire.UserMessage, ...]:
    """Return accounts with their roles, then people and groups of other realms with theirs."""
    roles: dict[tuple[str, bool, str], list[wire.GrantMessage]] = {}
    for each in granted:
        roles.setdefault((each.realm, each.is_group, each.name), []).append(grant_message(each.grant))
    own = [
        wire.UserMessage(
            name=account.name,
            realm=LOCAL_REALM,
            has_account=True,
            disabled=account.disabled,
            created_at=account.created_at,
            password_set_at=account.changed_at,
            roles=tuple(roles.pop((LOCAL_REALM, False, account.name), ())),
        )
        for account in accounts
    ]
    others = [
        wire.UserMessage(name=name, realm=realm, is_group=is_group, roles=tuple(held))
        for (realm, is_group, name), held in sorted(roles.items())
    ]
    return (*own, *others)


def grant_message(grant: Grant) -> wire.GrantMessage:
    """Return a role on a resource as a message."""
    return wire.GrantMessage(
        role=wire.RoleName(grant.role.word), reach=wire.ReachName(grant.reach.value), name=grant.name
    )


def token_message(token: Token, now: dt.datetime) -> wire.TokenMessage:
    """Return a token as a message, without its secret."""
    return wire.TokenMessage(
        id=token.id,
        name=token.name,
        owner=str(token.owner),
        scope=None if token.scope is None else tuple(map(grant_message, token.scope)),
        created_at=token.created_at,
        expires_at=token.expires_at,
        used_at=token.used_at,
        revoked_at=token.revoked_at,
        good=token.is_good(now),
    )


def session_message(session: Session, caller: Caller) -> wire.SessionMessage:
    """Return a session as a message, without its digest."""
    return wire.SessionMessage(
        id=session.id,
        owner=str(session.owner),
        address=session.address,
        created_at=session.created_at,
        seen_at=session.seen_at,
        expires_at=session.expires_at,
        is_own=caller.person == session.owner and caller.by == session.id,
    )
