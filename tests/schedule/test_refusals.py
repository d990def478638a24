"""Every documented refusal, with its code and its place: refused at registration, and nothing half stored."""

from __future__ import annotations

import pytest

from innkeeper.errors import ErrorCode, InnkeeperError
from innkeeper.schedule.model.enumerations import LogonType, TaskCreation
from tests.schedule.house import House, running

HEAD = '<Task version="{version}" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">\n'
EXEC = "<Actions><Exec><Command>x</Command></Exec></Actions>"
TIME = "<TimeTrigger><StartBoundary>2026-02-01T02:00:00</StartBoundary>{}</TimeTrigger>"
CALENDAR = "<CalendarTrigger><StartBoundary>2026-02-01T02:00:00</StartBoundary>{}</CalendarTrigger>"
MONTHS = "<DaysOfMonth><Day>1</Day></DaysOfMonth>{}"


def task(body: str = "", *, actions: str = EXEC, version: str = "1.4") -> str:
    return HEAD.format(version=version) + body + actions + "</Task>"


def triggers(*each: str) -> str:
    return task(f"<Triggers>{''.join(each)}</Triggers>")


def time(rest: str) -> str:
    return triggers(TIME.format(rest))


def calendar(rest: str) -> str:
    return triggers(CALENDAR.format(rest))


def settings(rest: str, version: str = "1.4") -> str:
    return task(f"<Settings>{rest}</Settings>", version=version)


def principal(rest: str) -> str:
    return task(f'<Principals><Principal id="A">{rest}</Principal></Principals>')


MISSING, UNEXPECTED = ErrorCode.SCHED_E_MISSINGNODE, ErrorCode.SCHED_E_UNEXPECTEDNODE
INVALID, MALFORMED = ErrorCode.SCHED_E_INVALIDVALUE, ErrorCode.SCHED_E_MALFORMEDXML
TOO_MANY, NAMESPACE = ErrorCode.SCHED_E_TOO_MANY_NODES, ErrorCode.SCHED_E_NAMESPACE

#: What is registered, the code, and the node at fault.
REFUSED = {
    "not well formed": (task().replace("</Exec>", ""), MALFORMED, ""),
    "a document type": ("<!DOCTYPE Task [<!ENTITY a 'b'>]>" + task(), MALFORMED, ""),
    "nothing": ("", MALFORMED, ""),
    "a foreign namespace": (task().replace("2004/02/mit/task", "2005/task"), NAMESPACE, "Task"),
    "no actions": (task(actions=""), MISSING, "Actions"),
    "actions that are none": (task(actions="<Actions/>"), MISSING, "Actions"),
    "33 actions": (
        task(actions=f"<Actions>{'<Exec><Command>x</Command></Exec>' * 33}</Actions>"),
        TOO_MANY,
        "Actions",
    ),
    "49 triggers": (triggers(*["<BootTrigger/>"] * 49), TOO_MANY, "Triggers"),
    "an unknown trigger": (triggers("<NovelTrigger/>"), UNEXPECTED, "NovelTrigger"),
    "an unknown setting": (settings("<Novel>1</Novel>"), UNEXPECTED, "Novel"),
    "two of one setting": (settings("<Hidden>true</Hidden>" * 2), UNEXPECTED, "Hidden"),
    "a program without name": (
        task(actions="<Actions><Exec><Command></Command></Exec></Actions>"),
        None,
        "Command",
    ),
    "a name of 261 characters": (task(actions=EXEC.replace(">x<", f">{'x' * 261}<")), INVALID, "Command"),
    "no command": (task(actions="<Actions><Exec/></Actions>"), MISSING, "Command"),
    "no class": (task(actions="<Actions><ComHandler/></Actions>"), MISSING, "ClassId"),
    "a class that is none": (
        task(actions="<Actions><ComHandler><ClassId>x</ClassId></ComHandler></Actions>"),
        INVALID,
        "ClassId",
    ),
    "no mail server": (
        task(actions="<Actions><SendEmail><To>a@b</To></SendEmail></Actions>"),
        MISSING,
        "Server",
    ),
    "no message": (task(actions="<Actions><ShowMessage/></Actions>"), MISSING, "Body"),
    "a capital boolean": (settings("<Enabled>FALSE</Enabled>"), INVALID, "Enabled"),
    "priority 11": (settings("<Priority>11</Priority>"), INVALID, "Priority"),
    "PowerShell's longest time": (
        settings("<ExecutionTimeLimit>P99999999DT23H59M59S</ExecutionTimeLimit>"),
        INVALID,
        "ExecutionTimeLimit",
    ),
    "the documents' own PT7D": (
        settings("<ExecutionTimeLimit>PT7D</ExecutionTimeLimit>"),
        INVALID,
        "ExecutionTimeLimit",
    ),
    "an unknown policy": (
        settings("<MultipleInstancesPolicy>Never</MultipleInstancesPolicy>"),
        INVALID,
        "MultipleInstancesPolicy",
    ),
    "256 tries": (
        settings("<RestartOnFailure><Interval>PT1M</Interval><Count>256</Count></RestartOnFailure>"),
        INVALID,
        "Count",
    ),
    "tries 30 seconds apart": (
        settings("<RestartOnFailure><Interval>PT30S</Interval><Count>3</Count></RestartOnFailure>"),
        INVALID,
        "Interval",
    ),
    "tries without count": (
        settings("<RestartOnFailure><Interval>PT1M</Interval></RestartOnFailure>"),
        MISSING,
        "Count",
    ),
    "maintenance more than daily": (
        settings("<MaintenanceSettings><Period>PT1H</Period></MaintenanceSettings>"),
        INVALID,
        "Period",
    ),
    "maintenance without period": (settings("<MaintenanceSettings/>"), MISSING, "Period"),
    "a deadline before its period": (
        settings("<MaintenanceSettings><Period>P2D</Period><Deadline>P1D</Deadline></MaintenanceSettings>"),
        INVALID,
        "Deadline",
    ),
    "a feature of a later version": (settings("<Volatile>true</Volatile>", "1.2"), UNEXPECTED, "Volatile"),
    "no start": (triggers("<TimeTrigger/>"), MISSING, "StartBoundary"),
    "a start that is no moment": (
        triggers("<TimeTrigger><StartBoundary>soon</StartBoundary></TimeTrigger>"),
        INVALID,
        "StartBoundary",
    ),
    "an end before the start": (
        time("<EndBoundary>2026-01-15T00:00:00</EndBoundary>"),
        INVALID,
        "EndBoundary",
    ),
    "a repetition of 30 seconds": (
        triggers(
            TIME.format("").replace(
                "<StartB", "<Repetition><Interval>PT30S</Interval></Repetition><StartB", 1
            )
        ),
        INVALID,
        "Interval",
    ),
    "an interval longer than its duration": (
        triggers(
            TIME.format("").replace(
                "<StartB",
                "<Repetition><Interval>PT2H</Interval><Duration>PT1H</Duration></Repetition><StartB",
                1,
            )
        ),
        INVALID,
        "Interval",
    ),
    "a calendar without rule": (calendar(""), MISSING, None),
    "no days of the week": (calendar("<ScheduleByWeek/>"), MISSING, "DaysOfWeek"),
    "an unknown day": (
        calendar("<ScheduleByWeek><DaysOfWeek><Someday/></DaysOfWeek></ScheduleByWeek>"),
        UNEXPECTED,
        "Someday",
    ),
    "53 weeks": (
        calendar(
            "<ScheduleByWeek><WeeksInterval>53</WeeksInterval><DaysOfWeek><Sunday/></DaysOfWeek></ScheduleByWeek>"
        ),
        INVALID,
        "WeeksInterval",
    ),
    "366 days": (
        calendar("<ScheduleByDay><DaysInterval>366</DaysInterval></ScheduleByDay>"),
        INVALID,
        "DaysInterval",
    ),
    "no days of the month": (calendar("<ScheduleByMonth/>"), MISSING, "DaysOfMonth"),
    "day 32": (
        calendar("<ScheduleByMonth><DaysOfMonth><Day>32</Day></DaysOfMonth></ScheduleByMonth>"),
        INVALID,
        "Day",
    ),
    "months that are none": (
        calendar(f"<ScheduleByMonth>{MONTHS.format('<Months/>')}</ScheduleByMonth>"),
        MISSING,
        "Months",
    ),
    "week 5": (
        calendar(
            "<ScheduleByMonthDayOfWeek><Weeks><Week>5</Week></Weeks><DaysOfWeek><Sunday/></DaysOfWeek>"
            "</ScheduleByMonthDayOfWeek>"
        ),
        INVALID,
        "Week",
    ),
    "no state change": (triggers("<SessionStateChangeTrigger/>"), MISSING, "StateChange"),
    "no subscription": (triggers("<EventTrigger/>"), MISSING, "Subscription"),
    "a user and a group": (
        principal("<UserId>ana</UserId><GroupId>staff</GroupId>"),
        UNEXPECTED,
        "GroupId",
    ),
    "an unknown log-on": (principal("<LogonType>Telepathy</LogonType>"), INVALID, "LogonType"),
    "two principals": (
        task('<Principals><Principal id="A"/><Principal id="B"/></Principals>'),
        None,
        "Principal",
    ),
    "an unknown user": (principal("<UserId>nobody-here</UserId>"), ErrorCode.ERROR_NONE_MAPPED, "UserId"),
    "a boundary in the past": (
        triggers(
            "<TimeTrigger><StartBoundary>2020-01-01T00:00:00</StartBoundary>"
            "<EndBoundary>2020-01-02T00:00:00</EndBoundary></TimeTrigger>"
        ),
        ErrorCode.SCHED_E_PAST_END_BOUNDARY,
        "EndBoundary",
    ),
    "an action of nobody": (
        task('<Principals><Principal id="A"/></Principals>').replace("<Actions>", '<Actions Context="B">'),
        INVALID,
        "Context",
    ),
    "an id twice": (triggers('<BootTrigger id="a"/>', '<BootTrigger id="a"/>'), INVALID, "id"),
}


@pytest.fixture
def house():
    return House()


@pytest.mark.parametrize(("xml", "code", "node"), REFUSED.values(), ids=REFUSED)
async def test_a_definition_that_will_not_do_is_refused_whole(
    house: House, xml: str, code: ErrorCode | None, node: str | None
) -> None:
    """The documented code, the node at fault and its place; no task and no folder is there afterwards."""
    with pytest.raises(InnkeeperError) as refused:
        await house.registry.register("\\New\\t", xml, owner="ana")
    error = refused.value
    if code is not None:
        assert error.code is code, error
    if node is not None:
        assert getattr(error, "node", "") == node or not node, error
    if code in (MISSING, UNEXPECTED, INVALID, MALFORMED, TOO_MANY, NAMESPACE):
        assert error.line >= 1
        assert error.column >= 1
    assert await house.store.tasks() == []
    assert list(await house.store.folders()) == []


PATHS = {
    "a path that climbs": ("\\a\\..\\b", ErrorCode.ERROR_INVALID_NAME),
    "a dot": ("\\a\\.\\b", ErrorCode.ERROR_INVALID_NAME),
    "a name of 4,000 characters": ("\\" + "x" * 4000, ErrorCode.ERROR_INVALID_NAME),
    "a colon": ("\\a:b", ErrorCode.ERROR_INVALID_NAME),
    "a slash": ("\\a/b", ErrorCode.ERROR_INVALID_NAME),
    "a space before": ("\\ a", ErrorCode.ERROR_INVALID_NAME),
    "a trailing backslash": ("\\a\\", ErrorCode.ERROR_INVALID_NAME),
    "the root": ("\\", ErrorCode.ERROR_INVALID_NAME),
    "a control character": ("\\a\x01", ErrorCode.ERROR_INVALID_NAME),
}


@pytest.mark.parametrize(("path", "code"), PATHS.values(), ids=PATHS)
async def test_a_path_that_will_not_do_is_refused(house: House, path: str, code: ErrorCode) -> None:
    """Whatever the path says, nothing is made of it."""
    with pytest.raises(InnkeeperError) as refused:
        await house.registry.register(path, running("true"), owner="ana")
    assert refused.value.code is code
    assert await house.store.tasks() == []
    assert list(await house.store.folders()) == []


async def test_what_is_taken_or_missing_is_refused(house: House) -> None:
    """A task that exists, one that does not, a folder of its name, a password, a log-on without user."""
    await house.registry.register("\\f\\t", running("true"), owner="ana")
    cases = [
        ("\\f\\T", TaskCreation.CREATE, {}, ErrorCode.ERROR_ALREADY_EXISTS),
        ("\\f\\u", TaskCreation.UPDATE, {}, ErrorCode.ERROR_FILE_NOT_FOUND),
        ("\\F", TaskCreation.CREATE_OR_UPDATE, {}, ErrorCode.ERROR_ALREADY_EXISTS),
        ("\\g\\u", TaskCreation.CREATE, {"password": "x"}, ErrorCode.SCHED_E_UNSUPPORTED_ACCOUNT_OPTION),
        ("\\g\\u", TaskCreation.VALIDATE_ONLY | TaskCreation.CREATE, {}, ErrorCode.E_INVALIDARG),
        ("\\g\\u", TaskCreation(0), {}, ErrorCode.E_INVALIDARG),
    ]
    for path, flags, more, code in cases:
        with pytest.raises(InnkeeperError) as refused:
            await house.registry.register(path, running("true"), flags, owner="ana", **more)
        assert refused.value.code is code, path
    with pytest.raises(InnkeeperError):
        await house.registry.register("\\g\\u", running("true"), owner="ana", logon_type=LogonType.PASSWORD)
    assert [str(task.path) for task in await house.store.tasks()] == ["\\f\\t"]
    assert [str(folder.path) for folder in await house.store.folders()] == ["\\f"]
