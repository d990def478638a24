"""Kerberos realms, by GSSAPI."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

import gssapi
from gssapi.raw import acquire_cred_with_password
from gssapi.raw.misc import GSSError

from innkeeper.errors import ErrorCode, ServiceError
from innkeeper.identity.realms import Known

_THREADS: Final = 4
_LONGEST_TICKET: Final = 64 * 1024
_LONGEST_LIFE_SECONDS: Final = 365 * 24 * 3600

T = TypeVar("T")


class KerberosRealm:
    """A Kerberos realm: its people come with tickets for this service, or with their passwords."""

    def __init__(self, *, name: str, keytab: Path, service: str) -> None:
        """``service`` is this service's own name there: ``HTTP@inn.example``, with its key in ``keytab``."""
        self.name = name
        self._keytab = keytab
        self._service = gssapi.Name(service, gssapi.NameType.hostbased_service)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="innkeeper-kerberos")

    async def by_ticket(self, ticket: bytes) -> Known | None:
        """Return whose ticket for this service it is; ``None`` where it is not good, or of another realm."""
        if len(ticket) > _LONGEST_TICKET:
            return None
        return await self._in_thread(lambda: self._accepted(ticket))

    async def check(self, user: str, password: str) -> Known | None:
        """Return whom this name and password are for.

        The ticket that the password opens is tried on this service's own key: a KDC that only pretends to be
        one knows that not.
        """
        if not user or not password or "@" in user or "\0" in user + password:
            return None
        return await self._in_thread(lambda: self._checked(user, password))

    async def recall(self, known: Known) -> Known | None:
        """Return the person as they were, until their ticket ends: a KDC cannot be asked for them."""
        is_over = known.ends_at is not None and dt.datetime.now(dt.UTC) >= known.ends_at
        return None if is_over else known

    def _accepted(self, ticket: bytes) -> Known | None:
        try:
            own = gssapi.Credentials(usage="accept", store={"keytab": str(self._keytab)})
            context = gssapi.SecurityContext(creds=own, usage="accept")
            context.step(ticket)
            if not context.complete:
                return None
            return self._known(str(context.initiator_name), context.lifetime)
        except GSSError:
            return None

    def _checked(self, user: str, password: str) -> Known | None:
        name = gssapi.Name(f"{user}@{self.name}", gssapi.NameType.kerberos_principal)
        try:
            theirs = acquire_cred_with_password(name, password.encode(), usage="initiate").creds
            ticket = gssapi.SecurityContext(
                name=self._service, creds=gssapi.Credentials(theirs), usage="initiate"
            ).step()
        except GSSError as error:
            if _is_away(error):
                raise ServiceError(
                    f"The Kerberos realm {self.name} cannot be asked.",
                    code=ErrorCode.SCHED_E_NO_SECURITY_SERVICES,
                    advice="See that its KDC answers, and what /etc/krb5.conf says of it.",
                ) from error
            return None
        # It ends as the ticket does: a KDC tells of no account without its password.
        return self._accepted(ticket or b"")

    def _known(self, principal: str, seconds: int | None) -> Known | None:
        user, _, realm = principal.rpartition("@")
        if realm != self.name or not user:
            return None
        # The KDC's lifetimes are in seconds; one without end is as long as an integer can say.
        lasts = dt.timedelta(seconds=min(seconds or 0, _LONGEST_LIFE_SECONDS))
        return Known(user=user, ends_at=dt.datetime.now(dt.UTC) + lasts if lasts else None)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


#: KRB5_KDC_UNREACH, KRB5_REALM_UNKNOWN, KRB5_REALM_CANT_RESOLVE: the KDC was not even asked.
_AWAY: Final = {2529639068, 2529638966, 2529639062}


def _is_away(error: GSSError) -> bool:
    return error.min_code & 0xFFFFFFFF in _AWAY
