"""Documented events arrive, typed, at whoever follows them."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator, Sequence

import pytest

from innkeeper.client import DocumentedEvent, EventMessage
from innkeeper.errors import InvalidArgument, ServiceError
from innkeeper.wire.documented_events import STATES, documented
from innkeeper.wire.states import MachineState
from tests.serving import Service


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose machines these tests may do with as they like."""
    service = Service(tmp_path_factory.mktemp("events"), machines=12, speed=60)
    service.start()
    yield service
    service.end()


class _Follower:
    """Follows in a thread of its own, from the moment it is made."""

    def __init__(self, service: Service, machine: str, events: Sequence[DocumentedEvent]) -> None:
        self.heard: queue.Queue[EventMessage] = queue.Queue()
        self._inn = service.connect()
        stream = self._inn.machines[machine].events(documented=events)
        threading.Thread(target=self._follow, args=(stream,), daemon=True).start()

    def _follow(self, stream: Iterator[EventMessage]) -> None:
        with contextlib.suppress(ServiceError):  # the service ends before the test session does
            for event in stream:
                self.heard.put(event)

    def next(self) -> EventMessage:
        """The next event."""
        return self.heard.get(timeout=30)


def test_a_machine_is_followed_by_its_documented_events(busy: Service) -> None:
    """States and resets of this machine alone, with what the documents pass along."""
    wanted = (DocumentedEvent.STATE_CHANGE, DocumentedEvent.RESET)
    with busy.connect() as inn:
        machine, other = inn.machines["web-1"], inn.machines["db-1"]
        follower = _Follower(busy, "WEB-1", wanted)
        assert other.pause().wait(30)
        assert machine.pause().wait(30)
        paused = follower.next()
        while paused.kind == "events.lost":
            paused = follower.next()
        assert (paused.subject, paused.machine_state) == ("web-1", MachineState.PAUSED)
        assert DocumentedEvent.VM_STATE_CHANGE in paused.documented
        assert machine.resume().wait(30)
        assert follower.next().machine_state is MachineState.RUNNING
        assert machine.reset().wait(30)
        assert DocumentedEvent.RESET in follower.next().documented
        assert other.resume().wait(30)


def test_an_event_that_no_document_has_is_refused(busy: Service) -> None:
    """With the place where they are named."""
    with busy.connect() as inn, pytest.raises(InvalidArgument, match="OnNothing"):
        next(inn.events(documented=["OnNothing"]))  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("kind", "data", "event"),
    [
        ("machine.started", {}, DocumentedEvent.STATE_CHANGE),
        ("machine.stopping", {"reason": "guest"}, DocumentedEvent.GUEST_SHUTDOWN),
        ("machine.stopping", {}, DocumentedEvent.REQUEST_SHUTDOWN),
        ("machine.rebooted", {}, DocumentedEvent.RESET),
        ("machine.crashed", {}, DocumentedEvent.TRIPLE_FAULT),
        ("machine.heartbeat_stopped", {}, DocumentedEvent.HEARTBEAT_STOPPED),
        ("machine.configuration_changed", {}, DocumentedEvent.CONFIGURATION_CHANGED),
        ("machine.guest_logged_off", {}, DocumentedEvent.GUEST_LOGOFF),
        ("machine.disk_out_of_space", {}, DocumentedEvent.DISK_OUT_OF_SPACE),
        ("agent.connected", {}, DocumentedEvent.ADDITIONS_AVAILABLE),
        ("agent.lost", {}, DocumentedEvent.ADDITIONS_UNINSTALLED),
        ("machine.medium_inserted", {"device": "dvd"}, DocumentedEvent.DVD_INSERT),
        ("machine.medium_ejected", {"device": "dvd"}, DocumentedEvent.DVD_EJECT),
        ("machine.medium_inserted", {"device": "floppy"}, DocumentedEvent.FLOPPY_INSERT),
        ("machine.medium_ejected", {"device": "floppy"}, DocumentedEvent.FLOPPY_EJECT),
        ("task.ended", {}, DocumentedEvent.EVENT_LOGGED),
    ],
)
def test_every_event_of_the_house_is_its_documented_one(
    kind: str, data: dict[str, object], event: DocumentedEvent
) -> None:
    """And all are logged; only what changes a state is a change of state."""
    found = documented(kind, data)
    assert event in found
    assert DocumentedEvent.EVENT_LOGGED in found
    assert (DocumentedEvent.STATE_CHANGE in found) == (kind in STATES)


def test_a_guest_that_powers_off_is_told_of(busy: Service) -> None:
    """As its own doing, before the machine is off."""
    with busy.connect() as inn:
        follower = _Follower(busy, "db-1", (DocumentedEvent.GUEST_SHUTDOWN, DocumentedEvent.STATE_CHANGE))
        assert inn.machines["db-1"].shutdown().wait(60)
        heard = [follower.next(), follower.next()]
        assert DocumentedEvent.GUEST_SHUTDOWN in heard[0].documented
        assert heard[1].machine_state is MachineState.TURNED_OFF
