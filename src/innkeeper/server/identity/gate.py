"""Authentication by token, session, password, Kerberos ticket, or a local process's credentials."""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Collection

from starlette.requests import HTTPConnection

from innkeeper.errors import NotAuthenticated
from innkeeper.identity.caller import Caller, Proof
from innkeeper.identity.logins import Logins
from innkeeper.identity.tokens import PREFIX
from innkeeper.server.identity.sessions import address_of, session_secret
from innkeeper.server.peers import PEER, Peers
from innkeeper.server.relay.vouching import FROM_PEER, vouched_caller

#: Names that a secret could be sent by in an address, where logs and histories would keep it.
_SECRETS = {"token", "access_token", "password", "session", "api_key"}

#: Names of the local door.
_HERE = frozenset({"innkeeper", "localhost", "127.0.0.1", "::1"})


class Gate:
    """Authenticates the caller of a request."""

    def __init__(self, *, peers: Peers, logins: Logins, host_names: Collection[str] = ()) -> None:
        """``host_names`` are those of the remote doors, in lower case; none lets every name pass."""
        self._peers = peers
        self._logins = logins
        self._host_names = frozenset(host_names)

    async def caller(self, connection: HTTPConnection) -> Caller | None:
        """Return the caller; ``None`` for an unknown one.

        Raises ``NotAuthenticated`` (0x80070005) for what they brought and is not right, ``NotPermitted`` for
        who may not use the local door.
        """
        _refuse_secrets_in_address(connection)
        if FROM_PEER in connection.scope:
            return vouched_caller(connection.scope)
        credentials = connection.scope.get(PEER)
        if credentials is not None:
            _refuse_borrowed_name(connection)
        elif self._host_names:
            _refuse_unknown_name(connection, self._host_names)
        brought = {name for name, _ in connection.scope["headers"]}
        if b"authorization" in brought and (header := connection.headers.get("authorization")):
            return await self._by_header(header, address_of(connection))
        if b"cookie" in brought and (secret := session_secret(connection)):
            found = await self._logins.by_session(secret, Proof.SESSION, address_of(connection))
            if found is not None:
                return found
        if credentials is None:
            return None
        return await self._peers.caller(credentials)

    async def caller_now(self, connection: HTTPConnection, caller: Caller) -> Caller | None:
        """Return what a caller whose request goes on is now; ``None`` where they are nobody any more.

        A password is not tried again, and a ticket is good for one look: the realm is asked for the account.
        For whom another server vouches, that one looks, and ends the request.
        """
        if FROM_PEER in connection.scope:
            return caller
        if caller.proof in (Proof.PASSWORD, Proof.TICKET) and not caller.by:
            return await self._logins.caller_now(caller)
        if caller.proof is Proof.PEER:
            return await self._peers.caller(connection.scope[PEER], anew=True)
        return await self.caller(connection)

    async def _by_header(self, header: str, where: str) -> Caller:
        scheme, _, value = header.partition(" ")
        found = None
        if scheme.lower() == "bearer":
            found = await self._by_bearer(value.strip(), where)
        elif scheme.lower() == "basic":
            found = await self._by_basic(value.strip(), where)
        elif scheme.lower() == "negotiate":
            found = await self._by_ticket(value.strip(), where)
        if found is None:
            raise NotAuthenticated(
                "The token or session that was sent is not valid, or has expired.",
                advice="Log in again (innkeeper login), or make a new token.",
            )
        return found

    async def _by_bearer(self, text: str, where: str) -> Caller | None:
        if text.startswith(PREFIX):
            return await self._logins.by_token(text, where)
        return await self._logins.by_session(text, Proof.PASSWORD, where)

    async def _by_ticket(self, text: str, where: str) -> Caller | None:
        try:
            ticket = base64.b64decode(text, validate=True)
        except binascii.Error:
            return None
        return await self._logins.by_ticket(ticket, where)

    async def _by_basic(self, text: str, where: str) -> Caller | None:
        r"""Authenticate by HTTP Basic: a name as ``ana@LAB`` or ``LAB\ana``, and a password."""
        try:
            name, _, password = base64.b64decode(text, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        if "\0" in name:  # nobody is called so, and PostgreSQL does not even look
            return None
        user, at, realm = name.rpartition("@")
        if not at:
            realm, _, user = name.partition("\\")
        caller, _ = await self._logins.by_password(user, realm, password, where)
        return caller


def _refuse_borrowed_name(connection: HTTPConnection) -> None:
    """Refuse whoever came to the local door (through ssh -L, say) under another site's name.

    The kernel vouches for the tunnel, and a page would be of one origin with it (DNS rebinding): its reads
    carry no mark of a browser. A program that names no host is none.
    """
    host = _host_of(connection)
    if host and host not in _HERE:
        raise NotAuthenticated(
            f"A request reached the local socket under the host name “{host[:100]}”.",
            advice="Use http://localhost or http://127.0.0.1, with the port of your tunnel.",
        )


def _refuse_unknown_name(connection: HTTPConnection, names: frozenset[str]) -> None:
    """Refuse who comes under another site's name: its pages would be of one origin with the service.

    An address is nobody's to give away.
    """
    host = _host_of(connection)
    # A certificate may be for all names of a domain.
    if not host or host in names or f"*.{host.partition('.')[2]}" in names:
        return
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise NotAuthenticated(
            f"This service is not known under the host name “{host[:100]}”.",
            advice="Use its own name or its address, or add this one to the setting host_names.",
        ) from None


def _host_of(connection: HTTPConnection) -> str:
    """The host that the caller named, without its port, in lower case; empty where they named none."""
    named = connection.headers.get("host", "").lower()
    host = named[1:].partition("]")[0] if named.startswith("[") else named.partition(":")[0]
    return host.rstrip(".")


def _refuse_secrets_in_address(connection: HTTPConnection) -> None:
    if not connection.scope["query_string"]:
        return
    if _SECRETS & set(connection.query_params) or PREFIX in connection.url.query:
        raise NotAuthenticated(
            "A secret must not be sent in an address, as logs and browser histories keep it.",
            advice="Send it as the header “Authorization: Bearer …”, and revoke the one that was sent so.",
        )
