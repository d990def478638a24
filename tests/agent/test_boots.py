"""What the agent learns of a guest's boots: when each port is listened on."""

from __future__ import annotations

from pathlib import Path

import pytest

from innkeeper.agent.boots import Boots
from innkeeper.agent.loop import Callback, Timer
from innkeeper.agent.places import Places

_HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


class _Loop:
    """Remembers what is to come."""

    def __init__(self) -> None:
        self.due: list[tuple[float, Callback]] = []

    def after(self, seconds: float, callback: Callback) -> Timer:
        self.due.append((seconds, callback))
        return Timer(callback)


class _Guest:
    """Files as a kernel has them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.places = Places(str(root))

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def at(self, uptime: float, *ports: int, boot: str = "one") -> None:
        """The guest at a moment of its boot."""
        self.write("proc/sys/kernel/random/boot_id", boot + "\n")
        self.write("proc/uptime", f"{uptime:.2f} 1.00\n")
        self.write("proc/loadavg", "1.25 0.50 0.10 1/99 1234\n")
        self.write("proc/meminfo", "MemTotal: 999999 kB\nMemAvailable: 204800 kB\n")
        lines = [f"   0: 00000000:{port:04X} 00000000:0000 0A 0 0 0 0 0 {port}\n" for port in ports]
        self.write("proc/net/tcp", _HEAD + "".join(lines))


@pytest.fixture
def guest(tmp_path: Path) -> _Guest:
    """A guest that has just booted."""
    return _Guest(tmp_path)


def test_each_port_has_the_time_of_the_look_that_saw_it_first(guest: _Guest) -> None:
    """The next boot tells of it; what was given to whoever asked for any port is none."""
    guest.at(20.4, 22)
    Boots(guest.places).look()
    guest.at(90.9, 22, 9200, 40000)
    boots = Boots(guest.places)  # the agent was restarted
    boots.look()
    assert boots.told() == []
    guest.at(12, boot="two")
    assert Boots(guest.places).told() == [
        {
            "boot_id": "one",
            "watched": 90,
            "ports": {"tcp/22": 20, "tcp/9200": 90},
            "load": 125,
            "free_mib": 200,
        }
    ]


def test_a_boot_is_watched_while_it_is_young(guest: _Guest) -> None:
    """Each look sets the next; an old boot is not looked at."""
    loop = _Loop()
    guest.at(20.0)
    boots = Boots(guest.places)
    boots.watch(loop)  # type: ignore[arg-type]  # as much of a loop as it needs
    seconds, look = loop.due.pop()
    assert seconds == pytest.approx(10)
    guest.at(1700)
    look()
    assert loop.due[-1][0] == pytest.approx(100)
    guest.at(5000)
    loop.due.pop()[1]()
    assert loop.due == []


def test_ten_boots_are_kept_and_a_broken_file_is_none(guest: _Guest) -> None:
    """Whatever wrote it."""
    for number in range(14):
        guest.at(60, 80, boot=f"boot {number}")
        Boots(guest.places).look()
    guest.at(1, boot="last")
    assert [boot["boot_id"] for boot in Boots(guest.places).told()] == [f"boot {n}" for n in range(4, 14)]
    for text in ("{", "[1]", '{"a": 1}', '[{"boot_id": "x", "watched": "a"}]', "[]", "null"):
        guest.write("var/lib/innkeeper/agent/boots", text)
        assert Boots(guest.places).told() == []
