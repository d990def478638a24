"""Descriptors narrow what callers may do: in their order, inherited from folders, and never for good."""

from __future__ import annotations

import dataclasses

import pytest

from innkeeper.errors import ErrorCode, InnkeeperError, NotPermitted, ScheduleError
from innkeeper.schedule.model.enumerations import ActionType, RunLevel, TaskCreation, TaskRunFlags
from innkeeper.schedule.path import SchedulePath
from innkeeper.schedule.registered import Folder
from innkeeper.schedule.running.starters import Starters
from innkeeper.schedule.security.guard import Guard, Who
from innkeeper.schedule.security.sddl import Right
from tests.schedule.house import Computer, House, running

TASK = SchedulePath.parse(r"\Nightly\Compact")
FOLDER = SchedulePath.parse(r"\Nightly")
ANA = Who(name="ana", identifiers=frozenset({"S-1-22-1-1000", "S-1-5-11", "S-1-5-32-545"}), account="ana")
ROOT = Who(name="root", identifiers=frozenset({"S-1-5-18", "S-1-5-32-544"}), rules_all=True, account="root")


def may(right: Right, own: str = "", *, folder: str = "", who: Who = ANA, owner: str = "") -> bool:
    guard = Guard([Folder(path=FOLDER, sddl=folder)] if folder else [])
    return guard.may(who, right, TASK, own, owner, task=True)


def test_without_a_descriptor_the_role_alone_decides() -> None:
    """Nobody said anything, and everybody where it is said so."""
    assert may(Right.WRITE)
    assert may(Right.WRITE, "D:NO_ACCESS_CONTROL")
    assert may(Right.WRITE, "O:BA")


def test_an_empty_list_allows_nobody_anything() -> None:
    """But the administrators of the inn can change it."""
    assert not may(Right.READ, "D:")
    assert not may(Right.READ, "D:", who=ROOT)
    assert may(Right.WRITE_DAC, "D:", who=ROOT)
    assert not may(Right.WRITE_DAC, "D:")


def test_the_first_entry_that_speaks_of_a_right_decides() -> None:
    """A denial after the permission comes too late; one before it does not."""
    assert may(Right.EXECUTE, "D:(A;;FX;;;AU)(D;;FX;;;S-1-22-1-1000)")
    assert not may(Right.EXECUTE, "D:(D;;FX;;;S-1-22-1-1000)(A;;FX;;;AU)")
    assert may(Right.READ, "D:(D;;0x20;;;S-1-22-1-1000)(A;;FRFX;;;AU)")


def test_an_entry_means_users_groups_and_roles() -> None:
    """And nobody else."""
    assert may(Right.READ, "D:(A;;FR;;;BU)")
    assert not may(Right.READ, "D:(A;;FR;;;S-1-22-1-1001)")
    assert not may(Right.WRITE, "D:(A;;FR;;;BU)")


def test_owners_can_always_change_the_list() -> None:
    """By the descriptor's owner, or as who registered it; the owner's own entries hold for them."""
    assert may(Right.WRITE_DAC, "O:S-1-22-1-1000D:")
    assert may(Right.READ_CONTROL, "D:", owner="ana")
    assert not may(Right.READ, "D:", owner="ana")
    assert may(Right.READ, "D:(A;;FR;;;OW)", owner="ana")
    assert not may(Right.READ, "D:(A;;FR;;;OW)", owner="bob")


def test_tasks_inherit_what_folders_pass_on() -> None:
    """Only entries that say so; the task's own descriptor goes before."""
    assert not may(Right.WRITE, folder="D:(A;OICI;FR;;;AU)")
    assert may(Right.READ, folder="D:(A;OICI;FR;;;AU)")
    assert may(Right.WRITE, folder="D:(A;CI;FR;;;AU)")
    assert may(Right.WRITE, "D:(A;;FW;;;AU)", folder="D:(A;OICI;FR;;;AU)")
    assert not may(Right.READ, "D:(A;OIIO;FR;;;AU)")


@pytest.fixture
async def house():
    house = House()
    await house.tasks.launch()
    yield house
    await house.tasks.close()


async def test_registration_asks_the_folder_and_the_task(house: House) -> None:
    """A folder that lets nobody write takes no task; a task that may not be changed stays."""
    await house.registry.create_folder(r"\Shut", "D:(A;OICI;FR;;;AU)")
    for path in (r"\Shut\t", r"\Shut\New\t"):
        with pytest.raises(NotPermitted, match="ana may not change the folder"):
            await house.registry.register(path, running("true"), owner="ana", who=ANA)
    await house.registry.register(r"\t", running("true"), owner="root", sddl="D:(A;;FR;;;AU)")
    with pytest.raises(NotPermitted, match="task"):
        await house.registry.register(r"\t", running("true"), owner="ana", who=ANA)
    assert [str(each.path) for each in await house.store.folders()] == [r"\Shut"]


async def test_the_principal_gets_an_entry_unless_the_flags_say_no(house: House) -> None:
    """So that a task's own user can see and start it."""
    definition = running("true")
    definition.principal.id, definition.principal.user_id = "Author", "ana"
    flags = TaskCreation.CREATE_OR_UPDATE
    task = await house.registry.register(r"\t", definition, flags, sddl="D:(A;;FA;;;BA)", owner="root")
    own = house.computer.identifier("ana")
    assert task.sddl == f"D:(A;;FA;;;BA)(A;;FRFX;;;{own})"
    flags |= TaskCreation.DONT_ADD_PRINCIPAL_ACE
    task = await house.registry.register(r"\t", definition, flags, sddl="D:(A;;FA;;;BA)", owner="root")
    assert task.sddl == "D:(A;;FA;;;BA)"
    task = await house.registry.set_descriptor(task, "D:(A;;FR;;;BA)", 0x10)
    assert task.sddl == "D:(A;;FR;;;BA)"


async def test_a_bad_descriptor_is_refused_and_nothing_is_stored(house: House) -> None:
    """At each door that takes one."""
    definition = running("true")
    definition.registration_info.security_descriptor = "D:(A;;;"
    for sddl in ("", "D:nonsense"):
        with pytest.raises(ScheduleError, match="descriptor"):
            await house.registry.register(r"\a\t", definition, sddl=sddl, owner="ana")
    with pytest.raises(ScheduleError, match="descriptor"):
        await house.registry.create_folder(r"\a", "D:nonsense")
    assert (await house.store.folders(), await house.store.tasks()) == ([], [])


# As whom


def as_user(user: str | None = None, group: str | None = None):
    made = running("true")
    made.principal.user_id, made.principal.group_id = user, group
    made.principal.id = "Author" if user or group else None
    return made


async def registered(house: House, definition, who: Who):
    return await house.registry.register(r"\t", definition, owner=who.name, who=who)


async def test_a_task_runs_as_its_registrar_where_it_names_nobody(house: House) -> None:
    """Documented so; the definition tells."""
    task = await registered(house, as_user(), ANA)
    assert "<UserId>ana</UserId>" in task.xml


async def test_who_is_no_administrator_has_programs_run_as_themselves_alone(house: House) -> None:
    """Neither as root, nor as a group's members, nor before all others."""
    house.computer.groups["staff"] = ("ana",)
    urgent, high = as_user("ana"), as_user("ana")
    urgent.settings.priority, high.principal.run_level = 1, RunLevel.HIGHEST
    for definition in (as_user("S-1-5-18"), as_user(group="staff"), urgent, high):
        with pytest.raises(NotPermitted):
            await registered(house, definition, ANA)
        await registered(house, definition, ROOT)


async def test_the_inns_own_power_is_its_administrators_to_give(house: House) -> None:
    """Its operations on machines, and its passwords; mail without one is everybody's."""
    for kind, fields, allowed in (
        (ActionType.COM_HANDLER, {"class_id": "{3F2504E0-4F89-11D3-9A0C-0305E82C3301}"}, False),
        (ActionType.SEND_EMAIL, {"server": "smtp://ana@mail.example"}, False),
        (ActionType.SEND_EMAIL, {"server": "mail.example"}, True),
    ):
        definition = as_user("ana")
        definition.actions.clear()
        action = definition.actions.create(kind)
        for name, value in fields.items():
            setattr(action, name, value)
        if not allowed:
            with pytest.raises(NotPermitted):
                await registered(house, definition, ANA)
        await registered(house, definition, ANA if allowed else ROOT)


async def test_a_service_that_is_not_root_runs_programs_as_itself(house: House) -> None:
    """Another account is the documented error at registration; its own is an administrator's to give."""
    house.computer.is_root = False
    house.computer.accounts["innkeeper"] = "innkeeper"
    with pytest.raises(ScheduleError) as refused:
        await registered(house, as_user("ana"), ANA)
    assert (refused.value.code, refused.value.node) == (ErrorCode.SCHED_E_SERVICE_NOT_LOCALSYSTEM, "UserId")
    with pytest.raises(NotPermitted, match="service's own user"):
        await registered(house, as_user(), ANA)
    own = dataclasses.replace(ANA, name="innkeeper", account="innkeeper")
    for who in (own, ROOT):
        await registered(house, as_user(), who)


async def test_unknown_accounts_and_groups_are_refused(house: House) -> None:
    """0x80070534, with the node."""
    for definition, node in ((as_user("nobody-here"), "UserId"), (as_user(group="none"), "GroupId")):
        with pytest.raises(ScheduleError) as refused:
            await registered(house, definition, ROOT)
        assert (refused.value.code, refused.value.node) == (ErrorCode.ERROR_NONE_MAPPED, node)


def test_a_start_by_hand_can_be_as_another_user() -> None:
    """As oneself, as the user of a session, as somebody named; and refused as documented."""
    computer = Computer()
    starters = Starters(computer, {7: "ana"}.get)

    def account(who: Who = ROOT, flags: int = 0, session: int = 0, user: str | None = None) -> str:
        return starters.account_of(who, TaskRunFlags(flags), session=session, user=user)

    computer.accounts["root"] = "root"
    assert account() == ""
    assert account(ANA, flags=TaskRunFlags.AS_SELF) == "ana"
    assert account(flags=TaskRunFlags.USE_SESSION_ID, session=7) == "ana"
    assert account(flags=TaskRunFlags.USER_SID, user="S-1-5-18") == "root"
    for arguments, code in [
        ({"flags": TaskRunFlags.USE_SESSION_ID}, ErrorCode.E_INVALIDARG),
        ({"flags": TaskRunFlags.USE_SESSION_ID, "session": 8}, ErrorCode.ERROR_NO_SUCH_LOGON_SESSION),
        ({"flags": TaskRunFlags.USER_SID}, ErrorCode.E_INVALIDARG),
        ({"user": "nobody-here"}, ErrorCode.ERROR_NONE_MAPPED),
        ({"who": ANA, "user": "root"}, ErrorCode.E_ACCESSDENIED),
    ]:
        with pytest.raises(InnkeeperError) as refused:
            account(**arguments)
        assert refused.value.code is code
    computer.is_root = False
    with pytest.raises(ScheduleError) as refused:
        account(user="ana")
    assert refused.value.code is ErrorCode.SCHED_E_SERVICE_NOT_LOCALSYSTEM
