"""What this computer knows of itself, and what it says where it cannot know."""

from __future__ import annotations

from pathlib import Path

import pytest

from innkeeper.schedule.linux.computer import LinuxAccounts, LinuxConditions


def supply(root: Path, name: str, **facts: str) -> None:
    (root / name).mkdir(parents=True)
    for key, value in facts.items():
        (root / name / key).write_text(value + "\n")


@pytest.mark.parametrize(("online", "answer"), [("1", False), ("0", True)])
def test_a_battery_counts_while_no_mains_is_on(tmp_path: Path, online: str, answer: bool) -> None:
    """A laptop on its mains is not on batteries."""
    supply(tmp_path, "BAT0", type="Battery")
    supply(tmp_path, "AC", type="Mains", online=online)
    assert LinuxConditions(power=tmp_path).on_batteries() is answer


def test_what_cannot_be_known_is_said_so(tmp_path: Path) -> None:
    """A server tells nothing of its power."""
    assert LinuxConditions(power=tmp_path / "none").on_batteries() is None


def test_an_interface_that_is_up_is_a_network(tmp_path: Path) -> None:
    """The loopback does not count."""
    supply(tmp_path, "lo", operstate="unknown")
    assert LinuxConditions(network=tmp_path).has_network() is False
    supply(tmp_path, "eth0", operstate="up")
    assert LinuxConditions(network=tmp_path).has_network() is True


def test_accounts_are_found_by_name_realm_and_well_known_identifier() -> None:
    """SYSTEM is root; a realm before the name is passed over; an unknown name is none."""
    accounts = LinuxAccounts()
    assert (
        accounts.find("S-1-5-18") == accounts.find("NT AUTHORITY\\SYSTEM") == accounts.find("root") == "root"
    )
    assert accounts.find("LAB\\root") == "root"
    assert accounts.find("no-such-account-here") is None
    assert accounts.find("a\x00b") is None
