"""Settings of realms beside Innkeeper's own accounts."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

RoleWord = Literal["viewer", "operator", "administrator"]


class PamSettings(BaseModel):
    """The realm ``system``: this computer's users, by PAM."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: PAM's name for how it asks, in ``/etc/pam.d``.
    service: str = "innkeeper"
    #: Another folder in place of ``/etc/pam.d``.
    configuration: Path | None = None


class LdapSettings(BaseModel):
    """A realm of an LDAP directory. Needs the extra ``ldap``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: The realm's name: what people give as their domain.
    name: str = Field(min_length=1, max_length=64)
    #: ``ldaps://host``, or ``ldap://host`` with StartTLS.
    url: str = Field(pattern=r"^ldap(s|i)?://")
    #: Where people are found.
    base: str
    #: How a person is found; ``{user}`` stands for the name.
    user_filter: str = "(uid={user})"
    #: The attribute that says how a name is spelled.
    user_attribute: str = "uid"
    #: Where groups are found; the attribute ``memberOf`` of people says them where nothing is said.
    group_base: str = ""
    #: How a person's groups are found; ``{dn}`` stands for the person, ``{user}`` for their name.
    group_filter: str = "(|(member={dn})(memberUid={user}))"
    #: The attribute that names a group.
    group_attribute: str = "cn"
    #: As whom to look; anonymously where nothing is said.
    bind_dn: str = ""
    #: A file with the password for that, on its first line.
    bind_password_file: Path | None = None
    #: The authorities that its certificate is checked by; the system's where nothing is said.
    ca_file: Path | None = None
    #: Within how many seconds it must answer (version 0.1.0 called this ``patience``).
    timeout_seconds: float = Field(
        default=10.0, gt=0, validation_alias=AliasChoices("timeout_seconds", "patience")
    )
    #: Roles of its groups on the whole inn; more are given with ``innkeeper user role %GROUP@NAME``.
    roles: dict[str, RoleWord] = {}


class KerberosSettings(BaseModel):
    """A Kerberos realm. Needs the extra ``kerberos``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: The Kerberos realm: what people give as their domain.
    name: str = Field(min_length=1, max_length=64)
    #: The keytab with this service's key.
    keytab: Path
    #: This service's name there: ``HTTP@inn.example``.
    service: str
