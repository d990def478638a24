"""Connect to a service (``TaskService.Connect``)."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from innkeeper.client import calls, transport
from innkeeper.client.addresses import Address
from innkeeper.client.inn import Inn
from innkeeper.client.transport import Transport
from innkeeper.errors import ErrorCode, InvalidArgument

if TYPE_CHECKING:
    from pydantic import SecretStr

#: Names of this computer.
_HERE = (None, "", ".", "localhost")


def connect(
    server: str | None = None,
    user: str | None = None,
    domain: str | None = None,
    password: str | None = None,
    *,
    socket: Path | str | None = None,
    fingerprint: str = "",
) -> Inn:
    """Connect to a service (``TaskService.Connect``).

    Without ``server`` it is the one on this computer, else that at ``HOST`` or ``HOST:PORT``. Without
    ``user`` it is as oneself: here by the kernel's word, elsewhere by the token that ``innkeeper login`` has
    kept, or by a Kerberos ticket. ``domain`` is a realm of the service. ``socket`` names the local door where
    it is not at one of the usual places; ``fingerprint`` says which certificate a server must have that is
    met for the first time.

    Raises ``NotPermitted`` (0x80070005) where the caller may not use the service, or user, domain or password
    are not right; ``ServiceError``: 0x80041315 where the service on this computer is not running, 0x80070035
    (53) where there is no such server or none answers, 0x800B0109 where its certificate is not the known one;
    ``InvalidArgument``: 0x8007000E for some but not all of user, domain and password, 0x800706AB for a server
    that is no address.
    """
    account = Account.given(user, domain, password)
    return enter(reach(server, socket, fingerprint, as_oneself=account is None), account)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """The account to connect with."""

    user: str
    domain: str
    password: SecretStr

    @classmethod
    def given(cls, user: str | None, domain: str | None, password: str | None) -> Account | None:
        """All three, or nobody; raises ``InvalidArgument`` (0x8007000E) for some but not all."""
        from pydantic import SecretStr

        if user and domain and password:
            return cls(user=user, domain=domain, password=SecretStr(password))
        if not user and not domain and not password:
            return None
        raise InvalidArgument(
            "A user, a domain and a password come together or not at all.",
            code=ErrorCode.E_OUTOFMEMORY,
            advice="Give all three, or none to connect as the current user.",
        )


def reach(server: str | None, socket: Path | str | None, fingerprint: str, *, as_oneself: bool) -> Transport:
    """Find the way to a service; with what is kept of oneself there, where nobody else is to be."""
    if server in _HERE or server is None:
        return transport.local(Path(socket) if socket is not None else None)
    from innkeeper.client.doors import RemoteDoor
    from innkeeper.client.known_inns import KnownInns
    from innkeeper.client.tickets import ticket_for

    address, inns = Address.parse(server), KnownInns.of_user()
    door = RemoteDoor.known(address, inns, fingerprint=fingerprint)
    if not as_oneself:
        return Transport(door)
    return Transport(door, inns.token(address) or ticket_for(door, address.host))


def enter(reached: Transport, account: Account | None) -> Inn:
    """Begin a session: as the current user, or with an account whose password is sent once."""
    if account is None:
        return Inn(reached)
    from innkeeper.wire.identity import LoginRequest

    request = LoginRequest(user=account.user, domain=account.domain, password=account.password)
    try:
        entered = reached.send(calls.log_in(request))
    finally:
        reached.close()
    within = reached.as_bearer(entered.token)
    try:
        return Inn(within, ends_session=True)
    except BaseException:
        within.close()
        raise
