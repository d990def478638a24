"""Facts of this computer: accounts, power, network, load."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable, Iterable
from pathlib import Path

from innkeeper.schedule.linux.idle import Idleness
from innkeeper.schedule.security.guard import USER
from innkeeper.tasks.clock import SystemClock

_POWER = Path("/sys/class/power_supply")
_NETWORK = Path("/sys/class/net")
#: Where NetworkManager says which connection each device has up.
_CONNECTIONS = Path("/run/NetworkManager/devices")

#: Accounts that Windows knows by a security identifier or by name, and what they are here.
_WELL_KNOWN = {
    "s-1-5-18": "root",
    "system": "root",
    "nt authority\\system": "root",
    "localsystem": "root",
    "s-1-5-19": "nobody",
    "nt authority\\localservice": "nobody",
    "s-1-5-20": "nobody",
    "nt authority\\networkservice": "nobody",
}


class LinuxAccounts:
    """The accounts of this computer."""

    def __init__(self, logged_on: Callable[[], Iterable[str]] = tuple) -> None:
        """``logged_on`` returns the names of who is logged on."""
        self._logged_on = logged_on

    def find(self, name: str) -> str | None:
        """Return the account of a name, with or without a realm, or of a well-known identifier."""
        plain = _WELL_KNOWN.get(name.casefold(), name.rpartition("\\")[2])
        try:
            return pwd.getpwnam(plain).pw_name
        except (KeyError, ValueError):
            return None

    def has_group(self, name: str) -> bool:
        """Whether there is a group of this name."""
        try:
            grp.getgrnam(name.rpartition("\\")[2])
        except (KeyError, ValueError):
            return False
        return True

    def own(self) -> str:
        """The service's own account."""
        return pwd.getpwuid(os.geteuid()).pw_name

    def can_become(self, name: str) -> bool:
        """Whether the service can run programs as an account: root can as anybody."""
        return os.geteuid() == 0 or name == self.own()

    def member_logged_on(self, group: str) -> str | None:
        """Somebody of a group who is logged on, the first by name."""
        wanted = grp.getgrnam(group.rpartition("\\")[2]).gr_gid if self.has_group(group) else None
        for name in sorted({user for user in self._logged_on() if self.find(user)}):
            if wanted in os.getgrouplist(name, pwd.getpwnam(name).pw_gid):
                return name
        return None

    def identifier(self, name: str) -> str:
        """The security identifier of an account, as Samba gives it; empty where there is none."""
        found = self.find(name)
        return "" if found is None else USER.format(pwd.getpwnam(found).pw_uid)


class LinuxConditions:
    """Conditions of this computer; each ``None`` where it cannot be known."""

    def __init__(
        self,
        *,
        idleness: Idleness | None = None,
        power: Path = _POWER,
        network: Path = _NETWORK,
        connections: Path = _CONNECTIONS,
    ) -> None:
        self._idleness = idleness or Idleness(clock=SystemClock())
        self._power = power
        self._network = network
        self._connections = connections

    def on_batteries(self) -> bool | None:
        """Whether there is a battery, and no mains is on."""
        kinds = {_text(each / "type"): each for each in _listed(self._power)}
        if "Battery" not in kinds:
            return False if kinds else None
        mains = [each for each in _listed(self._power) if _text(each / "type") == "Mains"]
        return not any(_text(each / "online") == "1" for each in mains) if mains else None

    def has_network(self) -> bool | None:
        """Whether an interface other than the loopback is up."""
        found = [each for each in _listed(self._network) if each.name != "lo"]
        return any(_text(each / "operstate") in ("up", "unknown") for each in found)

    def has_this_network(self, name: str | None, identifier: str | None) -> bool | None:
        """Whether an interface of the name is up, or NetworkManager has a connection of the identifier up."""
        if identifier:
            wanted = identifier.strip("{}").lower()
            devices = [_text(each).lower() for each in _listed(self._connections)]
            if devices:
                return any(f"connection-uuid={wanted}" in message.splitlines() for message in devices)
        if not name:
            return None
        return _text(self._network / name / "operstate") in ("up", "unknown") if _is_name(name) else None

    def is_idle(self) -> bool | None:
        """Whether the computer has had nothing to do; ``None`` where that cannot be known."""
        return self._idleness.is_idle()

    def is_busy(self) -> bool:
        """Whether idleness is over for what was started because of it."""
        return self._idleness.is_busy()


def _is_name(name: str) -> bool:
    """Whether a text can be the name of an interface, and no path."""
    return "/" not in name and name not in (".", "..") and len(name) < 16


def _listed(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
