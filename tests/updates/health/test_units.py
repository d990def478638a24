"""What was active before an update is missed after it, where somebody relied on it."""

from __future__ import annotations

import pytest

from innkeeper.channels.guest_details import UnitFacts
from tests.updates.health.reports import judged, old, report, unit

SHOP = unit("shop.service")
TIMER_JOB = unit(
    "backup.service", "failed", type="oneshot", enablement="static", wanted=False, triggered=True
)
NOT_COUNTED = "The unit {}.service has failed, which does not count: {}."


@pytest.mark.parametrize("after", [report(), report(unit("shop.service", "inactive", sub="dead"))])
def test_a_service_that_is_not_active_any_more_is_a_fault(after: object) -> None:
    """Stopped or switched off by the update: systemd calls neither failed."""
    installed = report(unit_files=frozenset({"shop.service"})) if after == report() else after
    assert judged(report(SHOP), installed).faults == (  # type: ignore[arg-type]
        "The unit shop.service, which was active, is not active any more.",
    )


def test_a_crash_loop_is_a_fault_although_nothing_has_failed() -> None:
    """Between two starts it is ``activating``; it is waited for all the same, as it may come up yet."""
    loop = unit("shop.service", "activating", sub="auto-restart", restarts=8)
    judgement = judged(report(SHOP), report(loop))
    assert judgement.faults == (
        "The unit shop.service, which was active, keeps ending, and being started again.",
    )
    assert judgement.may_pass
    assert not judgement.is_lasting


def test_a_service_that_is_still_starting_is_waited_for_and_no_fault() -> None:
    """A migration may take as long as it takes: its unit's own time-out makes it fail."""
    starting = unit("shop.service", "activating", sub="start")
    judgement = judged(report(SHOP), report(starting))
    assert (judgement.faults, judgement.may_pass) == ((), True)
    assert judgement.warnings == ("The unit shop.service, which was active, is still starting.",)


@pytest.mark.parametrize(
    "gone",
    [
        unit("packagekit.service", type="dbus", enablement="static", wanted=False),
        unit("systemd-timedated.service", type="notify", enablement="static", wanted=False),
        unit("run-u7.service", enablement="transient", wanted=False),
        unit("user@1000.service", enablement="static", wanted=False),
        unit("ssh.service", triggered=True),
        unit("backup.service", "activating", sub="start", type="oneshot"),
        unit("apt-daily.service", "active", type="oneshot", enablement="static"),
    ],
    ids=lambda one: one.name,
)
def test_what_comes_with_a_question_a_login_or_a_moment_is_not_missed(gone: UnitFacts) -> None:
    """Services of the bus end when nobody asks them, sockets start theirs, jobs end."""
    assert judged(report(gone), report(boot_id="two")).findings == ()


def test_a_service_that_was_started_by_hand_is_missed_where_nothing_was_booted() -> None:
    """A boot would not have started it, so an update with one has not stopped it; it is told alone."""
    by_hand = unit("shop.service", enablement="disabled", wanted=False)
    files = frozenset({"shop.service"})
    there = judged(report(by_hand), report(unit_files=files))
    assert (there.faults, len(there.warnings)) == ((), 1)
    assert judged(report(by_hand), report(unit_files=files, boot_id="two")).findings == ()


def test_a_service_that_the_update_took_out_is_told_and_no_fault() -> None:
    """What it listened on is judged by itself."""
    assert judged(report(SHOP), report()).warnings == (
        "The unit shop.service, which was active, is not installed any more.",
    )


def test_a_service_with_a_socket_is_missed_where_it_has_always_run() -> None:
    """Docker has one, and its containers are gone with it; libvirtd ends when nobody asks it."""
    files = frozenset({"docker.service"})
    always = unit("docker.service", triggered=True, age=7 * 24 * 3600)
    assert judged(report(always), report(unit_files=files)).faults
    asked = unit("docker.service", triggered=True, age=90)
    assert judged(report(asked), report(unit_files=files)).findings == ()


def test_a_service_of_a_user_who_lingers_is_missed() -> None:
    """His manager starts it at boot."""
    of_user = unit("user@1000.service/shop.service")
    gone = report(unit("user@1000.service/shop.service", "inactive", sub="dead"))
    assert judged(report(of_user), gone).faults


def test_a_service_with_a_new_name_is_the_same() -> None:
    """MySQL became MariaDB, and its old name an alias."""
    renamed = unit("mariadb.service", aliases=("mysql.service",))
    assert judged(report(unit("mysql.service")), report(renamed)).findings == ()


def test_a_socket_whose_service_runs_by_itself_is_not_missed() -> None:
    """Packages move from one way to the other."""
    socket = unit("ssh.socket", sub="listening", type="", triggers=("ssh.service",))
    files = frozenset({"ssh.socket", "ssh.service"})
    assert judged(report(socket), report(unit("ssh.service"), unit_files=files)).findings == ()
    assert judged(report(socket), report(unit_files=files)).faults


def test_a_timer_that_the_update_turned_off_is_told() -> None:
    """One that is wanted and stands still is a fault."""
    timer = unit("logrotate.timer", sub="waiting", type="")
    off = judged(report(timer), report(unit_files=frozenset({"logrotate.timer"})))
    assert (off.faults, len(off.warnings)) == ((), 1)
    assert judged(report(timer), report(unit("logrotate.timer", "inactive", sub="dead"))).faults


def test_a_new_failure_is_a_fault_that_lasts() -> None:
    """Nothing is on its way to mend it."""
    judgement = judged(report(SHOP), report(unit("shop.service", "failed")))
    assert judgement.faults == ("The unit shop.service has failed.",)
    assert judgement.is_lasting


def test_a_failure_of_before_is_none() -> None:
    """The update did not do it."""
    failed = report(unit("shop.service", "failed"))
    assert judged(failed, failed).findings == ()


@pytest.mark.parametrize(
    ("was", "now", "lately", "why"),
    [
        (
            SHOP,
            unit("shop.service", "failed"),
            {"shop.service"},
            "it failed in the week before the update too",
        ),
        (
            unit("shop.service", restarts=40),
            unit("shop.service", "failed"),
            set(),
            "it did not run steadily before the update either",
        ),
        (SHOP, TIMER_JOB, set(), "it is a job that is started again at its time"),
        (
            SHOP,
            unit("run-u9.service", "failed", enablement="transient"),
            set(),
            "somebody started it for once",
        ),
        (SHOP, unit("sshd@7.service", "failed"), set(), "it did not run before the update"),
    ],
)
def test_what_fails_now_and_then_is_told_and_no_fault(
    was: UnitFacts, now: UnitFacts, lately: set[str], why: str
) -> None:
    """Each with the reason why."""
    others = [SHOP] if now.name != "shop.service" else []
    judgement = judged(report(was, failed_lately=frozenset(lately)), report(*others, now))
    assert judgement.faults == ()
    assert judgement.warnings == (NOT_COUNTED.format(now.name.removesuffix(".service"), why),)


BACKUP_TIMER = unit("backup.timer", sub="waiting", type="", triggers=("backup.service",))


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ((), unit("backup.service", "failed", enablement="static", wanted=False, triggered=True)),
        (
            (unit("backup.service", enablement="static", wanted=False, triggered=True),),
            unit("backup.service", "failed", enablement="static", wanted=False, triggered=True),
        ),
        ((), unit("backup@db.service", "failed", type="oneshot", enablement="static", wanted=False)),
    ],
    ids=["not-oneshot", "ran-at-the-baseline", "instance"],
)
def test_a_job_of_a_timer_that_fails_is_no_fault(was: tuple[UnitFacts, ...], now: UnitFacts) -> None:
    """Whatever its type is: many who write jobs give none."""
    timer = BACKUP_TIMER
    assert judged(report(SHOP, timer, *was), report(SHOP, timer, now)).faults == ()


def test_a_server_that_a_timer_starts_too_is_missed() -> None:
    """Its boot wants it, and its timer only sees that it runs."""
    server = unit("backup.service", triggered=True)
    failed = unit("backup.service", "failed", triggered=True)
    assert judged(report(server, BACKUP_TIMER), report(failed, BACKUP_TIMER)).faults


def test_a_service_that_a_socket_starts_is_at_fault_when_it_fails() -> None:
    """Nothing starts it at a time of its own."""
    failed = unit("cups.service", "failed", triggered=True)
    assert judged(report(SHOP), report(SHOP, failed)).faults


@pytest.mark.parametrize(
    "was", [unit("shop.service", restarts=40), unit("shop.service")], ids=["flaps", "failed-lately"]
)
def test_a_service_that_always_ended_now_and_then_may_do_so(was: UnitFacts) -> None:
    """It pauses between two starts as one looks, and may for long."""
    lately = frozenset() if was.restarts else frozenset({"shop.service"})
    pausing = unit("shop.service", "activating", sub="auto-restart")
    judgement = judged(report(was, failed_lately=lately), report(pausing))
    assert (judgement.faults, judgement.may_pass) == ((), False)
    assert len(judgement.warnings) == 1


def test_a_users_service_that_failed_lately_is_no_fault() -> None:
    """His manager's journal tells of it, and nobody tells how it ended now."""
    name = "user@1000.service/sync.service"
    gone = report(unit(name, "inactive", sub="dead"))
    assert judged(report(unit(name), failed_lately=frozenset({name})), gone).faults == ()


def test_a_users_service_that_always_ended_now_and_then_may_do_so() -> None:
    """Between two starts it has no process, and nobody says that it will be started."""
    name = "user@1000.service/sync.service"
    gone = report(unit(name, "inactive", sub="dead"))
    assert judged(report(unit(name, restarts=4000)), gone).faults == ()


def test_what_failed_lately_under_another_name_counts_as_the_same() -> None:
    """MySQL became MariaDB in the update."""
    failed = unit("mariadb.service", "failed", aliases=("mysql.service",))
    judgement = judged(
        report(unit("mysql.service"), failed_lately=frozenset({"mysql.service"})), report(failed)
    )
    assert judgement.faults == ()


def test_three_restarts_in_a_year_are_no_habit() -> None:
    """A service that failed for good after an update is not excused by them."""
    steady = report(unit("shop.service", restarts=3), uptime=365 * 24 * 3600)
    assert judged(steady, report(unit("shop.service", "failed"))).faults


def test_an_old_agent_is_judged_by_what_it_tells() -> None:
    """On either side: an update may have replaced the agent."""
    before, after = report(SHOP), report()
    for pair in ((old(before), after), (before, old(after)), (old(before), old(after))):
        assert judged(*pair).findings == ()
    failed = report(unit("shop.service", "failed"))
    assert judged(old(before), failed).faults == ("The unit shop.service has failed.",)
