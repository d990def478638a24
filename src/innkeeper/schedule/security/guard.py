"""Access checks of folders and tasks against their security descriptors."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Final

from innkeeper.errors import NotPermitted
from innkeeper.schedule.path import SchedulePath
from innkeeper.schedule.registered import Folder, Registered
from innkeeper.schedule.security import sddl
from innkeeper.schedule.security.sddl import ALIASES, Descriptor, Entry, Right

#: A user and a group of this computer, by number: the identifiers that Samba gives them.
USER: Final = "S-1-22-1-{}"
GROUP: Final = "S-1-22-2-{}"
_CREATOR: Final = ALIASES["CO"]
_OWNER: Final = ALIASES["OW"]
#: What an owner may do whatever the list says: read and change it, lest they lock themselves out.
_OF_OWNERS: Final = Right.READ_CONTROL | Right.WRITE_DAC
_WORDS: Final = {
    Right.READ: "read",
    Right.WRITE: "change",
    Right.EXECUTE: "start or stop",
    Right.DELETE: "delete",
    Right.READ_CONTROL: "read the permissions of",
    Right.WRITE_DAC: "change the permissions of",
}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Who:
    """A caller, as descriptors identify them."""

    #: For people and as the owner of what they make.
    name: str
    #: All identifiers that mean them: their own, their groups', their roles'.
    identifiers: frozenset[str]
    #: They rule the whole inn: no descriptor keeps them from changing it.
    rules_all: bool = False
    #: Their account on this computer; empty where they have none.
    account: str = ""


class Guard:
    """The present descriptors of all folders, and their checks.

    A descriptor narrows what the caller's role allows. Where there is none, on the task and inherited from
    the folders around it, the role alone decides.
    """

    def __init__(self, folders: Iterable[Folder]) -> None:
        self._folders: Mapping[str, str] = {each.path.key: each.sddl for each in folders if each.sddl}

    def may(
        self, who: Who, right: Right, path: SchedulePath, own: str, owner: str = "", *, task: bool
    ) -> bool:
        """Whether the caller has an access to what is at a path, under its own descriptor."""
        entries = self._entries(path, own, task=task)
        if entries is None or (who.rules_all and right in _OF_OWNERS):
            return True
        descriptor = sddl.parse(own) if own else Descriptor()
        is_owner = descriptor.owner in who.identifiers or (bool(owner) and owner == who.name)
        if is_owner and right in _OF_OWNERS:
            return True
        return _allowed(entries, who, right, is_owner=is_owner)

    def check_task(self, who: Who, right: Right, task: Registered) -> None:
        """Raise ``NotPermitted`` (0x80070005) where the caller lacks the access to a task."""
        if not self.may(who, right, task.path, task.sddl, task.owner, task=True):
            raise _not_permitted(who, right, f"the task {task.path}")

    def check_folder(self, who: Who, right: Right, folder: Folder) -> None:
        """Raise ``NotPermitted`` (0x80070005) where the caller lacks the access to a folder."""
        if not self.may(who, right, folder.path, folder.sddl, task=False):
            raise _not_permitted(who, right, f"the folder {folder.path}")

    def check_place(self, who: Who, path: SchedulePath) -> None:
        """Check that the caller may create at a path, by the nearest existing folder."""
        parent = path.parent
        while parent.key not in self._folders and not parent.is_root:
            parent = parent.parent
        self.check_folder(who, Right.WRITE, Folder(path=parent, sddl=self._folders.get(parent.key, "")))

    def _entries(self, path: SchedulePath, own: str, *, task: bool) -> tuple[Entry, ...] | None:
        """Return the entries that apply; ``None`` where no descriptor is set."""
        if own:
            entries = sddl.parse(own).entries
            return None if entries is None else tuple(each for each in entries if each.holds_here)
        while not path.is_root:
            path = path.parent
            entries = sddl.parse(self._folders[path.key]).entries if path.key in self._folders else None
            inherited = tuple(each for each in entries or () if _passes_on(each, task=task))
            if inherited:
                return inherited
        return None


def with_principal(text: str, identifier: str) -> str:
    """Return the descriptor with an entry that lets the task's principal read and start it."""
    descriptor = sddl.parse(text)
    if descriptor.entries is None or not identifier:
        return text
    added = sddl.entry("FRFX", identifier)
    return dataclasses.replace(descriptor, entries=(*descriptor.entries, added)).text()


def by_roles(owner: str) -> Descriptor:
    """Return the descriptor that roles amount to where none is set."""
    entries = (
        sddl.entry("FA", ALIASES["BA"]),
        sddl.entry("FRFX", ALIASES["SO"]),
        sddl.entry("FR", ALIASES["BU"]),
    )
    return Descriptor(owner=owner, entries=entries)


def _passes_on(entry: Entry, *, task: bool) -> bool:
    return entry.is_inherited_by_tasks if task else entry.is_inherited_by_folders


def _allowed(entries: Iterable[Entry], who: Who, right: Right, *, is_owner: bool) -> bool:
    """Evaluate entries in order: each right is decided by the first entry that names it."""
    left = int(right)
    for entry in entries:
        means_them = entry.identifier in who.identifiers or (
            is_owner and entry.identifier in (_CREATOR, _OWNER)
        )
        if not means_them:
            continue
        if not entry.is_allowed and entry.rights & left:
            return False
        if entry.is_allowed:
            left &= ~entry.rights
        if not left:
            return True
    return False


def _not_permitted(who: Who, right: Right, what: str) -> NotPermitted:
    return NotPermitted(
        f"{who.name} may not {_WORDS.get(right, 'do this to')} {what}: its security descriptor says so.",
        advice="Ask an administrator of the server, who can change the descriptor.",
    )
