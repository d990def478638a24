"""The clockwork calls back at the runs of its recurrences, and of no others."""

import threading
import time

from innkeeper.schedule.calendar import zone
from innkeeper.schedule.calendar.days import Daily
from innkeeper.schedule.calendar.recurrence import Recurrence
from innkeeper.schedule.running.clockwork import Clockwork
from innkeeper.schedule.running.timer import Timer

UTC = zone.named("UTC")


def in_seconds(seconds: int) -> Recurrence:
    """A run that many seconds from now, and every minute after it."""
    at = int(time.time()) + seconds
    day, second = divmod(at, zone.DAY)
    return Recurrence(days=Daily(day + zone.EPOCH_DAY), zone=UTC, second=second, start=at, interval=60)


def test_what_is_due_is_called_and_what_was_removed_is_not() -> None:
    """Set while it runs, called within its second, removed in time."""
    called: list[str] = []
    enough = threading.Event()

    def on_due(key: str) -> None:
        called.append(key)
        if len(called) == 2:
            enough.set()

    clockwork = Clockwork(on_due)
    clockwork.start()
    clockwork.set("removed", in_seconds(1))
    clockwork.set_all([("first", in_seconds(1)), ("second", in_seconds(1))])
    clockwork.remove("removed")
    assert enough.wait(5)
    clockwork.stop()
    assert called == ["first", "second"]
    assert len(clockwork) == 2


def test_a_key_is_due_once_at_its_last_moment() -> None:
    """Setting a key anew forgets its old moment; removing it forgets both."""
    timer: Timer[str] = Timer()
    timer.set("a", 1.0)
    timer.set("a", 3.0)
    timer.set("b", 2.0)
    timer.set("c", 2.0)
    timer.remove("c")
    assert timer.next_due() == 2.0
    assert [(at, key) for at, _, key in timer.pop_due(2.5)] == [(2.0, "b")]
    assert [(at, key) for at, _, key in timer.pop_due(9.0)] == [(3.0, "a")]
    assert timer.next_due() is None
    assert len(timer) == 0


def test_a_timer_does_not_grow_with_what_was_removed() -> None:
    """Limits that are set and dropped all day leave no heap behind, and what counts is still in its order."""
    timer: Timer[int] = Timer()
    timer.set(-1, 2e9)
    for number in range(20_000):
        timer.set(number, 1e9 + number)
        timer.remove(number)
    assert len(timer._heap) < 3000
    timer.set(-2, 1e9)
    assert [key for _, _, key in timer.pop_due(3e9)] == [-2, -1]


def test_a_call_that_fails_leaves_the_others_and_the_thread() -> None:
    """What is due with it, and after it, is called."""
    called: list[str] = []
    enough = threading.Event()

    def on_due(key: str) -> None:
        called.append(key)
        if key == "broken":
            raise RuntimeError("It broke.")
        if key == "later":
            enough.set()

    clockwork = Clockwork(on_due)
    clockwork.start()
    clockwork.set_all([("broken", in_seconds(1)), ("sound", in_seconds(1)), ("later", in_seconds(2))])
    assert enough.wait(30)
    clockwork.stop()
    assert called == ["broken", "sound", "later"]
