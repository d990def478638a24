"""Nights on real guests, cut short by ``kill -9`` of the service or of QEMU.

The fake's tests cut a run at every one of its steps; here are those in which QEMU has a part. And one night
that nothing cuts short, but in which somebody has a channel open.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from tests.guests.tiny import TinyGuest
from tests.hypervisor.service import Service

pytestmark = [pytest.mark.qemu, pytest.mark.timeout(600)]

_ROOT = Path(__file__).parents[2]
_NIGHT_SECONDS = 400


@dataclasses.dataclass
class Inn:
    """A state directory that one service process after the other works on."""

    state: Path
    cache: Path

    def live_through(self, night: dict[str, Any]) -> dict[str, Any]:
        """Run the service until the night is over, starting it again after each kill."""
        command = [sys.executable, "-m", "tests.night.program", str(self.state), json.dumps(night)]
        environment = os.environ | {
            "PYTHONPATH": f"{_ROOT}/src:{_ROOT}", "INNKEEPER_TEST_CACHE": str(self.cache),
        }  # fmt: skip
        for _life in range(3):
            done = subprocess.run(
                command, cwd=_ROOT, env=environment, capture_output=True, text=True,
                timeout=_NIGHT_SECONDS, check=False,
            )  # fmt: skip
            if done.returncode != -signal.SIGKILL:
                assert done.returncode == 0, done.stderr
                return cast("dict[str, Any]", json.loads(done.stdout.splitlines()[-1]))
        raise AssertionError("the service was killed again and again")

    def was_cut(self, identifier: str) -> bool:
        """Whether the kill took place."""
        return (self.state / f"cut-{identifier}").exists()

    def checksum(self, machine: str) -> str:
        """The content of a machine's disk."""
        return hashlib.sha256((self.state / f"{machine}.raw").read_bytes()).hexdigest()

    def holds(self, machine: str, text: str) -> bool:
        """Whether a machine's disk, the base itself, holds this text."""
        return text.encode() in (self.state / f"{machine}.raw").read_bytes()

    def leftovers(self) -> list[str]:
        """Files of undo points that are still there."""
        return [path.name for path in self.state.rglob("*.innkeeper-*")]


@pytest.fixture(scope="module")
def inn(tiny_guest: TinyGuest, guest_cache: Path) -> Iterator[Inn]:
    """An inn with two machines, which have had a first, undisturbed night."""
    state = Path(tempfile.mkdtemp(prefix="ik-", dir="/tmp"))
    inn = Inn(state, guest_cache)
    message = inn.live_through(night("first", "none", "good", "before"))
    assert {name: each["verdict"] for name, each in message.items()} == {"good": "kept", "bad": "rolled_back"}
    yield inn
    Service(state).kill_qemu()
    with contextlib.suppress(OSError):
        shutil.rmtree(state)


def night(identifier: str, step: str, machine: str, how: str) -> dict[str, Any]:
    """A good update of a running machine and a bad one of a machine that is off, cut short at a step."""
    updates = {"good": "fill", "bad": "fill break"}
    return {
        "identifier": identifier, "updates": updates, "running": ["good"], "step": step,
        "machine": machine, "how": how,
    }  # fmt: skip


_CUTS = [
    ("undo point", "good", "after"),
    ("wake", "bad", "middle"),
    ("merge", "good", "middle"),
    ("merge", "good", "after"),
    ("discard", "bad", "after"),
]


@pytest.mark.parametrize(("step", "machine", "how"), _CUTS)
def test_a_killed_service_takes_the_night_up_and_ends_it_as_it_should(
    inn: Inn, step: str, machine: str, how: str
) -> None:
    """Good is kept, bad is rolled back byte for byte, and nothing is left over."""
    identifier = f"service-{step}-{how}"
    before = inn.checksum("bad")
    message = inn.live_through(night(identifier, step, machine, how))
    assert inn.was_cut(identifier), message
    assert {name: each["verdict"] for name, each in message.items()} == {"good": "kept", "bad": "rolled_back"}
    assert message["good"]["runs"]
    assert not message["bad"]["runs"]
    assert inn.checksum("bad") == before
    assert inn.holds("good", identifier)
    _only_bases(inn, message)


@pytest.mark.parametrize(
    ("step", "verdict"), [("wake", "rolled_back"), ("update", "rolled_back"), ("merge", "kept")]
)
def test_a_killed_qemu_is_rolled_back_before_the_point_of_no_return_and_kept_after_it(
    inn: Inn, step: str, verdict: str
) -> None:
    """A machine that dies under its update is put back; under its merge, it is merged all the same."""
    identifier = f"qemu-{step}"
    plan = night(identifier, step, "good", "qemu") | {"updates": {"good": "fill slow"}}
    if step == "wake":
        plan["running"] = []
    message = inn.live_through(plan)
    assert inn.was_cut(identifier), message
    assert message["good"]["verdict"] == verdict, message
    assert message["good"]["runs"] == (step != "wake")
    assert inn.holds("good", identifier) == (verdict == "kept")
    _only_bases(inn, message)


def test_a_channel_outlives_the_roll_back_of_its_machine(inn: Inn) -> None:
    """What was on it is cut, as documented; new connections reach the guest that was put back."""
    plan = night("spoken", "none", "bad", "before") | {"running": ["good", "bad"], "spoken_with": "bad"}
    message = inn.live_through(plan)
    assert message.pop("heard") == {"after half a request": "", "same page": True, "cut": 1}
    assert {name: each["verdict"] for name, each in message.items()} == {"good": "kept", "bad": "rolled_back"}
    assert message["bad"]["runs"]
    _only_bases(inn, message)


def _only_bases(inn: Inn, message: dict[str, Any]) -> None:
    """Every machine stands on its base alone, and no undo disk is left over."""
    assert {name: each["disks"] for name, each in message.items()} == {
        name: [str(inn.state / f"{name}.raw")] for name in message
    }
    assert inn.leftovers() == []
