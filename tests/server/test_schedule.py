"""Scheduled tasks through the door: registered, run, followed and refused as they are inside."""

from __future__ import annotations

import time

import pytest

import innkeeper
from innkeeper.errors import ErrorCode, NotPermitted, ScheduleError
from innkeeper.schedule import TaskDefinition
from innkeeper.schedule.boundary import Boundary
from innkeeper.schedule.model.enumerations import ActionType, TriggerType
from tests.serving import Service


def definition(command: str) -> TaskDefinition:
    made = TaskDefinition.new()
    made.actions.create(ActionType.EXEC).path = command
    made.triggers.create(TriggerType.DAILY).start_boundary = Boundary("2026-01-01T02:00:00")
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


def test_the_object_model_is_whole_from_a_client(service: Service) -> None:
    """Collections from 1, live instances, hidden tasks, run times, descriptors, notices."""
    with innkeeper.connect(socket=service.socket) as inn:
        folder = inn.schedule.folder().create_folder("Model")
        assert folder.get_folders().count == 0
        hidden = definition("/bin/true")
        hidden.settings.hidden = True
        folder.register("Hidden", hidden)
        long = definition("/bin/sleep")
        long.actions[1].arguments = "600"
        long.triggers.create(TriggerType.LOGON)
        task = folder.register("Long", long)
        assert [each.name for each in folder.get_tasks()] == ["Long"]
        tasks = folder.get_tasks(1)
        assert (tasks.count, tasks.item(1).name, tasks["long"].name) == (2, "Hidden", "Long")
        with pytest.raises(innkeeper.InnkeeperError) as refused:
            tasks.item(0)
        assert refused.value.hresult == ErrorCode.E_INVALIDARG
        assert len(task.get_run_times(count=3)) == 3
        assert any("LogonTrigger" in notice for notice in task.notices)
        running = task.run_ex()
        assert (running.state, running.path, running.engine_pid > 1) == ("RUNNING", "\\Model\\Long", True)
        assert [each.instance_guid for each in task.get_instances()] == [running.instance_guid]
        assert running.instance_guid in [each.instance_guid for each in inn.schedule.running_tasks()]
        running.stop()
        deadline = time.monotonic() + 20
        while task.get_instances().count and time.monotonic() < deadline:
            time.sleep(0.1)
        with pytest.raises(ScheduleError) as ended:
            running.refresh()
        assert ended.value.code is ErrorCode.SCHED_E_TASK_NOT_RUNNING
        with pytest.raises(innkeeper.InnkeeperError) as unknown:
            task.run_ex(user="no-such-account-here")
        assert unknown.value.hresult == ErrorCode.ERROR_NONE_MAPPED
        for name in ("Hidden", "Long"):
            folder.delete_task(name)
        inn.schedule.folder().delete_folder("Model")


def test_a_descriptor_is_read_set_and_enforced_through_the_door(service: Service) -> None:
    """What it denies is denied at the next call; whoever rules the inn can take it back."""
    with innkeeper.connect(socket=service.socket) as inn:
        folder = inn.schedule.folder().create_folder("Guarded")
        task = folder.register("Task", definition("/bin/true"))
        assert "(A;;FA;;;BA)" in task.get_security_descriptor()
        task.set_security_descriptor("D:(A;;FR;;;AU)", 0x10)
        assert task.get_security_descriptor(4) == "D:(A;;FR;;;AU)"
        with pytest.raises(NotPermitted, match="may not start or stop the task"):
            task.run()
        with pytest.raises(NotPermitted, match="delete"):
            folder.delete_task("Task")
        folder.set_security_descriptor("D:(A;OICI;FA;;;BA)")
        task.set_security_descriptor("")
        folder.delete_task("Task")
        inn.schedule.folder().delete_folder("Guarded")
