"""A saved machine wakes with an old clock, which is right again before its update, on a real libvirtd."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from innkeeper.machines.machine import MachineState
from innkeeper.updates.booking import Verdict
from tests.guests.tiny import TinyGuest
from tests.night.near import NEEDS_LIBVIRTD, near_inn

pytestmark = NEEDS_LIBVIRTD
_DAY_S = 86_400


async def test_a_saved_machine_has_the_right_date_in_its_update(
    tiny_guest: TinyGuest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if it had been saved for a year; afterwards it is saved again."""

    def know_its_saved_states(home: Path) -> None:
        monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))

    async with near_inn(know_its_saved_states) as inn:
        await inn.add(tiny_guest)
        agent = await inn.house.agents.connected((await inn.machine()).key, timeout=10)
        await agent.set_time(time.time() - 365 * _DAY_S)
        await inn.host.saved_states.save("web")
        await inn.book(b"date")
        report = await inn.report()
        assert report.verdict is Verdict.KEPT, await inn.log()
        assert (await inn.machine()).state is MachineState.SAVED
        [said] = [line for line in (await inn.log()).splitlines() if line.startswith("the date is ")]
        assert abs(int(said.rpartition(" ")[2]) - time.time()) < _DAY_S
