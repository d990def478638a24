"""Enumerations of Task Scheduler 2.0; values are the documented numbers."""

from __future__ import annotations

import enum

from innkeeper.wire.named_number import NamedNumber
from innkeeper.wire.states import TaskState as TaskState


class TaskCreation(enum.IntFlag):
    """How to register a task (``TASK_CREATION``)."""

    #: Check the definition and register nothing; goes with no other flag of creation.
    VALIDATE_ONLY = 0x01
    #: Register a new task; refuse where one of this name exists.
    CREATE = 0x02
    #: Change a task that exists.
    UPDATE = 0x04
    CREATE_OR_UPDATE = 0x06
    #: Register it disabled.
    DISABLE = 0x08
    #: Do not let the principal read and start its own task.
    DONT_ADD_PRINCIPAL_ACE = 0x10
    #: Do not fire the registration triggers.
    IGNORE_REGISTRATION_TRIGGERS = 0x20


class TaskRunFlags(enum.IntFlag):
    """How to start a task by hand (``TASK_RUN_FLAGS``)."""

    NO_FLAGS = 0
    #: As the caller instead of the task's principal.
    AS_SELF = 1
    #: Ignore the battery, network and idle conditions.
    IGNORE_CONSTRAINTS = 2
    #: In the session given.
    USE_SESSION_ID = 4
    #: As the user whose security identifier is given.
    USER_SID = 8


class LogonType(NamedNumber):
    """How the principal logs on (``TASK_LOGON_TYPE``)."""

    NONE = 0
    PASSWORD = 1
    #: Without a password, and without the network.
    S4U = 2
    #: Only while the user is logged on.
    INTERACTIVE_TOKEN = 3
    #: Any member of a group who is logged on.
    GROUP = 4
    SERVICE_ACCOUNT = 5
    INTERACTIVE_TOKEN_OR_PASSWORD = 6


class RunLevel(NamedNumber):
    """With which privileges a task runs (``TASK_RUNLEVEL_TYPE``)."""

    #: The least (``TASK_RUNLEVEL_LUA``).
    LUA = 0
    HIGHEST = 1


class InstancesPolicy(NamedNumber):
    """What to do when a task is to start while it runs (``TASK_INSTANCES_POLICY``)."""

    #: Start another beside it.
    PARALLEL = 0
    #: Start it when the one before has ended.
    QUEUE = 1
    #: Start none.
    IGNORE_NEW = 2
    #: Stop the one that runs, then start.
    STOP_EXISTING = 3


class TaskEnumFlags(enum.IntFlag):
    """What a list of tasks shows (``TASK_ENUM_FLAGS``)."""

    NONE = 0
    #: Hidden tasks too.
    HIDDEN = 1


class Compatibility(NamedNumber):
    """Which version of the scheduler a definition needs (``TASK_COMPATIBILITY``): 1.0 to 1.6 in XML."""

    AT = 0
    V1 = 1
    V2 = 2
    V2_1 = 3
    V2_2 = 4
    V2_3 = 5
    V2_4 = 6

    @property
    def version(self) -> str:
        """The XML's ``version`` attribute for this compatibility."""
        return f"1.{self.value}"


class TriggerType(NamedNumber):
    """What starts a task (``TASK_TRIGGER_TYPE2``)."""

    EVENT = 0
    TIME = 1
    DAILY = 2
    WEEKLY = 3
    MONTHLY = 4
    MONTHLYDOW = 5
    IDLE = 6
    REGISTRATION = 7
    BOOT = 8
    LOGON = 9
    SESSION_STATE_CHANGE = 11
    #: ``WnfStateChangeTrigger`` in XML: kept, and never fired.
    CUSTOM_TRIGGER_01 = 12


class ActionType(NamedNumber):
    """What a task does (``TASK_ACTION_TYPE``)."""

    EXEC = 0
    COM_HANDLER = 5
    SEND_EMAIL = 6
    SHOW_MESSAGE = 7


class SessionStateChange(NamedNumber):
    """What happens to a session (``TASK_SESSION_STATE_CHANGE_TYPE``)."""

    CONSOLE_CONNECT = 1
    CONSOLE_DISCONNECT = 2
    REMOTE_CONNECT = 3
    REMOTE_DISCONNECT = 4
    SESSION_LOCK = 7
    SESSION_UNLOCK = 8


class ProcessTokenSidType(NamedNumber):
    """Which security identifier the process token gets (``TASK_PROCESSTOKENSID_TYPE``)."""

    NONE = 0
    UNRESTRICTED = 1
    DEFAULT = 2


class DaysOfWeek(enum.IntFlag):
    """The days of the week, Sunday first (``IWeeklyTrigger::DaysOfWeek``)."""

    SUNDAY = 0x01
    MONDAY = 0x02
    TUESDAY = 0x04
    WEDNESDAY = 0x08
    THURSDAY = 0x10
    FRIDAY = 0x20
    SATURDAY = 0x40


class Months(enum.IntFlag):
    """The months of the year (``IMonthlyTrigger::MonthsOfYear``)."""

    JANUARY = 0x001
    FEBRUARY = 0x002
    MARCH = 0x004
    APRIL = 0x008
    MAY = 0x010
    JUNE = 0x020
    JULY = 0x040
    AUGUST = 0x080
    SEPTEMBER = 0x100
    OCTOBER = 0x200
    NOVEMBER = 0x400
    DECEMBER = 0x800


class DaysOfMonth(enum.IntFlag):
    """The days of the month: bit ``day − 1``, and the last day (``IMonthlyTrigger::DaysOfMonth``)."""

    DAY_1 = 1 << 0
    DAY_2 = 1 << 1
    DAY_3 = 1 << 2
    DAY_4 = 1 << 3
    DAY_5 = 1 << 4
    DAY_6 = 1 << 5
    DAY_7 = 1 << 6
    DAY_8 = 1 << 7
    DAY_9 = 1 << 8
    DAY_10 = 1 << 9
    DAY_11 = 1 << 10
    DAY_12 = 1 << 11
    DAY_13 = 1 << 12
    DAY_14 = 1 << 13
    DAY_15 = 1 << 14
    DAY_16 = 1 << 15
    DAY_17 = 1 << 16
    DAY_18 = 1 << 17
    DAY_19 = 1 << 18
    DAY_20 = 1 << 19
    DAY_21 = 1 << 20
    DAY_22 = 1 << 21
    DAY_23 = 1 << 22
    DAY_24 = 1 << 23
    DAY_25 = 1 << 24
    DAY_26 = 1 << 25
    DAY_27 = 1 << 26
    DAY_28 = 1 << 27
    DAY_29 = 1 << 28
    DAY_30 = 1 << 29
    DAY_31 = 1 << 30
    LAST = 1 << 31

    @classmethod
    def of(cls, *days: int) -> DaysOfMonth:
        """Return the mask of these days, 1 to 31."""
        mask = cls(0)
        for day in days:
            mask |= cls(1 << (day - 1))
        return mask


class WeeksOfMonth(enum.IntFlag):
    """The weeks of the month: the k-th occurrence of a weekday (``IMonthlyDOWTrigger::WeeksOfMonth``)."""

    FIRST = 0x01
    SECOND = 0x02
    THIRD = 0x04
    FOURTH = 0x08
    LAST = 0x10
