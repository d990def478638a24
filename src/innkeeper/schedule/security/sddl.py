"""Security descriptors as text (SDDL): the documented subset that tasks need.

Kept: the owner, the group, and the lists with their flags; access is allowed (``A``) or denied (``D``) to one
identifier an entry. Entries about object types and conditional ones are refused; audit entries are kept, and
nothing is audited for them: the audit log has every call anyway.
"""

from __future__ import annotations

import dataclasses
import enum
import re
from typing import Final

from innkeeper.errors import ErrorCode, ScheduleError

#: A descriptor that is longer, or has more entries, is none that a person has written.
_LONGEST: Final = 16_384
_MOST_ENTRIES: Final = 256


class Right(enum.IntFlag):
    """Access rights to a folder or a task: those of files, as documented for tasks."""

    READ = 0x00000001
    #: Change a task; make one, or a folder, in a folder.
    WRITE = 0x00000002
    #: Start and stop a task.
    EXECUTE = 0x00000020
    DELETE = 0x00010000
    #: Read the descriptor.
    READ_CONTROL = 0x00020000
    #: Change the descriptor's list.
    WRITE_DAC = 0x00040000
    WRITE_OWNER = 0x00080000


#: All that there is to be allowed.
ALL: Final = 0x001F01FF
_READ, _WRITE, _EXECUTE = 0x00120089, 0x00120116, 0x001200A0
#: The generic rights stand for the rights of files.
_GENERIC: Final = {0x80000000: _READ, 0x40000000: _WRITE, 0x20000000: _EXECUTE, 0x10000000: ALL}

_RIGHTS: Final = {
    "GA": 0x10000000,
    "GR": 0x80000000,
    "GW": 0x40000000,
    "GX": 0x20000000,
    "FA": ALL,
    "FR": _READ,
    "FW": _WRITE,
    "FX": _EXECUTE,
    "KA": 0x000F003F,
    "KR": 0x00020019,
    "KW": 0x00020006,
    "KX": 0x00020019,
    "RC": 0x00020000,
    "SD": 0x00010000,
    "WD": 0x00040000,
    "WO": 0x00080000,
    "CC": 0x0001,
    "DC": 0x0002,
    "LC": 0x0004,
    "SW": 0x0008,
    "RP": 0x0010,
    "WP": 0x0020,
    "DT": 0x0040,
    "LO": 0x0080,
    "CR": 0x0100,
}

#: The two letters of well-known identifiers.
ALIASES: Final = {
    "WD": "S-1-1-0",
    "CO": "S-1-3-0",
    "CG": "S-1-3-1",
    "OW": "S-1-3-4",
    "NU": "S-1-5-2",
    "IU": "S-1-5-4",
    "SU": "S-1-5-6",
    "AN": "S-1-5-7",
    "AU": "S-1-5-11",
    "SY": "S-1-5-18",
    "LS": "S-1-5-19",
    "NS": "S-1-5-20",
    "BA": "S-1-5-32-544",
    "BU": "S-1-5-32-545",
    "BG": "S-1-5-32-546",
    "PU": "S-1-5-32-547",
    "AO": "S-1-5-32-548",
    "SO": "S-1-5-32-549",
    "BO": "S-1-5-32-551",
}
_LETTERS: Final = {identifier: letters for letters, identifier in ALIASES.items()}
_IDENTIFIER: Final = re.compile(r"S-1-(?:\d{1,15}|0x[0-9A-Fa-f]{1,12})(?:-\d{1,10}){0,15}")
_ENTRY_FLAGS: Final = frozenset({"CI", "OI", "NP", "IO", "ID", "SA", "FA"})
_LIST: Final = re.compile(r"([A-Z_]*)((?:\([^()]*\))*)")
_PART: Final = re.compile(r"([OGDS]):((?:[^:()]|\([^()]*\))*)(?=[OGDS]:|$)")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One entry of a list: who is allowed or denied what."""

    is_allowed: bool
    #: Two letters each.
    flags: frozenset[str]
    #: The rights of files, generic ones replaced.
    rights: int
    identifier: str
    #: As it was written.
    text: str

    @property
    def is_inherited_by_tasks(self) -> bool:
        """Whether the entry applies to the tasks in the folder."""
        return "OI" in self.flags

    @property
    def is_inherited_by_folders(self) -> bool:
        """Whether the entry applies to the folders in the folder."""
        return "CI" in self.flags

    @property
    def holds_here(self) -> bool:
        """Whether the entry applies to the object itself."""
        return "IO" not in self.flags


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Descriptor:
    """Security descriptor: owner, group and access list."""

    owner: str = ""
    group: str = ""
    #: ``None`` where everybody may everything (``NO_ACCESS_CONTROL``, or no list at all).
    entries: tuple[Entry, ...] | None = None
    flags: str = ""
    #: The list of audits, as it was written.
    audits: str | None = None

    def text(
        self, *, owner: bool = True, group: bool = True, entries: bool = True, audits: bool = True
    ) -> str:
        """Return the descriptor's text, with the parts that are asked for."""
        message = ""
        if owner and self.owner:
            message += f"O:{_letters(self.owner)}"
        if group and self.group:
            message += f"G:{_letters(self.group)}"
        if entries:
            flags = self.flags if self.entries is not None else "NO_ACCESS_CONTROL"
            message += f"D:{flags}" + "".join(f"({entry.text})" for entry in self.entries or ())
        if audits and self.audits is not None:
            message += f"S:{self.audits}"
        return message


def parse(text: str) -> Descriptor:
    """Return the descriptor of a text. Raises ``ScheduleError`` (0x80070057, node ``SecurityDescriptor``)."""
    if len(text) > _LONGEST:
        raise _refused(text, f"it has {len(text):,} characters; {_LONGEST:,} are allowed")
    parts: dict[str, str] = {}
    place = 0
    for match in _PART.finditer(text.strip()):
        if match.start() != place or match.group(1) in parts:
            break
        parts[match.group(1)] = match.group(2).strip()
        place = match.end()
    if place != len(text.strip()) or not parts:
        raise _refused(text, f"“{text.strip()[place : place + 30]}” means nothing there")
    flags, entries = ("", None) if "D" not in parts else _list(parts["D"], text)
    return Descriptor(
        owner=_identifier(parts["O"], text) if "O" in parts else "",
        group=_identifier(parts["G"], text) if "G" in parts else "",
        entries=entries,
        flags=flags,
        audits=parts.get("S"),
    )


def entry(rights: str, identifier: str, *, flags: str = "") -> Entry:
    """Return an entry that allows rights such as ``FRFX`` to an identifier."""
    return _entry(f"A;{flags};{rights};;;{_letters(identifier)}", rights)


def _list(message: str, text: str) -> tuple[str, tuple[Entry, ...] | None]:
    match = _LIST.fullmatch(message.replace(" ", ""))
    if match is None:
        raise _refused(text, f"“{message[:40]}” is not a list")
    flags, entries = match.group(1), match.group(2)
    if flags == "NO_ACCESS_CONTROL" and not entries:
        return "", None
    if flags.replace("AI", "").replace("AR", "").replace("P", ""):
        raise _refused(text, f"“{flags[:40]}” are not flags of a list")
    found = tuple(_entry(each, text) for each in re.findall(r"\(([^()]*)\)", entries))
    if len(found) > _MOST_ENTRIES:
        raise _refused(text, f"it has more than {_MOST_ENTRIES} entries")
    return flags, found


def _entry(message: str, text: str) -> Entry:
    fields = message.split(";")
    if len(fields) != 6:
        raise _refused(text, f"“({message[:60]})” has not six fields")
    kind, flags, rights, of_object, of_inherited, identifier = fields
    if kind not in ("A", "D"):
        raise _refused(text, f"“({message[:60]})” neither allows (A) nor denies (D)")
    if of_object or of_inherited:
        raise _refused(text, f"“({message[:60]})” is about an object type, of which tasks have none")
    words = frozenset(flags[place : place + 2] for place in range(0, len(flags), 2))
    if words - _ENTRY_FLAGS:
        raise _refused(text, f"“{flags[:20]}” are not flags of an entry")
    return Entry(
        is_allowed=kind == "A",
        flags=words,
        rights=_rights(rights, text),
        identifier=_identifier(identifier, text),
        text=message,
    )


def _rights(message: str, text: str) -> int:
    if re.fullmatch(r"0[xX][0-9A-Fa-f]{1,8}", message):
        mask = int(message, 16)
    else:
        mask = 0
        for place in range(0, len(message), 2):
            word = message[place : place + 2]
            if word not in _RIGHTS:
                raise _refused(text, f"“{word}” is not a right")
            mask |= _RIGHTS[word]
    for generic, rights in _GENERIC.items():
        if mask & generic:
            mask |= rights
    return mask & ALL


def _identifier(message: str, text: str) -> str:
    found = ALIASES.get(message, message)
    if not _IDENTIFIER.fullmatch(found):
        raise _refused(text, f"“{message[:40]}” is not an identifier")
    return found


def _letters(identifier: str) -> str:
    return _LETTERS.get(identifier, identifier)


def _refused(text: str, sentence: str) -> ScheduleError:
    return ScheduleError(
        f"The security descriptor cannot be read: {sentence}.",
        code=ErrorCode.E_INVALIDARG,
        advice="Write it as D:(A;;FA;;;BA)(A;;FRFX;;;AU): who is allowed (A) or denied (D) what.",
        node="SecurityDescriptor",
        value=text[:260],
    )
