"""All faults that are tried, with what is promised of each."""

from __future__ import annotations

from collections.abc import Sequence

from tests.faults import service_trials as trials
from tests.faults.fault import Fault, by_program, by_tests

FAULTS: Sequence[Fault] = (
    Fault(
        name="locked store",
        promise="It lives, is not ready, waits with what it writes, and goes on by itself.",
        trial=trials.locked_store,
    ),
    by_tests(
        "full disk",
        "Writes wait until there is room; none is lost, none is made twice.",
        "tests/store/test_waiting.py::test_writes_outlive_a_full_disk",
    ),
    by_program(
        "EIO, full and vanished disks of machines",
        "A disk reads as before the failed change or as after it, and the change can be made again.",
        "benchmarks.disks_fuzz", "--seconds", "30",
    ),
    Fault(
        name="read-only state",
        promise="A start is refused in a sentence; once it can write, all is there.",
        trial=trials.read_only_state,
    ),
    by_tests(
        "PostgreSQL restarted, silent, away",
        "Work waits and goes on; requests get 503 after ten seconds; each write is made once.",
        "tests/store/test_waiting.py",
        "tests/store/test_engine_outages.py",
        "tests/server/test_health_without_database.py",
    ),
    by_tests(
        "libvirtd killed, stopped, behind a bad wire",
        "The night waits for it, and the verdict is the one without the fault.",
        "tests/night/test_nights_on_daemons.py",
    ),
    by_tests(
        "agent stopped or hung",
        "Its session is lost within a minute and comes back by itself.",
        "tests/channels/test_agents.py::test_agent_that_answers_no_ping_is_lost",
    ),
    Fault(
        name="service stopped (SIGSTOP)",
        promise="It goes on where it was.",
        trial=trials.paused_service,
    ),
    Fault(
        name="service killed",
        promise="It starts again on what it had written down.",
        trial=trials.killed,
    ),
    Fault(
        name="out of descriptors",
        promise="Who cannot be let in is not; it goes on when there are some again.",
        trial=trials.no_descriptors,
    ),
    Fault(
        name="hardly any memory",
        promise="Requests may fail; the service does not, and goes on when there is some again.",
        trial=trials.little_memory,
    ),
    Fault(
        name="3,000 connections",
        promise="Others are answered meanwhile.",
        trial=trials.many_connections,
    ),
    Fault(
        name="clock three hours ahead",
        promise="It is as well as before.",
        trial=trials.clock_jumps(3),
    ),
    Fault(
        name="clock three hours back",
        promise="It is as well as before.",
        trial=trials.clock_jumps(-3),
    ),
    Fault(
        name="two services on one state",
        promise="The second is refused in a sentence, and the first goes on.",
        trial=trials.two_services,
    ),
    by_tests(
        "hostile guests",
        "Their memory is bounded, they are read slowly and then left alone, and others are served.",
        "tests/channels/test_agents.py",
        "tests/wire/test_session.py",
    ),
    by_tests(
        "another release on the same database",
        "Both work beside one another, or the newer names those that have to be stopped.",
        "tests/upgrade/test_beside.py",
    ),
)  # fmt: skip
