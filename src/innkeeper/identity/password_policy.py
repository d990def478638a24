"""Which passwords an account of Innkeeper's own may have: long ones that nobody guesses first."""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections.abc import Iterable
from typing import Final

from innkeeper.errors import InvalidArgument

LONGEST: Final = 1024

_ADVICE: Final = "A few words in a row are easy to remember and hard to guess."
#: What guessers try first, with whatever digits and signs are put around it; also several times in a row.
_COMMON: Final = frozenset(
    [
        "abc",
        "access",
        "account",
        "admin",
        "administrator",
        "apple",
        "asdf",
        "asdfgh",
        "asdfghjkl",
        "backup",
        "baseball",
        "batman",
        "boss",
        "changeme",
        "changeit",
        "charlie",
        "computer",
        "cookie",
        "daniel",
        "default",
        "demo",
        "dragon",
        "football",
        "freedom",
        "friday",
        "guest",
        "hallo",
        "hello",
        "iloveyou",
        "innkeeper",
        "internet",
        "jordan",
        "julia",
        "killer",
        "kvm",
        "letmein",
        "libvirt",
        "linux",
        "login",
        "love",
        "manager",
        "master",
        "michael",
        "monday",
        "monkey",
        "mustang",
        "mypassword",
        "network",
        "ninja",
        "nothing",
        "oracle",
        "operator",
        "pass",
        "passphrase",
        "passwort",
        "passwd",
        "password",
        "pepper",
        "pokemon",
        "princess",
        "private",
        "public",
        "qazwsx",
        "qemu",
        "qwert",
        "qwerty",
        "qwertyuiop",
        "qwertz",
        "qwertzuiop",
        "root",
        "samsung",
        "secret",
        "security",
        "server",
        "service",
        "shadow",
        "soccer",
        "spring",
        "starwars",
        "summer",
        "sunday",
        "sunshine",
        "super",
        "superman",
        "support",
        "sysadmin",
        "system",
        "temp",
        "temporary",
        "test",
        "tester",
        "testing",
        "thomas",
        "trustno",
        "trustnoone",
        "user",
        "virtual",
        "virtualmachine",
        "vmware",
        "welcome",
        "whatever",
        "windows",
        "winter",
        "wordpress",
        "zxcvbn",
        "zxcvbnm",
    ]
)
_RUNS: Final = (
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890123456789",
    "qwertyuiopasdfghjklzxcvbnm",
    "qwertzuiopasdfghjklyxcvbnm",
)
_LOOKALIKES: Final = str.maketrans("013457@$!", "oieastasi")
_LEAST_DIFFERENT: Final = 5
#: A shorter name stands in many passwords by chance.
_SHORTEST_NAME: Final = 3
_ENOUGH_DIGITS: Final = 10


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PasswordPolicy:
    """What is asked of a new password; one that is kept already stays."""

    #: Characters, at least.
    shortest: int = 10
    #: Whether what everybody guesses first is refused.
    refuses_common: bool = True
    #: Passwords that are refused too, such as those of a breach, in lower case.
    refused: frozenset[str] = frozenset()

    def check(self, password: str, user: str = "") -> None:
        """Raise ``InvalidArgument`` for a password that ``user`` may not have."""
        if not self.shortest <= len(password) <= LONGEST:
            raise InvalidArgument(
                f"A password has {self.shortest} to {LONGEST} characters; this one has {len(password)}.",
                advice=_ADVICE,
            )
        plain = _plain(password)
        if _is_made_of(plain, _letters(_plain(user))):
            raise InvalidArgument("This password is little more than the account's name.", advice=_ADVICE)
        if plain in self.refused or (self.refuses_common and _is_common(plain)):
            raise InvalidArgument("This password is one of those that are guessed first.", advice=_ADVICE)


def refused_in(lines: Iterable[str]) -> frozenset[str]:
    """Read a list of passwords, one a line, as breaches are published."""
    return frozenset(_plain(line.rstrip("\r\n")) for line in lines if line.strip())


def _plain(text: str) -> str:
    """Return it in the one form that is compared: of letters that are only drawn wider, the usual ones."""
    return unicodedata.normalize("NFKC", text).casefold()


def _is_common(plain: str) -> bool:
    if len(set(plain)) < _LEAST_DIFFERENT:
        return True
    if any(plain in run or plain in run[::-1] for run in _RUNS):
        return True
    if _has_other_digits(plain):
        return False
    # The signs around a word are no letters of it; those within it may stand for some.
    within = plain.strip("0123456789!$@#%&*?.,-_+ ").translate(_LOOKALIKES)
    return any(
        _once(_letters(each)) in _COMMON or _is_run(_letters(each))
        for each in (plain, within, plain.translate(_LOOKALIKES))
    )


def _is_made_of(plain: str, name: str) -> bool:
    """Whether hardly anything is left of it without the name, where that is long enough to be meant."""
    letters = _letters(plain)
    return len(name) >= _SHORTEST_NAME and name in letters and len(letters) < len(name) + 4


def _has_other_digits(plain: str) -> bool:
    """Whether its digits alone would do for a password, whatever word they stand beside."""
    digits = re.sub(r"\D", "", plain)
    return (
        len(digits) >= _ENOUGH_DIGITS
        and len(set(digits)) >= _LEAST_DIFFERENT
        and _once(digits) == digits
        and not any(digits in run or digits in run[::-1] for run in _RUNS)
    )


def _is_run(letters: str) -> bool:
    """Whether all of its letters are keys in a row, and enough of them to be meant."""
    return len(letters) >= _LEAST_DIFFERENT and any(letters in run for run in _RUNS)


def _letters(text: str) -> str:
    return re.sub(r"[\W\d_]+", "", text.casefold())


def _once(text: str) -> str:
    """Return the part that is said again and again, where all of it is."""
    for size in range(1, len(text) // 2 + 1):
        if len(text) % size == 0 and text[:size] * (len(text) // size) == text:
            return text[:size]
    return text
