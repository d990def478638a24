"""Checks of the agent's modules inside another Python: ``python3 -I -S checked_inside.py BUNDLE``.

It keeps to the grammar of Python 3.6, and needs the agent alone. ``python -m tests.agent.pythons`` runs it.
"""

import contextlib
import importlib
import os
import struct
import sys
import tempfile
import time
import zipfile

#: The last second that 32 bits can count, and one that they cannot.
_LAST = 2**31 - 1
_LATE = 2**32 + 5

_SHOW = """\
Id=shop.service
Names=shop.service mail.service
ActiveState=activating
SubState=auto-restart
NRestarts=23
UnitFileState=enabled
WantedBy=multi-user.target
StateChangeTimestampMonotonic=1000000

Id=srv.mount
Where=/srv
ActiveState=active
SourcePath=/etc/fstab
"""
_AUDIT = """\
The following packages have been unpacked but not yet configured.
They must be configured using dpkg --configure or the configure
menu option in dselect for them to work:
 bar                  bar thing
"""


def main(bundle: str) -> int:
    """Check everything; the first that is wrong ends it."""
    sys.path.insert(0, bundle)
    with zipfile.ZipFile(bundle) as file:
        names = sorted(name[:-3] for name in file.namelist() if name.endswith(".py"))
    for name in names:
        if name != "__main__":
            module = name[: -len("/__init__")] if name.endswith("/__init__") else name
            importlib.import_module(module.replace("/", "."))
    _check_readers()
    with tempfile.TemporaryDirectory() as root:
        _check_files(root)
    print("{} modules are well with Python {}".format(len(names), sys.version.split()[0]))
    return 0


def _check_readers() -> None:
    """What other programs print, and frames."""
    from innkeeper.agent.backends.apt import read_audit
    from innkeeper.agent.inits import systemd_units
    from innkeeper.agent.inits.systemd_groups import unit_of

    known = systemd_units.parse(_SHOW)
    (shop,) = systemd_units.units(known)
    assert (shop.name, shop.restarts, shop.aliases, shop.wanted) == (
        "shop.service",
        23,
        ("mail.service",),
        True,
    )
    assert systemd_units.mounts(known) == {"/srv": "fstab"}
    assert unit_of("12:pids:/x\n1:name=systemd:/system.slice/ssh.service\n0::/\n") == "ssh.service"
    assert read_audit(_AUDIT) == ["bar: not configured"]


def _check_files(root: str) -> None:
    """What a kernel, inits and packages write; large files and late times."""
    from innkeeper.agent import effect, guest
    from innkeeper.agent.boots import Boots
    from innkeeper.agent.health import health
    from innkeeper.agent.inits import Inits
    from innkeeper.agent.inits.runit import _status
    from innkeeper.agent.inits.syslog import tail
    from innkeeper.agent.journal import Journal
    from innkeeper.agent.places import Places
    from innkeeper.agent.plugin import PluginError
    from innkeeper.agent.utmp import records

    places = Places(root)
    _write(root, "proc/uptime", "77.5 3.2\n")
    _write(root, "etc/inittab", "id:2:initdefault:\nx:2:respawn:/bin/sleep 1001\n")
    Boots(places).look()
    Journal(places.journal).save()
    assert [kind.name for kind in Inits(places)._running] == ["init"]
    told = health(places)
    assert told["failed_units"] == []
    assert guest.facts(places)["architecture"]

    narrow = struct.pack("=hxxi32s4s32s256s", 7, 77, b"pts/0", b"ts/0", b"ana", b"host")
    narrow += struct.pack("=hhiii16s20s", 0, 0, 0, _LAST, 0, b"", b"")
    wide = narrow[:336] + struct.pack("=qqq16s20s4x", 0, _LATE, 0, b"", b"")
    for record, seconds in ((narrow, _LAST), (wide, _LATE)):
        _write(root, "run/utmp", record * 3)
        assert [one.seconds for one in records(places)] == [seconds] * 3, len(record)

    service = "service/shop/supervise/status"
    _write(root, service, struct.pack(">QI", (1 << 62) + 10 + _LATE, 0) + struct.pack("<I", 77) + b"\0u\0\1")
    status = _status(os.path.join(root, "service"), "shop")
    assert status is not None
    assert (int(status.since), status.pid, status.is_wanted, status.state) == (_LATE, 77, True, 1)

    large = _write(root, "var/log/syslog", "first\n")
    with open(large, "ab") as file:
        file.truncate(5 << 30)  # it is sparse
        file.seek(0, os.SEEK_END)
        file.write(b"\nlast\n")
    assert tail(large)[-1] == "last"
    assert os.statvfs(root).f_frsize > 0

    kernel = _write(root, "boot/vmlinuz-9.9", "")
    _write(root, "proc/stat", "btime 1000000000\n")
    with contextlib.suppress(OverflowError, OSError):
        os.utime(kernel, (_LATE, _LATE))  # this Python counts seconds in 32 bits, or the file system does
    assert effect.why_reboot(places, []) == ""
    with contextlib.suppress(PluginError):
        guest.set_time(float(2**70))
    assert time.time() > 0


def _write(root: str, path: str, content: "object") -> str:
    whole = os.path.join(root, path)
    os.makedirs(os.path.dirname(whole), exist_ok=True)
    with open(whole, "wb") as file:
        file.write(content if isinstance(content, bytes) else str(content).encode())
    return whole


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
