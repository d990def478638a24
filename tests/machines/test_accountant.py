"""What machines use is read in one go, kept for a minute and a day, and never more."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest

from innkeeper.errors import HypervisorError, MachineNotFound
from innkeeper.machines.accountant import NONE, Accountant, Span
from innkeeper.machines.machine import MachineState
from innkeeper.machines.usage import Usage
from tests.updates.inn import Inn


@pytest.fixture
async def inn(tmp_path: Path) -> Inn:
    """An inn with one running machine."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.RUNNING)
    return inn


@pytest.fixture
def accountant(inn: Inn) -> Accountant:
    """Asked by hand."""
    return Accountant(inn.machines, clock=inn.clock)


def _usage(cpu_seconds: float, disk_read: int = 0, network: int | None = 0) -> Usage:
    return Usage(
        machine="web-1",
        vcpus=2,
        cpu_seconds=cpu_seconds,
        memory_bytes=1 << 20,
        disk_read_bytes=disk_read,
        disk_written_bytes=0,
        network_received_bytes=network,
        network_sent_bytes=network,
        started_at=None,
    )


@dataclasses.dataclass
class _Host:
    """A host that answers as it is told."""

    answers: list[Sequence[Usage] | Exception]

    async def usage(self) -> Sequence[Usage]:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def _told(
    inn: Inn, accountant: Accountant, monkeypatch: pytest.MonkeyPatch, *answers: Sequence[Usage] | Exception
) -> None:
    """Let the accountant ask once for each answer, ten seconds apart."""
    host = _Host(list(answers))
    monkeypatch.setattr(inn.host.usage, "read", host.usage)
    for number in range(len(answers)):
        await inn.clock.advance(10 if number else 0)
        await accountant.tick()


async def test_rates_are_differences_over_time_and_processors(
    inn: Inn, accountant: Accountant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten of twenty processor seconds are half; what a host does not see is unknown, not zero."""
    await _told(inn, accountant, monkeypatch, [_usage(5)], [_usage(15, disk_read=1000, network=None)])
    account = await accountant.account("web-1")
    assert account.rates.cpu_percent == pytest.approx(50)
    assert account.rates.disk_read == pytest.approx(100)
    assert account.rates.network_received == 0
    assert account.network_received_bytes is None
    assert account.uptime_seconds is None


async def test_a_machine_that_was_restarted_is_not_compared_with_its_former_life(
    inn: Inn, accountant: Accountant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its counters begin anew."""
    await _told(inn, accountant, monkeypatch, [_usage(500)], [_usage(1)])
    assert (await accountant.account("web-1")).rates.cpu_percent == 0


async def test_a_machine_that_is_off_uses_nothing(
    inn: Inn, accountant: Accountant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All zero, its history too after a minute; a name of none is refused."""
    await _told(inn, accountant, monkeypatch, [_usage(0)], [_usage(20)], *([[]] * 7))
    account = await accountant.account("web-1")
    assert (account.is_on, account.rates, account.disk_read_bytes) == (False, NONE, 0)
    assert (await accountant.history("web-1", Span.MINUTE)).points == (NONE,) * 60
    with pytest.raises(MachineNotFound):
        await accountant.account("nobody")


async def test_a_history_has_a_point_for_every_second(
    inn: Inn, accountant: Accountant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However seldom the host was asked; the newest last."""
    await _told(inn, accountant, monkeypatch, [_usage(0)], [_usage(20)], [_usage(30)])
    points = (await accountant.history("web-1", Span.MINUTE)).points
    assert [round(point.cpu_percent) for point in points] == [0] * 40 + [100] * 10 + [50] * 10


async def test_a_host_that_does_not_answer_leaves_accounts_as_they_were(
    inn: Inn, accountant: Accountant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its machines are not taken to be off."""
    await _told(inn, accountant, monkeypatch, [_usage(0)], [_usage(10)], HypervisorError("gone"))
    assert (await accountant.account("web-1")).is_on


async def test_it_asks_more_often_while_somebody_looks(inn: Inn, accountant: Accountant) -> None:
    """Every second for a minute, then every ten; a day has 288 points."""
    asked = 0
    read = inn.host.usage.read

    async def counted() -> Sequence[Usage]:
        nonlocal asked
        asked += 1
        return await read()

    inn.host.usage.read = counted  # type: ignore[method-assign]
    running = asyncio.create_task(accountant.run())
    await inn.clock.advance(100)
    assert 9 <= asked <= 12
    asked = 0
    await accountant.account("web-1")
    await inn.clock.advance(30)
    assert 29 <= asked <= 33
    await inn.clock.advance(2 * 3600)
    points = (await accountant.history("web-1", Span.DAY)).points
    assert len(points) == 288
    assert points[:-24] == (NONE,) * 264
    assert all(0 < point.cpu_percent < 100 for point in points[-24:])
    assert len({point.cpu_percent for point in points[-24:]}) > 20
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
