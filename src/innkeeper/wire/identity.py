"""Describe what is said of people: logging in, accounts, roles, tokens."""

from __future__ import annotations

import enum
from typing import Annotated, Final

from pydantic import AwareDatetime, Field, PlainSerializer, SecretStr, SerializationInfo, model_validator

from innkeeper.wire.messages import Message, Paged, Request
from innkeeper.wire.states import RoleName as RoleName
from innkeeper.wire.text import OneLine

Name = Annotated[OneLine, Field(min_length=1, max_length=256)]
#: The context in which a secret is written out: on its way through the door.
REVEALED: Final = {"reveal": True}


def _shown(secret: SecretStr, info: SerializationInfo) -> str:
    return secret.get_secret_value() if info.context == REVEALED else str(secret)


#: Never shown, in no log and no error.
Secret = Annotated[SecretStr, Field(max_length=4096), PlainSerializer(_shown, when_used="json")]


class ReachName(enum.StrEnum):
    """What a role is on."""

    INN = "inn"
    FOLDER = "folder"
    MACHINE = "machine"
    LABEL = "label"


class LoginRequest(Request):
    """Log in, for a program; the pages have their own way."""

    user: OneLine = Field(max_length=256)
    #: The realm that knows the user.
    domain: OneLine = Field(max_length=256)
    password: Secret


class LoginMessage(Message):
    """A session has begun."""

    #: The secret to send with each request: ``Authorization: Bearer …``.
    token: str
    expires_at: AwareDatetime
    user: str
    domain: str


class GrantMessage(Message):
    """A role on a part of the server."""

    role: RoleName
    reach: ReachName = ReachName.INN
    #: The machine, the label or the folder; empty for the inn.
    name: str = ""


class UserMessage(Message):
    """Somebody, or a group, who has an account or a role here."""

    name: str
    realm: str
    is_group: bool = False
    #: Whether it is an account of Innkeeper's own.
    has_account: bool = False
    disabled: bool = False
    created_at: AwareDatetime | None = None
    password_set_at: AwareDatetime | None = None
    roles: tuple[GrantMessage, ...] = ()


class UserList(Paged):
    """Everybody who has an account or a role here."""

    entries_field = "users"

    users: tuple[UserMessage, ...]
    #: The realms that take passwords.
    realms: tuple[str, ...] = ()


class AddUserRequest(Request):
    """Add an account of Innkeeper's own."""

    name: Name
    password: Secret
    #: The role on the whole server; none if left out.
    role: RoleName | None = None


class PasswordRequest(Request):
    """Set an account's password."""

    password: Secret


class OwnPasswordRequest(Request):
    """Set the password of one's own account."""

    current: Secret
    password: Secret


class EnableUserRequest(Request):
    """Close an account, or open it again."""

    enabled: bool


class ScopeRequest(Request):
    """A role on a part of the server."""

    role: RoleName
    reach: ReachName = ReachName.INN
    #: The machine, the label or the folder; empty for the inn.
    name: OneLine = Field(default="", max_length=260)

    @model_validator(mode="after")
    def _named(self) -> ScopeRequest:
        if (self.reach is ReachName.INN) != (not self.name):
            raise ValueError("a machine, a label or a folder needs a name, and the whole server has none")
        return self


class GrantRequest(ScopeRequest):
    """Give somebody a role."""

    holder: Name
    realm: Name
    is_group: bool = False


class TokenRequest(Request):
    """Make a token for oneself."""

    name: Name
    #: What it leaves of one's own roles; nothing said leaves them whole.
    scope: tuple[ScopeRequest, ...] | None = Field(default=None, max_length=100)
    #: Days until it ends; ``None`` for not by itself.
    days: int | None = Field(default=90, ge=1, le=3650)


class TokenMessage(Message):
    """A token, without its secret."""

    id: str
    name: str
    owner: str
    scope: tuple[GrantMessage, ...] | None
    created_at: AwareDatetime
    expires_at: AwareDatetime | None
    used_at: AwareDatetime | None
    revoked_at: AwareDatetime | None
    #: Whether it still opens anything.
    good: bool


class TokenList(Paged):
    """Tokens, oldest first."""

    entries_field = "tokens"

    tokens: tuple[TokenMessage, ...]


class SessionMessage(Message):
    """Somebody who is logged in."""

    id: str
    owner: str
    #: Where they logged in from.
    address: str
    created_at: AwareDatetime
    #: When it was used last, to the minute.
    seen_at: AwareDatetime
    #: When it ends, used or not.
    expires_at: AwareDatetime
    #: Whether this very request came by it.
    is_own: bool


class SessionList(Paged):
    """Sessions, oldest first."""

    entries_field = "sessions"

    sessions: tuple[SessionMessage, ...]


class SessionsEnded(Message):
    """So many sessions were ended."""

    ended: int


class TokenMade(Message):
    """A new token; its secret is never shown again."""

    secret: str
    token: TokenMessage
