"""The agent beside real inits, each the first process of a container: what it tells, restarts, installs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from innkeeper.channels.health_statements import read_health
from innkeeper.channels.ports import HealthReport
from innkeeper.updates.health.judge import judge
from innkeeper.updates.health.restarts import restarting
from tests.agent.containers import Container, container_of, layer_of

#: The packages of each init; the scripts and services are the tests' own.
_BUSYBOX = ("busybox-static",)
_OPENRC = ("openrc", "librc1", "libeinfo1", "busybox-static")
_RUNIT = ("runit", "runit-init", "runit-helper")
_SYSTEM_V = ("sysvinit-core", "sysvinit-utils", "sysv-rc", "startpar")

_SERVE = "-m http.server 8099 --directory /srv"
_AGENT = "/usr/local/lib/innkeeper/innkeeper-agent.pyz run"

Make = Callable[[tuple[str, ...]], Container]


@pytest.fixture
def make(guest_cache: Path, bundle: Path) -> Iterator[Make]:
    """Makes one container with the packages of an init."""
    with contextlib.ExitStack() as made:
        yield lambda names: made.enter_context(container_of(layer_of(guest_cache, names), bundle))


def _report(container: Container) -> HealthReport:
    """The agent's report, as the host reads it."""
    told = container.health()
    del told["units"]
    return read_health(told)


def _faults(before: HealthReport, container: Container) -> list[str]:
    """What the host finds to be worse now."""
    judged = judge(before, _report(container), must_have_rebooted=False)
    return [finding.subject for finding in judged.findings if finding.is_fault]


def _serves(container: Container) -> bool:
    """Whether somebody listens on port 8099."""
    return ":1FA3 " in container.run("cat", "/proc/net/tcp", "/proc/net/tcp6")


def _is_up(container: Container, words: str) -> bool:
    return words in container.run("ps", "axo", "args")


def _installs_and_uninstalls(container: Container) -> None:
    """Installed twice it runs once, and outlives being killed; uninstalled it is gone."""
    for _ in range(2):
        assert container.agent("install").startswith("Installed")
    container.waits_for(lambda: _is_up(container, _AGENT), "the installed agent")
    container.run("pkill", "-9", "-f", "innkeeper-agent.py[z] run")
    container.waits_for(lambda: _is_up(container, _AGENT), "the killed agent")
    container.waits_for(
        lambda: '"connected": false' in container.run("/usr/local/bin/innkeeper-agent", "status", code=None),
        "its answer",
    )
    assert container.agent("uninstall").startswith("Uninstalled. ")
    container.waits_for(lambda: not _is_up(container, _AGENT), "the end of the agent")
    assert not (container.root / "local/bin/innkeeper-agent").exists()


def test_busybox_keeps_programs_running(make: Make) -> None:
    """What its table has respawned is told where it runs; a loss is a fault."""
    guest = make(_BUSYBOX)
    guest.write(
        "etc/inittab",
        "# a comment\n::respawn:/bin/sleep 1001\n::respawn:/sbin/loop\n::respawn:/etc/serve\n"
        "tty1::respawn:/sbin/getty 38400 tty1\n::shutdown:/bin/touch /srv/shut-down\n",
    )
    guest.write("etc/serve", f"#!/bin/sh\nexec python3 {_SERVE}\n", 0o755)
    (guest.root / "over/sbin/reboot").symlink_to("/bin/busybox")
    guest.boot("/bin/busybox", "init")
    guest.waits_for(lambda: _serves(guest), "the server")
    before = _report(guest)
    assert before.details is not None
    assert sorted(before.details.units) == ["serve", "sleep"]
    assert [(one.unit, one.program) for one in before.details.listeners] == [("serve", "python3")]
    assert guest.ask("inits.evidence(['serve', 'loop'])")["loop"] == ["it does not run"]
    first = guest.ask("inits.mains()")
    assert guest.ask("inits.restart(['sleep', 'loop'])") == ["sleep"]
    guest.waits_for(lambda: guest.state("sleep") == "active/running", "the restarted program")
    assert guest.ask("inits.mains()")["sleep"] != first["sleep"]
    _installs_and_uninstalls(guest)
    guest.write("etc/serve", "#!/bin/sh\nexit 1\n", 0o755)
    guest.run("pkill", "-f", "http.serve[r]")
    guest.waits_for(lambda: guest.state("serve") == "gone", "the loss")
    assert _faults(before, guest) == ["unit:serve", "listener:tcp/8099"]
    assert guest.ask("power.reboot(places)") is True
    guest.waits_for(lambda: (guest.root / "srv/shut-down").exists(), "its way down")


def test_busybox_reads_a_table_that_was_written_for_system_v(make: Make) -> None:
    """Its lines have no runlevels, whatever is written there, and a terminal where System V has a name."""
    guest = make(_BUSYBOX)
    guest.write(
        "etc/inittab",
        ":2:initdefault:\n:2:wait:/etc/rc 2\n:3:respawn:/bin/sleep 1001\n  # :2:respawn:/bin/sleep 1002\n",
    )
    guest.write("etc/rc", "#!/bin/sh\ntouch /srv/is-up\n", 0o755)
    guest.boot("/bin/busybox", "init")
    guest.waits_for(lambda: (guest.root / "srv/is-up").exists(), "the services")
    guest.waits_for(lambda: guest.state("sleep") == "active/running", "the program")
    _installs_and_uninstalls(guest)


_OPENRC_SERVICE = "#!/sbin/openrc-run\ncommand={}\ncommand_args='{}'\n"
_SUPERVISED = "supervisor=supervise-daemon\nrespawn_delay=1\nrespawn_max={}\nrespawn_period=60\n"


def _openrc(make: Make) -> Container:
    guest = make(_OPENRC)
    services = {
        "shop": _OPENRC_SERVICE.format("/usr/bin/python3", _SERVE) + _SUPERVISED.format(0),
        "loop": _OPENRC_SERVICE.format("/bin/sleep", "1") + _SUPERVISED.format(0),
        "gives-up": _OPENRC_SERVICE.format("/bin/false", "") + _SUPERVISED.format(1),
        "plain": _OPENRC_SERVICE.format("/bin/sleep", "999")
        + "command_background=yes\npidfile=/run/plain.pid\n",
        "bad": "#!/sbin/openrc-run\nstart() { return 1; }\n",
    }
    for level in ("sysinit", "boot", "default", "shutdown", "nonetwork"):
        (guest.root / "etc/runlevels" / level).mkdir(parents=True, exist_ok=True)
    for name, text in services.items():
        guest.write(f"etc/init.d/{name}", text, 0o755)
        (guest.root / "etc/runlevels/default" / name).symlink_to(f"/etc/init.d/{name}")
    guest.write("var/log/messages", "Dec  1 03:00:00 web plain[7]: no room\nDec  1 03:00:01 web x: plain\n")
    guest.write(
        "etc/inittab",
        "::sysinit:/sbin/openrc sysinit\n::sysinit:/sbin/openrc boot\n::wait:/sbin/openrc default\n"
        "::once:/bin/touch /srv/is-up\n",
    )
    guest.boot("/bin/busybox", "init")
    guest.waits_for(lambda: (guest.root / "srv/is-up").exists(), "the end of the start")
    guest.waits_for(lambda: _serves(guest), "the server")
    guest.waits_for(lambda: guest.state("gives-up") == "failed/failed", "its giving up")
    return guest


def test_openrc_tells_who_is_started_crashed_and_supervised(make: Make) -> None:
    """As Alpine has it: BusyBox' init, which starts OpenRC's runlevels."""
    guest = _openrc(make)
    before = _report(guest)
    assert before.details is not None
    units = before.details.units
    assert {name: unit.active for name, unit in units.items()} == {
        "shop": "active", "loop": units["loop"].active, "gives-up": "failed", "plain": "active",
        "bad": "inactive",
    }  # fmt: skip
    assert (units["shop"].is_expected, before.details.is_installed("shop")) == (True, True)
    assert [(one.unit, one.program) for one in before.details.listeners] == [("shop", "python3")]
    guest.waits_for(lambda: guest.health()["units"]["loop"][5] > units["loop"].restarts + 2, "restarts")
    later = _report(guest)
    [finding] = restarting(before, before, later, frozenset())
    assert finding.subject == "unit:loop"
    guest.run("sh", "-c", "kill -9 $(cat /run/plain.pid); rc-service shop stop")
    assert set(_faults(before, guest)) == {"unit:plain", "unit:shop", "listener:tcp/8099"}
    state, *lines = guest.ask("inits.evidence(['plain'])")["plain"]
    assert state.startswith("failed (crashed), since 2")
    assert lines == ["Dec  1 03:00:00 web plain[7]: no room"]


def test_openrc_restarts_services_and_runs_the_agent(make: Make) -> None:
    """Supervised: a killed agent comes back."""
    guest = _openrc(make)
    first = guest.run("cat", "/run/openrc/options/shop/child_pid")
    assert guest.ask("inits.restart(['shop', 'bad', 'unknown'])") == ["shop"]
    guest.waits_for(
        lambda: (
            guest.run("cat", "/run/openrc/options/shop/child_pid", code=None).strip().isdigit()
            and guest.run("cat", "/run/openrc/options/shop/child_pid", code=None) != first
            and guest.state("shop") == "active/started"
        ),
        "the restarted service",
    )
    _installs_and_uninstalls(guest)


def test_runit_tells_uptimes_restarts_and_logs(make: Make) -> None:
    """What is to run and does not is between two starts; who has no ``runsv`` has failed."""
    guest = make(_RUNIT)
    (guest.root / "etc/runit/runsvdir/default").mkdir(parents=True, exist_ok=True)
    runs = {
        "shop": f"exec 2>&1\necho the shop is up\nexec python3 {_SERVE}",
        "loop": "exit 3", "slow": "exec sleep 997", "by-hand": "exec sleep 998",
    }  # fmt: skip
    for name, text in runs.items():
        guest.write(f"etc/sv/{name}/run", f"#!/bin/sh\n{text}\n", 0o755)
        (guest.root / "etc/runit/runsvdir/default" / name).symlink_to(f"/etc/sv/{name}")
    guest.write("etc/sv/by-hand/down", "")
    guest.write("etc/sv/shop/log/run", "#!/bin/sh\nexec svlogd -t /srv\n", 0o755)
    guest.write("etc/runit/1", "#!/bin/sh\nmkdir -p /run/runit/supervise; touch /run/runit.reboot\n", 0o755)
    guest.write("etc/runit/2", "#!/bin/sh\nexec runsvdir -P /etc/runit/runsvdir/default\n", 0o755)
    guest.write("etc/runit/3", "#!/bin/sh\ntouch /srv/shut-down\n", 0o755)
    guest.boot("/sbin/init")
    guest.waits_for(lambda: _serves(guest), "the server")
    before = _report(guest)
    assert before.details is not None
    assert {name: unit.sub for name, unit in before.details.units.items()} == {
        "shop": "running", "loop": "auto-restart", "slow": "running",
    }  # fmt: skip
    assert [(one.unit, one.program) for one in before.details.listeners] == [("shop", "python3")]
    marks = guest.ask("inits.mains()")
    assert marks["loop"] != guest.ask("(__import__('time').sleep(2.2), inits.mains())[1]")["loop"]
    state, line = guest.ask("inits.evidence(['shop'])")["shop"]
    assert (state[:16], line[:2], line[20:]) == ("active (running)", "20", "the shop is up")
    assert guest.ask("inits.restart(['shop', 'gone'])") == ["shop"]
    guest.waits_for(lambda: guest.ask("inits.mains()")["shop"][0] not in (0, marks["shop"][0]), "the shop")
    _installs_and_uninstalls(guest)
    guest.run("sv", "down", "/etc/sv/shop")
    assert _faults(before, guest) == ["unit:shop", "listener:tcp/8099"]
    (guest.root / "over/sbin/reboot").symlink_to("/usr/lib/runit/shutdown")
    assert guest.ask("power.reboot(places)") is True
    guest.waits_for(lambda: (guest.root / "srv/shut-down").exists(), "its way down")


_LSB = """\
#!{interpreter}
### BEGIN INIT INFO
# Provides: {name}
# Required-Start:
# Required-Stop:
# Default-Start: 2
# Default-Stop:
### END INIT INFO
"""
_SHOP = """\
NAME=shop
DAEMON=/usr/bin/python3
PIDFILE=/run/$NAME.pid
. /lib/lsb/init-functions
case $1 in
start) start-stop-daemon -S -b -m -p $PIDFILE --exec $DAEMON -- -m http.server 8099 --directory /srv ;;
stop) start-stop-daemon -K -p $PIDFILE ;;
restart) $0 stop; sleep 0.2; $0 start ;;
status) status_of_proc -p $PIDFILE $DAEMON $NAME ;;
esac
"""
_TICK = "NAME=tick\nDAEMON=/bin/sleep\nDAEMON_ARGS=997\nSTART_ARGS='-b -m'\nPIDFILE=/run/tick.pid\n"
_REMOVED = "DAEMON=/usr/sbin/gone\ntest -x $DAEMON || exit 0\n# status\n"
_TABLE = """\
id:2:initdefault:
l2:2:wait:/etc/init.d/rc 2
l6:6:wait:/bin/touch /srv/shut-down
x1:23:respawn:/bin/sleep 1001
x2:3:respawn:/bin/sleep 1002
"""


def test_system_v_scripts_and_table(make: Make) -> None:
    """Statuses by exit code, of those scripts that have one, in this runlevel; the rest is init's table."""
    guest = make(_SYSTEM_V)
    guest.write("etc/inittab", _TABLE)
    (guest.root / "etc/rc2.d").mkdir(exist_ok=True)
    job = "[ $1 = start ] && touch /run/job\nexit 0\n"
    scripts = {"shop": _SHOP, "tick": _TICK, "removed": _REMOVED, "job": job}
    for name, text in scripts.items():
        interpreter = "/usr/bin/env /lib/init/init-d-script" if name == "tick" else "/bin/sh"
        guest.write(f"etc/init.d/{name}", _LSB.format(interpreter=interpreter, name=name) + text, 0o755)
        (guest.root / f"etc/rc2.d/S02{name}").symlink_to(f"../init.d/{name}")
    guest.write("var/log/syslog", "Dec  1 03:00:00 web shop[12]: cannot bind\nDec  1 03:00:00 web other: x\n")
    guest.boot("/sbin/init")
    guest.waits_for(lambda: _serves(guest), "the server")
    before = _report(guest)
    assert before.details is not None
    assert {name: unit.active for name, unit in before.details.units.items()} == {
        "shop": "active", "sleep": "active", "tick": "active",
    }  # fmt: skip
    assert (before.details.is_installed("job"), before.details.is_installed("removed")) == (True, False)
    assert [(one.unit, one.program) for one in before.details.listeners] == [("shop", "python3")]
    guest.run("sh", "-c", "kill -9 $(cat /run/shop.pid)")
    guest.waits_for(lambda: guest.state("shop") == "failed/dead, with its process file", "the loss")
    assert guest.ask("inits.evidence(['shop'])")["shop"] == [
        "exit code 1 of its status",
        "shop is not running ... failed!",
        "Dec  1 03:00:00 web shop[12]: cannot bind",
    ]
    assert _faults(before, guest) == ["unit:shop", "listener:tcp/8099"]
    assert guest.ask("inits.restart(['shop'])") == ["shop"]
    guest.waits_for(lambda: guest.state("shop") == "active/running", "the restarted service")
    _installs_and_uninstalls(guest)
    (guest.root / "over/sbin/reboot").symlink_to("shutdown")
    guest.write("over/sbin/shutdown", "#!/bin/sh\nexec init 6\n", 0o755)
    assert guest.ask("power.reboot(places)") is True
    guest.waits_for(lambda: (guest.root / "srv/shut-down").exists(), "its way down")


def test_system_v_without_scripts_keeps_the_agent_running(make: Make) -> None:
    """As Slackware has it: nothing in its table looks like the start of a runlevel's services."""
    guest = make(_SYSTEM_V)
    guest.write(
        "etc/inittab",
        "id:3:initdefault:\nrc:23:wait:/etc/rc.d/rc.M\n"
        "x1:3:respawn:/bin/sleep 1001\nx2:2:respawn:/bin/sleep 1002\n",
    )
    guest.write("etc/rc.d/rc.M", "#!/bin/sh\ntouch /srv/is-up\n", 0o755)
    guest.boot("/sbin/init")
    guest.waits_for(lambda: (guest.root / "srv/is-up").exists(), "the services")
    guest.waits_for(lambda: guest.state("sleep") == "active/running", "the program of its runlevel")
    _installs_and_uninstalls(guest)
