"""Scheduled tasks through the door: registered, run, followed and refused as they are inside."""

from __future__ import annotations

import time

import pytest

import innkeeper
from innkeeper.errors import ErrorCode, ScheduleError
from innkeeper.schedule import TaskDefinition
from innkeeper.schedule.enumerations import ActionType, TriggerType
from tests.serving import Service


def definition(command: str) -> TaskDefinition:
    made = TaskDefinition.new()
    made.actions.create(ActionType.EXEC).path = command
    made.triggers.create(TriggerType.DAILY).start_boundary = "2026-01-01T02:00:00"
    return made


def test_a_task_is_registered_run_and_deleted(service: Service) -> None:
    """The documented calls, from a folder to the result, on a real service."""
    with innkeeper.connect(socket=service.socket) as inn:
        folder = inn.schedule.folder().create_folder("Nightly")
        task = folder.register("True", definition("/bin/true"))
        assert (task.path, task.state, task.last_task_result) == ("\\Nightly\\True", "READY", 0x41303)
        assert task.next_run_time is not None
        task.run()
        deadline = time.monotonic() + 20
        while task.runs(live=True) and time.monotonic() < deadline:
            time.sleep(0.1)
        (run,) = task.runs()
        assert (run.state, run.result) == ("finished", 0)
        assert task.last_task_result == 0
        task.enabled = False
        assert task.state == "DISABLED"
        assert [each.path for each in folder.tasks] == ["\\Nightly\\True"]
        folder.delete_task("True")
        inn.schedule.folder().delete_folder("Nightly")


def test_an_error_keeps_its_place_through_the_door(service: Service) -> None:
    """Line, column, node and value arrive where the XML came from."""
    with innkeeper.connect(socket=service.socket) as inn:
        xml = definition("/bin/true").xml_text.replace("<StartBoundary>2026", "<StartBoundary>20x6")
        with pytest.raises(ScheduleError) as refused:
            inn.schedule.folder().register("bad", xml)
        error = refused.value
        assert (error.code, error.node) == (ErrorCode.SCHED_E_INVALIDVALUE, "StartBoundary")
        assert error.line > 1
        assert error.column > 1
        with pytest.raises(ScheduleError) as missing:
            inn.schedule.folder("\\none")
        assert missing.value.code is ErrorCode.ERROR_FILE_NOT_FOUND
