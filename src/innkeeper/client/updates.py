"""Book updates and read how they came out."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from innkeeper.client import calls
from innkeeper.client.tasks import Task
from innkeeper.client.transport import Transport
from innkeeper.errors import InvalidArgument
from innkeeper.wire.messages import BookRequest, ReportMessage, UpdateDetail, UpdateMessage
from innkeeper.wire.states import UpdateStatus, Verdict


class Update:
    """One update booked for one machine. Its members are read from the service."""

    def __init__(self, transport: Transport, machine: str, identifier: str) -> None:
        self._transport = transport
        self.machine = machine
        self.identifier = identifier

    def __repr__(self) -> str:
        return f"<Update {self.identifier} of {self.machine}>"

    def read(self) -> UpdateMessage:
        """All that is known of it now; raises ``BookingNotFound``."""
        return self.detail().update

    def detail(self) -> UpdateDetail:
        """All that is known of it now, with the report of its run; raises ``BookingNotFound``."""
        return self._transport.send(calls.update(self.machine, self.identifier))

    @property
    def status(self) -> UpdateStatus:
        """The update's state (``RDV_TASK_STATUS``)."""
        return self.read().status

    @property
    def verdict(self) -> Verdict | None:
        """The update's outcome; ``None`` before its end."""
        return self.read().verdict

    @property
    def reason(self) -> str:
        """Why the update has not started, or why it came out as it did."""
        return self.read().reason

    @property
    def report(self) -> ReportMessage | None:
        """The report of the update's run; ``None`` before its end."""
        return self.detail().report

    @property
    def task(self) -> Task | None:
        """The run's task; nothing before its start."""
        message = self.read().task
        return Task(self._transport, message) if message else None

    def delete(self) -> None:
        """Take the booking back (``DeleteSchedule``); refused once it has started."""
        self._transport.send(calls.delete_update(self.machine, self.identifier))


class MachineUpdates:
    """What is booked for one machine."""

    def __init__(self, transport: Transport, machine: str) -> None:
        self._transport = transport
        self._machine = machine

    def __getitem__(self, identifier: str) -> Update:
        """One update; raises ``BookingNotFound``."""
        update = Update(self._transport, self._machine, identifier)
        update.read()
        return update

    def __iter__(self) -> Iterator[Update]:
        """All of them, by start."""
        pages = self._transport.pages(calls.updates(self._machine))
        return (
            Update(self._transport, self._machine, message.identifier)
            for page in pages
            for message in page.updates
        )

    def book(
        self,
        *,
        label: str,
        identifier: str,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
        deadline: dt.datetime | None = None,
        context: bytes = b"",
    ) -> Update:
        """Book an update (``ScheduleTask``); the same identifier again replaces one that has not started.

        ``start``: not before this, nothing for now; ``end``: the latest start; ``deadline``: complete
        by this. Times carry a zone. Raises ``InvalidArgument`` for times in a wrong order or a context over
        64 KiB, ``MachineNotFound``, ``MachineUnfit``.
        """
        for name, moment in (("start", start), ("end", end), ("deadline", deadline)):
            _require_zone(name, moment)
        request = BookRequest.model_construct(
            machine=self._machine,
            identifier=identifier,
            label=label,
            start=start,
            end=end,
            deadline=deadline,
            context=context,
        )
        self._transport.send(calls.book(request))
        return Update(self._transport, self._machine, identifier)


class UpdateCollection:
    """The bookings of all machines."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def __iter__(self) -> Iterator[Update]:
        """All of them, by start."""
        return (Update(self._transport, message.machine, message.identifier) for message in self.list())

    def find(self, machine: str, identifier: str) -> Update:
        """One update, whose machine may have gone; raises ``BookingNotFound``."""
        update = Update(self._transport, machine, identifier)
        update.read()
        return update

    def list(self, machine: str | None = None) -> tuple[UpdateMessage, ...]:
        """What is known of all bookings, with their runs, page by page."""
        return self._transport.whole(calls.updates(machine)).updates


def _require_zone(name: str, moment: dt.datetime | None) -> None:
    if moment is not None and moment.tzinfo is None:
        raise InvalidArgument(
            f"The {name} {moment.isoformat()} has no time zone.",
            advice="Give an aware datetime, such as datetime.now().astimezone().",
        )
