"""Today's service takes up what each former release has left: its update runs, tables and settings."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from innkeeper.client import Task
from innkeeper.hypervisor.simulated import disks
from innkeeper.hypervisor.simulated.guests import GuestDisk
from innkeeper.server.settings import load
from innkeeper.wire.states import MachineState, Verdict
from tests.serving import Service

from . import sample
from .record import IDENTIFIER, MACHINE, MOMENTS, SETTINGS, SPEED, Moment

RELEASES = ("0.1.0",)
_KEPT = [moment for moment in MOMENTS if moment.behaviour != "bad"]
_ROLLED_BACK = [moment for moment in MOMENTS if moment.behaviour == "bad"]


def _named(moments: list[Moment]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("moment", moments, ids=lambda moment: moment.name)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """Today's service, to be started on a sample."""
    settings = tmp_path / "settings.toml"
    settings.write_text(SETTINGS)
    service = Service(tmp_path, machines=3, speed=SPEED)
    service.add_arguments("--config", str(settings))
    yield service
    service.end()


@pytest.mark.slow
@pytest.mark.parametrize("release", RELEASES)
@_named(_KEPT)
def test_a_good_run_of_the_former_release_is_kept(service: Service, release: str, moment: Moment) -> None:
    """Whenever the former one was killed, today's goes on from there and ends it by itself."""
    sample.put(release, moment.name, service.state_dir)
    service.start()
    assert _outcome(service) == (Verdict.KEPT, ())
    assert _left_behind(service) == []
    assert _packages(service)["base"] == "1.0-2"


@pytest.mark.slow
@pytest.mark.parametrize("release", RELEASES)
@_named(_ROLLED_BACK)
def test_a_bad_run_of_the_former_release_is_rolled_back(
    service: Service, release: str, moment: Moment
) -> None:
    """Also where it was killed in the middle of that."""
    sample.put(release, moment.name, service.state_dir)
    service.start()
    assert _outcome(service) == (Verdict.ROLLED_BACK, ("The unit shop.service has failed.",))
    assert _left_behind(service) == []
    assert _packages(service)["base"] == "1.0-1"


@pytest.mark.slow
@pytest.mark.parametrize("release", RELEASES)
def test_the_tables_of_the_former_release_are_read(service: Service, release: str) -> None:
    """Accounts, tokens, windows, bookings, schedules, tasks and the sealed audit log: all there."""
    sample.put(release, "in-the-report", service.state_dir)
    service.start()
    with service.connect() as inn:
        assert [user.name for user in inn.people.list().users] == ["ana"]
        assert {window.name for window in inn.windows} == {"nights", "now"}
        assert inn.machines["old-1"].updates["later"].read().label == "Later"
        trim = inn.schedule.task("\\Nightly\\Trim")
        assert (trim.last_task_result, trim.state.name) == (0, "READY")
        assert "<ComHandler>" in inn.schedule.task("\\Weekend\\Save").xml
        assert "attic" in inn.machines["db-1"].read().labels
        assert inn.machines["db-1"].read().state is MachineState.PAUSED
        assert {task.read().kind for task in inn.tasks} >= {"scheduled_task", "machine_pause", "update_run"}
        assert inn.audit.verify().ok


@pytest.mark.parametrize("release", RELEASES)
def test_the_settings_of_the_former_release_are_accepted(release: str) -> None:
    """Every setting that it knew, under the name that it had."""
    settings = load(file=Path(__file__).parent / release / "settings.toml", environ={})
    assert settings.policy.slots == 8
    assert settings.policy.undo.reserve_bytes == 1_000_000_000
    assert settings.ldap[0].url == "ldaps://ldap.example"


@pytest.mark.slow
def test_a_run_that_a_newer_release_has_journalled_is_left_for_it(service: Service) -> None:
    """It does not end, the task's log says why, and neither its undo disk nor its machine is touched."""
    sample.put("0.1.0", "in-the-merge", service.state_dir)
    with sample.opened(sample.journal(service.state_dir)) as connection:
        _raise_version(connection)
    before = _files(service)
    service.start()
    with service.connect() as inn:
        task = inn.machines[MACHINE].updates[IDENTIFIER].task
        assert task is not None
        _until_log_has(task, "was written by a newer Innkeeper: it has version 99")
        assert not task.is_complete
    service.kill()
    after = _files(service)
    assert {
        name: after[name] for name in before if name.endswith(".json") or after[name] == before[name]
    } == after
    (definition,) = [name for name in before if name.endswith(".json")]
    assert _is_within(json.loads(before[definition]), json.loads(after[definition]))


@pytest.mark.slow
def test_a_database_that_a_newer_release_has_migrated_is_refused(service: Service) -> None:
    """With a sentence, and it stays as it is."""
    sample.put("0.1.0", "in-the-merge", service.state_dir)
    with sample.opened(service.state_dir / "innkeeper.sqlite") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(AssertionError, match="newer"):
        service.start()
    with sample.opened(service.state_dir / "innkeeper.sqlite") as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("9999",)


def _outcome(service: Service) -> tuple[Verdict, tuple[str, ...]]:
    """What the run came to, and why, once it has come to it."""
    with service.connect() as inn:
        update = inn.machines[MACHINE].updates[IDENTIFIER]
        task = update.task
        assert task is not None
        assert task.wait(60)
        report = update.report
        assert report is not None
        assert inn.machines[MACHINE].state is MachineState.RUNNING
        return report.verdict, tuple(report.reasons)


def _left_behind(service: Service) -> list[str]:
    return [str(path) for path in service.state_dir.rglob("*.innkeeper-*")]


def _packages(service: Service) -> dict[str, str]:
    disk = service.state_dir / "fake" / "disks" / f"{MACHINE}.img"
    return GuestDisk.from_bytes(disks.read(str(disk))).packages


def _files(service: Service) -> dict[str, bytes]:
    """The disks, and the definition of the machine that is maintained."""
    fake = service.state_dir / "fake"
    names = [*fake.glob("disks/*"), fake / "machines" / f"{MACHINE}.json"]
    return {path.name: path.read_bytes() for path in names if MACHINE in path.name}


def _is_within(old: object, new: object) -> bool:
    """Whether all that was said is still so; the simulated host may have written down more since."""
    if isinstance(old, dict) and isinstance(new, dict):
        return all(name in new and _is_within(value, new[name]) for name, value in old.items())
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(_is_within, old, new))
    return old == new


def _raise_version(connection: sqlite3.Connection) -> None:
    ((workflow, output),) = connection.execute(
        "SELECT workflow_uuid, output FROM operation_outputs WHERE function_name = 'decide'"
    ).fetchall()
    record = json.loads(output)
    record["value"]["version"] = 99
    connection.execute(
        "UPDATE operation_outputs SET output = ? WHERE workflow_uuid = ? AND function_name = 'decide'",
        (json.dumps(record), workflow),
    )


def _until_log_has(task: Task, text: str) -> None:
    give_up = time.monotonic() + 60
    while not any(text in line.text for line in task.log()):
        assert time.monotonic() < give_up, [line.text for line in task.log()]
        time.sleep(0.05)
