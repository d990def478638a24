"""Routes of guests' health: what a guest is like now, and what of it would count after an update."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter

from innkeeper.channels.guest_details import PastBoot
from innkeeper.channels.ports import HealthReport
from innkeeper.identity.roles import Role
from innkeeper.machines.guest.program import expect_guest
from innkeeper.machines.machine import Machine
from innkeeper.server.identity.needs import needs
from innkeeper.server.identity.subjects import machine_in_path
from innkeeper.server.routes.asking import TheHouse
from innkeeper.updates.health import Finding, Stake, what_counts
from innkeeper.wire import health as wire

router = APIRouter(tags=["updates"])

#: How long the guest's agent is waited for, in seconds.
_AGENT_SECONDS = 10.0


@router.get(
    "/machines/{name}/health",
    operation_id="get_machine_health",
    dependencies=needs(Role.VIEWER, machine_in_path("name")),
)
async def get_health(name: str, house: TheHouse) -> wire.GuestHealthMessage:
    """Ask the guest for its health now; with what the loss of each part by an update would count.

    The guest runs its own check scripts for the answer, as it does in a night.
    """
    machine = await house.machines.get(name)
    expect_guest(machine)
    agent = await house.agents.connected(machine.key, timeout=_AGENT_SECONDS)
    report = await agent.health(history=True)
    stakes = await asyncio.to_thread(what_counts, report, machine.ignored)
    return _message(house, machine, report, stakes)


def _message(
    house: TheHouse, machine: Machine, report: HealthReport, stakes: tuple[Stake, ...]
) -> wire.GuestHealthMessage:
    details = report.details
    return wire.GuestHealthMessage(
        machine=machine.title,
        at=house.clock.now(),
        system_state=report.system_state,
        uptime_seconds=None if details is None else details.uptime,
        kernel=report.kernel,
        reboot_required=report.reboot_required,
        failed_units=tuple(sorted(report.failed_units)),
        failed_lately=() if details is None else tuple(sorted(details.failed_lately)),
        complaints=() if details is None else tuple(sorted(details.complaints)),
        failed_checks=dict(report.failed_checks),
        boots=() if details is None else tuple(map(_boot, details.boots)),
        stakes=tuple(map(_stake, stakes)),
        ignored=machine.ignored,
    )


def _boot(boot: PastBoot) -> wire.BootMessage:
    return wire.BootMessage(
        watched_seconds=boot.watched,
        last_port_seconds=max(boot.ports.values(), default=0),
        ports=len(boot.ports),
        load=boot.load / 100,
        free_mib=boot.free_mib,
    )


def _stake(stake: Stake) -> wire.StakeMessage:
    return wire.StakeMessage(
        subject=stake.subject,
        now=stake.now,
        weight=_weight(stake.loss),
        sentence="" if stake.loss is None else stake.loss.sentence,
    )


def _weight(loss: Finding | None) -> wire.Weight:
    if loss is None:
        return wire.Weight.NOTHING
    if loss.is_ignored:
        return wire.Weight.IGNORED
    return wire.Weight.FAULT if loss.is_fault else wire.Weight.WARNING
