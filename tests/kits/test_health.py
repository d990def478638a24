"""A kit tells of a guest what the task agent tells of it: the same statement, found by ``sh``."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import socket
import sys
from pathlib import Path

import pytest

from innkeeper.agent import effect
from innkeeper.agent.health import health
from innkeeper.agent.inits import Inits
from innkeeper.agent.places import Places
from innkeeper.agent.routes import routes
from innkeeper.channels.health_statements import read_health
from innkeeper.channels.ports import HealthReport
from innkeeper.updates.health.routes import findings
from innkeeper.wire.guest_facts import Ability
from tests.agent import networks
from tests.kits.rig import SHELLS, LocalCommands, session_with

_SYSTEMCTL = """#!/bin/sh
case "$1 $*" in
is-system-running*) echo degraded; exit 1 ;;
*LoadState*)
    printf 'LoadState=loaded\\nActiveState=failed\\nSubState=failed\\nResult=exit-code\\nExecMainCode=1\\n'
    printf 'ExecMainStatus=3\\nNRestarts=2\\nStateChangeTimestamp=Tue 2026-12-01\\n' ;;
show*)
    cat <<'END'
Id=shop.service
Names=shop.service till.service
Job=0
ActiveState=active
SubState=running
Type=simple
NRestarts=7
RemainAfterExit=no
UnitFileState=enabled
FragmentPath=/etc/systemd/system/shop.service
WantedBy=multi-user.target
RequiredBy=
TriggeredBy=shop.socket
Triggers=a.service b.service
StateChangeTimestampMonotonic=0

Id=odd\\x2d"name".service
Names=odd\\x2d"name".service
Job=12
ActiveState=failed
SubState=failed
Type=oneshot
NRestarts=
RemainAfterExit=yes
UnitFileState=static
StateChangeTimestampMonotonic=0

Id=once.service
Names=once.service
ActiveState=inactive
Type=oneshot
RemainAfterExit=no
UnitFileState=enabled

Id=kept.service
Names=kept.service
ActiveState=inactive
Type=simple
UnitFileState=enabled-runtime

Id=srv-my\\x20data.mount
Names=srv-my\\x20data.mount
ActiveState=failed
Where=/dev
FragmentPath=/run/systemd/generator/x.mount
END
    ;;
esac
"""


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root over this computer's processes, whose systemd says what it is told to."""
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    (tmp_path / "proc").symlink_to("/proc")
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    (tmp_path / "etc/systemd/system/shop.service").touch()
    table = "# none\n/dev/vda / ext4 defaults,ro 0 1\nnone /dev\\040x tmpfs rw 0 0\n"
    (tmp_path / "etc/fstab").write_text(table)
    checks = tmp_path / "etc/innkeeper/health/required.d"
    checks.mkdir(parents=True)
    (checks / "shop").write_text('#!/bin/sh\necho "it is \\"closed\\""; exit 4\n')
    (checks / "shop").chmod(0o755)
    program = tmp_path / "bin/systemctl"
    program.parent.mkdir()
    program.write_text(_SYSTEMCTL)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return tmp_path


@pytest.mark.parametrize("shell", SHELLS)
async def test_a_kit_says_of_a_guest_what_its_agent_says(guest: Path, shell: str) -> None:
    """Units, listeners with their owners, mounts, complaints and checks; nothing more, and nothing less."""
    session = await session_with(LocalCommands(guest, dict(os.environ), SHELLS[shell]))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        report = await session.health(history=True)
        told = await asyncio.to_thread(_by_the_agent, guest)
    assert report.details is not None
    assert told.details is not None
    assert (report.boot_id, report.kernel, report.system_state) == (told.boot_id, told.kernel, "degraded")
    assert report.failed_units == told.failed_units == {'odd\\x2d"name".service', "srv-my\\x20data.mount"}
    assert report.details.units == told.details.units
    assert report.details.unit_files == told.details.unit_files == {"shop.service"}
    mine = {one for one in report.details.listeners if one.port == port}
    assert mine == {one for one in told.details.listeners if one.port == port}
    assert {one.program for one in mine} != {""}
    assert ("::1" in {one.address for one in report.details.listeners}) == (
        "::1" in {one.address for one in told.details.listeners}
    )
    assert report.details.any_ports == told.details.any_ports
    assert report.details.mounts == told.details.mounts
    assert report.mounts == told.mounts
    assert dict(report.failed_checks).keys() == dict(told.failed_checks).keys() == {"shop"}
    assert 'it is "closed"' in report.failed_checks["shop"]
    assert abs(report.details.uptime - told.details.uptime) < 60


_JOURNALCTL = """#!/bin/sh
case "$*" in
*5eb03494b6584870a536b337290809b3*_SYSTEMD_UNIT=user@0.service*)
    for n in 7 8 9; do echo '{"USER_UNIT":"bot.service","_UID":"0","N_RESTARTS":"'$n'"}'; done ;;
*d9b373ed55a64feb8242e02dbe79a49c*)
    printf '%s\\n' '{"UNIT":"odd\\\\x2d.service"}'; echo '{"USER_UNIT" : "bot.service", "_UID" : "0"}' ;;
esac
"""


@pytest.mark.parametrize("shell", SHELLS)
async def test_a_kit_says_of_users_who_linger_what_its_agent_says(guest: Path, shell: str) -> None:
    """Services with how often they were started again, sockets and timers, and that all are installed."""
    (guest / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    for path in (
        "var/lib/systemd/linger/root",
        "etc/systemd/user/default.target.wants/bot.service",
        "etc/systemd/user/sockets.target.wants/c.socket",
        "etc/systemd/user/timers.target.wants/a.timer",
        "etc/systemd/user/graphical-session.target.wants/of-a-desktop.service",
        "run/user/0/systemd/units/invocation:a.timer",
    ):
        (guest / path).parent.mkdir(parents=True, exist_ok=True)
        (guest / path).touch()
    group = guest / "sys/fs/cgroup/user.slice/user-0.slice/user@0.service/app.slice/bot.service"
    group.mkdir(parents=True)
    (group / "cgroup.procs").write_text("77\n")
    (guest / "bin/journalctl").write_text(_JOURNALCTL)
    (guest / "bin/journalctl").chmod(0o755)
    session = await session_with(LocalCommands(guest, dict(os.environ), SHELLS[shell]))
    report = await session.health(history=True)
    told = await asyncio.to_thread(_by_the_agent, guest)
    assert report.details is not None
    assert told.details is not None
    assert report.details.units == told.details.units
    assert report.details.units["user@0.service/bot.service"].restarts == 9
    assert report.details.units["user@0.service/a.timer"].active == "active"
    assert "user@0.service/of-a-desktop.service" not in report.details.units
    assert report.details.unit_files == told.details.unit_files
    assert report.details.failed_lately == told.details.failed_lately
    assert report.details.failed_lately == {"odd\\x2d.service", "user@0.service/bot.service"}


@pytest.mark.parametrize("shell", SHELLS)
async def test_a_kit_counts_what_its_agent_counts(guest: Path, shell: str) -> None:
    """Of thousands of mounts those that somebody wants, of sockets those that last, and swap."""
    (guest / "proc").unlink()
    for directory in ("proc/self", "proc/net", "proc/sys/net/ipv4", "dev/disk/by-uuid"):
        (guest / directory).mkdir(parents=True)
    others = "".join(f"t /pods/{number} tmpfs rw 0 0\n" for number in range(5000))
    (guest / "proc/self/mounts").write_text(others + "/dev/vda / ext4 rw 0 0\n")
    (guest / "proc/uptime").write_text("77.5 3.2\n")
    (guest / "proc/sys/net/ipv4/ip_local_port_range").write_text("32768\t60999\n")
    line = "0: 00000000:{:04X} 00000000:0000 07 0:0 0:0 0 0 0 {} 1\n"
    ports = (53, *range(40000, 45000))
    (guest / "proc/net/udp").write_text("  sl\n" + "".join(line.format(port, port) for port in ports))
    (guest / "dev/vda5").touch()
    (guest / "dev/disk/by-uuid/7f").symlink_to("../../vda5")
    (guest / "proc/swaps").write_text(
        "Filename Type Size Used Priority\n/dev/vda5 partition 9 0 -2\n/dev/sdz partition 9 0 -2\n"
    )
    with (guest / "etc/fstab").open("a") as table:
        table.write("UUID=7f none swap sw 0 0\n/dev/off none swap sw 0 0\n")
    session = await session_with(LocalCommands(guest, dict(os.environ), SHELLS[shell]))
    report = await session.health()
    told = await asyncio.to_thread(_by_the_agent, guest)
    assert report.details is not None
    assert told.details is not None
    assert [mount.place for mount in report.details.mounts] == ["/dev/sdz", "UUID=7f", "/"]
    assert report.details.mounts == told.details.mounts
    assert [one.port for one in report.details.listeners] == [53]
    assert report.details.listeners == told.details.listeners
    assert report.listeners == told.listeners == {"udp:0.0.0.0:53"}
    assert {"UUID=7f", "/"} <= report.mounts & told.mounts
    assert "/dev/sdz" not in report.mounts | told.mounts
    assert len(report.mounts) == len(told.mounts) == 2000


_SERVER = """
import os, socket, sys
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], os.fstat(server.fileno()).st_ino, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("shell", SHELLS)
async def test_a_file_that_is_called_like_a_socket_owns_no_port(guest: Path, shell: str) -> None:
    """Anybody may open one, and name it as he likes: the port stays its server's."""
    (guest / "till").symlink_to(sys.executable)
    server = await asyncio.create_subprocess_exec(
        guest / "till", "-I", "-S", "-c", _SERVER,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert server.stdout is not None
    port, inode = (await server.stdout.readline()).decode().split()
    names = (f"a -> socket:[{inode}]", f"b\nlrwx------ 1 0 0 64 Jan  1 00:00 5 -> socket:[{inode}]")
    opened = [await asyncio.to_thread((guest / name).open, "w") for name in names]
    try:
        session = await session_with(LocalCommands(guest, dict(os.environ), SHELLS[shell]))
        report = await session.health()
    finally:
        for file in opened:
            file.close()
        server.kill()
        await server.wait()
    assert report.details is not None
    assert {one.program for one in report.details.listeners if one.port == int(port)} == {"till"}


@pytest.mark.parametrize("shell", SHELLS)
async def test_what_is_known_of_units_in_trouble_is_told(guest: Path, shell: str) -> None:
    """In the words of the agent; and a name that is no unit's runs nothing."""
    session = await session_with(LocalCommands(guest, dict(os.environ), SHELLS[shell]))
    assert session.knows(Ability.EVIDENCE)
    names = ["shop.service", "$(touch /tmp/x).service"]
    told = await session.evidence(names)
    expected = await asyncio.to_thread(lambda: Inits(Places(str(guest))).evidence(["shop.service"]))
    assert told["shop.service"][0] == expected["shop.service"][0]
    assert "its program ended by exit code 3, started again 2 times" in told["shop.service"][0]


@pytest.mark.parametrize(
    "unit", ["shop.service", "docker.service", "user@1000.service/a.service", "a.socket", "dbus.service"]
)
async def test_the_same_units_are_restarted(guest: Path, unit: str) -> None:
    """A restart that ends what people do is nobody's to make unasked."""
    session = await session_with(LocalCommands(guest, dict(os.environ)))
    assert list(await session.restart_units([unit])) == [unit] * effect.may_restart(unit)


@pytest.fixture
def networked(tmp_path: Path) -> Path:
    """A root with tables of networks of its own."""
    networks.lay(tmp_path)
    (tmp_path / "proc/self").mkdir()
    (tmp_path / "proc/self/mounts").write_text("/dev/vda / ext4 rw 0 0\n")
    return tmp_path


@pytest.mark.parametrize("shell", SHELLS)
async def test_a_kit_tells_the_networks_that_the_agent_tells(networked: Path, shell: str) -> None:
    """Default routes, what cards are in, and each card, also over a bridge; no containers' networks."""
    session = await session_with(LocalCommands(networked, dict(os.environ), SHELLS[shell]))
    report = await session.health()
    told = await asyncio.to_thread(routes, Places(str(networked)))
    assert told is not None
    assert report.details is not None
    assert report.details.routes is not None
    # Without what is of use only where it is known which addresses float.
    assert [dataclasses.astuple(route)[:5] for route in report.details.routes] == [row[:5] for row in told]


@pytest.mark.parametrize("shell", SHELLS)
async def test_a_network_that_is_gone_is_a_fault_by_a_kit_too(networked: Path, shell: str) -> None:
    """qemu-guest-agent answers without any network: nobody else would notice."""
    session = await session_with(LocalCommands(networked, dict(os.environ), SHELLS[shell]))
    before = await session.health()
    table = networked / "proc/net/route"
    table.write_text(table.read_text().splitlines()[0] + "\n")
    found = findings(before, await session.health())
    assert {one.subject for one in found if one.is_fault} == {"network:default", "network:br0"}


@pytest.mark.parametrize("shell", SHELLS)
async def test_a_machine_of_a_cluster_tells_no_networks_by_a_kit(networked: Path, shell: str) -> None:
    """Its addresses may be with a peer after the update: which those are a kit does not know."""
    networks.write(networked, "proc/812/comm", "keepalived\n")
    session = await session_with(LocalCommands(networked, dict(os.environ), SHELLS[shell]))
    details = (await session.health()).details
    assert details is not None
    assert details.routes is None


@pytest.mark.parametrize("shell", SHELLS)
async def test_a_router_and_a_guest_without_tables_tell_no_networks(networked: Path, shell: str) -> None:
    """Of a part of them, the rest would look lost."""
    session = await session_with(LocalCommands(networked, dict(os.environ), SHELLS[shell]))
    table = networked / "proc/net/route"
    rows = "".join(f"br0\t{n:06X}0A\t00000000\t0001\t0\t0\t0\tFFFFFFFF\t0\t0\t0\n" for n in range(600))
    for text in ("Iface\n" + 100_000 * "eth0\t0\n", "Iface\n" + rows, None):
        table.unlink()
        if text is not None:
            table.write_text(text)
        details = (await session.health()).details
        assert details is not None
        assert details.routes is None


def _by_the_agent(root: Path) -> HealthReport:
    # As it travels: rows are lists then.
    return read_health(json.loads(json.dumps(health(Places(str(root)), history=True))))
