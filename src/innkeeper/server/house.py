"""The parts of a running service, as routes and pages use them."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Sequence
from typing import Protocol

from innkeeper.channels.ports import GuestAgents
from innkeeper.channels.service import Channels
from innkeeper.disks.service import Disks
from innkeeper.identity.audit import Audit
from innkeeper.machines.accountant import Accountant
from innkeeper.machines.creation import Creation
from innkeeper.machines.equipment import Equipment
from innkeeper.machines.ports.host import Host
from innkeeper.machines.screen.display import Display
from innkeeper.machines.screen.keyboard import Keyboard
from innkeeper.machines.screen.mouse import Mouse
from innkeeper.machines.service import Machines
from innkeeper.machines.virtual_pc import VirtualPC
from innkeeper.server.board import Board
from innkeeper.server.events.bus import EventBus
from innkeeper.server.guests import Guests
from innkeeper.server.http.idempotency import AnswerStore
from innkeeper.server.identity.people import People
from innkeeper.server.metrics import Metrics
from innkeeper.server.relay.neighbours import Neighbours
from innkeeper.server.room import Rooms
from innkeeper.server.scheduling import Scheduling
from innkeeper.server.settings import Settings
from innkeeper.servers.fleet import Fleet
from innkeeper.servers.ownership import Ownership
from innkeeper.tasks.ports import Clock
from innkeeper.tasks.service import Tasks
from innkeeper.tasks.supervision import Loops
from innkeeper.updates.bookings import Bookings
from innkeeper.updates.checks import Checks
from innkeeper.updates.preparations import Preparations
from innkeeper.updates.reports import Reports
from innkeeper.updates.trigger import TriggerAgent
from innkeeper.updates.windows import Windows


class Probed(Protocol):
    """The database, for those who watch over the service."""

    @property
    def away_since(self) -> dt.datetime | None:
        """Since when it is away; ``None`` while it answers."""

    async def probe(self) -> None:
        """Ask it something. Raises ``StoreAway`` where it does not answer in time."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class House:
    """All parts of one running service."""

    settings: Settings
    clock: Clock
    events: EventBus
    loops: Loops
    metrics: Metrics
    answers: AnswerStore
    database: Probed
    rooms: Rooms
    people: People
    audit: Audit
    tasks: Tasks
    machines: Machines
    equipment: Equipment
    creation: Creation
    virtual_pc: VirtualPC
    display: Display
    keyboard: Keyboard
    mouse: Mouse
    board: Board
    checks: Checks
    accountant: Accountant
    guests: Guests
    agents: GuestAgents
    channels: Channels
    bookings: Bookings
    windows: Windows
    preparations: Preparations
    reports: Reports
    trigger: TriggerAgent
    schedule: Scheduling
    disks: Disks
    fleet: Fleet
    #: Whose hosts are whose; ``None`` where no other server shares the database.
    ownership: Ownership | None
    #: The hosts of the settings that were met in a former life, and have not answered in this one.
    unmet: Callable[[], Sequence[Host]] = tuple
    #: The other servers of the inn; ``None`` where there can be none.
    neighbours: Neighbours | None = None
