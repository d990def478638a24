"""Report what users' own managers run without a login: services, sockets and timers of those who linger."""

import os
import pwd
from typing import Iterator, List, Tuple

from innkeeper.agent.inits.unit import Unit
from innkeeper.agent.places import Places, read_text

_LINGERING = "var/lib/systemd/linger"
#: Where the control groups of the users' managers are, in this and in the former hierarchy.
_GROUPS = ("sys/fs/cgroup/user.slice", "sys/fs/cgroup/systemd/user.slice")
#: Where a manager notes what is active, and what it notes of each.
_NOTES = "run/user/{}/systemd/units"
_NOTE = "invocation:"
#: What has no process of its own, and how it is while it is active.
_WAITS = {".socket": "listening", ".timer": "waiting", ".path": "waiting"}
_FOR_ALL = ("etc/systemd/user", "usr/lib/systemd/user", "lib/systemd/user")


def user_units(places: Places) -> List[Unit]:
    """Return what starts with the managers of users who linger, and whether it runs.

    The managers themselves are not asked: they may not answer anyone but their user.
    """
    found = []
    for uid, home in _users(places):
        manager = f"user@{uid}.service"
        running = set(_running(places, f"user-{uid}.slice/{manager}"))
        notes = _names(places.under(_NOTES.format(uid)))
        for name in sorted(set(_enabled(places, home))):
            base, dot, kind = name.rpartition(".")
            if dot + kind == ".service":
                found.append(_unit(f"{manager}/{name}", name in running))
            elif dot + kind in _WAITS and notes:
                is_active = _NOTE + name in notes
                found.append(_waiting(f"{manager}/{base}", dot + kind, is_active))
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
            # A desktop's end with its user's session, as with a reboot.
            if name.endswith(".wants") and not name.startswith("graphical-session"):
                yield from _names(f"{directory}/{name}")


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


def _waiting(base: str, kind: str, is_active: bool) -> Unit:
    return _unit(base + kind, is_active)._replace(
        sub=_WAITS[kind] if is_active else "dead", type="", triggers=(base + ".service",)
    )


def _names(directory: str) -> List[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []
