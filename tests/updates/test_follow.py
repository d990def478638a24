"""Following an update goes on across reboots and dying sessions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

import pytest

from innkeeper.channels.ports import (
    AgentHello,
    AgentTask,
    GuestAgents,
    GuestMessage,
    HealthReport,
    TaskStateChanged,
    UpdateStatus,
)
from innkeeper.errors import AgentError
from innkeeper.tasks.clock import FakeClock
from innkeeper.updates.follow import Follower, OnOutput


def told(status: UpdateStatus) -> AgentTask:
    return AgentTask(identifier="u", status=status, percent=None, text="", packages=())


class Session:
    """A session that answers with these states in turn; ``None`` stands for silence, and is the last."""

    hello = AgentHello(agent_version="1", boot_id="b", plugin_name="p", os_name="o", tasks=())

    def __init__(self, *states: UpdateStatus | None) -> None:
        self._states = list(states)

    async def start_task(
        self, label: str, identifier: str, context: bytes, *, attempt: str = ""
    ) -> AgentTask:
        return self._next()

    async def task(self, identifier: str) -> AgentTask | None:
        return self._next()

    async def messages(self) -> AsyncIterator[GuestMessage]:
        return
        yield

    async def last_words(self, identifier: str) -> AsyncIterator[str]:
        return
        yield

    async def cancel_task(self, identifier: str) -> None:
        raise NotImplementedError

    async def health(self, *, history: bool = False) -> HealthReport:
        raise NotImplementedError

    async def reboot(self) -> None:
        raise NotImplementedError

    async def shut_down(self) -> None:
        raise NotImplementedError

    def _next(self) -> AgentTask:
        state = self._states.pop(0) if len(self._states) > 1 else self._states[0]
        if state is None:
            raise AgentError("The session was lost: it does not answer.", machine="m")
        return told(state)


class Sessions:
    """Hands out sessions in turn, the last one again and again."""

    def __init__(self, *sessions: Session) -> None:
        self._sessions = list(sessions)

    async def connected(
        self, machine: str, *, timeout: float, other_boot_than: str = "", told: float | None = None
    ) -> Session:
        return self._sessions.pop(0) if len(self._sessions) > 1 else self._sessions[0]

    def is_connected(self, machine: str) -> bool:
        return True


def follower(
    *sessions: Session, clock: FakeClock | None = None, on_output: OnOutput = lambda _text: None
) -> Follower:
    async def nothing(_state: object = None) -> None:
        return

    return Follower(
        machine="host/uuid",
        title="m",
        identifier="u",
        agents=cast("GuestAgents", Sessions(*sessions)),
        # A computer that others keep busy may stand still for longer than a faster one would wait.
        clock=FakeClock(speed=100.0) if clock is None else clock,
        agent_seconds=60.0,
        poll_seconds=1.0,
        check_alive=nothing,
        on_state=nothing,
        on_output=on_output,
    )


async def test_a_dying_session_is_not_the_last_word() -> None:
    """A reboot is followed although the session before it is handed out once more, and stays silent."""
    before = Session(UpdateStatus.REBOOTING, None)
    after = Session(UpdateStatus.REBOOTED, UpdateStatus.SUCCESS)
    task = await follower(before, before, before, after).run("label", b"")
    assert task.status is UpdateStatus.SUCCESS


async def test_a_guest_that_stays_silent_is_given_up() -> None:
    """Where no session answers in the agent's time, the follower says so."""
    with pytest.raises(AgentError, match="does not answer"):
        await follower(Session(UpdateStatus.APPLYING, None)).run("label", b"")


class LateSession(Session):
    """A session of a guest that has ended its update and does not answer for so many seconds."""

    def __init__(self, clock: FakeClock, back_at: float) -> None:
        super().__init__(UpdateStatus.SUCCESS)
        self._clock = clock
        self._back_at = back_at

    async def last_words(self, identifier: str) -> AsyncIterator[str]:
        yield "one"
        if self._clock.monotonic() < self._back_at:
            raise AgentError("It does not answer.", machine="m")
        yield "the last"


async def test_last_words_are_waited_for() -> None:
    """As long as a guest has time to answer."""
    clock, heard = FakeClock(speed=20.0), list[str]()
    task = await follower(LateSession(clock, 5.0), clock=clock, on_output=heard.append).run("label", b"")
    assert (task.status, heard[-1]) == (UpdateStatus.SUCCESS, "the last")


async def test_a_verdict_that_is_known_outlives_the_guest() -> None:
    """Whose last words nobody hears."""
    clock = FakeClock(speed=100.0)
    task = await follower(LateSession(clock, 1e9), clock=clock).run("label", b"")
    assert task.status is UpdateStatus.SUCCESS
    assert clock.monotonic() >= 60.0


class QuietSession(Session):
    """A session of a guest that applies for long, and says nothing meanwhile."""

    def __init__(self, clock: FakeClock, ends_at: float) -> None:
        super().__init__(UpdateStatus.APPLYING)
        self._clock = clock
        self._ends_at = ends_at
        self.questions = 0

    async def task(self, identifier: str) -> AgentTask | None:
        self.questions += 1
        is_over = self._clock.monotonic() >= self._ends_at
        return told(UpdateStatus.SUCCESS if is_over else UpdateStatus.APPLYING)

    async def messages(self) -> AsyncIterator[GuestMessage]:
        await self._clock.sleep(1e9)
        yield TaskStateChanged(task=told(UpdateStatus.APPLYING))


async def test_a_quiet_guest_is_looked_at_less_and_less_often() -> None:
    """An hour of silence costs some hundred questions, and not one a second; the end is seen all the same."""
    clock = FakeClock(speed=10_000.0)
    quiet = QuietSession(clock, ends_at=3600.0)
    task = await follower(quiet, clock=clock).run("label", b"")
    assert task.status is UpdateStatus.SUCCESS
    assert quiet.questions <= 130
