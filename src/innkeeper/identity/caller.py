"""The caller of a request: who, how authenticated, with which roles."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum

from innkeeper.identity.realms import LOCAL_REALM as LOCAL_REALM
from innkeeper.identity.realms import SYSTEM_REALM as SYSTEM_REALM
from innkeeper.identity.roles import THE_INN, Grant, Reach, Resource, Role, role_on


class Proof(enum.StrEnum):
    """Kinds of proof of a caller's identity."""

    #: The kernel's word on who is at the other end of the local door.
    PEER = "peer"
    #: A user's name and password in a realm.
    PASSWORD = "password"  # noqa: S105  # a kind of proof, not a password
    #: A token.
    TOKEN = "token"  # noqa: S105  # as above
    #: A session of the pages.
    SESSION = "session"
    #: A Kerberos ticket.
    TICKET = "ticket"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Person:
    """A user in a realm."""

    user: str
    realm: str

    def __str__(self) -> str:
        return self.user if self.realm == SYSTEM_REALM else f"{self.user}@{self.realm}"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """The caller of one request and their rights."""

    #: ``ConnectedUser``.
    user: str
    #: ``ConnectedDomain``: the realm that knows the user.
    realm: str
    proof: Proof
    #: Where from: an address, or ``local``.
    address: str = "local"
    #: The groups that the realm has the user in.
    groups: frozenset[str] = frozenset()
    grants: tuple[Grant, ...] = ()
    #: What a token leaves of the grants; ``None`` leaves them whole.
    ceiling: tuple[Grant, ...] | None = None
    #: The name of the token that proved it, or the id of the session; never its secret.
    by: str = ""
    #: The account as it was proven (``Known.version``): it changes with the password.
    version: str = dataclasses.field(default="", repr=False)
    #: When the proof ends by itself, as a ticket does; ``None`` where it does not.
    ends_at: dt.datetime | None = None

    @property
    def person(self) -> Person:
        """Whom they are taken for."""
        return Person(user=self.user, realm=self.realm)

    @property
    def name(self) -> str:
        """The name that tasks and the audit log carry: ``ana`` for the system's users, else ``ana@LAB``."""
        return str(self.person)

    @property
    def rights(self) -> tuple[str, ...]:
        """Their roles and what a token leaves of them, in an order that means nothing: to be compared."""
        ceiling = ["whole"] if self.ceiling is None else sorted(map(repr, self.ceiling))
        return *sorted(map(repr, self.grants)), "", *ceiling

    @property
    def is_administrator(self) -> bool:
        """Whether the caller is an administrator of the whole service."""
        return self.may(Role.ADMINISTRATOR, THE_INN)

    @property
    def goes_by_labels(self) -> bool:
        """Whether the caller's role on a machine depends on its labels."""
        return any(grant.reach is Reach.LABEL for grant in (*self.grants, *(self.ceiling or ())))

    def role_on(self, resource: Resource) -> Role | None:
        """Their role on the resource; ``None`` where they may not even see it."""
        own = role_on(self.grants, resource)
        if own is None or self.ceiling is None:
            return own
        left = role_on(self.ceiling, resource)
        return None if left is None else min(own, left)

    def may(self, role: Role, resource: Resource = THE_INN) -> bool:
        """Whether the caller has at least ``role`` on the resource."""
        held = self.role_on(resource)
        return held is not None and held >= role

    def may_somewhere(self, role: Role) -> bool:
        """Whether there can be anything at all on which they have the role."""
        ceiling = self.grants if self.ceiling is None else self.ceiling
        return any(grant.role >= role for grant in self.grants) and any(
            grant.role >= role for grant in ceiling
        )
