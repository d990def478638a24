"""Time limits: each is called when it runs out, whatever the others do."""

from __future__ import annotations

from innkeeper.schedule.running.limits import Limits
from innkeeper.tasks.clock import FakeClock


async def test_a_limit_whose_call_fails_leaves_the_others() -> None:
    """Those that run out with it, and after it, are called."""
    clock, called = FakeClock(), list[str]()
    limits = Limits(clock)

    def broken() -> None:
        raise RuntimeError("It broke.")

    limits.set("broken", 1, broken)
    limits.set("same", 1, lambda: called.append("same"))
    limits.set("later", 5, lambda: called.append("later"))
    await clock.advance(6)
    assert called == ["same", "later"]
