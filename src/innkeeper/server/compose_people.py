"""Composition of accounts and realms: the half of the composition root that names the realms."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import Iterator
from functools import partial

from innkeeper.errors import InvalidArgument
from innkeeper.identity.audit import Audit
from innkeeper.identity.password_policy import PasswordPolicy, refused_in
from innkeeper.identity.ports import Realm, TicketRealm
from innkeeper.identity.realms import Known
from innkeeper.identity.roles import Grant, Role
from innkeeper.identity.sessions import Lifetime
from innkeeper.realms.system import SystemRealm
from innkeeper.server.identity.people import People, Stores, people
from innkeeper.server.peers import Admission
from innkeeper.server.settings import Settings
from innkeeper.store.opening import Store
from innkeeper.tasks.clock import SystemClock


async def compose_people(
    settings: Settings, store: Store, audit: Audit, opened: contextlib.AsyncExitStack
) -> People:
    """Compose accounts, roles, sessions and realms. Raises ``InvalidArgument`` for an unusable realm."""
    found = people(
        Stores(accounts=store.accounts, grants=store.grants, tokens=store.tokens, sessions=store.sessions),
        clock=SystemClock(),  # people's sessions and tries go by their own clocks, also in a simulation
        audit=audit,
        realms=await asyncio.to_thread(_realms, settings),
        tickets=await asyncio.to_thread(_ticket_realms, settings),
        standing=partial(_standing, settings),
        lifetime=Lifetime(
            idle=dt.timedelta(hours=settings.session_idle_hours),
            whole=dt.timedelta(days=settings.session_days),
        ),
        policy=await asyncio.to_thread(_policy, settings),
    )
    opened.callback(found.passwords.close)
    return found


def _policy(settings: Settings) -> PasswordPolicy:
    listed: frozenset[str] = frozenset()
    if settings.refused_passwords is not None:
        try:
            with settings.refused_passwords.open(encoding="utf-8", errors="replace") as lines:
                listed = refused_in(lines)
        except OSError as error:
            raise InvalidArgument(
                f"The list {settings.refused_passwords} of passwords cannot be read: {error.strerror}.",
                advice="Name a text file with a password a line, or leave refused_passwords out.",
            ) from error
    return PasswordPolicy(
        shortest=settings.shortest_password,
        refuses_common=settings.refuse_common_passwords,
        refused=listed,
    )


def _realms(settings: Settings) -> list[Realm]:
    realms: list[Realm] = []
    if settings.pam is not None:
        realms.append(SystemRealm(service=settings.pam.service, configuration=settings.pam.configuration))
    if settings.ldap:
        with _extra("ldap"):
            from innkeeper.realms.directory import Directory, DirectoryRealm
        for each in settings.ldap:
            password = each.bind_password_file.read_text().splitlines()[0] if each.bind_password_file else ""
            told = each.model_dump(exclude={"roles", "bind_password_file"})
            realms.append(DirectoryRealm(Directory(**told, bind_password=password)))
    return realms


def _ticket_realms(settings: Settings) -> list[TicketRealm]:
    if not settings.kerberos:
        return []
    with _extra("kerberos"):
        from innkeeper.realms.kerberos import KerberosRealm
    return [KerberosRealm(**each.model_dump()) for each in settings.kerberos]


@contextlib.contextmanager
def _extra(name: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise InvalidArgument(
            f"The settings name a realm that needs the extra “{name}”, which is not installed.",
            advice=f"Install it: pip install 'innkeeper[{name}]', or leave the realm out.",
        ) from error


async def _standing(settings: Settings, realm: str, known: Known) -> tuple[Grant, ...]:
    """Return a caller's role without a grant: by this computer's settings, or by a directory's groups."""
    roles = (each.roles.get(group) for each in settings.ldap if each.name == realm for group in known.groups)
    by_groups = tuple(Grant(role=Role[role.upper()]) for role in roles if role)
    return *await Admission.of(settings).standing(realm, known), *by_groups
