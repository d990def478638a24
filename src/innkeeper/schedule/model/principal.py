"""Principals: the accounts that tasks run as."""

from __future__ import annotations

import dataclasses
import re

from innkeeper.errors import ErrorCode, InvalidArgument
from innkeeper.schedule.model.enumerations import LogonType, ProcessTokenSidType, RunLevel
from innkeeper.schedule.xml import forms
from innkeeper.schedule.xml.deviation import Findings
from innkeeper.schedule.xml.element import Element, attribute, element
from innkeeper.schedule.xml.node import Node, local

# A group and a service account have no word: they follow from GroupId and from the account.
_LOGON_TYPES = {
    "S4U": LogonType.S4U,
    "Password": LogonType.PASSWORD,
    "InteractiveToken": LogonType.INTERACTIVE_TOKEN,
    "InteractiveTokenOrPassword": LogonType.INTERACTIVE_TOKEN_OR_PASSWORD,
}
_RUN_LEVELS = {"LeastPrivilege": RunLevel.LUA, "HighestAvailable": RunLevel.HIGHEST}
_TOKENS = {
    "None": ProcessTokenSidType.NONE,
    "Unrestricted": ProcessTokenSidType.UNRESTRICTED,
    "Default": ProcessTokenSidType.DEFAULT,
}
_PRIVILEGE = re.compile(r"Se[A-Za-z]{1,60}Privilege")


@dataclasses.dataclass(kw_only=True, slots=True)
class Principal(Element):
    """The account a task runs as, and its privileges (``IPrincipal``, ``IPrincipal2``)."""

    #: The name that the actions' context refers to (``Id``).
    id: str | None = attribute("id", forms.text(shortest=1))
    #: The account (``UserId``); not together with ``group_id``.
    user_id: str | None = element("UserId", forms.text(shortest=1))
    #: How it logs on (``LogonType``).
    logon_type: LogonType = element(
        "LogonType",
        forms.choice(_LOGON_TYPES, LogonType, forgiven=True),
        default=LogonType.INTERACTIVE_TOKEN,
    )
    #: Any member of this group who is logged on (``GroupId``).
    group_id: str | None = element("GroupId", forms.text(shortest=1))
    #: For people (``DisplayName``).
    display_name: str | None = element("DisplayName", forms.text())
    #: With which privileges (``RunLevel``).
    run_level: RunLevel = element("RunLevel", forms.choice(_RUN_LEVELS, RunLevel), default=RunLevel.LUA)
    #: ``ProcessTokenSidType``.
    process_token_sid_type: ProcessTokenSidType = element(
        "ProcessTokenSidType",
        forms.choice(_TOKENS, ProcessTokenSidType),
        default=ProcessTokenSidType.DEFAULT,
        since=3,
    )
    #: The privileges it must have, by name (``RequiredPrivilege``).
    required_privileges: tuple[str, ...] = element(
        "RequiredPrivileges", forms.Texts(item="Privilege", most=64), default=(), since=3
    )

    @property
    def required_privilege_count(self) -> int:
        """Number of required privileges (``RequiredPrivilegeCount``)."""
        return len(self.required_privileges)

    def required_privilege(self, index: int) -> str:
        """The privilege of this number, from 1 (``RequiredPrivilege``). Raises ``InvalidArgument``."""
        if not 1 <= index <= len(self.required_privileges):
            raise InvalidArgument(f"There is no privilege {index}.", advice="Privileges are numbered from 1.")
        return self.required_privileges[index - 1]

    def add_required_privilege(self, name: str) -> None:
        """Add a required privilege (``AddRequiredPrivilege``)."""
        if not _PRIVILEGE.fullmatch(name):
            raise InvalidArgument(f"{name!r} is not a privilege such as SeBackupPrivilege.")
        self.required_privileges = (*self.required_privileges, name)

    def check(self, node: Node, findings: Findings) -> None:
        group = local(node.children, "GroupId")
        if group is not None and self.user_id is not None:
            findings.add(group, ErrorCode.SCHED_E_UNEXPECTEDNODE, "UserId and GroupId do not go together")
        if group is not None:
            self.logon_type = LogonType.GROUP
        if self.id is None:
            findings.missing(node, "id", "no action can name it", forgiven=True)
