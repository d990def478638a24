"""Health of a Windows guest by its kit, judged by the host's own rules.

As with its updates: what these tests prove is that the kit does what it means to do.
"""

from __future__ import annotations

import dataclasses
import datetime as dt

from innkeeper.channels.ports import HealthReport
from innkeeper.updates import health
from tests.kits.windows.guest import Guest
from tests.kits.windows.machine import Process, Service, Windows


def _judged(before: HealthReport, after: HealthReport) -> health.Judgement:
    rebooted = before.boot_id != after.boot_id
    return health.judge(before, after, must_have_rebooted=rebooted)


def _later(windows: Windows, minutes: float = 10) -> None:
    windows.now += dt.timedelta(minutes=minutes)


def test_a_good_reboot_is_no_finding(windows: Windows, guest: Guest) -> None:
    """Whoever was logged on is gone, and so is what he had started: that does not count."""
    before = guest.health(history=True)
    windows.reboot()
    _later(windows)
    judgement = _judged(before, guest.health())
    assert judgement.faults == ()
    assert [each for each in judgement.warnings if "9000" not in each] == []


def test_services_are_units_with_their_listeners(guest: Guest) -> None:
    """A program that a service has started is the service's."""
    details = guest.health().details
    assert details is not None
    listeners = {(one.protocol, one.port): (one.unit, one.program) for one in details.listeners}
    assert listeners["tcp", 8080] == ("Shop.service", "java.exe")
    assert listeners["tcp", 445] == ("", "System")
    assert listeners["tcp", 9000] == ("session-1", "chat.exe")
    assert details.any_ports == (49152, 65535)
    assert "CDPUserSvc_4a2b1.service" not in details.units
    assert details.is_installed("wuauserv.service")
    assert [mount.place for mount in details.mounts] == ["C:\\", "D:\\"]


def test_a_service_that_does_not_start_any_more_is_a_fault(windows: Windows, guest: Guest) -> None:
    """It ran, it is to start by itself, and it ended with an error."""
    before = guest.health(history=True)
    windows.service("Shop").breaks = True
    windows.reboot()
    _later(windows)
    judgement = _judged(before, guest.health())
    assert "The unit Shop.service has failed." in judgement.faults
    assert judgement.is_lasting


def test_a_service_that_somebody_stopped_is_a_fault(windows: Windows, guest: Guest) -> None:
    """Without an error, too: it was there, and is not any more."""
    before = guest.health()
    windows.service("W3SVC").state = "Stopped"
    assert (
        "The unit W3SVC.service, which was active, is not active any more."
        in _judged(before, guest.health()).faults
    )


def test_a_service_that_starts_late_is_waited_for(windows: Windows, guest: Guest) -> None:
    """Windows starts some two minutes after the boot: never started is not failed."""
    late = Service("Late", "Starts late", delayed=True, pid=1700)
    windows.services.append(late)
    windows.processes.append(Process(1700, "late.exe"))
    before = guest.health()
    windows.reboot()
    late.state, late.exit_code, late.pid = "Stopped", 1077, 0
    judgement = _judged(before, guest.health())
    assert judgement.faults == ()
    assert judgement.may_pass
    _later(windows, 5)
    assert (
        "The unit Late.service, which was active, is not active any more."
        in _judged(before, guest.health()).faults
    )


def test_a_boot_that_starts_its_services_is_not_over(windows: Windows, guest: Guest) -> None:
    """Nobody is judged before: neither while services are to start, nor while an update is put in place."""
    windows.reboot()
    windows.service("Shop").state, windows.service("Shop").exit_code = "Stopped", 1077
    assert not health.is_settled(guest.health())
    windows.service("Shop").state, windows.service("Shop").exit_code = "Running", 0
    assert health.is_settled(guest.health())
    servicing = r"software\microsoft\windows\currentversion\component based servicing\rebootinprogress"
    windows.registry[servicing] = {}
    assert not health.is_settled(guest.health())


def test_what_triggers_start_comes_and_goes(windows: Windows, guest: Guest) -> None:
    """A service with triggers that had not run all the time is not missed."""
    windows.service("W32Time").pid = 0
    before = guest.health()
    windows.service("W32Time").state = "Stopped"
    assert not [each for each in _judged(before, guest.health()).faults if "W32Time.service" in each]


def test_a_service_that_keeps_ending_is_found(windows: Windows, guest: Guest) -> None:
    """The service control manager starts it again each time, and calls it running by luck."""
    before = guest.health()
    windows.happens(7031, "Shop", "1", "60000", "1", "Restart the service")
    earlier = guest.health()
    for _ in range(3):
        _later(windows, 1)
        windows.happens(7031, "Shop", "2", "60000", "1", "Restart the service")
    later = guest.health()
    (found,) = health.restarting(before, earlier, later, frozenset())
    assert found.is_fault
    assert found.subject == "unit:Shop.service"


def test_a_service_between_two_starts_has_not_failed(windows: Windows, guest: Guest) -> None:
    """Its recovery is to start it again: it may pass."""
    before = guest.health()
    windows.happens(7031, "Shop", "1", "60000", "1", "Restart the service")
    windows.service("Shop").state, windows.service("Shop").exit_code = "Stopped", 1067
    judgement = _judged(before, guest.health())
    assert judgement.may_pass
    _later(windows, 5)
    assert _judged(before, guest.health()).is_lasting


def test_what_failed_in_the_week_before_is_a_warning(windows: Windows, guest: Guest) -> None:
    """The log of events tells, also of services that did not start in time."""
    windows.events.append(
        (windows.now, "Service Control Manager", 7009, ["30000", windows.service("Shop").display])
    )
    before = guest.health(history=True)
    assert before.details is not None
    assert before.details.failed_lately == {"Shop.service"}
    windows.service("Shop").state, windows.service("Shop").exit_code = "Stopped", 1067
    assert not [each for each in _judged(before, guest.health()).faults if "Shop.service" in each]


def test_ports_that_windows_gave_are_judged_by_their_owner(windows: Windows, guest: Guest) -> None:
    """A service that listens at another such port after its start is well."""
    windows.service("RpcSs").ports = ["tcp/135", "tcp/49664"]
    before = guest.health()
    windows.reboot()
    _later(windows)
    windows.service("RpcSs").ports = ["tcp/135", "tcp/49700"]
    assert _judged(before, guest.health()).faults == ()


def test_a_volume_that_is_gone_is_a_fault(windows: Windows, guest: Guest) -> None:
    """Fixed volumes with a place of their own count."""
    before = guest.health()
    windows.volumes.remove("D:\\")
    assert _judged(before, guest.health()).faults == ("D:\\ is not mounted any more.",)


def test_networks_are_told_by_cards_and_default_routes(windows: Windows, guest: Guest) -> None:
    """As the agent tells them: no single address, no link-local, no network of a switch or a tunnel."""
    details = guest.health().details
    assert details is not None
    assert details.routes is not None
    assert [dataclasses.astuple(route)[:5] for route in details.routes] == [
        ("", "", "Ethernet", "card", True),
        ("ipv4", "default", "Ethernet", "card", True),
        ("ipv4", "192.0.2.0/24", "Ethernet", "card", True),
        ("ipv4", "default", "Interface 30", "tunnel", True),
        ("ipv6", "default", "Ethernet", "card", True),
        ("ipv6", "2001:db8::/64", "Ethernet", "card", True),
    ]
    windows.routes += [(f"10.{number // 250}.{number % 250}.0/24", "0.0.0.0", 4) for number in range(600)]
    many = guest.health().details
    assert many is not None
    assert many.routes is None


def test_a_network_that_is_gone_is_a_fault(windows: Windows, guest: Guest) -> None:
    """qemu-guest-agent answers without any network; a cable that is out is nobody's fault in the guest."""
    before = guest.health()
    windows.routes = [("169.254.0.0/16", "0.0.0.0", 4), ("127.0.0.0/8", "0.0.0.0", 1)]
    faults = _judged(before, guest.health()).faults
    assert any("Ethernet has no address of IPv4 any more" in each for each in faults)
    windows.adapters[4] = ("Ethernet", 6, True, 2)
    assert not any("Ethernet" in each for each in _judged(before, guest.health()).faults)


def test_the_boot_is_known_whatever_becomes_of_the_clock(windows: Windows, guest: Guest) -> None:
    """Windows tells the time of its boot by its clock, so that a clock which is set looks like a reboot."""
    before = guest.health()
    assert guest.ask("set-time", f"{windows.now.timestamp() + 86400:.3f}") == {}
    after = guest.health()
    assert after.boot_id == before.boot_id
    assert after.details is not None
    assert before.details is not None
    assert after.details.uptime == before.details.uptime
    windows.reboot()
    assert guest.health().boot_id != before.boot_id


def test_a_service_in_trouble_is_told_of(windows: Windows, guest: Guest) -> None:
    """How it stands, and what the log of events has of it and of its program."""
    windows.happens(7034, "Shop", "1")
    windows.events.append((windows.now, "Application Error", 1000, ["shop.exe", "1.0"]))
    windows.service("Shop").state, windows.service("Shop").exit_code = "Stopped", 1067
    told = guest.evidence("Shop.service", "Nobody.service")
    assert set(told) == {"Shop.service"}
    state, *events = told["Shop.service"]
    assert state == "Stopped, starts: Auto, exit code 1067 (Windows has words for 1067)"
    assert [line.split(" ", 1)[1] for line in events] == [
        "Service Control Manager 7034: The Shop of Müller & Söhne service says 7034.",
        "Application Error 1000: The shop.exe service says 1000.",
    ]


def test_a_log_that_cannot_be_read_is_no_log_without_events(windows: Windows, guest: Guest) -> None:
    """Nothing found is not the same as not looked."""
    windows.is_log_broken = True
    assert "The kit failed in line" in guest.refusal("health")


def test_a_report_is_kept_and_read_again(guest: Guest) -> None:
    """In the journal of a run it is what it was, but for what no baseline needs."""
    report = guest.health(history=True)
    kept = health.from_json(health.to_json(report))
    assert kept.details is not None
    assert report.details is not None
    assert dataclasses.replace(kept.details, unit_files=report.details.unit_files) == report.details
