"""This computer's accounts as a realm, through PAM."""

from __future__ import annotations

import asyncio
import ctypes
import grp
import os
import pwd
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from innkeeper.errors import ErrorCode, InvalidArgument, ServiceError
from innkeeper.identity.caller import SYSTEM_REALM
from innkeeper.identity.realms import Known
from innkeeper.realms.recollections import Recollections

_PAM_SUCCESS: Final = 0
_PAM_PROMPT_ECHO_OFF: Final = 1
_PAM_PROMPT_ECHO_ON: Final = 2
_PAM_BUF_ERR: Final = 5
_PAM_CONV_ERR: Final = 19
#: What PAM answers where it could not find out: nobody's try is counted for these.
_CANNOT_SAY: Final = {1, 3, 5, 9, 26}

#: PAM waits by itself after a wrong password; so many logins can be waiting.
_THREADS: Final = 4
#: A module that asks more often than this is not asking for a password.
_MOST_MESSAGES: Final = 8


class _Message(ctypes.Structure):
    _fields_ = (("style", ctypes.c_int), ("text", ctypes.c_char_p))


class _Response(ctypes.Structure):
    _fields_ = (("text", ctypes.c_void_p), ("code", ctypes.c_int))


_Converse = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_int,
    ctypes.POINTER(ctypes.POINTER(_Message)),
    ctypes.POINTER(ctypes.POINTER(_Response)),
    ctypes.c_void_p,
)


class _Conversation(ctypes.Structure):
    _fields_ = (("converse", _Converse), ("data", ctypes.c_void_p))


class SystemRealm:
    """The realm ``system``: the users of this computer, whom PAM knows by their passwords."""

    name = SYSTEM_REALM

    def __init__(self, *, service: str, configuration: Path | None = None) -> None:
        """``service`` is the PAM service's name, in ``/etc/pam.d`` or in ``configuration``."""
        self._pam = _Pam(service, configuration)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="innkeeper-pam")
        self._recollections = Recollections()

    async def check(self, user: str, password: str) -> Known | None:
        """Return whom this name and password are for. Raises ``ServiceError`` where PAM fails."""
        if "\0" in user or "\0" in password:
            return None
        return await self._in_thread(lambda: self._check(user, password))

    async def recall(self, known: Known) -> Known | None:
        """The user as the system has them now; ``None`` where PAM would let them in no more."""
        return await self._recollections.recall(
            known, lambda: self._in_thread(lambda: self._recall(known.user))
        )

    def _check(self, user: str, password: str) -> Known | None:
        return _known(user) if self._pam.is_right(user, password) else None

    def _recall(self, user: str) -> Known | None:
        found = _known(user)
        return found if found is not None and self._pam.is_open(user) else None

    async def _in_thread(self, work: Callable[[], Known | None]) -> Known | None:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


class _Pam:
    """The part of libpam that checks one password."""

    def __init__(self, service: str, configuration: Path | None) -> None:
        try:
            self._pam, self._libc = ctypes.CDLL("libpam.so.0"), ctypes.CDLL(None)
        except OSError as error:
            raise InvalidArgument(
                "There is no PAM on this computer.",
                advice="Install libpam, or leave [pam] out of the settings.",
            ) from error
        self._libc.calloc.restype = self._libc.strdup.restype = ctypes.c_void_p
        self._service = service.encode()
        self._configuration = None if configuration is None else os.fsencode(configuration)

    def is_right(self, user: str, password: str) -> bool:
        """Whether PAM takes the password, and the account may be used now."""
        return self._asked(user, password.encode(), self._pam.pam_authenticate, self._pam.pam_acct_mgmt)

    def is_open(self, user: str) -> bool:
        """Whether the account may be used now: it has not expired, nor been locked for good."""
        return self._asked(user, b"", self._pam.pam_acct_mgmt)

    def _asked(self, user: str, password: bytes, *questions: Callable[..., int]) -> bool:
        """Whether PAM says yes to each question. Raises ``ServiceError`` where it cannot say."""
        handle = ctypes.c_void_p()
        # Kept until the end: PAM calls it from the inside.
        conversation = _Conversation(_Converse(self._answering(password)), None)
        code = self._begin(user.encode(), conversation, handle)
        if code != _PAM_SUCCESS:
            raise _cannot_say(code)
        for ask in questions:
            if code == _PAM_SUCCESS:
                code = ask(handle, 0)
        self._pam.pam_end(handle, code)
        if code in _CANNOT_SAY:
            raise _cannot_say(code)
        return code == _PAM_SUCCESS

    def _begin(self, user: bytes, conversation: _Conversation, handle: ctypes.c_void_p) -> int:
        told = (self._service, user, ctypes.byref(conversation))
        if self._configuration is None:
            return int(self._pam.pam_start(*told, ctypes.byref(handle)))
        return int(self._pam.pam_start_confdir(*told, self._configuration, ctypes.byref(handle)))

    def _answering(self, password: bytes) -> Callable[..., int]:
        """Answer the modules' questions with the password; PAM frees what it is given."""

        def converse(count: int, messages: Any, responses: Any, _: object) -> int:
            if not 0 < count <= _MOST_MESSAGES:
                return _PAM_CONV_ERR
            given = self._libc.calloc(count, ctypes.sizeof(_Response))
            if not given:
                return _PAM_BUF_ERR
            answers = ctypes.cast(given, ctypes.POINTER(_Response))
            for number in range(count):
                if messages[number].contents.style in (_PAM_PROMPT_ECHO_OFF, _PAM_PROMPT_ECHO_ON):
                    answers[number].text = self._libc.strdup(password)
            responses[0] = answers
            return _PAM_SUCCESS

        return converse


def _known(user: str) -> Known | None:
    try:
        found = pwd.getpwnam(user)
    except (KeyError, ValueError):
        return None
    numbers = os.getgrouplist(found.pw_name, found.pw_gid)
    groups = frozenset(_group(number) for number in numbers)
    return Known(user=found.pw_name, groups=groups, version=f"uid:{found.pw_uid}")


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return f"gid:{number}"


def _cannot_say(code: int) -> ServiceError:
    return ServiceError(
        f"PAM cannot check passwords here (error {code}).",
        code=ErrorCode.SCHED_E_NO_SECURITY_SERVICES,
        advice="See that its service is in /etc/pam.d, and the system's log.",
    )
