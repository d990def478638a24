"""Callers as the scheduler's security descriptors identify them."""

from __future__ import annotations

import asyncio
import grp
import os
import pwd

from innkeeper.identity import roles
from innkeeper.identity.caller import SYSTEM_REALM, Caller, Proof
from innkeeper.identity.roles import Role
from innkeeper.schedule.security.guard import GROUP, USER, Who
from innkeeper.schedule.security.sddl import ALIASES

#: Where a request's scope names its caller; ``None`` there is somebody unknown at an open door.
CALLER = "innkeeper.caller"
_BY_ROLE = {Role.VIEWER: "BU", Role.OPERATOR: "SO", Role.ADMINISTRATOR: "BA"}


async def who(caller: Caller, path: str = "\\") -> Who:
    """Return the caller with all identifiers that mean them, including those of their role on a path."""
    return await asyncio.to_thread(_who, caller, path)


def _who(caller: Caller, path: str) -> Who:
    identifiers = {ALIASES["WD"], ALIASES["AU"], ALIASES["IU" if caller.proof is Proof.PEER else "NU"]}
    held = caller.role_on(roles.folder(path))
    identifiers |= {
        ALIASES[letters] for role, letters in _BY_ROLE.items() if held is not None and held >= role
    }
    account = _account(caller)
    if account is not None:
        identifiers.add(USER.format(account.pw_uid))
        identifiers |= {GROUP.format(number) for number in os.getgrouplist(account.pw_name, account.pw_gid)}
        if account.pw_uid == 0:
            identifiers.add(ALIASES["SY"])
    identifiers |= {GROUP.format(number) for number in map(_group, caller.groups) if number is not None}
    return Who(
        name=caller.name,
        identifiers=frozenset(identifiers),
        rules_all=caller.is_administrator,
        account="" if account is None else account.pw_name,
    )


def _account(caller: Caller) -> pwd.struct_passwd | None:
    """Return the caller's account on this computer; a user of another realm is somebody else."""
    if caller.realm != SYSTEM_REALM:
        return None
    try:
        return pwd.getpwnam(caller.user)
    except KeyError:
        return None


def _group(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None
