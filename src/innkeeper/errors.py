"""Name every documented error, and raise it with a sentence.

The tree::

    InnkeeperError                  anything Innkeeper refuses or fails at; carries ``code`` and ``advice``
    ├── InvalidArgument             a value that no documented call accepts; may carry ``field``
    │   ├── ChangedMeanwhile        what the caller has read is not so any more
    │   └── AlreadyThere            what the caller would have added is there
    ├── NotSupported                a documented behaviour that Linux, or this build, cannot give
    ├── NotPermitted                the caller may not do this
    │   └── NotAuthenticated        nobody knows who asks, or what they say of themselves is not so
    │       └── TooManyTries        too many wrong passwords; carries ``retry_after``
    ├── ServiceError                the service cannot be reached or is going down
    │   └── StoreAway               its database is away, and is waited for; carries ``retry_after``
    ├── JsonError                   kept data is not in the form that is read; carries ``path``
    │   └── NewerVersion            a newer Innkeeper wrote it; carries ``version`` and ``newest``
    ├── TaskError                   about a running operation
    │   ├── TaskNotFound
    │   └── TaskNotCancelable
    ├── MachineError                about one virtual machine; carries ``machine``
    │   ├── MachineNotFound
    │   ├── MachineAmbiguous        several hosts have a machine of this name; carries ``choices``
    │   ├── MachineBusy             another live task holds it; carries ``task_id``
    │   ├── WrongState              a command the machine's state does not allow; carries both
    │   ├── MachineUnfit            a disk or device that cannot be maintained safely
    │   └── AgentError              the guest's task agent is absent, silent or lying
    │       ├── AgentSilent
    │       └── AgentQuarantined
    ├── HypervisorError             libvirt or QEMU refused or failed
    ├── DiskError                   about a disk image; carries ``path``
    ├── UpdateError                 about bookings, windows and update runs
    │   └── BookingNotFound
    ├── IdentityError               about accounts, roles and tokens
    └── ScheduleError               about the scheduler, its folders, definitions and XML

Errors carry data for programs and a sentence for people. The doors decide an HTTP status or an exit code
from the class, by a table; nothing here knows of either.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Protocol, Self


class ErrorCode(enum.IntEnum):
    """The documented error identifiers, as unsigned HRESULT values."""

    def __str__(self) -> str:
        return self.name

    S_OK = 0x00000000
    S_FALSE = 0x00000001
    E_NOTIMPL = 0x80004001
    E_POINTER = 0x80004003
    E_ABORT = 0x80004004
    E_FAIL = 0x80004005
    E_UNEXPECTED = 0x8000FFFF
    DISP_E_EXCEPTION = 0x80020009
    DISP_E_BADINDEX = 0x8002000B

    ERROR_FILE_NOT_FOUND = 0x80070002
    ERROR_PATH_NOT_FOUND = 0x80070003
    E_ACCESSDENIED = 0x80070005
    E_HANDLE = 0x80070006
    E_OUTOFMEMORY = 0x8007000E
    ERROR_INVALID_DATA = 0x8007000D
    ERROR_INVALID_DRIVE = 0x8007000F
    ERROR_NOT_READY = 0x80070015
    ERROR_SHARING_VIOLATION = 0x80070020
    ERROR_NOT_SUPPORTED = 0x80070032
    ERROR_BAD_NETPATH = 0x80070035
    E_INVALIDARG = 0x80070057
    ERROR_BUFFER_OVERFLOW = 0x8007006F
    ERROR_DISK_FULL = 0x80070070
    ERROR_INVALID_NAME = 0x8007007B
    ERROR_DIR_NOT_EMPTY = 0x80070091
    ERROR_BAD_PATHNAME = 0x800700A1
    ERROR_BUSY = 0x800700AA
    ERROR_ALREADY_EXISTS = 0x800700B7
    ERROR_PIPE_BUSY = 0x800700E7
    ERROR_MAX_SESSIONS_REACHED = 0x80070161
    ERROR_SERVICE_NOT_ACTIVE = 0x80070426
    ERROR_SHUTDOWN_IN_PROGRESS = 0x8007045B
    ERROR_NOT_FOUND = 0x80070490
    ERROR_CANCELLED = 0x800704C7
    ERROR_MACHINE_LOCKED = 0x800704F7
    ERROR_ONLY_IF_CONNECTED = 0x800704E3
    ERROR_REVISION_MISMATCH = 0x8007051A
    ERROR_NO_SUCH_LOGON_SESSION = 0x80070520
    ERROR_TIMEOUT = 0x800705B4

    VM_E_TIMED_OUT = 0xA0040202
    VM_E_OUT_OF_RESOURCE = 0xA0040203
    VM_E_TOO_MANY_VMS = 0xA0040204
    VM_E_VM_NOT_RUNNING = 0xA0040206
    VM_E_VM_UNKNOWN = 0xA0040207
    VM_E_APP_SHUTTING_DOWN = 0xA0040209
    VM_E_VM_RUNNING_OR_SAVED = 0xA004020B
    VM_E_PREF_NOT_FOUND = 0xA0040300
    VM_E_PREF_ILLEGAL_VALUE = 0xA0040301
    VM_E_PREF_VM_ACTIVE = 0xA0040302
    VM_E_CONFIG_NO_NAME = 0xA0040400
    VM_E_CONFIG_NAME_TOO_LONG = 0xA0040401
    VM_E_CONFIG_NAME_INVALID_CHAR = 0xA0040402
    VM_E_CONFIG_DUPLICATE_NAME = 0xA0040403
    VM_E_VM_RUNNING = 0xA0040500
    VM_E_VM_NO_SAVED_STATE = 0xA0040501
    VM_E_DRIVE_INVALID = 0xA0040502
    VM_E_DRIVE_BUS_LOC_IN_USE = 0xA0040503
    VM_E_ADDITIONS_NOT_AVAIL = 0xA0040504
    VM_E_ADDITIONS_FEATURE_NOT_AVAIL = 0xA0040505
    VM_E_VM_PAUSED = 0xA0040507
    VM_E_MEDIA_UNMOUNT_FAIL = 0xA0040508
    VM_E_IMAGE_CAPTURE_FAIL = 0xA0040650
    VM_E_NO_MEDIA_CAPTURED = 0xA0040652
    VM_E_PARENT_PATH_NOT_FOUND = 0xA0040677
    VM_E_FILE_TOO_LARGE_FOR_VOLUME = 0xA0040679
    VM_E_FILE_READ_ONLY = 0xA004067A
    VM_E_WRONG_HD_IMAGE_TYPE = 0xA004067B
    VM_E_HD_IMAGE_OPEN_FAIL = 0xA004067C
    VM_E_HD_IMAGE_ACCESS = 0xA0040681
    VM_E_INVALID_HD_FILE = 0xA0040682
    VM_E_IMAGE_SIZE_TOO_LARGE = 0xA0040683
    VM_E_IMAGE_SIZE_TOO_SMALL = 0xA0040684
    VM_E_PARENT_CHILD_ID_MISMATCH = 0xA0040685
    VM_E_UNSUPPORTED_HD_DISK_TYPE = 0xA0040686
    VM_E_PARENT_MODIFIED = 0xA0040687
    VM_E_ADAPTER_NOT_FOUND = 0xA0040700
    VM_E_INVALID_VIRTUAL_NETWORK_ID = 0xA0040702
    VM_E_CANT_SET_DYNAMIC_MAC_ADDRESS = 0xA004070A
    VM_E_DRIVE_IN_USE = 0xA0040727
    VM_E_MEDIA_WRONG_TYPE = 0xA0040728
    VM_E_MOUSE_NOT_ACTIVE = 0xA0040800
    VM_E_USING_ABSOLUTE_COORDINATES = 0xA0040801
    VM_E_USING_RELATIVE_COORDINATES = 0xA0040802
    VM_E_SET_EXCLUSIVE_MODE_FAIL = 0xA0040825
    VM_E_NO_DISPLAY = 0xA0040850
    VM_E_USB_CONNECTOR_DRIVER_ERROR = 0xA0040925
    VM_E_USB_ATTACH_FAILED = 0xA0040926
    VM_E_USB_DETACH_FAILED = 0xA0040927
    VM_E_USB_EXTERNAL_VM = 0xA0040929
    VM_E_USB_ENUMERATION_FAILED_MORE_DEVICES = 0xA0040930
    VM_E_USB_ATTACH_FAILED_MORE_DEVICES = 0xA0040931
    VM_E_USB_ATTACH_FAILED_GP_ERROR = 0xA0040932
    VM_E_USB_ATTACH_FAILED_ALREADY_ASSIGNED = 0xA0040933
    VM_E_UNSUPPORTED_HARDWARE = 0xA0040950
    VM_E_HARDWARE_VIRTUALIZATION_DISABLED = 0xA0040951
    VM_E_VMVIRTUALPC_OLDER_VERSION = 0xA0040952
    VM_E_OTHER_VIRTUALIZATION_SOFTWARE = 0xA0040953

    ERROR_LOGON_FAILURE = 0x8007052E
    CERT_E_UNTRUSTEDROOT = 0x800B0109
    ERROR_NONE_MAPPED = 0x80070534
    RPC_S_INVALID_NET_ADDR = 0x800706AB
    RPC_X_NULL_REF_POINTER = 0x800706F4

    SCHED_S_TASK_READY = 0x00041300
    SCHED_S_TASK_RUNNING = 0x00041301
    SCHED_S_TASK_DISABLED = 0x00041302
    SCHED_S_TASK_HAS_NOT_RUN = 0x00041303
    SCHED_S_TASK_NO_MORE_RUNS = 0x00041304
    SCHED_S_TASK_NOT_SCHEDULED = 0x00041305
    SCHED_S_TASK_TERMINATED = 0x00041306
    SCHED_S_TASK_NO_VALID_TRIGGERS = 0x00041307
    SCHED_S_EVENT_TRIGGER = 0x00041308
    SCHED_S_SOME_TRIGGERS_FAILED = 0x0004131B
    SCHED_S_BATCH_LOGON_PROBLEM = 0x0004131C
    SCHED_S_TASK_QUEUED = 0x00041325

    SCHED_E_TRIGGER_NOT_FOUND = 0x80041309
    SCHED_E_TASK_NOT_READY = 0x8004130A
    SCHED_E_TASK_NOT_RUNNING = 0x8004130B
    SCHED_E_SERVICE_NOT_INSTALLED = 0x8004130C
    SCHED_E_CANNOT_OPEN_TASK = 0x8004130D
    SCHED_E_INVALID_TASK = 0x8004130E
    SCHED_E_ACCOUNT_INFORMATION_NOT_SET = 0x8004130F
    SCHED_E_ACCOUNT_NAME_NOT_FOUND = 0x80041310
    SCHED_E_ACCOUNT_DBASE_CORRUPT = 0x80041311
    SCHED_E_NO_SECURITY_SERVICES = 0x80041312
    SCHED_E_UNKNOWN_OBJECT_VERSION = 0x80041313
    SCHED_E_UNSUPPORTED_ACCOUNT_OPTION = 0x80041314
    SCHED_E_SERVICE_NOT_RUNNING = 0x80041315
    SCHED_E_UNEXPECTEDNODE = 0x80041316
    SCHED_E_NAMESPACE = 0x80041317
    SCHED_E_INVALIDVALUE = 0x80041318
    SCHED_E_MISSINGNODE = 0x80041319
    SCHED_E_MALFORMEDXML = 0x8004131A
    SCHED_E_TOO_MANY_NODES = 0x8004131D
    SCHED_E_PAST_END_BOUNDARY = 0x8004131E
    SCHED_E_ALREADY_RUNNING = 0x8004131F
    SCHED_E_USER_NOT_LOGGED_ON = 0x80041320
    SCHED_E_INVALID_TASK_HASH = 0x80041321
    SCHED_E_SERVICE_NOT_AVAILABLE = 0x80041322
    SCHED_E_SERVICE_TOO_BUSY = 0x80041323
    SCHED_E_TASK_ATTEMPTED = 0x80041324
    SCHED_E_TASK_DISABLED = 0x80041326
    SCHED_E_TASK_NOT_V1_COMPAT = 0x80041327
    SCHED_E_START_ON_DEMAND = 0x80041328
    SCHED_E_TASK_NOT_UBPM_COMPAT = 0x80041329
    #: Documented so; the gap after 8004_1329 is theirs.
    SCHED_E_DEPRECATED_FEATURE_USED = 0x80041330
    #: A plain Windows error number, not an HRESULT; documented so.
    SCHED_E_SERVICE_NOT_LOCALSYSTEM = 6200


class InnkeeperError(Exception):
    """Anything Innkeeper refuses or fails at.

    ``str(error)`` is one sentence for a person; ``advice`` says what to do next, or is empty;
    ``hresult`` is the documented identifier as an unsigned integer.
    """

    #: The identifier used where the raiser names no finer one.
    default_code: ErrorCode = ErrorCode.E_FAIL

    #: The one command that clears what is in the way; empty where no single command does.
    way_out: str = ""

    def __init__(self, sentence: str, *, code: ErrorCode | None = None, advice: str = "") -> None:
        super().__init__(sentence)
        self.code = self.default_code if code is None else code
        self.advice = advice

    @property
    def hresult(self) -> int:
        """The documented error identifier as an unsigned integer."""
        return int(self.code)

    @property
    def sentence(self) -> str:
        """What went wrong, for a person."""
        return str(self)


class InvalidArgument(InnkeeperError):
    """A value that no documented call accepts."""

    default_code = ErrorCode.E_INVALIDARG

    #: The field of a request that it is about; empty where it is about something else.
    field: str = ""

    @classmethod
    def of_field(cls, field: str, problem: str) -> Self:
        """Make the error for one field of a request; ``problem`` is the start of a sentence."""
        error = cls(f"The value of {field} is not valid: {problem[:1].lower()}{problem[1:].rstrip('.')}.")
        error.field = field
        return error


class ChangedMeanwhile(InvalidArgument):
    """Somebody changed or removed it since the caller read it."""

    default_code = ErrorCode.ERROR_REVISION_MISMATCH

    def __init__(self, what: str) -> None:
        """``what`` begins a sentence."""
        super().__init__(
            f"{what} has been changed or removed since you read it.",
            advice="Read it again, and send your change with its new ETag.",
        )


class AlreadyThere(InvalidArgument):
    """Something of its name is there, and it was to be added only where nothing is."""

    default_code = ErrorCode.ERROR_ALREADY_EXISTS

    def __init__(self, what: str) -> None:
        """``what`` begins a sentence."""
        super().__init__(
            f"{what} is there already, and was left as it is.",
            advice="To change it, read it, and send your change with its ETag in If-Match.",
        )


class NotSupported(InnkeeperError):
    """A documented behaviour that cannot be had here."""

    default_code = ErrorCode.ERROR_NOT_SUPPORTED


class NotPermitted(InnkeeperError):
    """The caller may not do this."""

    default_code = ErrorCode.E_ACCESSDENIED


class NotAuthenticated(NotPermitted):
    """Nobody knows who asks, or what they say of themselves is not so."""


class TooManyTries(NotAuthenticated):
    """Too many wrong passwords came from there, or for this account."""

    def __init__(self, sentence: str, *, retry_after: int, advice: str = "") -> None:
        super().__init__(sentence, advice=advice)
        #: Seconds to wait.
        self.retry_after = retry_after


class ServiceError(InnkeeperError):
    """The service cannot be reached, is not running, or is going down."""

    default_code = ErrorCode.SCHED_E_SERVICE_NOT_RUNNING


class StoreAway(ServiceError):
    """The service's database is away; the service waits for it longer than the caller does."""

    default_code = ErrorCode.SCHED_E_SERVICE_NOT_AVAILABLE

    def __init__(self, sentence: str, *, retry_after: int = 5, advice: str = "") -> None:
        super().__init__(sentence, advice=advice)
        #: Seconds to wait before asking again.
        self.retry_after = retry_after


class JsonError(InnkeeperError):
    """Data that was kept, such as a journal, is not in the form that this version reads."""

    default_code = ErrorCode.ERROR_INVALID_DATA

    def __init__(self, problem: str, *, path: str = "") -> None:
        """``problem`` goes on after the path: ``is missing``."""
        super().__init__(f"{path or 'It'} {problem}.")
        self.problem = problem
        #: The keys that lead to the value: ``disks[2].size``.
        self.path = path

    def within(self, place: str) -> JsonError:
        """The same error, seen from the object or list that holds the value at ``place``."""
        joint = "." if self.path and not self.path.startswith("[") else ""
        return JsonError(self.problem, path=f"{place}{joint}{self.path}")


class NewerVersion(JsonError):
    """A newer Innkeeper wrote it, and this one cannot know what it means."""

    default_code = ErrorCode.ERROR_REVISION_MISMATCH

    def __init__(self, *, version: int, newest: int, path: str = "") -> None:
        super().__init__(
            f"was written by a newer Innkeeper: it has version {version}, "
            f"and this one reads up to version {newest}",
            path=path,
        )
        self.advice = "Install that newer version again. Nothing was changed."
        self.version = version
        self.newest = newest

    def within(self, place: str) -> JsonError:
        """As of every ``JsonError``."""
        path = super().within(place).path
        return NewerVersion(version=self.version, newest=self.newest, path=path)


class TaskError(InnkeeperError):
    """Something is wrong with a running operation."""


class TaskNotFound(TaskError):
    """No task has this id."""

    default_code = ErrorCode.ERROR_NOT_FOUND


class TaskNotCancelable(TaskError):
    """The task has ended, or is past its point of no return (documented: E_FAIL)."""

    default_code = ErrorCode.E_FAIL


class MachineError(InnkeeperError):
    """Something is wrong with one virtual machine."""

    def __init__(
        self,
        sentence: str,
        *,
        machine: str,
        code: ErrorCode | None = None,
        advice: str = "",
        way_out: str = "",
    ) -> None:
        """Without ``advice``, a ``way_out`` is the advice."""
        super().__init__(sentence, code=code, advice=advice or (way_out and f"Run: {way_out}"))
        self.machine = machine
        self.way_out = way_out


class MachineNotFound(MachineError):
    """No machine has this name."""

    default_code = ErrorCode.VM_E_VM_UNKNOWN


class MachineAmbiguous(MachineError):
    """Several hosts have a machine of this name, and nobody can know which is meant."""

    default_code = ErrorCode.VM_E_CONFIG_DUPLICATE_NAME

    def __init__(self, called: str, choices: Sequence[str]) -> None:
        """``choices`` are the machines as people can write them: ``attic/web-1``."""
        names = " and ".join(choices) if len(choices) < 3 else f"{', '.join(choices[:-1])} and {choices[-1]}"
        super().__init__(
            f"“{called}” can be any of {len(choices)} machines: {names}.",
            machine=called,
            advice="Write the host's name before it, as here.",
        )
        self.choices = ", ".join(choices)


class MachineBusy(MachineError):
    """Another live task holds the machine."""

    default_code = ErrorCode.ERROR_BUSY

    def __init__(self, sentence: str, *, machine: str, task_id: int, advice: str = "") -> None:
        super().__init__(sentence, machine=machine, advice=advice)
        self.task_id = task_id


class NamedState(Protocol):
    """A documented state with its name and its words for people (``wire.states.MachineState``)."""

    @property
    def name(self) -> str:
        """The documented name."""

    @property
    def words(self) -> str:
        """The state for people."""


class WrongState(MachineError):
    """The machine's state does not allow this command."""

    default_code = ErrorCode.VM_E_VM_NOT_RUNNING

    def __init__(
        self,
        sentence: str,
        *,
        machine: str,
        state: str,
        command: str,
        code: ErrorCode | None = None,
        advice: str = "",
    ) -> None:
        super().__init__(sentence, machine=machine, code=code, advice=advice)
        self.state = state
        self.command = command

    @classmethod
    def of(
        cls,
        machine: str,
        state: NamedState,
        command: str,
        *,
        words: str = "",
        code: ErrorCode | None = None,
        advice: str = "",
    ) -> WrongState:
        """The refusal of a command in this state: “web-1 is paused and cannot be renamed.”

        ``words`` are the command for people, where its name is not.
        """
        return cls(
            f"{machine} is {state.words} and cannot {words or command}.",
            machine=machine,
            state=state.name,
            command=command,
            code=code,
            advice=advice,
        )


class MachineUnfit(MachineError):
    """The machine has a disk or device that cannot be maintained safely."""

    default_code = ErrorCode.VM_E_UNSUPPORTED_HD_DISK_TYPE


class AgentError(MachineError):
    """The guest's task agent is absent, silent or not speaking the protocol."""

    default_code = ErrorCode.VM_E_ADDITIONS_NOT_AVAIL


class AgentSilent(AgentError):
    """The guest's agent has not answered in time; what it was asked for may still happen."""


class AgentQuarantined(AgentError):
    """The guest broke the protocol too often; the host ignores it for a while."""


class HypervisorError(InnkeeperError):
    """libvirt or QEMU refused or failed; the cause is chained."""


class DiskError(InnkeeperError):
    """Something is wrong with a disk image."""

    default_code = ErrorCode.VM_E_HD_IMAGE_ACCESS

    def __init__(self, sentence: str, *, path: str, code: ErrorCode | None = None, advice: str = "") -> None:
        super().__init__(sentence, code=code, advice=advice)
        self.path = path


class UpdateError(InnkeeperError):
    """Something is wrong with a booking, a window or an update run."""


class BookingNotFound(UpdateError):
    """No update is booked under this machine and identifier."""

    default_code = ErrorCode.ERROR_NOT_FOUND


class IdentityError(InnkeeperError):
    """Something is wrong with an account, a role or a token."""


class ScheduleError(InnkeeperError):
    """Something is wrong with the scheduler, its folders, definitions or XML.

    Where it is about XML it carries what ``TASK_XML_ERROR_INFO`` does: ``line`` and ``column`` from 1
    (0 where there is no place), the ``node``'s name and the offending ``value``.
    """

    def __init__(
        self,
        sentence: str,
        *,
        code: ErrorCode | None = None,
        advice: str = "",
        line: int = 0,
        column: int = 0,
        node: str = "",
        value: str = "",
    ) -> None:
        super().__init__(sentence, code=code, advice=advice)
        self.line = line
        self.column = column
        self.node = node
        self.value = value
