"""Look after people: accounts, roles, tokens."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import SecretStr

from innkeeper.client.calls import Query
from innkeeper.client.calls import people as calls
from innkeeper.client.transport import Transport
from innkeeper.wire import identity as wire


class People:
    """Accounts and roles, for administrators; and everybody's own tokens and password."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.tokens = Tokens(transport)
        self.sessions = Sessions(transport)

    def list(self) -> wire.UserList:
        """Everybody, and every group, who has an account or a role here."""
        return self._transport.whole(calls.users())

    def add(self, name: str, password: str, role: wire.RoleName | None = None) -> wire.UserMessage:
        """Add an account of Innkeeper's own, with a role on the whole inn. Raises ``IdentityError``."""
        request = wire.AddUserRequest(name=name, password=SecretStr(password), role=role)
        return self._transport.send(calls.add_user(request))

    def remove(self, name: str) -> None:
        """Remove an account, with its roles, tokens and sessions."""
        self._transport.send(calls.remove_user(name))

    def set_password(self, name: str, password: str) -> wire.UserMessage:
        """Set an account's password; who is logged in with the former one no longer is."""
        request = wire.PasswordRequest(password=SecretStr(password))
        return self._transport.send(calls.set_password(name, request))

    def set_own_password(self, current: str, password: str) -> None:
        """Set the password of one's own account."""
        request = wire.OwnPasswordRequest(current=SecretStr(current), password=SecretStr(password))
        self._transport.send(calls.set_own_password(request))

    def enable(self, name: str, enabled: bool = True) -> wire.UserMessage:
        """Open an account, or close it, which ends what it has open."""
        request = wire.EnableUserRequest(enabled=enabled)
        return self._transport.send(calls.enable_user(name, request))

    def give_role(self, request: wire.GrantRequest) -> wire.GrantMessage:
        """Give a person or a group a role, in place of another on the same thing."""
        return self._transport.send(calls.give_role(request))

    def take_role(
        self,
        holder: str,
        realm: str,
        *,
        is_group: bool = False,
        reach: wire.ReachName = wire.ReachName.INN,
        name: str = "",
    ) -> None:
        """Take the role on this thing back. Raises ``IdentityError`` (0x80070490) where there is none."""
        query: Query = {
            "holder": holder,
            "realm": realm,
            "is_group": is_group,
            "reach": reach.value,
            "name": name,
        }
        self._transport.send(calls.take_role(query))


class Sessions:
    """One's own sessions, and for an administrator everybody's."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, everybodys: bool = False) -> wire.SessionList:
        """Oldest first, with where each began and when it was used last."""
        return self._transport.whole(calls.sessions(everybodys))

    def end(self, session_id: str) -> None:
        """End one. Raises ``IdentityError`` (0x80070490) where there is none."""
        self._transport.send(calls.end_session(session_id))

    def end_all(self, user: str = "", realm: str = "") -> int:
        """End all of one's own, or all of somebody's; how many."""
        return self._transport.send(calls.end_sessions(user, realm)).ended


class Tokens:
    """One's own tokens, and for an administrator everybody's."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, everybodys: bool = False) -> wire.TokenList:
        """Oldest first."""
        return self._transport.whole(calls.tokens(everybodys))

    def make(
        self, name: str, *, scope: Sequence[wire.ScopeRequest] | None = None, days: int | None = 90
    ) -> wire.TokenMade:
        """Make a token for oneself; its secret is shown this once. ``scope`` leaves only these roles."""
        request = wire.TokenRequest(name=name, scope=None if scope is None else tuple(scope), days=days)
        return self._transport.send(calls.make_token(request))

    def revoke(self, token_id: str) -> None:
        """End a token for ever."""
        self._transport.send(calls.revoke_token(token_id))
