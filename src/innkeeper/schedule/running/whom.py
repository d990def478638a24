"""The account that a task runs as, and what its registrar may not ask for."""

from __future__ import annotations

from innkeeper.errors import ErrorCode, NotPermitted, ScheduleError
from innkeeper.schedule import mail_server
from innkeeper.schedule.model.actions import ComHandlerAction, EmailAction, ExecAction
from innkeeper.schedule.model.definition import TaskDefinition
from innkeeper.schedule.model.enumerations import RunLevel
from innkeeper.schedule.ports import Accounts
from innkeeper.schedule.security.guard import Who

#: Priorities up to this one are before those of all other programs.
_HIGHEST_PRIORITY = 1


def settle(definition: TaskDefinition, who: Who, accounts: Accounts) -> None:
    """Set the account that the task runs as, where none is given. Blocks: accounts are looked up.

    Raises ``ScheduleError`` for an account or group that is not there (0x80070534) and for one that the
    service cannot become (6200), ``NotPermitted`` where the caller may not have it run so.
    """
    principal = definition.principal
    if principal.group_id is not None:
        _check_group(principal.group_id, who, accounts)
    elif principal.user_id is not None:
        _check_user(principal.user_id, who, accounts)
    elif accounts.can_become(who.account) and who.account:
        # Documented: whoever registers it, where the definition names nobody.
        principal.user_id = who.account
        principal.id = principal.id or definition.actions.context or "Author"
    else:
        _check_own(definition, who, accounts)
    _check_heights(definition, who)
    refuse_powers(definition, who)


def account_of(definition: TaskDefinition, run_as: str, accounts: Accounts) -> str | None:
    """Return the account of the task's programs; the service's own where ``None``. Blocks.

    Raises ``ScheduleError``: 0x80070534 where the account has gone, 0x80041320 where nobody of a group is
    logged on.
    """
    principal = definition.principal
    if run_as or principal.user_id is not None:
        name = run_as or str(principal.user_id)
        found = accounts.find(name)
        if found is None:
            raise _no_account(name)
        return found
    if principal.group_id is None:
        return None
    member = accounts.member_logged_on(principal.group_id)
    if member is None:
        raise ScheduleError(
            f"Nobody of the group {principal.group_id} is logged on.",
            code=ErrorCode.SCHED_E_USER_NOT_LOGGED_ON,
            advice="Name an account in UserId: a task of one runs whoever is logged on.",
            node="GroupId",
            value=principal.group_id,
        )
    return member


def refuse_powers(definition: TaskDefinition, who: Who) -> None:
    """Refuse what uses the service's own power to all but administrators, whoever the task runs as.

    Raises ``NotPermitted``.
    """
    if who.rules_all:
        return
    for action in definition.actions:
        if isinstance(action, ComHandlerAction):
            raise NotPermitted(
                f"{who.name} may not have a task call Innkeeper's own operations.",
                advice="Ask an administrator of the whole server to register it.",
            )
        if isinstance(action, EmailAction) and action.server and mail_server.parse(action.server).user:
            raise NotPermitted(
                f"{who.name} may not have e-mail sent with a password that the service keeps.",
                advice=(
                    "Name a server that takes mail without one, or ask an administrator of the whole server."
                ),
            )


def _check_user(name: str, who: Who, accounts: Accounts) -> None:
    found = accounts.find(name)
    if found is None:
        raise _no_account(name)
    if found != who.account and not who.rules_all:
        raise NotPermitted(
            f"{who.name} may not have programs run as {found}.",
            advice="Name your own account, or ask an administrator of the whole server.",
        )
    if not accounts.can_become(found):
        raise ScheduleError(
            f"The service cannot run programs as {found}: it does not run as root.",
            code=ErrorCode.SCHED_E_SERVICE_NOT_LOCALSYSTEM,
            advice=f"Leave UserId out, and it runs as the service's own user, {accounts.own()}; "
            "or run the service as root.",
            node="UserId",
            value=name,
        )


def _check_group(name: str, who: Who, accounts: Accounts) -> None:
    if not accounts.has_group(name):
        raise ScheduleError(
            f"GroupId: there is no group {name!r} on this computer.",
            code=ErrorCode.ERROR_NONE_MAPPED,
            advice="Name a group of this computer.",
            node="GroupId",
            value=name,
        )
    if not who.rules_all:
        raise NotPermitted(
            f"{who.name} may not have programs run as members of {name}.",
            advice="Name your own account, or ask an administrator of the whole server.",
        )


def _check_own(definition: TaskDefinition, who: Who, accounts: Accounts) -> None:
    """Check a task that runs as the service itself, whose programs can do all that the service can."""
    if who.rules_all or who.account == accounts.own():
        return
    kind = "run programs" if any(isinstance(each, ExecAction) for each in definition.actions) else "act"
    raise NotPermitted(
        f"{who.name} may not have a task {kind} as the service's own user.",
        advice="Ask an administrator of the whole server to register it.",
    )


def _check_heights(definition: TaskDefinition, who: Who) -> None:
    if who.rules_all:
        return
    if (
        definition.settings.priority <= _HIGHEST_PRIORITY
        or definition.principal.run_level is RunLevel.HIGHEST
    ):
        raise NotPermitted(
            f"{who.name} may not have a task run before all others, or with the highest rights.",
            advice="Give it a Priority of 2 or more and RunLevel LeastPrivilege.",
        )


def _no_account(name: str) -> ScheduleError:
    return ScheduleError(
        f"UserId: there is no account {name!r} on this computer.",
        code=ErrorCode.ERROR_NONE_MAPPED,
        advice="Name an account of this computer.",
        node="UserId",
        value=name,
    )
