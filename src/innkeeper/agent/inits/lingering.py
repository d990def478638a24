"""Report what users' own managers run without a login: the services of those who linger."""

import os
import pwd
from typing import Iterator, List, Tuple

from innkeeper.agent.inits.unit import Unit
from innkeeper.agent.places import Places, read_text

_LINGERING = "var/lib/systemd/linger"
#: Where the control groups of the users' managers are, in this and in the former hierarchy.
_GROUPS = ("sys/fs/cgroup/user.slice", "sys/fs/cgroup/systemd/user.slice")
_FOR_ALL = ("etc/systemd/user", "usr/lib/systemd/user", "lib/systemd/user")


def user_units(places: Places) -> List[Unit]:
    """Return the services that start with the managers of users who linger, and whether they run.

    The managers themselves are not asked: they may not answer anyone but their user.
    """
    found = []
    for uid, home in _users(places):
        manager = f"user@{uid}.service"
        running = set(_running(places, f"user-{uid}.slice/{manager}"))
        names = sorted(set(_enabled(places, home)))
        found += [_unit(f"{manager}/{name}", name in running) for name in names]
    return found


def _users(places: Places) -> Iterator[Tuple[int, str]]:
    for name in _names(places.under(_LINGERING)):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        yield user.pw_uid, user.pw_dir


def _enabled(places: Places, home: str) -> Iterator[str]:
    for directory in (places.under(home.lstrip("/") + "/.config/systemd/user"), *map(places.under, _FOR_ALL)):
        for name in _names(directory):
            if name.endswith(".wants"):
                yield from (unit for unit in _names(f"{directory}/{name}") if unit.endswith(".service"))


def _running(places: Places, manager: str) -> Iterator[str]:
    for groups in _GROUPS:
        for directory, names, _ in os.walk(f"{places.under(groups)}/{manager}"):
            for name in names:
                if name.endswith(".service") and read_text(f"{directory}/{name}/cgroup.procs"):
                    yield name


def _unit(name: str, is_running: bool) -> Unit:
    return Unit(
        name=name,
        active="active" if is_running else "inactive",
        sub="running" if is_running else "dead",
        type="simple",
        enablement="enabled",
        wanted=True,
    )


def _names(directory: str) -> List[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []
