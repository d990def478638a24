"""Wake-up of the computer from sleep at a moment."""

from __future__ import annotations

import contextlib
import ctypes
import datetime as dt
import os
from pathlib import Path
from typing import Final

#: The kernel's clock of the wall that also ticks, and rings, while the computer sleeps.
_CLOCK_REALTIME_ALARM: Final = 8
_ABSOLUTE: Final = 1
_RTC: Final = Path("/sys/class/rtc")


class _Time(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Timer(ctypes.Structure):
    _fields_ = (("interval", _Time), ("value", _Time))


class WakeAlarm:
    """One alarm of the kernel, which sets the hardware's clock to the first of all such alarms.

    It is gone with the process: what wakes the computer is always a service that is there to run the task.
    """

    def __init__(self, rtc: Path = _RTC) -> None:
        self._rtc = rtc
        self._file: int | None = None

    def missing(self) -> str:
        """Why the computer cannot be woken; empty where it can. Blocks for a moment."""
        if not any((each / "wakealarm").exists() for each in _listed(self._rtc)):
            return "the computer has no clock that can wake it"
        try:
            self._open()
        except OSError as problem:
            return f"the service may not wake the computer ({problem.strerror}; it takes CAP_WAKE_ALARM)"
        return ""

    def set(self, moment: dt.datetime | None) -> None:
        """Set the alarm to a moment; ``None`` is never. Does nothing where alarms are not available."""
        try:
            file = self._open()
        except OSError:
            return
        timer = _Timer()
        if moment is not None:
            timer.value.seconds = max(1, int(moment.timestamp()))
        if _libc().timerfd_settime(file, _ABSOLUTE, ctypes.byref(timer), None) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def close(self) -> None:
        """Release the alarm."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self) -> int:
        if self._file is None:
            file = _libc().timerfd_create(_CLOCK_REALTIME_ALARM, os.O_CLOEXEC | os.O_NONBLOCK)
            if file < 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            self._file = file
        return self._file


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _listed(directory: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return list(directory.iterdir())
    return []
