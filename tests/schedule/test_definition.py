"""A definition reads what Windows writes, writes what Windows reads, and says where a file deviates."""

# ruff: noqa: E501 – the tables read better across
from __future__ import annotations

import functools
from pathlib import Path

import pytest
import xmlschema
from hypothesis import given, settings
from lxml import etree

import innkeeper.schedule.xml
from innkeeper.errors import ErrorCode, InvalidArgument, ScheduleError
from innkeeper.schedule.boundary import Boundary
from innkeeper.schedule.model.definition import TaskDefinition, deviations
from innkeeper.schedule.model.enumerations import (
    ActionType,
    Compatibility,
    DaysOfMonth,
    DaysOfWeek,
    InstancesPolicy,
    LogonType,
    Months,
    TriggerType,
    WeeksOfMonth,
)
from innkeeper.schedule.xml.encoding import Encoding, encode
from tests.schedule.strategies import definitions

NIGHTLY = (Path(__file__).parent / "xml/nightly.xml").read_text().rstrip("\n")
SCHEMA = Path(innkeeper.schedule.xml.__file__).with_name("task.xsd")

HEAD = '<Task version="1.4" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">'
ACTIONS = "<Actions><Exec><Command>x</Command></Exec></Actions>"


def task(body: str = "", *, head: str = HEAD, actions: str = ACTIONS) -> str:
    return f"{head}\n{body}\n{actions}</Task>"


def time_trigger(before: str = "", after: str = "") -> str:
    start = "<StartBoundary>2026-01-01T00:00:00</StartBoundary>"
    return task(f"<Triggers><TimeTrigger>{before}{start}{after}</TimeTrigger></Triggers>")


def calendar_trigger(inside: str) -> str:
    return task(
        "<Triggers><CalendarTrigger><StartBoundary>2026-01-01T00:00:00</StartBoundary>"
        f"{inside}</CalendarTrigger></Triggers>"
    )


@functools.cache
def libxml2() -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(SCHEMA))


@functools.cache
def second_validator() -> xmlschema.XMLSchema:
    return xmlschema.XMLSchema(str(SCHEMA))


# What Windows writes


def test_a_file_of_windows_is_written_back_byte_for_byte() -> None:
    """UTF-16 with its mark, line ends, order, defaults spelt out, seven digits: nothing changes."""
    exported = encode(NIGHTLY, Encoding.UTF_16)
    definition = TaskDefinition.from_xml(exported, strict=True)
    assert definition.to_xml() == exported
    assert exported.startswith(b"\xff\xfe")


def test_a_file_of_windows_is_understood() -> None:
    """Each value of the file is where the documented property says."""
    definition = TaskDefinition.from_xml(NIGHTLY, strict=True)
    night, logon = definition.triggers
    assert definition.registration_info.uri == "\\Nightly\\Compact"
    assert (night.type, night.id, night.repetition.interval) == (TriggerType.MONTHLYDOW, "night", "PT25M")
    assert night.weeks_of_month == WeeksOfMonth.SECOND | WeeksOfMonth.LAST
    assert night.run_on_last_week_of_month
    assert night.days_of_week == DaysOfWeek.TUESDAY
    assert night.months_of_year == Months.JANUARY | Months.DECEMBER
    assert (logon.enabled, logon.user_id) == (False, "LAB\\ana")
    assert definition.settings.execution_time_limit == "P3D"
    assert definition.settings.restart_count == 3
    assert definition.settings.compatibility is Compatibility.V2_2
    assert definition.actions.context == definition.principal.id == "Author"
    assert definition.actions.item(2).header_fields[1].name == "X-Inn"


def test_the_documented_defaults_hold_where_a_file_is_silent() -> None:
    """What is absent has the documented value, also where the schema's own default says otherwise."""
    definition = TaskDefinition.from_xml(task(), strict=True)
    said = definition.settings
    assert said.allow_demand_start
    assert said.multiple_instances is InstancesPolicy.IGNORE_NEW
    assert said.disallow_start_if_on_batteries
    assert said.stop_if_going_on_batteries
    assert said.delete_expired_task_after is None
    assert said.execution_time_limit == "PT72H"
    assert (said.priority, said.restart_count, said.restart_interval) == (7, 0, None)
    assert said.idle_settings.stop_on_idle_end
    assert definition.principal.logon_type is LogonType.INTERACTIVE_TOKEN
    assert not TaskDefinition.new().settings.disallow_start_if_on_batteries


# What is written


@given(definitions())
@settings(max_examples=80)
def test_every_definition_survives_the_round_trip(definition) -> None:
    """Written and read again, strictly, a definition says the same, and is written the same."""
    for encoding in Encoding:
        written = definition.to_xml(encoding)
        again = TaskDefinition.from_xml(written, strict=True)
        assert again.to_xml(encoding) == written
        assert again.triggers == definition.triggers
        assert again.actions == definition.actions
        assert again.principal == definition.principal
        assert again.data == definition.data
        assert again.extension == definition.extension
        assert again.registration_info == definition.registration_info


@given(definitions())
@settings(max_examples=25)
def test_every_definition_written_is_valid_for_two_validators(definition) -> None:
    """libxml2 and a validator that shares no code with it both accept what is written."""
    written = definition.to_xml(Encoding.UTF_8)
    libxml2().assertValid(etree.fromstring(written))
    second_validator().validate(written.decode())


def test_the_two_validators_agree_on_the_file_of_windows() -> None:
    """The schema itself describes what Windows writes."""
    libxml2().assertValid(etree.fromstring(encode(NIGHTLY, Encoding.UTF_16)))
    second_validator().validate(NIGHTLY.partition("?>")[2])


def test_a_feature_raises_the_version_that_is_written() -> None:
    """Windows refuses a feature that is newer than the declared version, so the version follows."""
    definition = TaskDefinition.new()
    assert b'version="1.2"' in definition.to_xml(Encoding.UTF_8)
    definition.settings.use_unified_scheduling_engine = True
    assert b'version="1.3"' in definition.to_xml(Encoding.UTF_8)
    definition.settings.volatile = True
    assert b'version="1.4"' in definition.to_xml(Encoding.UTF_8)


def test_no_limit_is_written_as_zero() -> None:
    """The property's Nothing is PT0S in XML: leaving it out would mean 72 hours."""
    definition = TaskDefinition.new()
    definition.settings.execution_time_limit = None
    assert b"<ExecutionTimeLimit>PT0S<" in definition.to_xml(Encoding.UTF_8)


def test_unknown_elements_are_kept_where_they_stood() -> None:
    """What a newer Windows, or another tool, wrote is still there afterwards, prefixes and all."""
    text = task(
        '<Settings><Enabled>true</Enabled><Novel a="1"><x:y/> t </Novel><Hidden>true</Hidden></Settings>'
        "<Triggers><FutureTrigger><Enabled>1</Enabled></FutureTrigger></Triggers>"
        '<Data> keep <x:this xmlns:z="urn:z"><z:too/></x:this>\n</Data>',
        head=HEAD[:-1] + ' xmlns:x="urn:x" x:hint="2">',
    )
    definition = TaskDefinition.from_xml(text)
    written = definition.to_xml(Encoding.UTF_8).decode()
    assert '<Novel a="1"><x:y/> t </Novel>' in written
    assert "<FutureTrigger><Enabled>1</Enabled></FutureTrigger>" in written
    assert '<Data> keep <x:this xmlns:z="urn:z"><z:too/></x:this>\r\n</Data>' in written
    assert 'xmlns:x="urn:x"' in written
    assert 'x:hint="2"' in written
    assert TaskDefinition.from_xml(written).to_xml(Encoding.UTF_8).decode() == written


def test_a_prefixed_document_means_the_same() -> None:
    """Namespaces count, prefixes do not."""
    text = (
        '<t:Task xmlns:t="http://schemas.microsoft.com/windows/2004/02/mit/task"><t:Actions><t:Exec>'
        "<t:Command>x</t:Command></t:Exec></t:Actions><bare><in/></bare></t:Task>"
    )
    definition = TaskDefinition.from_xml(text)
    assert definition.actions[1].path == "x"
    written = definition.to_xml(Encoding.UTF_8)
    assert b'<bare xmlns=""><in/></bare>' in written
    assert TaskDefinition.from_xml(written).to_xml(Encoding.UTF_8) == written


def test_our_own_words_stay_inside_data() -> None:
    """The time zone and calendars are kept in Data, beside what the user has there."""
    definition = TaskDefinition.new()
    definition.actions.create(ActionType.EXEC).path = "x"
    definition.data = "mine & yours"
    definition.extension.zone = "Europe/Paris"
    definition.extension.exclude = ("freeze", "DE-BY")
    written = definition.to_xml(Encoding.UTF_8)
    again = TaskDefinition.from_xml(written, strict=True)
    assert again.extension == definition.extension
    assert again.data == "mine &amp; yours"
    libxml2().assertValid(etree.fromstring(written))


# Where a file deviates

PLACES = [
    # name, definition, code, where (line and column of this), node, value
    ("boolean in capitals", task("<Settings><Enabled>FALSE</Enabled></Settings>"), "INVALIDVALUE", "<Enabled>", "Enabled", "FALSE"),
    ("invalid sample of the documents", task("<Settings><DeleteExpiredTaskAfter>PT7D</DeleteExpiredTaskAfter></Settings>"), "INVALIDVALUE", "<DeleteE", "DeleteExpiredTaskAfter", "PT7D"),
    ("TimeSpan.MaxValue", task("<Settings><ExecutionTimeLimit>P99999999DT23H59M59S</ExecutionTimeLimit></Settings>"), "INVALIDVALUE", "<ExecutionT", "ExecutionTimeLimit", "P99999999DT23H59M59S"),
    ("priority", task("<Settings><Priority>11</Priority></Settings>"), "INVALIDVALUE", "<Prio", "Priority", "11"),
    ("policy", task("<Settings><MultipleInstancesPolicy>queue</MultipleInstancesPolicy></Settings>"), "INVALIDVALUE", "<Mult", "MultipleInstancesPolicy", "queue"),
    ("restart count", task("<Settings><RestartOnFailure><Interval>PT1M</Interval><Count>0</Count></RestartOnFailure></Settings>"), "INVALIDVALUE", "<Count>", "Count", "0"),
    ("restart interval", task("<Settings><RestartOnFailure><Interval>PT59S</Interval><Count>1</Count></RestartOnFailure></Settings>"), "INVALIDVALUE", "<Interval>", "Interval", "PT59S"),
    ("restart without count", task("<Settings><RestartOnFailure><Interval>PT1M</Interval></RestartOnFailure></Settings>"), "MISSINGNODE", "<RestartOn", "Count", ""),
    ("maintenance period", task("<Settings><MaintenanceSettings><Period>PT23H</Period></MaintenanceSettings></Settings>"), "INVALIDVALUE", "<Period", "Period", "PT23H"),
    ("maintenance deadline", task("<Settings><MaintenanceSettings><Period>P7D</Period><Deadline>P7D</Deadline></MaintenanceSettings></Settings>"), "INVALIDVALUE", "<Deadline", "Deadline", "P7D"),
    ("twice", task("<Settings/><Settings/>"), "UNEXPECTEDNODE", "<Settings/>\n", "Settings", ""),
    ("user and group", task('<Principals><Principal id="a"><UserId>u</UserId><GroupId>g</GroupId></Principal></Principals>'), "UNEXPECTEDNODE", "<GroupId", "GroupId", "g"),
    ("two principals", task('<Principals><Principal id="a"/><Principal id="b"/></Principals>'), "UNEXPECTEDNODE", '<Principal id="b"', "Principal", ""),
    ("repetition too short", time_trigger("<Repetition><Interval>PT30S</Interval></Repetition>"), "INVALIDVALUE", "<Interval", "Interval", "PT30S"),
    ("repetition too long", time_trigger("<Repetition><Interval>P32D</Interval></Repetition>"), "INVALIDVALUE", "<Interval", "Interval", "P32D"),
    ("interval longer than duration", time_trigger("<Repetition><Interval>PT2H</Interval><Duration>PT1H</Duration></Repetition>"), "INVALIDVALUE", "<Interval", "Interval", "PT2H"),
    ("repetition without interval", time_trigger("<Repetition><Duration>PT1H</Duration></Repetition>"), "MISSINGNODE", "<Repetition", "Interval", ""),
    ("end before start", time_trigger("", "<EndBoundary>2025-12-31T23:59:59</EndBoundary>"), "INVALIDVALUE", "<EndB", "EndBoundary", "2025-12-31T23:59:59"),
    ("end at start in another zone", task("<Triggers><TimeTrigger><StartBoundary>2026-01-01T00:00:00Z</StartBoundary><EndBoundary>2026-01-01T01:00:00+01:00</EndBoundary></TimeTrigger></Triggers>"), "INVALIDVALUE", "<EndB", "EndBoundary", "2026-01-01T01:00:00+01:00"),
    ("no such date", task("<Triggers><TimeTrigger><StartBoundary>2026-02-30T00:00:00</StartBoundary></TimeTrigger></Triggers>"), "INVALIDVALUE", "<StartB", "StartBoundary", "2026-02-30T00:00:00"),
    ("no start", task("<Triggers><TimeTrigger/></Triggers>"), "MISSINGNODE", "<TimeT", "StartBoundary", ""),
    ("no rule", calendar_trigger(""), "MISSINGNODE", "<CalendarT", "ScheduleByDay", ""),
    ("two rules", calendar_trigger("<ScheduleByDay/><ScheduleByWeek><DaysOfWeek><Monday/></DaysOfWeek></ScheduleByWeek>"), "UNEXPECTEDNODE", "<ScheduleByW", "ScheduleByWeek", ""),
    ("no day of the week", calendar_trigger("<ScheduleByWeek><DaysOfWeek/></ScheduleByWeek>"), "MISSINGNODE", "<DaysOfW", "DaysOfWeek", ""),
    ("days of the week missing", calendar_trigger("<ScheduleByWeek/>"), "MISSINGNODE", "<ScheduleByW", "DaysOfWeek", ""),
    ("unknown day", calendar_trigger("<ScheduleByWeek><DaysOfWeek><monday/></DaysOfWeek></ScheduleByWeek>"), "UNEXPECTEDNODE", "<monday", "monday", ""),
    ("day 32", calendar_trigger("<ScheduleByMonth><DaysOfMonth><Day>32</Day></DaysOfMonth></ScheduleByMonth>"), "INVALIDVALUE", "<Day>", "Day", "32"),
    ("months empty", calendar_trigger("<ScheduleByMonth><DaysOfMonth><Day>1</Day></DaysOfMonth><Months/></ScheduleByMonth>"), "MISSINGNODE", "<Months", "Months", ""),
    ("week 5", calendar_trigger("<ScheduleByMonthDayOfWeek><Weeks><Week>5</Week></Weeks><DaysOfWeek><Friday/></DaysOfWeek></ScheduleByMonthDayOfWeek>"), "INVALIDVALUE", "<Week>", "Week", "5"),
    ("weeks missing", calendar_trigger("<ScheduleByMonthDayOfWeek><DaysOfWeek><Friday/></DaysOfWeek></ScheduleByMonthDayOfWeek>"), "MISSINGNODE", "<ScheduleByMonthD", "Weeks", ""),
    ("days interval", calendar_trigger("<ScheduleByDay><DaysInterval>0</DaysInterval></ScheduleByDay>"), "INVALIDVALUE", "<DaysI", "DaysInterval", "0"),
    ("no command", task(actions="<Actions><Exec/></Actions>"), "MISSINGNODE", "<Exec", "Command", ""),
    ("command too long", task(actions=f"<Actions><Exec><Command>{'x' * 261}</Command></Exec></Actions>"), "INVALIDVALUE", "<Command", "Command", "x" * 261),
    ("class id", task(actions="<Actions><ComHandler><ClassId>{x}</ClassId></ComHandler></Actions>"), "INVALIDVALUE", "<ClassId", "ClassId", "{x}"),
    ("no actions", task(actions=""), "MISSINGNODE", "<Task", "Actions", ""),
    ("33 actions", task(actions=f"<Actions>{'<ShowMessage><Body>b</Body></ShowMessage>' * 33}</Actions>"), "TOO_MANY_NODES", "<Actions", "Actions", "33"),
    ("49 triggers", task(f"<Triggers>{'<IdleTrigger/>' * 49}</Triggers>"), "TOO_MANY_NODES", "<Triggers", "Triggers", "49"),
    ("namespace", "<Task><Actions/></Task>", "NAMESPACE", "<Task", "Task", ""),
    ("other root", task().replace("Task", "Job"), "UNEXPECTEDNODE", "<Job", "Job", ""),
    ("version 2.0", task(head=HEAD.replace("1.4", "2.0")), "UNKNOWN_OBJECT_VERSION", "<Task", "version", "2.0"),
    ("version in words", task(head=HEAD.replace("1.4", "new")), "INVALIDVALUE", "<Task", "version", "new"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "code", "where", "node", "value"), [p[1:] for p in PLACES], ids=[p[0] for p in PLACES]
)
def test_a_wrong_value_is_refused_with_its_place(
    text: str, code: str, where: str, node: str, value: str
) -> None:
    """What has no sane meaning is refused in both modes, with code, line, column, node and value."""
    position = text.index(where)
    place = (text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position))
    for strict in (False, True):
        with pytest.raises(ScheduleError) as refused:
            TaskDefinition.from_xml(text, strict=strict)
        error = refused.value
        assert error.code.name == f"SCHED_E_{code}"
        assert (error.line, error.column, error.node, error.value) == (*place, node, value)


FORGIVEN = [
    ("order", time_trigger("", "<Repetition><Interval>PT1H</Interval></Repetition>"), "UNEXPECTEDNODE", "Repetition"),
    ("context", task(actions=ACTIONS.replace("<Actions>", '<Actions Context="Author">')), "INVALIDVALUE", "Context"),
    ("logon type", task('<Principals><Principal id="a"><LogonType>Group</LogonType></Principal></Principals>'), "INVALIDVALUE", "LogonType"),
    ("empty date", task("<RegistrationInfo><Date/></RegistrationInfo>"), "INVALIDVALUE", "Date"),
    ("empty user", task('<Principals><Principal id="a"><UserId/></Principal></Principals>'), "INVALIDVALUE", "UserId"),
    ("principal without id", task("<Principals><Principal/></Principals>"), "MISSINGNODE", "id"),
    ("id twice", task('<Triggers><IdleTrigger id="a"/><BootTrigger id="a"/></Triggers>'), "INVALIDVALUE", "id"),
    ("newer feature", task("<Settings><Volatile>true</Volatile></Settings>", head=HEAD.replace("1.4", "1.2")), "UNEXPECTEDNODE", "Volatile"),
    ("unknown element", task("<Settings><Novel/></Settings>"), "UNEXPECTEDNODE", "Novel"),
    ("empty actions", task(actions="<Actions/>"), "MISSINGNODE", "Actions"),
    ("space before", "\n " + task(), "MALFORMEDXML", "Task"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "code", "node"), [p[1:] for p in FORGIVEN], ids=[p[0] for p in FORGIVEN])
def test_what_can_be_meant_in_one_way_is_mended_with_a_warning(text: str, code: str, node: str) -> None:
    """A lenient reader reads on and lists the deviation; a strict one refuses it."""
    definition = TaskDefinition.from_xml(text)
    (found,) = definition.deviations
    assert (found.code.name, found.node) == (f"SCHED_E_{code}", node)
    with pytest.raises(ScheduleError) as refused:
        TaskDefinition.from_xml(text, strict=True)
    assert refused.value.node == node
    if code != "MALFORMEDXML":
        again = TaskDefinition.from_xml(definition.to_xml())
        assert again.to_xml() == definition.to_xml()


def test_every_deviation_is_listed_in_the_order_of_the_file() -> None:
    """A validation does not stop at the first."""
    text = task("<Settings><Enabled>FALSE</Enabled><Priority>x</Priority></Settings><Bad/>", actions="")
    found = [(each.node, each.line) for each in deviations(text)]
    assert found == [("Actions", 1), ("Enabled", 2), ("Priority", 2), ("Bad", 2)]
    assert [each.code for each in deviations(b"nothing")] == [ErrorCode.SCHED_E_MALFORMEDXML]


# Filling in


def test_fields_take_what_scripts_have_at_hand() -> None:
    """Texts, numbers and masks become the values they mean; others are refused with the field's name."""
    definition = TaskDefinition.new()
    trigger = definition.triggers.create(TriggerType.MONTHLY)
    trigger.start_boundary = Boundary("2026-01-01T02:00:00")
    trigger.days_of_month = 1
    trigger.run_on_last_day_of_month = True
    assert trigger.days_of_month == DaysOfMonth.DAY_1 | DaysOfMonth.LAST
    trigger.run_on_last_day_of_month = False
    assert trigger.days_of_month == DaysOfMonth.of(1)
    definition.settings.multiple_instances = 1
    assert definition.settings.multiple_instances is InstancesPolicy.QUEUE
    for target, name, value in [
        (trigger, "start_boundary", "tomorrow"),
        (trigger, "months_of_year", 1 << 12),
        (definition.settings, "priority", 11),
        (definition.settings, "enabled", "yes"),
        (definition.settings, "multiple_instances", 4),
        (definition.registration_info, "author", "\x00"),
        (definition.extension, "zone", "Mars/Olympus"),
        (definition.extension, "zone", "../../etc/passwd"),
    ]:
        with pytest.raises(ScheduleError) as refused:
            setattr(target, name, value)
        assert refused.value.code is ErrorCode.SCHED_E_INVALIDVALUE
        assert refused.value.node


@pytest.mark.parametrize("kind", list(TriggerType))
def test_every_type_of_trigger_can_be_made_and_written(kind: TriggerType) -> None:
    """Create knows each documented type, and so does the XML."""
    definition = TaskDefinition.new()
    definition.triggers.create(kind)
    assert definition.triggers[1].type is kind
    assert definition.triggers[1].tag.encode() in definition.to_xml(Encoding.UTF_8)


@pytest.mark.parametrize("kind", list(ActionType))
def test_every_type_of_action_can_be_made_and_written(kind: ActionType) -> None:
    """Create knows each documented type, and so does the XML."""
    definition = TaskDefinition.new()
    definition.actions.create(kind)
    assert definition.actions.item(1).type is kind
    assert definition.actions[1].tag.encode() in definition.to_xml(Encoding.UTF_8)


def test_collections_count_from_one_and_are_bounded() -> None:
    """Item 0 does not exist; the 33rd action and the 49th trigger are refused."""
    definition = TaskDefinition.new()
    for _ in range(48):
        definition.triggers.create(TriggerType.BOOT)
    with pytest.raises(ScheduleError) as refused:
        definition.triggers.create(TriggerType.BOOT)
    assert refused.value.code is ErrorCode.SCHED_E_TOO_MANY_NODES
    for index in (0, -1, 49, "1"):
        with pytest.raises(InvalidArgument):
            definition.triggers.item(index)
    definition.triggers.remove(48)
    assert definition.triggers.count == len(definition.triggers) == 47
    definition.triggers.clear()
    assert list(definition.triggers) == []


def test_a_large_definition_is_read() -> None:
    """All triggers with all days and all actions, some 3,000 elements."""
    definition = TaskDefinition.new()
    for _ in range(48):
        trigger = definition.triggers.create(TriggerType.MONTHLY)
        trigger.start_boundary, trigger.days_of_month = Boundary("2026-01-01T00:00:00"), (1 << 32) - 1
    for _ in range(32):
        definition.actions.create(ActionType.EXEC).path = "x"
    read = TaskDefinition.from_xml(definition.to_xml(), strict=True)
    assert (read.triggers.count, read.actions.count) == (48, 32)
