"""Sessions with guests: honest, silent and hostile."""

from __future__ import annotations

import asyncio
import datetime as dt
import tracemalloc
from typing import cast

import pytest

from innkeeper.channels.ports import (
    AgentTerminated,
    GuestOutput,
    GuestStream,
    ScheduleDeleted,
    ScheduleRequested,
    TaskStateChanged,
    UpdateStatus,
)
from innkeeper.channels.session import AgentSession
from innkeeper.errors import AgentError, AgentQuarantined
from innkeeper.wire.events import Event, EventKind
from innkeeper.wire.frames import FLOOD, FrameKind, encode
from tests.channels.rig import TASK, Inn, MemoryGuest, greeting, inn_of


class Received:
    """A client that reads at once what comes."""

    def __init__(self) -> None:
        self.stream: GuestStream | None = None
        self.bytes = self.ends = 0

    def joined(self) -> None:
        pass

    def received(self, data: bytes | memoryview) -> None:
        self.bytes += len(data)
        if self.stream is not None:
            self.stream.consumed(len(data))

    def writable(self) -> None:
        pass

    def ended(self) -> None:
        self.ends += 1

    def lost(self, reason: str) -> None:
        pass


async def test_session_is_told_to_the_house(inn: Inn) -> None:
    """A session, and its loss, are events with what is known."""
    session = await inn.session()
    assert session.hello.boot_id == "boot-1"
    assert inn.agents.is_connected("web-1")
    assert [event.kind for event in inn.events] == [EventKind.AGENT_CONNECTED]
    assert inn.events[0].data == {"boot_id": "boot-1", "plugin": "apt"}


async def test_quiet_guest_is_greeted_ever_more_seldom(inn: Inn, guest: MemoryGuest) -> None:
    """A guest without an agent costs a greeting after 1, 2, 4 … and then every 30 seconds."""
    guest.answers = False
    await inn.clock.advance(60)
    first = guest.greetings
    assert 5 <= first <= 7
    await inn.clock.advance(300)
    assert guest.greetings - first <= 10
    with pytest.raises(AgentError, match="no agent has answered yet"):
        await inn.agents.connected("web-1", timeout=0)


async def test_guest_that_reads_nothing_is_not_written_to_again(inn: Inn, guest: MemoryGuest) -> None:
    """One greeting waits in the port; when the guest reads at last, there is a session at once."""
    guest.reads = False
    await inn.clock.advance(600)
    guest.begin_to_read()
    await inn.clock.advance(0.1)
    assert guest.greetings == 1
    assert inn.agents.is_connected("web-1")


async def test_answer_in_the_pause_before_the_next_greeting_counts(inn: Inn, guest: MemoryGuest) -> None:
    """A guest that answers late, but before it is greeted again, has its session and keeps it."""
    guest.reads = False
    await inn.clock.advance(1.3)
    guest.begin_to_read()
    await inn.clock.advance(10)
    assert guest.greetings == 1
    assert inn.kinds() == [EventKind.AGENT_CONNECTED]


async def test_machine_that_stops_loses_its_session(inn: Inn) -> None:
    """A machine that runs no more is looked at no more, and who waits is told."""
    session = await inn.session()
    inn.running.clear()
    inn.agents.on_event(Event(kind=EventKind.MACHINE_STOPPED, subject="web-1", at=inn.clock.now()))
    await inn.clock.advance(1)
    assert not inn.agents.is_connected("web-1")
    with pytest.raises(AgentError, match="lost"):
        await session.health()
    with pytest.raises(AgentError, match="the machine does not run"):
        await inn.agents.connected("web-1", timeout=0)


async def test_what_changes_between_a_look_and_its_wait_is_not_missed(inn: Inn) -> None:
    """Whoever waits counts from the moment it looked: a session that begins just then is found."""
    session = await inn.session()
    keeper = inn.agents._keepers["web-1"]
    change = keeper.change()
    keeper._begin_session(cast("AgentSession", session))
    await asyncio.wait_for(change, 1)


async def test_waiting_for_another_boot_skips_the_present_one(inn: Inn, guest: MemoryGuest) -> None:
    """After a reboot only a session of the new boot will do."""
    await inn.session()
    waiting = asyncio.create_task(inn.agents.connected("web-1", timeout=60, other_boot_than="boot-1"))
    await inn.clock.advance(10)
    assert not waiting.done()
    guest.greeting = greeting("boot-2")
    guest.start()
    await inn.clock.advance(2)
    assert (await waiting).hello.boot_id == "boot-2"


async def test_answer_that_does_not_come_is_an_error(inn: Inn, guest: MemoryGuest) -> None:
    """A question waits 30 seconds, and no longer."""
    session = await inn.session()
    guest.answers = False
    asking = asyncio.create_task(session.task("u1"))
    await inn.clock.advance(29)
    assert not asking.done()
    await inn.clock.advance(2)
    with pytest.raises(AgentError, match="did not answer within 30 seconds"):
        await asking


async def test_agent_that_answers_no_ping_is_lost(inn: Inn, guest: MemoryGuest) -> None:
    """A paused or hung guest has no session within a minute, and has it back when it answers again."""
    await inn.session()
    guest.answers = False
    await inn.clock.advance(60)
    assert not inn.agents.is_connected("web-1")
    guest.answers = True
    await inn.clock.advance(60)
    assert inn.agents.is_connected("web-1")


async def test_guest_that_comes_back_while_a_ping_waits_is_heard_at_once(
    inn: Inn, guest: MemoryGuest
) -> None:
    """A guest that rebooted has its session again without waiting for the pong of its former boot."""
    await inn.session()
    guest.answers = False
    await inn.clock.advance(22)
    guest.answers = True
    guest.greeting = greeting("boot-2")
    guest.start()
    await inn.clock.advance(1)
    session = await inn.agents.connected("web-1", timeout=0, other_boot_than="boot-1")
    assert session.hello.boot_id == "boot-2"


async def test_lost_session_ends_its_messages(inn: Inn, guest: MemoryGuest) -> None:
    """Who listens hears what came before the loss, and then the end."""
    session = await inn.session()
    messages = session.messages()
    guest.session.send_message({"tell": "output", "identifier": "u1", "text": "hello"})
    guest.flush()
    guest.give_notice(1, tell="task_state", task=TASK)
    guest.give_notice(2, tell="terminated", hresult=0x80004005)
    guest.start()
    await inn.clock.advance(1)
    heard = [message async for message in messages]
    assert heard[0] == GuestOutput(identifier="u1", text="hello")
    assert isinstance(heard[1], TaskStateChanged)
    assert heard[1].task.status is UpdateStatus.APPLYING
    assert heard[2:] == [AgentTerminated(hresult=0x80004005)]


async def test_booking_is_passed_on_with_its_machine(inn: Inn, guest: MemoryGuest) -> None:
    """A booking is answered when the house has decided."""
    await inn.session()
    inn.refusal = "No."
    guest.book(1)
    guest.give_notice(2, tell="delete_schedule", identifier="u1")
    await inn.clock.advance(0.1)
    start = dt.datetime.fromtimestamp(1_800_000_000, dt.UTC)
    booked = ScheduleRequested(label="", identifier="u1", context=b"", start=start, end=None, deadline=None)
    assert inn.bookings == [("web-1", booked), ("web-1", ScheduleDeleted(identifier="u1"))]
    assert guest.noted == [(1, {"error": "No."}), (2, {"error": "No."})]


async def test_notice_sent_again_counts_once(inn: Inn, guest: MemoryGuest) -> None:
    """A notice that comes again, in this session or a later one, gets the answer it had."""
    await inn.session()
    guest.book(1)
    guest.book(1)
    await inn.clock.advance(0.1)
    guest.start()
    await inn.session()
    guest.book(1)
    await inn.clock.advance(0.1)
    assert len(inn.bookings) == 1
    assert guest.noted.count((1, {})) == len(guest.noted) >= 2


async def test_number_used_again_for_something_else_counts(inn: Inn, guest: MemoryGuest) -> None:
    """A guest that was rolled back, or restored twice, uses its numbers again: nothing is lost."""
    await inn.session()
    guest.book(1, "u1")
    guest.book(1, "u2")
    await inn.clock.advance(0.1)
    assert [booking.identifier for _, booking in inn.bookings] == ["u1", "u2"]


FAULTS = [
    encode(FrameKind.PONG),
    encode(FrameKind.RESULT, 9, b"{}"),
    encode(FrameKind.DATA, 1, b"x"),
    encode(FrameKind.OPENED, 1),
    encode(FrameKind.TELL, 0, b"{}"),
    encode(FrameKind.TELL, 0, b'{"tell": "output", "identifier": "", "text": ""}'),
    encode(FrameKind.NOTICE, 1, b'{"tell": "nothing"}'),
    encode(
        FrameKind.NOTICE, 1, b'{"tell": "delete_schedule", "identifier": "u", "boot_id": "b", "seq": true}'
    ),
    b"GET / HTTP/1.1\r\n" + b"\r\n" * 100,
    b"\x7f\xff\xff\xff" + bytes(300),
]


@pytest.mark.parametrize("fault", FAULTS, ids=range(len(FAULTS)))
async def test_third_fault_in_a_minute_is_quarantine(inn: Inn, guest: MemoryGuest, fault: bytes) -> None:
    """Three broken rules in a minute, and the guest is left alone for a minute; then it is heard again."""
    for number in range(3):
        assert inn.kinds()[-1:] != [EventKind.AGENT_QUARANTINED], number
        await inn.session()
        guest.send(fault)
        await inn.clock.advance(0.6)
    assert inn.kinds()[-1] == EventKind.AGENT_QUARANTINED
    with pytest.raises(AgentQuarantined, match="too often"):
        await inn.agents.connected("web-1", timeout=600)
    while not guest.to_host.empty():
        guest.to_host.get_nowait()
    await inn.clock.advance(70)
    assert inn.agents.is_connected("web-1")


async def test_faults_far_apart_are_forgiven(inn: Inn, guest: MemoryGuest) -> None:
    """Three in three minutes are no quarantine."""
    for _ in range(6):
        await inn.session()
        guest.send(FAULTS[0])
        await inn.clock.advance(45)
    assert EventKind.AGENT_QUARANTINED not in inn.kinds()


async def test_guest_that_begins_anew_for_ever_is_quarantined(inn: Inn, guest: MemoryGuest) -> None:
    """A storm of READY costs a dozen greetings, not one each."""
    await inn.session()
    for _ in range(1000):
        guest.send(FLOOD[:64] + encode(FrameKind.READY))
    await inn.clock.advance(30)
    assert inn.kinds()[-1] == EventKind.AGENT_QUARANTINED
    assert guest.greetings < 20


async def test_wrong_answer_is_an_error_and_a_fault(inn: Inn, guest: MemoryGuest) -> None:
    """An answer that cannot be read ends the session of the guest that gave it."""
    session = await inn.session()
    guest.answer = {"task": {"identifier": "u1", "status": 8, "percent": None, "text": ""}}
    asking = asyncio.create_task(session.task("u1"))
    await inn.clock.advance(0.1)
    with pytest.raises(AgentError, match="cannot be read: it reports state 8"):
        await asking
    assert inn.kinds() == [EventKind.AGENT_CONNECTED, EventKind.AGENT_LOST]


@pytest.mark.parametrize("asked", ["task", "start_task"])
async def test_an_answer_about_another_update_is_none(inn: Inn, guest: MemoryGuest, asked: str) -> None:
    """A guest cannot pass an old success off as the update that was started."""
    session = await inn.session()
    guest.answer = {"task": {"identifier": "old", "status": 3, "percent": 100, "text": ""}}
    asking = asyncio.create_task(
        session.task("u1") if asked == "task" else session.start_task("label", "u1", b"")
    )
    await inn.clock.advance(0.1)
    with pytest.raises(AgentError, match="another update than the one that was asked for"):
        await asking


async def test_guest_that_books_10000_updates_is_bounded() -> None:
    """A guest's bookings reach the house at a bounded rate, and the other guests go on."""
    async with inn_of("web-1", "evil-1") as inn:
        await inn.session()
        evil = inn.guests["evil-1"]
        for number in range(1, 10_001):
            evil.book(number, f"u{number}")
        await inn.clock.advance(10)
        from_evil = [booking for machine, booking in inn.bookings if machine == "evil-1"]
        assert len(from_evil) <= 120
        inn.guests["web-1"].book(1)
        session = await inn.session()
        asking = asyncio.create_task(session.task("u1"))
        await inn.clock.advance(1)
        assert (await asking) is not None
        assert inn.bookings[-1][0] == "web-1"


async def test_flood_is_read_no_faster_than_a_guest_has_reason_to_send(inn: Inn, guest: MemoryGuest) -> None:
    """A guest that sends without end is left waiting, and takes no memory of the host's."""
    session = await inn.session()
    listening = session.messages()
    line = encode(FrameKind.TELL, 0, b'{"tell":"output","identifier":"u","text":"' + b"x" * 1900 + b'"}')
    chunk = line * 32
    for _ in range(1000):
        guest.send(chunk)
    tracemalloc.start()
    await inn.clock.advance(10)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    read = 1000 - guest.to_host.qsize()
    assert read * len(chunk) <= 20 << 20
    assert peak < 8 << 20
    assert inn.agents.is_connected("web-1")
    assert listening is not None


async def test_frames_are_counted_not_their_bytes_alone(inn: Inn, guest: MemoryGuest) -> None:
    """Frames of a dozen bytes are read at 2,000 a second, whatever their bytes would allow."""
    await inn.session()
    before = guest.session.frames_received
    for _ in range(20):
        guest.send(encode(FrameKind.PING) * 5000)
    await inn.clock.advance(3)
    assert guest.session.frames_received - before <= 2000 + 3 * 2000 + 1000
    assert inn.agents.is_connected("web-1")


async def test_processor_time_is_counted(inn: Inn, guest: MemoryGuest) -> None:
    """A guest whose few messages take the host long is read slowly, and slower the longer they take."""
    session = await inn.session()
    messages = session.messages()
    inn.piece_seconds = 0.02
    line = encode(FrameKind.TELL, 0, b'{"tell":"output","identifier":"u","text":"x"}')
    for _ in range(100):
        guest.send(line)
    await inn.clock.advance(5)
    inn.running.clear()
    inn.agents.on_event(Event(kind=EventKind.MACHINE_STOPPED, subject="web-1", at=inn.clock.now()))
    await inn.clock.advance(1)
    assert len([message async for message in messages]) <= (0.1 + 6 * 0.02) / 0.02 + 1


async def test_floods_of_many_guests_share_a_twentieth_of_the_processor() -> None:
    """Guests that have more than their share get no more together, however many they are."""
    async with inn_of(*(f"evil-{number}" for number in range(40))) as inn:
        await inn.clock.advance(2)
        inn.piece_seconds = 0.01
        ping = encode(FrameKind.PING)
        for guest in inn.guests.values():
            guest.session.frames_received = 0
            for _ in range(500):
                guest.send(ping)
        await inn.clock.advance(10)
        read = sum(guest.session.frames_received for guest in inn.guests.values())
        # A tenth of a second each for what may be honest, and a twentieth of the time for all.
        assert read * 0.01 <= 40 * 0.11 + 10 * 0.05 + 0.05 + 40 * 0.01


async def test_flood_that_does_not_end_is_quarantined(inn: Inn, guest: MemoryGuest) -> None:
    """A guest is read slowly for a while, and then left alone; another guest hears nothing of it."""
    await inn.session()
    for _ in range(60):
        guest.send(encode(FrameKind.PING) * 5000)
    await inn.clock.advance(12)
    assert EventKind.AGENT_QUARANTINED not in inn.kinds()
    await inn.clock.advance(12)
    assert inn.kinds()[-1] == EventKind.AGENT_QUARANTINED
    assert inn.events[-1].data["reason"] == "it sends far more than a guest has reason to"


async def test_data_that_a_client_has_asked_for_is_never_throttled(inn: Inn, guest: MemoryGuest) -> None:
    """Bytes of channels within their credit, and the ends of connections, are no flood."""
    session = await inn.session()
    inn.piece_seconds = 0.01
    received = Received()
    for number in range(1, 401):
        received.stream = session.open_stream(80, received)
        await inn.clock.advance(0)
        guest.session.streams.accept(number)
        guest.session.streams.write(number, bytes(250_000))
        guest.session.streams.finish(number)
        guest.flush()
        await inn.clock.advance(0)
        received.stream.finish()
    assert (received.bytes, received.ends) == (400 * 250_000, 400)


async def test_thousand_guests_cost_little() -> None:
    """A thousand quiet sessions are kept for ten minutes of simulated time."""
    async with inn_of(*(f"m{number}" for number in range(1000))) as inn:
        await inn.clock.advance(5)
        assert all(inn.agents.is_connected(machine) for machine in inn.guests)
