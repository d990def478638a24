"""A machine's guest and its accountant as objects, with the documented errors of each member."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from innkeeper.client import Inn, Machine, Task
from innkeeper.errors import ErrorCode, InnkeeperError
from innkeeper.wire.states import MachineState, TaskResult
from tests.serving import Service


@pytest.fixture(scope="module")
def guests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose guests these tests may do with as they like."""
    service = Service(tmp_path_factory.mktemp("guests"), machines=12, speed=60)
    service.start()
    yield service
    service.end()


@pytest.fixture(scope="module")
def inn(guests: Service) -> Iterator[Inn]:
    """One connection for all."""
    with guests.connect() as inn:
        yield inn


@pytest.fixture
def machine(inn: Inn) -> Machine:
    """A running one, whose agent answers."""
    machine = inn.machines["web-1"]
    _until(lambda: machine.read().agent_connected)
    return machine


@pytest.fixture(scope="module")
def paused(inn: Inn) -> Machine:
    """One that is paused."""
    known = {"web-1", "db-1", "old-1"}
    name = next(
        m.name for m in inn.machines.list() if m.state is MachineState.RUNNING and m.name not in known
    )
    assert inn.machines[name].pause().wait(30)
    return inn.machines[name]


def _until(look: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _ended(task: Task) -> Task:
    assert task.wait(60)
    return task


def test_a_guest_says_what_it_is(machine: Machine) -> None:
    """Each documented member, for a guest that is no Windows."""
    guest = machine.guest_os
    assert guest.computer_name == "web-1"
    assert (guest.os_name, guest.os_version) == ("Simulated Linux 1", "1 (simulated)")
    assert (guest.os_major_version, guest.os_minor_version, guest.os_platform_id) == ("1", "0", "simulated")
    assert guest.os_build_number.startswith("6.1.0")
    assert (guest.csd_version, guest.service_pack_major, guest.service_pack_minor) == ("", "0", "0")
    assert (guest.product_type, guest.suite_mask) == ("0x0000000", "0x00000000")
    assert guest.multiple_user_sessions_allowed
    assert (guest.terminal_server_port, guest.terminal_services_initialized) == (0, False)


def test_its_agent_answers_for_it(machine: Machine) -> None:
    """Version, heartbeat, whether it can be shut down cleanly."""
    guest = machine.guest_os
    assert guest.integration_components_version == "simulated"
    assert (guest.heartbeat_percentage, guest.is_heartbeating, guest.can_shutdown) == (100, True, True)
    assert guest.is_host_time_sync_enabled


def test_who_logs_on_is_seen_and_logged_off(machine: Machine) -> None:
    """By a task, which fails late where nobody is on."""
    guest = machine.guest_os
    assert not guest.is_user_logged_on()
    assert not guest.screen_locked
    machine.keyboard.type_ascii_text("ana\n")
    assert [session.user for session in guest.sessions().sessions] == ["ana"]
    assert guest.is_user_logged_on()
    assert _ended(guest.logoff()).result is TaskResult.SUCCESS
    assert not guest.is_user_logged_on()
    nobody = _ended(guest.logoff())
    assert (nobody.result, nobody.error) == (
        TaskResult.UNEXPECTED_ERROR,
        ErrorCode.ERROR_NO_SUCH_LOGON_SESSION,
    )


def test_parameters_go_both_ways_and_are_kept(machine: Machine, guests: Service) -> None:
    """The guest has them, the host knows them still when the machine is off."""
    guest = machine.guest_os
    guest.set_parameter("colour", "green")
    guest.parameters["a/b ü"] = "line\nline"
    assert guest.get_parameter("colour") == "green"
    assert guest.parameters["a/b ü"] == "line\nline"
    assert set(guest.parameters) >= {"colour", "a/b ü"}
    del guest.parameters["a/b ü"]
    with pytest.raises(KeyError):
        guest.parameters["a/b ü"]
    assert _ended(machine.save()).result is TaskResult.SUCCESS
    assert {each.name: each.value for each in guest.parameters.list()} == {"colour": "green"}
    assert _ended(machine.startup()).result is TaskResult.SUCCESS
    _until(lambda: machine.read().agent_connected)
    assert guest.get_parameter("colour") == "green"


def test_a_guest_is_given_the_documented_parameters_when_it_starts(inn: Inn) -> None:
    """The names of its host and of its machine."""
    machine = inn.machines["web-1"]
    assert _ended(machine.guest_os.restart(forced=True)).result is TaskResult.SUCCESS
    assert _ended(machine.turn_off()).result is TaskResult.SUCCESS
    assert _ended(machine.startup()).result is TaskResult.SUCCESS
    _until(lambda: machine.read().agent_connected)
    _until(lambda: _get(machine, "VirtualMachineName") == "web-1")
    assert _get(machine, "HostName")


def _get(machine: Machine, name: str) -> str:
    try:
        return machine.guest_os.get_parameter(name)
    except InnkeeperError:
        return ""


def test_a_guest_restarts_and_shuts_down(inn: Inn) -> None:
    """Each a task, which ends when it has."""
    machine = inn.machines["db-1"]
    _until(lambda: machine.read().agent_connected)
    assert _ended(machine.guest_os.restart()).result is TaskResult.SUCCESS
    assert machine.read().state is MachineState.RUNNING
    _until(lambda: machine.read().agent_connected)
    assert _ended(machine.guest_os.shutdown()).result is TaskResult.SUCCESS
    assert machine.read().state is MachineState.TURNED_OFF


def test_an_accountant_has_figures(machine: Machine) -> None:
    """Believable ones, that only grow."""
    accountant = machine.accountant
    _until(lambda: accountant.read().rates.cpu_percent > 0)
    before = accountant.read()
    _until(lambda: accountant.read().disk_read_bytes > before.disk_read_bytes)
    after = accountant.read()
    assert 0 <= accountant.cpu_utilization <= 100
    assert len(accountant.cpu_utilization_history) == 60
    assert len(accountant.history("day").points) == 288
    assert after.network_received_bytes is not None
    assert before.network_received_bytes is not None
    assert after.network_received_bytes >= before.network_received_bytes
    assert accountant.disk_bytes_written >= before.disk_written_bytes
    assert accountant.up_time is not None
    assert after.rates.memory_bytes > 0


def test_a_machine_that_is_off_has_no_figures(inn: Inn) -> None:
    """All zero, as documented."""
    accountant = inn.machines["old-1"].accountant
    assert (accountant.cpu_utilization, accountant.up_time, accountant.disk_bytes_read) == (0, 0, 0)
    assert set(accountant.cpu_utilization_history) == {0}


_ASKED: list[tuple[str, Callable[[Machine], object]]] = [
    ("ComputerName", lambda m: m.guest_os.computer_name),
    ("OSName", lambda m: m.guest_os.os_name),
    ("OSVersion", lambda m: m.guest_os.os_version),
    ("OSMajorVersion", lambda m: m.guest_os.os_major_version),
    ("OSMinorVersion", lambda m: m.guest_os.os_minor_version),
    ("OSBuildNumber", lambda m: m.guest_os.os_build_number),
    ("OSPlatformId", lambda m: m.guest_os.os_platform_id),
    ("CSDVersion", lambda m: m.guest_os.csd_version),
    ("ServicePackMajor", lambda m: m.guest_os.service_pack_major),
    ("ServicePackMinor", lambda m: m.guest_os.service_pack_minor),
    ("SuiteMask", lambda m: m.guest_os.suite_mask),
    ("GetOsVersionInfo", lambda m: m.guest_os.read()),
    ("MultipleUserSessionsAllowed", lambda m: m.guest_os.multiple_user_sessions_allowed),
    ("TerminalServerPort", lambda m: m.guest_os.terminal_server_port),
    ("IsUserLoggedOn", lambda m: m.guest_os.is_user_logged_on()),
    ("ScreenLocked", lambda m: m.guest_os.screen_locked),
    ("GetParameter", lambda m: m.guest_os.get_parameter("HostName")),
    ("SetParameter", lambda m: m.guest_os.set_parameter("a", "b")),
    ("Logoff", lambda m: m.guest_os.logoff()),
    ("Restart", lambda m: m.guest_os.restart()),
    ("Shutdown", lambda m: m.guest_os.shutdown()),
    ("InstallIntegrationComponents", lambda m: m.guest_os.install_integration_components()),
    ("HeartbeatPercentage", lambda m: m.guest_os.heartbeat_percentage),
    ("IsHeartbeating", lambda m: m.guest_os.is_heartbeating),
    ("IntegrationComponentsVersion", lambda m: m.guest_os.integration_components_version),
]


@pytest.mark.parametrize(("member", "ask"), _ASKED)
def test_a_guest_that_cannot_answer_is_not_asked(
    inn: Inn, paused: Machine, member: str, ask: Callable[[Machine], object]
) -> None:
    """Off, paused, and unknown machines: each with its documented identifier."""
    with pytest.raises(InnkeeperError) as off:
        ask(inn.machines["old-1"])
    assert off.value.code is ErrorCode.VM_E_VM_NOT_RUNNING, member
    with pytest.raises(InnkeeperError) as held:
        ask(paused)
    assert held.value.code is ErrorCode.VM_E_VM_PAUSED, member


@pytest.mark.parametrize(
    ("member", "ask", "code"),
    [
        ("IsUserLoggedOn", lambda m: m.guest_os.is_user_logged_on(0), ErrorCode.E_INVALIDARG),
        ("IsUserLoggedOn", lambda m: m.guest_os.is_user_logged_on(7), ErrorCode.E_INVALIDARG),
        ("GetParameter", lambda m: m.guest_os.get_parameter("a\\b"), ErrorCode.E_INVALIDARG),
        ("GetParameter", lambda m: m.guest_os.get_parameter("x" * 256), ErrorCode.E_INVALIDARG),
        ("GetParameter", lambda m: m.guest_os.get_parameter("nothing"), ErrorCode.ERROR_FILE_NOT_FOUND),
        ("SetParameter", lambda m: m.guest_os.set_parameter("a\nb", ""), ErrorCode.E_INVALIDARG),
        ("SetParameter", lambda m: m.guest_os.set_parameter("a", "x" * 4097), ErrorCode.E_INVALIDARG),
        ("SetParameter", lambda m: m.guest_os.set_parameter("a", "\0"), ErrorCode.E_INVALIDARG),
        (
            "IsHostTimeSyncEnabled",
            lambda m: setattr(m.guest_os, "is_host_time_sync_enabled", False),
            ErrorCode.VM_E_PREF_VM_ACTIVE,
        ),
    ],
)
def test_bad_values_are_refused_as_documented(
    machine: Machine, member: str, ask: Callable[[Machine], object], code: ErrorCode
) -> None:
    """At the call, before the guest hears of it."""
    with pytest.raises(InnkeeperError) as caught:
        ask(machine)
    assert caught.value.code is code, member
