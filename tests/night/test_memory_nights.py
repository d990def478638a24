"""Nights on real guests with memory kept: a roll back goes back to the running moment, whatever is killed."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.guests.tiny import TinyGuest
from tests.hypervisor.service import Service
from tests.night.test_killed_nights import Inn

pytestmark = [pytest.mark.qemu, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def inn(tiny_guest: TinyGuest, guest_cache: Path) -> Iterator[Inn]:
    """An inn whose first machine is made in its first night."""
    state = Path(tempfile.mkdtemp(prefix="ik-", dir="/tmp"))
    yield Inn(state, guest_cache)
    Service(state).kill_qemu()
    with contextlib.suppress(OSError):
        shutil.rmtree(state)


@pytest.mark.parametrize(
    ("step", "how"),
    [("undo point", "middle"), ("memory", "middle"), ("go on", "after")],
)
def test_a_bad_update_goes_back_to_the_running_moment(inn: Inn, step: str, how: str) -> None:
    """Same boot of the guest, its agent there again, its base byte for byte, and no memory left behind."""
    identifier = f"memory-{step}-{how}"
    message = inn.live_through(
        {
            "identifier": identifier, "updates": {"bad": "fill break"}, "running": ["bad"],
            "step": step, "machine": "bad", "how": how, "undo_point": "memory",
        }
    )  # fmt: skip
    _expect_running_moment(inn, message["bad"], identifier)
    assert inn.was_cut(identifier), message


def _expect_running_moment(inn: Inn, bad: dict[str, Any], identifier: str) -> None:
    assert (bad["verdict"], bad["runs"]) == ("rolled_back", True), bad
    assert bad["undo_point"].endswith("It went on from the running moment."), bad
    assert bad["boot"] == (inn.state / f"boot-{identifier}-bad").read_text()
    assert bad["disks"] == [str(inn.state / "bad.raw")]
    assert not inn.holds("bad", identifier)
    assert inn.leftovers() == []
