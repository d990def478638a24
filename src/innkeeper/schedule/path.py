"""Paths of folders and tasks: ``\\Nightly\\Compact``."""

from __future__ import annotations

import dataclasses

from innkeeper.errors import ErrorCode, ScheduleError

_SEPARATOR = "\\"
#: The documented ``pathType``.
_LONGEST_PATH = 260
_FORBIDDEN = frozenset(':/\\*?"<>|')


@dataclasses.dataclass(frozen=True, slots=True)
class SchedulePath:
    """Path of a folder or a task, from the root ``\\`` on. Two that differ in case are the same."""

    names: tuple[str, ...]

    @classmethod
    def parse(cls, text: str, *, under: SchedulePath | None = None) -> SchedulePath:
        """Return the path of a text, from the root where it begins with ``\\``, else from ``under``.

        Raises ``ScheduleError`` (0x8007007B) for a name that is none, or a path that climbs.
        """
        if text == _SEPARATOR or (not text and under is not None):
            return cls(()) if text else under or cls(())
        if len(text) > _LONGEST_PATH:
            raise _invalid(text, f"it has {len(text):,} characters; {_LONGEST_PATH} are allowed")
        start = () if under is None or text.startswith(_SEPARATOR) else under.names
        names = text.removeprefix(_SEPARATOR).split(_SEPARATOR)
        for name in names:
            _check(name, text)
        found = cls((*start, *names))
        if len(str(found)) > _LONGEST_PATH:
            raise _invalid(text, f"the whole path is longer than {_LONGEST_PATH} characters")
        return found

    @property
    def name(self) -> str:
        """The last name (``Name``); ``\\`` for the root."""
        return self.names[-1] if self.names else _SEPARATOR

    @property
    def parent(self) -> SchedulePath:
        """The parent folder; the root's is the root."""
        return SchedulePath(self.names[:-1])

    @property
    def key(self) -> str:
        """The path without regard to case, for comparisons."""
        return str(self).casefold()

    @property
    def is_root(self) -> bool:
        """Whether this is the root folder."""
        return not self.names

    def __str__(self) -> str:
        return _SEPARATOR + _SEPARATOR.join(self.names)


def _check(name: str, text: str) -> None:
    if not name:
        raise _invalid(text, "a name in it is empty")
    if name in (".", ".."):
        raise _invalid(text, f"{name!r} leads nowhere here")
    if name != name.strip():
        raise _invalid(text, "a name begins or ends with a space")
    wrong = next((letter for letter in name if letter in _FORBIDDEN or not letter.isprintable()), None)
    if wrong is not None:
        raise _invalid(text, f"{wrong!r} stands in a name")


def _invalid(text: str, sentence: str) -> ScheduleError:
    shown = text if len(text) <= 60 else text[:60] + "…"
    return ScheduleError(
        f"{shown!r} is not a path: {sentence}.",
        code=ErrorCode.ERROR_INVALID_NAME,
        advice=r"Write it as \Folder\Task.",
        node="path",
        value=text[:_LONGEST_PATH],
    )
