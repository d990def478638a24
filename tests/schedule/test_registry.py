"""Folders and registration refuse what the documents refuse, and store it whole or not at all."""

from __future__ import annotations

import datetime as dt

import pytest

from innkeeper.errors import ErrorCode, InnkeeperError
from innkeeper.schedule.boundary import Boundary
from innkeeper.schedule.model.definition import TaskDefinition
from innkeeper.schedule.model.enumerations import LogonType, TaskCreation
from innkeeper.schedule.path import SchedulePath
from tests.schedule.house import NIGHT, House, daily, running

VALIDATE, CREATE, UPDATE = TaskCreation.VALIDATE_ONLY, TaskCreation.CREATE, TaskCreation.UPDATE
IGNORE = TaskCreation.IGNORE_REGISTRATION_TRIGGERS
ROOT = SchedulePath(())


@pytest.fixture
def house() -> House:
    return House()


async def refused(call) -> InnkeeperError:
    with pytest.raises(InnkeeperError) as refusal:
        await call
    return refusal.value


# Folders


async def test_a_folder_is_made_with_those_around_it(house: House) -> None:
    """CreateFolder makes the whole tree, relative or absolute."""
    await house.registry.create_folder("\\a\\b\\c", "D:")
    assert [str(folder.path) for folder in await house.store.folders()] == ["\\a", "\\a\\b", "\\a\\b\\c"]
    assert (await house.registry.folder("\\A\\B\\c")).sddl == "D:"
    await house.registry.create_folder("d", under=SchedulePath.parse("\\a"))
    assert [folder.path.name for folder in await house.registry.folders(SchedulePath.parse("\\a"))] == [
        "b",
        "d",
    ]


async def test_folders_refuse_what_is_documented(house: House) -> None:
    """Taken, missing, not empty, the root, and flags that there are none of."""
    await house.registry.create_folder("\\a\\b")
    await house.registry.register("\\t", running("true"), owner="ana")
    for call, code in [
        (house.registry.create_folder("\\A"), ErrorCode.ERROR_ALREADY_EXISTS),
        (house.registry.create_folder("\\t"), ErrorCode.ERROR_ALREADY_EXISTS),
        (house.registry.create_folder("\\a\\..\\c"), ErrorCode.ERROR_INVALID_NAME),
        (house.registry.folder("\\none"), ErrorCode.ERROR_FILE_NOT_FOUND),
        (house.registry.delete_folder("\\none"), ErrorCode.ERROR_FILE_NOT_FOUND),
        (house.registry.delete_folder("\\a"), ErrorCode.ERROR_DIR_NOT_EMPTY),
        (house.registry.delete_folder("\\"), ErrorCode.E_ACCESSDENIED),
        (house.registry.delete_folder("\\a\\b", 1), ErrorCode.E_INVALIDARG),
    ]:
        assert (await refused(call)).code is code
    await house.registry.delete_folder("\\a\\b")
    await house.registry.delete_folder("\\a")
    assert await house.store.folders() == []


# Registration


async def test_a_registered_task_is_found_with_its_folder(house: House) -> None:
    """The path, the owner, the account, the date and the next run are there; its folders are made."""
    definition = daily(running("true"))
    definition.principal.user_id, definition.principal.id = "ana", "Author"
    task = await house.registry.register("\\n\\t", definition, owner="ana")
    assert task == await house.registry.task("\\N\\T")
    assert task.next_due == dt.datetime(2026, 1, 10, 22, tzinfo=dt.UTC)
    assert [str(folder.path) for folder in await house.store.folders()] == ["\\n"]
    kept = TaskDefinition.from_xml(task.xml, strict=True)
    assert kept.registration_info.uri == "\\n\\t"
    assert kept.registration_info.date == "2026-01-10T20:00:00"
    assert task.last_result == ErrorCode.SCHED_S_TASK_HAS_NOT_RUN


async def test_a_task_without_a_path_gets_a_name(house: House) -> None:
    """The root folder and a GUID, as documented."""
    task = await house.registry.register(None, running("true"), owner="ana")
    assert task.path.parent.is_root
    assert len(task.path.name) == 38


@pytest.mark.parametrize(
    "flags",
    [
        0,
        VALIDATE | CREATE,
        VALIDATE | UPDATE,
        VALIDATE | TaskCreation.IGNORE_REGISTRATION_TRIGGERS,
        0x40 | CREATE,
    ],
)
async def test_flags_that_do_not_go_together_are_refused(house: House, flags: int | TaskCreation) -> None:
    """VALIDATE_ONLY stands alone; something must be asked for; unknown bits mean nothing."""
    error = await refused(house.registry.register("\\t", running("true"), flags, owner="ana"))
    assert error.code is ErrorCode.E_INVALIDARG
    assert await house.store.tasks() == []


async def test_create_and_update_say_what_must_be_there(house: House) -> None:
    """CREATE refuses a task that exists, UPDATE one that does not, and the id survives an update."""
    error = await refused(house.registry.register("\\t", running("true"), UPDATE, owner="ana"))
    assert error.code is ErrorCode.ERROR_FILE_NOT_FOUND
    task = await house.registry.register("\\t", running("true"), CREATE, owner="ana")
    error = await refused(house.registry.register("\\T", running("false"), CREATE, owner="ana"))
    assert error.code is ErrorCode.ERROR_ALREADY_EXISTS
    changed = await house.registry.register("\\t", running("false"), owner="ana")
    assert (changed.id, "false" in changed.xml) == (task.id, True)


async def test_validation_stores_nothing(house: House) -> None:
    """Neither the task nor its folders."""
    await house.registry.register("\\a\\t", running("true"), VALIDATE, owner="ana")
    assert await house.store.tasks() == []
    assert await house.store.folders() == []


async def test_a_disabled_registration_is_disabled(house: House) -> None:
    """DISABLE goes with creation, and shows in the XML."""
    task = await house.registry.register(
        "\\t", daily(running("true")), CREATE | TaskCreation.DISABLE, owner="ana"
    )
    assert (task.enabled, task.next_due) == (False, None)
    assert "<Enabled>false</Enabled>" in task.xml


def ended(definition: TaskDefinition) -> TaskDefinition:
    daily(definition, "2025-01-01T00:00:00").triggers[1].end_boundary = Boundary("2026-01-01T00:00:00")
    return definition


def as_user(definition: TaskDefinition, user: str) -> TaskDefinition:
    definition.principal.user_id, definition.principal.id = user, "Author"
    return definition


def excluding(definition: TaskDefinition, name: str) -> TaskDefinition:
    definition.extension.exclude = (name,)
    return daily(definition)


async def test_what_could_never_run_is_refused_at_registration(house: House) -> None:
    """A boundary in the past, an unknown user, a calendar that is not there, no actions, a bad path."""
    for name, definition, code, node in [
        ("\\t", ended(running("true")), ErrorCode.SCHED_E_PAST_END_BOUNDARY, "EndBoundary"),
        ("\\t", as_user(running("true"), "nobody-here"), ErrorCode.ERROR_NONE_MAPPED, "UserId"),
        ("\\t", excluding(running("true"), "freze"), ErrorCode.SCHED_E_INVALIDVALUE, "calendar"),
        ("\\t", TaskDefinition.new(), ErrorCode.SCHED_E_MISSINGNODE, "Actions"),
        ("\\t", "<Task/>", ErrorCode.SCHED_E_NAMESPACE, "Task"),
        ("\\t", "no XML", ErrorCode.SCHED_E_MALFORMEDXML, ""),
        ("..", running("true"), ErrorCode.ERROR_INVALID_NAME, "path"),
        ("x" * 4000, running("true"), ErrorCode.ERROR_INVALID_NAME, "path"),
    ]:
        error = await refused(house.registry.register(name, definition, owner="ana"))
        assert (error.code, error.node) == (code, node)
    assert await house.store.tasks() == []
    assert await house.store.folders() == []


async def test_the_callers_word_for_the_account_goes_first(house: House) -> None:
    """RegisterTask's user and logon type replace the definition's; a password is not kept."""
    task = await house.registry.register(
        "\\t", running("true"), user_id="ana", logon_type=LogonType.S4U, owner="ana"
    )
    assert "<UserId>ana</UserId>" in task.xml
    assert "<LogonType>S4U</LogonType>" in task.xml
    error = await refused(house.registry.register("\\t", running("true"), password="secret", owner="ana"))
    assert error.code is ErrorCode.SCHED_E_UNSUPPORTED_ACCOUNT_OPTION
    error = await refused(
        house.registry.register("\\t", running("true"), logon_type=LogonType.PASSWORD, owner="ana")
    )
    assert error.code is ErrorCode.E_INVALIDARG


async def test_hidden_tasks_are_shown_to_who_asks(house: House) -> None:
    """GetTasks with TASK_ENUM_HIDDEN."""
    definition = running("true")
    definition.settings.hidden = True
    await house.registry.register("\\t", definition, owner="ana")
    assert await house.registry.tasks(ROOT) == []
    assert len(await house.registry.tasks(ROOT, hidden=True)) == 1


async def test_a_task_is_disabled_enabled_and_deleted(house: House) -> None:
    """Disabled it is due no more; enabled again it does not make up for what it missed."""
    task = await house.registry.register("\\t", daily(running("true")), owner="ana")
    task = await house.registry.set_enabled(task, False)
    assert task.next_due is None
    await house.clock.advance(36 * 3600)
    task = await house.registry.set_enabled(task, True)
    assert task.next_due == NIGHT + dt.timedelta(hours=50)
    await house.registry.delete("\\t")
    assert (await refused(house.registry.task("\\t"))).code is ErrorCode.ERROR_FILE_NOT_FOUND
