"""Keep named values, which the host and this guest's programs both read and write."""

import json
from typing import Dict, NamedTuple, Optional

from innkeeper.agent.places import read_text, write_durably
from innkeeper.agent.plugin import PluginError
from innkeeper.wire.session import Message

_MAX_NAME = 255
_MAX_VALUE = 4096
_MAX_COUNT = 256
_MAX_TOTAL = 64 * 1024


class Parameter(NamedTuple):
    """A value, the host's revision that it stands on, and whether this guest has set it since."""

    value: str
    revision: int
    by_guest: bool


class Parameters:
    """The values, in a file that is whole after any crash."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._known = _load(path)

    def all(self) -> Message:
        """Every value, as it travels."""
        return {name: list(parameter) for name, parameter in self._known.items()}

    def values(self) -> Dict[str, str]:
        """Every value by its name."""
        return {name: parameter.value for name, parameter in self._known.items()}

    def get(self, name: str) -> Optional[str]:
        """A value, or ``None``."""
        found = self._known.get(name)
        return None if found is None else found.value

    def set_by_host(self, name: str, value: Optional[str], revision: int) -> None:
        """Keep the host's value; ``None`` forgets the name."""
        self._set(name, None if value is None else Parameter(value, revision, False))

    def set_by_guest(self, name: str, value: Optional[str]) -> None:
        """Keep a value of this guest's; ``None`` forgets the name."""
        before = self._known.get(name)
        revision = 0 if before is None else before.revision
        self._set(name, None if value is None else Parameter(value, revision, True))

    def _set(self, name: str, parameter: Optional[Parameter]) -> None:
        if not 0 < len(name) <= _MAX_NAME or "\\" in name or not name.isprintable():
            raise PluginError("A parameter's name has 1 to 255 printable characters and no backslash.")
        changed = dict(self._known)
        changed.pop(name, None)
        if parameter is not None:
            changed[name] = parameter
            _expect_small(changed, parameter.value)
        if changed != self._known:
            write_durably(self._path, json.dumps({key: list(each) for key, each in changed.items()}).encode())
            self._known = changed


def _expect_small(changed: Dict[str, Parameter], value: str) -> None:
    if len(value) > _MAX_VALUE or "\0" in value:
        raise PluginError("A parameter's value has at most 4096 characters, and no NUL.")
    if len(changed) > _MAX_COUNT or sum(len(each.value) for each in changed.values()) > _MAX_TOTAL:
        raise PluginError("This guest keeps no more than 256 parameters of 65536 characters together.")


def _load(path: str) -> Dict[str, Parameter]:
    try:
        message = json.loads(read_text(path) or "{}")
        return {
            str(name): Parameter(str(value), int(revision), bool(by_guest))
            for name, (value, revision, by_guest) in message.items()
        }
    except (ValueError, TypeError, AttributeError):
        return {}  # A broken file is as good as none: the host sends what it has set again.
