"""Settings of realms beside Innkeeper's own accounts."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

RoleWord = Literal["viewer", "operator", "administrator"]


class PamSettings(BaseModel):
    """The realm ``system``: this computer's users, by PAM."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: The PAM service, a file in ``/etc/pam.d``.
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
    #: The filter that finds a person; ``{user}`` stands for the name.
    user_filter: str = "(uid={user})"
    #: The attribute with a person's name as it is spelled.
    user_attribute: str = "uid"
    #: Where groups are found; if not set, the attribute ``memberOf`` of people names them.
    group_base: str = ""
    #: The filter that finds a person's groups; ``{dn}`` stands for the person, ``{user}`` for their name.
    group_filter: str = "(|(member={dn})(memberUid={user}))"
    #: The attribute that names a group.
    group_attribute: str = "cn"
    #: The name to search the directory as; anonymously if not set.
    bind_dn: str = ""
    #: A file with the password of ``bind_dn``, on its first line.
    bind_password_file: Path | None = None
    #: The authorities that its certificate is checked against; the system's if not set.
    ca_file: Path | None = None
    #: Seconds within which the directory must answer. Release 0.1.0 called this ``patience``, which still
    #: works.
    timeout_seconds: float = Field(
        default=10.0, gt=0, validation_alias=AliasChoices("timeout_seconds", "patience")
    )
    #: Roles of its groups on the whole server; more are given with ``innkeeper user role %GROUP@NAME``.
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
