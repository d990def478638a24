"""The facts of the health report, from files and answers as real guests have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from innkeeper.agent.backends.apt import read_audit
from innkeeper.agent.inits import Inits
from innkeeper.agent.inits import systemd_units as units
from innkeeper.agent.inits.lingering import user_units
from innkeeper.agent.inits.systemd_groups import unit_of
from innkeeper.agent.listeners import Listener, any_ports, listeners
from innkeeper.agent.mounts import Mount, mounts, swaps
from innkeeper.agent.places import Places
from innkeeper.agent.routes import routes
from innkeeper.errors import AgentError
from tests.agent.networks import lay, write
from tests.agent.rig import Guest, Host

#: systemd 252 of Debian 12, shortened to what differs.
SHOW = """\
Type=simple
NRestarts=23
RemainAfterExit=no
Id=shop.service
Names=shop.service mail.service
WantedBy=multi-user.target
LoadState=loaded
ActiveState=activating
SubState=auto-restart
FragmentPath=/etc/systemd/system/shop.service
UnitFileState=enabled
StateChangeTimestampMonotonic=1000000

Type=oneshot
Id=flaky.service
Names=flaky.service
ActiveState=inactive
SubState=dead
UnitFileState=static
WantedBy=multi-user.target

Id=ssh.socket
Names=ssh.socket
WantedBy=
RequiredBy=
Triggers=ssh.service
ActiveState=active
SubState=listening
UnitFileState=enabled

Type=simple
Id=late.service
Names=late.service
Job=77
ActiveState=inactive
SubState=dead
UnitFileState=disabled

Where=/srv
Id=srv.mount
ActiveState=active
FragmentPath=/run/systemd/generator/srv.mount
SourcePath=/etc/fstab

Where=/mnt/by hand
Id=mnt-by\\x20hand.mount
ActiveState=active
FragmentPath=
"""

AUDIT = """\
The following packages have been unpacked but not yet configured.
They must be configured using dpkg --configure or the configure
menu option in dselect for them to work:
 bar                  bar thing

The following packages are only half configured, probably due to problems
configuring them the first time.  The configuration should be retried using
dpkg --configure <package> or the configure menu option in dselect:
 foo                  the foo that does
"""


def test_units_that_run_are_to_run_or_are_expected_are_told() -> None:
    """A job that is over is not; a unit of a crash loop has its count."""
    told = {unit.name: unit for unit in units.units(units.parse(SHOW))}
    assert sorted(told) == ["late.service", "shop.service", "ssh.socket"]
    shop = told["shop.service"]
    assert (shop.sub, shop.restarts, shop.aliases, shop.wanted) == (
        "auto-restart",
        23,
        ("mail.service",),
        True,
    )
    assert shop.age > 0
    assert told["ssh.socket"].triggers == ("ssh.service",)
    assert told["late.service"].has_job


def test_listeners_have_an_owner(tmp_path: Path) -> None:
    """By the number of the socket, the process that holds it, and its control group."""
    write(
        tmp_path,
        "proc/net/tcp",
        "  sl  local_address rem_address   st\n"
        "   0: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1\n"
        "   1: 00000000:0801 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 9999 1\n",
    )
    write(tmp_path, "proc/net/udp", "  sl\n   0: 00000000:0035 00000000:0000 07 0:0 0:0 0 0 0 4712 2\n")
    for pid, number, unit, program in ((70, 4711, "web.service", "nginx"), (71, 4711, "x.service", "worker")):
        write(tmp_path, f"proc/{pid}/cgroup", f"0::/system.slice/{unit}\n")
        write(tmp_path, f"proc/{pid}/comm", f"{program}\n")
        (tmp_path / f"proc/{pid}/fd").mkdir()
        (tmp_path / f"proc/{pid}/fd/3").symlink_to(f"socket:[{number}]")
    write(tmp_path, "proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n")
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    places = Places(str(tmp_path))
    assert listeners(places, Inits(places).owner()) == [
        Listener("tcp", "0.0.0.0", 80, "web.service", "nginx"),
        Listener("tcp", "0.0.0.0", 2049, "", ""),
        Listener("udp", "0.0.0.0", 53, "", ""),
    ]
    assert any_ports(places) == (32768, 60999)


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        ("0::/system.slice/ssh.service\n", "ssh.service"),
        ("12:pids:/x\n1:name=systemd:/system.slice/ssh.service\n0::/\n", "ssh.service"),
        ("0::/system.slice/docker-1f.scope\n", "docker-1f.scope"),
        (
            "0::/user.slice/user-7.slice/user@7.service/app.slice/shop.service\n",
            "user@7.service/shop.service",
        ),
        ("0::/user.slice/user-7.slice/session-3.scope\n", "session-3.scope"),
        ("0::/system.slice/postgresql.service/worker\n", "postgresql.service"),
        ("0::/\n", ""),
    ],
)
def test_control_groups_name_the_unit(cgroup: str, unit: str) -> None:
    """Of this and of the former hierarchy."""
    assert unit_of(cgroup) == unit


def test_mounts_are_told_with_who_wants_them(tmp_path: Path) -> None:
    """Also where a place has a space in its name."""
    write(
        tmp_path,
        "proc/self/mounts",
        "/dev/vda1 / ext4 ro,relatime 0 0\n/dev/vdb /srv ext4 rw 0 0\n/dev/vdc /mnt/by\\040hand ext4 rw 0 0\n"
        "/dev/loop0 /snap/core/1 squashfs ro 0 0\ntmpfs /run/user/1000 tmpfs rw 0 0\n",
    )
    write(tmp_path, "etc/fstab", "# a comment\n/dev/vda1 / ext4 defaults 0 1\n")
    assert mounts(Places(str(tmp_path)), units.mounts(units.parse(SHOW))) == [
        Mount("/", "ext4", True, "fstab", "defaults"),
        Mount("/mnt/by hand", "ext4", False, "", ""),
        Mount("/srv", "ext4", False, "fstab", ""),
    ]


def test_what_is_swapped_to_is_told_as_fstab_or_a_unit_names_it(tmp_path: Path) -> None:
    """What somebody swaps to by hand has the kernel's name, and what is switched off has none."""
    write(
        tmp_path,
        "proc/swaps",
        "Filename\tType\tSize\tUsed\tPriority\n"
        + "".join(f"/{one} partition 9 0 -2\n" for one in ("dev/vda5", "swapfile", "dev/zram0", "dev/sdz")),
    )
    for device in ("dev/vda5", "dev/zram0", "dev/sdz", "dev/off", "swapfile"):
        write(tmp_path, device, "")
    (tmp_path / "dev/disk/by-uuid").mkdir(parents=True)
    (tmp_path / "dev/disk/by-uuid/7f").symlink_to("../../vda5")
    write(
        tmp_path,
        "etc/fstab",
        'UUID="7f" none swap sw 0 0\n/swapfile none swap nofail 0 0\n/dev/off none swap sw 0 0\n',
    )
    told = (
        "Id=dev-zram0.swap\nWhat=/dev/zram0\nWantedBy=swap.target\nFragmentPath=/run/systemd/generator/x\n\n"
        "Id=dev-vda5.swap\nWhat=/dev/vda5\nRequiredBy=swap.target\nFragmentPath=/run/x\nSourcePath=/etc/fstab\n\n"
        "Id=dev-sdz.swap\nWhat=/dev/sdz\n"
    )
    assert swaps(Places(str(tmp_path)), units.swaps(units.parse(told))) == [
        Mount("/dev/sdz", "swap", False, "", ""),
        Mount("/dev/zram0", "swap", False, "generated", ""),
        Mount("/swapfile", "swap", False, "fstab", "nofail"),
        Mount('UUID="7f"', "swap", False, "fstab", "sw"),
    ]


def test_services_of_users_who_linger_are_told_by_their_control_groups(tmp_path: Path) -> None:
    """A manager may answer nobody but its user."""
    write(tmp_path, "var/lib/systemd/linger/root", "")
    write(tmp_path, "var/lib/systemd/linger/nobody-of-this-name", "")
    for name in ("shop.service", "gone.service"):
        write(tmp_path, f"etc/systemd/user/default.target.wants/{name}", "")
    group = "sys/fs/cgroup/user.slice/user-0.slice/user@0.service/app.slice"
    write(tmp_path, f"{group}/shop.service/cgroup.procs", "77\n")
    write(tmp_path, f"{group}/gone.service/cgroup.procs", "")
    assert [(unit.name, unit.active) for unit in user_units(Places(str(tmp_path)))] == [
        ("user@0.service/gone.service", "inactive"),
        ("user@0.service/shop.service", "active"),
    ]


def test_sockets_and_timers_of_users_who_linger_are_told_by_their_managers_notes(tmp_path: Path) -> None:
    """They have no process of their own; a manager that notes nothing tells none."""
    write(tmp_path, "var/lib/systemd/linger/root", "")
    for name in (
        "timers.target.wants/a.timer",
        "timers.target.wants/b.timer",
        "sockets.target.wants/c.socket",
        "graphical-session.target.wants/of-a-desktop.timer",
    ):
        write(tmp_path, f"etc/systemd/user/{name}", "")
    assert user_units(Places(str(tmp_path))) == []
    for name in ("a.timer", "c.socket"):
        write(tmp_path, f"run/user/0/systemd/units/invocation:{name}", "")
    assert [
        (unit.name, unit.active, unit.sub, unit.triggers) for unit in user_units(Places(str(tmp_path)))
    ] == [
        ("user@0.service/a.timer", "active", "waiting", ("user@0.service/a.service",)),
        ("user@0.service/b.timer", "inactive", "dead", ("user@0.service/b.service",)),
        ("user@0.service/c.socket", "active", "listening", ("user@0.service/c.service",)),
    ]


async def test_services_of_users_are_told_with_how_often_they_were_started_again(
    guest: Guest, host: Host
) -> None:
    """A program that lives five seconds of every six runs at each look: its manager's journal counts."""
    guest.program("systemctl", 'case "$1" in show) ;; is-system-running) echo running;; esac')
    guest.program(
        "journalctl",
        """case "$*" in *5eb03494b6584870a536b337290809b3*_SYSTEMD_UNIT=user@0.service*)
        for n in 7 8 9; do echo '{"USER_UNIT":"bot.service","_UID":"0","N_RESTARTS":"'$n'"}'; done;; esac""",
    )
    guest.write("run/systemd/system/.keep", "")
    guest.write("var/lib/systemd/linger/root", "")
    guest.write("etc/systemd/user/default.target.wants/bot.service", "")
    guest.start()
    report = await (await host.session()).health()
    assert report.details is not None
    assert report.details.units["user@0.service/bot.service"].restarts == 9


def test_what_dpkg_finds_is_told_by_package() -> None:
    """So that what is old can be told from what is new."""
    assert read_audit(AUDIT) == ["bar: not configured", "foo: not configured"]


async def test_a_guest_with_systemd_tells_its_details(guest: Guest, host: Host) -> None:
    """Over the wire, with what failed in the week before where that is asked for."""
    guest.write("show", SHOW)
    guest.program(
        "systemctl", f'case "$1" in show) cat "{guest.root}/show";; is-system-running) echo running;; esac'
    )
    guest.program("journalctl", """echo '{"UNIT":"backup.service"}'; echo no; echo '{"UNIT":null}'""")
    guest.write("run/systemd/system/.keep", "")
    guest.write("lib/systemd/system/shop.service", "")
    guest.write("proc/uptime", "77.5 3.2\n")
    guest.start()
    agent = await host.session()
    report = await agent.health(history=True)
    assert report.details is not None
    assert (report.details.uptime, [*report.details.failed_lately]) == (77, ["backup.service"])
    shop = report.details.unit("mail.service")
    assert shop is not None
    assert (shop.name, shop.is_between_starts) == ("shop.service", True)
    assert report.details.is_installed("shop.service")
    assert (await agent.health()).details is not None


async def test_a_systemd_that_does_not_answer_is_no_guest_without_units(guest: Guest, host: Host) -> None:
    """The report is an error then, and is asked for again."""
    guest.write("show", SHOW + "\nId=swap.swap\nActiveState=failed\n")
    guest.program(
        "systemctl",
        f'case "$1" in show) cat "{guest.root}/show"; [ -e "{guest.root}/well" ];; '
        "is-system-running) echo degraded;; *) exit 1;; esac",
    )
    guest.write("run/systemd/system/.keep", "")
    guest.start()
    agent = await host.session()
    with pytest.raises(AgentError, match=r"systemctl show failed \(exit code 1\)"):
        await agent.health()
    guest.write("well", "")
    assert (await agent.health()).failed_units == {"swap.swap"}


async def test_more_than_fits_is_left_out_whole(guest: Guest, host: Host) -> None:
    """Of a part, the rest would look lost."""
    block = "Id=unit-{}.service\nActiveState=active\nUnitFileState=enabled\n"
    guest.write("show", "\n".join(block.format(number) for number in range(5000)))
    guest.program(
        "systemctl", f'case "$1" in show) cat "{guest.root}/show";; is-system-running) echo running;; esac'
    )
    guest.write("run/systemd/system/.keep", "")
    guest.start()
    assert (await (await host.session()).health()).details is None


def sockets(root: Path, protocol: str, ports: range) -> None:
    """Let programs listen that nobody knows."""
    state = "0A" if protocol == "tcp" else "07"
    lines = (f"0: 00000000:{port:04X} 00000000:0000 {state} 0:0 0:0 0 0 0 {port} 1" for port in ports)
    write(root, f"proc/net/{protocol}", "\n".join(["  sl", *lines, ""]))


async def test_sockets_of_single_questions_make_nobodys_list_too_long(guest: Guest, host: Host) -> None:
    """A busy name server has thousands; what it lacks would be judged by addresses alone."""
    sockets(Path(guest.root), "udp", range(40000, 45000))
    sockets(Path(guest.root), "tcp", range(80, 82))
    guest.start()
    report = await (await host.session()).health()
    assert report.listeners == {"tcp:0.0.0.0:80", "tcp:0.0.0.0:81"}
    assert report.details is not None
    assert [one.port for one in report.details.listeners] == [80, 81]


async def test_mounts_that_somebody_wants_are_told_first(guest: Guest, host: Host) -> None:
    """A node of Kubernetes has thousands of others."""
    others = "".join(f"t /pods/{number} tmpfs rw 0 0\n" for number in range(5000))
    guest.write("proc/self/mounts", others + "/dev/vdb /srv ext4 rw 0 0\n")
    guest.write("etc/fstab", "/dev/vdb /srv ext4 defaults 0 2\n")
    guest.start()
    report = await (await host.session()).health()
    assert "/srv" in report.mounts
    assert report.details is not None
    assert [one.place for one in report.details.mounts] == ["/srv"]


def test_networks_are_told_by_cards_and_default_routes(tmp_path: Path) -> None:
    """As Linux has them in its tables: no reject, no link-local, no network of containers or tunnels."""
    lay(tmp_path)
    assert routes(Places(str(tmp_path))) == [
        ("", "", "br0", "card", True, True, ()),
        ("", "", "eth0", "card", True, False, ()),
        ("", "", "eth1", "card", False, True, ()),
        ("ipv4", "192.0.2.0/24", "br0", "card", True, True, ("192.0.2.0", "192.0.2.2")),
        ("ipv4", "default", "br0", "card", True, True, ()),
        ("ipv4", "default", "wg0", "tunnel", True, True, ()),
        ("ipv6", "2001:db8::/64", "br0", "card", True, True, ()),
        ("ipv6", "default", "br0", "card", True, True, ()),
    ]


def test_a_guest_whose_routes_cannot_be_read_or_are_a_routers_tells_none(tmp_path: Path) -> None:
    """Of a part of them, the rest would look lost."""
    assert routes(Places(str(tmp_path))) is None
    write(tmp_path, "proc/net/route", "Iface\n" + 100_000 * "eth0\t0\n")
    assert routes(Places(str(tmp_path))) is None
