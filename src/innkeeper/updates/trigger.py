"""Start update runs when their windows open (the trigger agent)."""

from __future__ import annotations

from innkeeper.channels.ports import GuestMessage
from innkeeper.machines.service import Machines
from innkeeper.tasks.ports import Clock
from innkeeper.tasks.service import Tasks
from innkeeper.updates.bookings import Bookings
from innkeeper.updates.nights import Night
from innkeeper.updates.policy import Policy
from innkeeper.updates.ports import ReportStore
from innkeeper.updates.windows import Windows
from innkeeper.wire.events import Publish


class TriggerAgent:
    """The host's half of the task agents: it decides who is maintained, and when."""

    def __init__(
        self,
        *,
        tasks: Tasks,
        machines: Machines,
        bookings: Bookings,
        windows: Windows,
        reports: ReportStore,
        clock: Clock,
        publish: Publish,
        policy: Policy,
    ) -> None:
        raise NotImplementedError

    async def run(self) -> None:
        """Start what may start, for as long as it is not cancelled."""
        raise NotImplementedError

    def wake(self) -> None:
        """Look again now: a booking, a window or a machine has changed."""
        raise NotImplementedError

    async def tonight(self) -> Night:
        """Plan the next 24 hours, starting nothing."""
        raise NotImplementedError

    async def hear(self, machine: str, message: GuestMessage) -> None:
        """Take what a guest tells by itself: bookings are booked, bounded; the rest is not for us.

        Raises ``UpdateError`` or ``InvalidArgument`` where a booking is refused.
        """
        raise NotImplementedError
