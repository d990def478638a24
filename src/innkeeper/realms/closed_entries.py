"""Entries of directories that are locked, switched off or have expired."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Final

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
#: Active Directory counts from here, in parts of ten million a second.
_FILE_TIME_EPOCH: Final = dt.datetime(1601, 1, 1, tzinfo=dt.UTC)
#: ``ADS_UF_ACCOUNTDISABLE`` of ``userAccountControl``.
_ACCOUNT_DISABLE: Final = 0x2
_MICROSECONDS_A_DAY: Final = 86_400e6
#: What ``pwdAccountLockedTime`` holds for an account that only an administrator opens again. Any other value
#: is a lock for wrong passwords, which anybody can bring about: it ends nobody's session.
_LOCKED_FOR_GOOD: Final = b"000001010000Z"

#: The attributes that say so: of RFC 2307, of OpenLDAP's password policy, two of Active Directory, one of
#: 389 Directory Server and FreeIPA, one of eDirectory.
CLOSING_ATTRIBUTES: Final = (
    "shadowExpire",
    "pwdAccountLockedTime",
    "userAccountControl",
    "accountExpires",
    "nsAccountLock",
    "loginDisabled",
)


def is_closed(values: Mapping[str, Sequence[bytes]], now: dt.datetime) -> bool:
    """Return whether an entry says that nobody may log in with it; what cannot be read does not count."""
    return (
        _is_over(_EPOCH, _number(values, "shadowExpire"), _MICROSECONDS_A_DAY, now)
        or _LOCKED_FOR_GOOD in values_of(values, "pwdAccountLockedTime")
        or bool((_number(values, "userAccountControl") or 0) & _ACCOUNT_DISABLE)
        # 0 is an account without an end.
        or _is_over(_FILE_TIME_EPOCH, _number(values, "accountExpires") or None, 0.1, now)
        or any(
            b"TRUE" in map(bytes.upper, values_of(values, each))
            for each in ("nsAccountLock", "loginDisabled")
        )
    )


def values_of(values: Mapping[str, Sequence[bytes]], attribute: str) -> Sequence[bytes]:
    """Return an attribute's values, whatever the case of its letters."""
    return next((each for name, each in values.items() if name.lower() == attribute.lower()), ())


def _number(values: Mapping[str, Sequence[bytes]], attribute: str) -> int | None:
    with contextlib.suppress(ValueError, IndexError):
        return int(values_of(values, attribute)[0])
    return None


def _is_over(epoch: dt.datetime, count: int | None, microseconds: float, now: dt.datetime) -> bool:
    """Whether a moment that is counted from an epoch has come; none is negative, or beyond all calendars."""
    if count is None or count < 0:
        return False
    try:
        return epoch + dt.timedelta(microseconds=count * microseconds) <= now
    except OverflowError:
        return False
