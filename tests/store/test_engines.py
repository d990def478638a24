"""Several engines on one PostgreSQL, each a process of its own: whose runs go on where."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from .engine_process import STEPS

PROGRAM = Path(__file__).with_name("engine_process.py")
KEYS = ("a", "b", "c")
#: Longer than any queue goes unseen.
_LOOKS_SECONDS = 2.5


class Effects:
    """What the processes have done, as they did it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def lines(self) -> list[tuple[str, int, str]]:
        """Key, step and server of every step that began."""
        found = self.path.read_text().splitlines() if self.path.exists() else []
        return [(key, int(step), server) for key, step, server in map(str.split, found)]

    def by(self, server: str) -> int:
        """How many steps a server has begun."""
        return sum(server == each for _, _, each in self.lines)

    def of(self, key: str) -> list[int]:
        """The steps of a run, in the order in which they began."""
        return [step for each, step, _ in self.lines if each == key]

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what must come."""
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, self.lines
            time.sleep(0.02)

    def until_all_ended(self) -> None:
        """Wait for the last step of every run."""
        self.until(lambda: all(STEPS - 1 in self.of(key) for key in KEYS))

    def check(self, hand_overs: int) -> None:
        """No step was lost, and none but those in flight at a hand-over was repeated."""
        for key in KEYS:
            steps = self.of(key)
            assert sorted(set(steps)) == list(range(STEPS))
            assert len(steps) <= STEPS + hand_overs, f"{key} repeated more than the step in flight"


class Peers:
    """Processes with an engine each, on one journal."""

    def __init__(self, url: sa.URL, effects: Effects) -> None:
        self._address = url.render_as_string(hide_password=False)
        self._effects = effects
        self._processes: dict[str, subprocess.Popen[str]] = {}

    def start(self, server: str, hosts: str) -> None:
        """Start a server's engine, or start it again."""
        self._processes[server] = subprocess.Popen(
            [sys.executable, PROGRAM, self._address, self._effects.path, server, hosts],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._until_done(server)

    def tell(self, server: str, command: str) -> None:
        """Have it do something, and wait until it is done."""
        process = self._processes[server]
        assert process.stdin is not None
        process.stdin.write(f"{command}\n")
        process.stdin.flush()
        self._until_done(server)

    def send(self, server: str, number: signal.Signals) -> None:
        """Kill it, stop it where it stands, or let it go on."""
        self._processes[server].send_signal(number)

    def close(self) -> None:
        """Kill them all."""
        for process in self._processes.values():
            process.kill()
            process.communicate()

    def _until_done(self, server: str) -> None:
        stdout = self._processes[server].stdout
        assert stdout is not None
        assert stdout.readline() == "done\n"


@pytest.fixture
def effects(tmp_path: Path) -> Effects:
    """What is done, in a file."""
    return Effects(tmp_path / "effects")


@pytest.fixture
def peers(postgres_database: sa.URL, effects: Effects) -> Iterator[Peers]:
    """Two servers: ``one`` owns the host attic, ``two`` another."""
    peers = Peers(postgres_database, effects)
    peers.start("one", "attic")
    peers.start("two", "cellar")
    yield peers
    peers.close()


def begin(peers: Peers, effects: Effects) -> None:
    """Start the runs of the attic at its owner, and wait until all are on their way."""
    for key in KEYS:
        peers.tell("one", f"start {key} attic")
    effects.until(lambda: all(len(effects.of(key)) >= 2 for key in KEYS))


def test_a_killed_server_s_runs_wait_for_it(peers: Peers, effects: Effects) -> None:
    """Its peer takes none; started again, it goes on with all, where each was."""
    begin(peers, effects)
    peers.send("one", signal.SIGKILL)
    time.sleep(_LOOKS_SECONDS)
    assert effects.by("two") == 0
    peers.start("one", "attic")
    effects.until_all_ended()
    effects.check(hand_overs=1)


def test_a_host_s_runs_go_on_at_its_next_owner(peers: Peers, effects: Effects) -> None:
    """Its former one, started again without the host, leaves them alone."""
    begin(peers, effects)
    peers.send("one", signal.SIGKILL)
    peers.start("one", "shed")
    done = effects.by("one")
    peers.tell("two", "take attic")
    effects.until_all_ended()
    effects.check(hand_overs=1)
    assert effects.by("one") == done


def test_a_paused_server_does_nothing_more_with_runs_that_went_on_elsewhere(
    peers: Peers, effects: Effects
) -> None:
    """When it wakes, its journal refuses what it records, and it lets go."""
    begin(peers, effects)
    peers.send("one", signal.SIGSTOP)
    done = effects.by("one")
    peers.tell("two", "take attic")
    effects.until(lambda: effects.by("two") >= 2 * len(KEYS))
    peers.send("one", signal.SIGCONT)
    effects.until_all_ended()
    peers.tell("one", "start d attic")  # it works as before
    effects.until(lambda: len(effects.of("d")) == STEPS)
    effects.check(hand_overs=1)
    assert effects.by("one") == done + STEPS


def test_a_host_that_is_handed_over_in_order_repeats_the_step_in_flight_alone(
    peers: Peers, effects: Effects
) -> None:
    """There and back again."""
    begin(peers, effects)
    peers.tell("one", "let attic")
    done = effects.by("one")
    peers.tell("two", "take attic")
    effects.until(lambda: effects.by("two") >= 2 * len(KEYS))
    assert effects.by("one") == done
    peers.tell("two", "let attic")
    peers.tell("one", "take attic")
    effects.until_all_ended()
    effects.check(hand_overs=2)
