"""Accounts of starts by hand (``RunEx``)."""

from __future__ import annotations

from collections.abc import Callable

from innkeeper.errors import ErrorCode, InvalidArgument, NotPermitted, ScheduleError
from innkeeper.schedule.model.enumerations import TaskRunFlags
from innkeeper.schedule.ports import Accounts
from innkeeper.schedule.security.guard import Who

#: The user of a session of this number, or ``None``.
UserOfSession = Callable[[int], str | None]


class Starters:
    """Rules of who may start what as whom."""

    def __init__(self, accounts: Accounts, user_of_session: UserOfSession) -> None:
        self._accounts = accounts
        self._user_of_session = user_of_session

    def account_of(self, who: Who, flags: TaskRunFlags, *, session: int, user: str | None) -> str:
        """Return a start's account; empty for the principal's. Blocks: accounts are looked up.

        Raises ``InvalidArgument`` for a session that is none, ``ScheduleError``: 0x80070534 for an unknown
        user, 0x80070520 for an unknown session, 6200 for an account that the service cannot become, and
        ``NotPermitted`` where the caller may not start it as somebody else.
        """
        wanted = self._wanted(who, flags, session=session, user=user)
        if not wanted:
            return ""
        found = self._accounts.find(wanted)
        if found is None:
            raise _refused(f"There is no account {wanted!r} on this computer.", ErrorCode.ERROR_NONE_MAPPED)
        if found != who.account and not who.rules_all:
            raise NotPermitted(f"{who.name} may not start a task as {found}.")
        if not self._accounts.can_become(found):
            raise _refused(
                f"The service cannot run programs as {found}: it does not run as root.",
                ErrorCode.SCHED_E_SERVICE_NOT_LOCALSYSTEM,
            )
        return found

    def _wanted(self, who: Who, flags: TaskRunFlags, *, session: int, user: str | None) -> str:
        if flags & TaskRunFlags.USE_SESSION_ID:
            if session <= 0:
                raise InvalidArgument(f"{session} is not a session.")
            found = self._user_of_session(session)
            if found is None:
                raise _refused(
                    f"Nobody is logged on in a session {session}.", ErrorCode.ERROR_NO_SUCH_LOGON_SESSION
                )
            return found
        if flags & TaskRunFlags.AS_SELF:
            if not who.account:
                raise _refused(f"{who.name} has no account on this computer.", ErrorCode.ERROR_NONE_MAPPED)
            return who.account
        if flags & TaskRunFlags.USER_SID and not user:
            raise InvalidArgument("A start as a user needs the user's security identifier.")
        return user or ""


def _refused(sentence: str, code: ErrorCode) -> ScheduleError:
    return ScheduleError(sentence, code=code, advice="Leave it out to start it as the task's principal.")
