"""Authentication by token, session, password, Kerberos ticket, or a local process's credentials."""

from __future__ import annotations

import base64
import binascii

from starlette.requests import HTTPConnection

from innkeeper.errors import NotAuthenticated
from innkeeper.identity.caller import Caller, Proof
from innkeeper.identity.logins import Logins
from innkeeper.identity.tokens import PREFIX
from innkeeper.server.identity.sessions import address_of, session_secret
from innkeeper.server.peers import PEER, Peers

#: Names that a secret could be sent by in an address, where logs and histories would keep it.
_SECRETS = {"token", "access_token", "password", "session", "api_key"}

#: Names of the local door.
_HERE = {"innkeeper", "localhost", "127.0.0.1", "::1"}


class Gate:
    """Authenticates the caller of a request."""

    def __init__(self, *, peers: Peers, logins: Logins) -> None:
        self._peers = peers
        self._logins = logins

    async def caller(self, connection: HTTPConnection) -> Caller | None:
        """Return the caller; ``None`` for an unknown one.

        Raises ``NotAuthenticated`` (0x80070005) for what they brought and is not right, ``NotPermitted`` for
        who may not use the local door.
        """
        _refuse_secrets_in_address(connection)
        credentials = connection.scope.get(PEER)
        if credentials is not None:
            _refuse_borrowed_name(connection)
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
    headers = connection.headers
    if "host" not in headers:
        return
    host = headers.get("host", "").rpartition(":")[0] or headers.get("host", "")
    if host.strip("[]") not in _HERE:
        raise NotAuthenticated(
            f"A request reached the local socket under the host name “{host[:100]}”.",
            advice="Use http://localhost or http://127.0.0.1, with the port of your tunnel.",
        )


def _refuse_secrets_in_address(connection: HTTPConnection) -> None:
    if not connection.scope["query_string"]:
        return
    if _SECRETS & set(connection.query_params) or PREFIX in connection.url.query:
        raise NotAuthenticated(
            "A secret must not be sent in an address, as logs and browser histories keep it.",
            advice="Send it as the header “Authorization: Bearer …”, and revoke the one that was sent so.",
        )
