"""Log-in by realms, and authentication by sessions and tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

from innkeeper.errors import NotAuthenticated
from innkeeper.identity.audit import Audit
from innkeeper.identity.caller import LOCAL_REALM, Caller, Proof
from innkeeper.identity.even_pace import EvenPace
from innkeeper.identity.grants import Grants
from innkeeper.identity.lockout import Lockout
from innkeeper.identity.realms import Known, normal_name, skeleton
from innkeeper.identity.roles import Grant
from innkeeper.identity.session import Session
from innkeeper.identity.sessions import Sessions
from innkeeper.identity.tokens import Tokens
from innkeeper.tasks.ports import Clock

if TYPE_CHECKING:
    from innkeeper.identity.ports import Realm, TicketRealm


class Logins:
    """The one place where somebody becomes a caller."""

    def __init__(
        self,
        *,
        realms: Sequence[Realm],
        tickets: Sequence[TicketRealm] = (),
        grants: Grants,
        sessions: Sessions,
        tokens: Tokens,
        lockout: Lockout,
        audit: Audit,
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._realms: Mapping[str, Realm] = {realm.name.casefold(): realm for realm in realms}
        self._paces = {realm.name: EvenPace(clock) for realm in realms}
        self._tickets = tickets
        self._grants = grants
        self._sessions = sessions
        self._tokens = tokens
        self._lockout = lockout
        self._audit = audit

    @property
    def realms(self) -> tuple[str, ...]:
        """The names of the realms that take passwords."""
        return tuple(realm.name for realm in self._realms.values())

    async def by_password(self, user: str, realm: str, password: str, address: str) -> tuple[Caller, Known]:
        """A person who logs in, as their realm describes them.

        Raises ``NotAuthenticated`` (0x80070005) where realm, name or password are not right, ``TooManyTries``
        (0x80070005) where there were too many wrong ones, ``ServiceError`` where the realm cannot be asked.
        """
        asked = self._realms.get(realm.casefold())
        if asked is None:
            raise NotAuthenticated(
                f"There is no realm “{realm[:64]}” here.", advice=f"The realms are: {', '.join(self.realms)}."
            )
        alike = f"{skeleton(user)[:256]}@{asked.name}"
        async with self._lockout.trying(_account(asked.name, user), address, alike) as attempt:
            began = self._clock.monotonic()
            known = await asked.check(user, password) if user and password else None
            attempt.is_right = known is not None
            attempt.account = _account(asked.name, known.user if known else user)
        if known is None:
            await self._refuse(asked.name, user, address, began, asked=bool(user and password))
        self._paces[asked.name].note(began)
        return await self._caller(asked.name, known, Proof.PASSWORD, address), known

    async def _refuse(self, realm: str, user: str, address: str, began: float, *, asked: bool) -> NoReturn:
        # Innkeeper's own accounts cost the same work whether they are there or not.
        if realm != LOCAL_REALM:
            await self._paces[realm].refuse(began, asked=asked)
        await self._audit.shut_out(_account(realm, user), address, "the name or the password is not right")
        raise NotAuthenticated(
            "The user name or the password is not right.",
            advice=f"Check both, and that the realm is {realm}.",
        )

    async def open(self, caller: Caller, known: Known) -> tuple[str, Session]:
        """Begin a session; its secret is for the other side alone."""
        opened = await self._sessions.open(caller, known)
        await self._audit.entered(caller)
        return opened

    @property
    def takes_tickets(self) -> bool:
        """Whether somebody can come with a Kerberos ticket."""
        return bool(self._tickets)

    async def by_ticket(self, ticket: bytes, address: str) -> Caller | None:
        """Whose Kerberos ticket it is; ``None`` where it is nobody's."""
        for realm in self._tickets:
            known = await realm.by_ticket(ticket)
            if known is not None:
                return await self._caller(realm.name, known, Proof.TICKET, address)
        return None

    async def caller_now(self, caller: Caller) -> Caller | None:
        """What the caller is now by the account that they proved; ``None`` where it is closed or changed."""
        if caller.ends_at is not None and self._clock.now() >= caller.ends_at:
            return None
        realm = self._realms.get(caller.realm.casefold())
        if realm is None:
            return None
        known = await realm.recall(
            Known(user=caller.user, groups=caller.groups, version=caller.version, ends_at=caller.ends_at)
        )
        if known is None:
            return None
        return await self._caller(realm.name, known, caller.proof, caller.address)

    async def by_session(self, secret: str, proof: Proof, address: str) -> Caller | None:
        """The owner of a session; ``None`` where it has ended."""
        session = await self._sessions.find(secret)
        if session is None:
            return None
        known = await self._recalled(session)
        if known is None:
            await self._sessions.close(secret)
            return None
        return await self._caller(session.realm, known, proof, address, by=session.id)

    async def by_token(self, text: str, address: str) -> Caller | None:
        """Whose token this is; ``None`` where it is not good."""
        token = await self._tokens.find(text)
        realm = self._realms.get(token.realm.casefold()) if token else None
        known = token.known if token else None
        if realm is not None and known is not None:
            known = await realm.recall(known)
        if token is None or known is None:
            return None
        return await self._caller(
            token.realm, known, Proof.TOKEN, address, by=token.name, ceiling=token.scope
        )

    async def _recalled(self, session: Session) -> Known | None:
        realm = self._realms.get(session.realm.casefold())
        return session.known if realm is None else await realm.recall(session.known)

    async def _caller(
        self,
        realm: str,
        known: Known,
        proof: Proof,
        address: str,
        *,
        by: str = "",
        ceiling: tuple[Grant, ...] | None = None,
    ) -> Caller:
        return Caller(
            user=known.user,
            realm=realm,
            proof=proof,
            address=address,
            groups=known.groups,
            grants=await self._grants.of(realm, known),
            ceiling=ceiling,
            by=by,
            version=known.version,
            ends_at=known.ends_at,
        )


def _account(realm: str, user: str) -> str:
    return f"{normal_name(realm, user)[:256]}@{realm}"
