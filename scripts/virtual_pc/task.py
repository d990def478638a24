"""Declare: the task."""

from virtual_pc.member import Carriage, Interface, Member

_EMULATED = Carriage.EMULATED

TASK = Interface(
    "IVMTask",
    (
        Member(
            "Cancel",
            _EMULATED,
            "Task.cancel",
            "Per-kind canceller: abortJob / blockJobAbort / SIGTERM to qemu-img / Innkeeper’s "
            "engine flag; not cancelable → E_FAIL.",
        ),
        Member("Description", _EMULATED, "Task.description", "Stored text."),
        Member("Error", _EMULATED, "Task.error", "Stored HRESULT (0 when ok)."),
        Member(
            "ErrorDescription",
            _EMULATED,
            "Task.error_description",
            "Stored message + libvirt/qemu-img stderr.",
        ),
        Member("ID", _EMULATED, "Task.id", "Monotonic integer from SQLite (survives restart) + UUID."),
        Member("IsCancelable", _EMULATED, "Task.is_cancelable", "Dynamic: false after point of no return."),
        Member("IsComplete", _EMULATED, "Task.is_complete", "State in terminal set."),
        Member("PercentCompleted", _EMULATED, "Task.percent_completed", "0..100 monotone; weighted phases."),
        Member("Result", _EMULATED, "Task.result", "VMTaskResult."),
        Member("WaitForCompletion", _EMULATED, "Task.wait_for_completion", "Condition wait; see."),
    ),
)
