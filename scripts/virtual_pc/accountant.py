"""Declare: the accountant."""

from virtual_pc.member import Carriage, Interface, Member

_DIRECT = Carriage.DIRECT
_EMULATED = Carriage.EMULATED

ACCOUNTANT = Interface(
    "IVMAccountant",
    (
        Member(
            "CPUUtilization",
            _EMULATED,
            "Accountant.cpu_utilization",
            "The difference of two readings of libvirt's bulk statistics, over time and "
            "processors; 0 for a machine that is off, where the documents add S_FALSE.",
        ),
        Member(
            "CPUUtilizationHistory",
            _EMULATED,
            "Accountant.cpu_utilization_history",
            "60 values, one a second. Read every second while somebody looks, else every ten: in "
            "between, each second has the mean.",
        ),
        Member(
            "DiskBytesRead",
            _DIRECT,
            "Accountant.disk_bytes_read",
            "libvirt's block statistics, summed. Since the machine was turned on or restored: a "
            "guest's reset counts on.",
        ),
        Member("DiskBytesWritten", _DIRECT, "Accountant.disk_bytes_written", "As DiskBytesRead."),
        Member(
            "NetworkBytesReceived",
            _DIRECT,
            "Accountant.network_bytes_received",
            "libvirt's interface statistics, summed. None with user-mode networking, which the "
            "host does not count.",
        ),
        Member("NetworkBytesSent", _DIRECT, "Accountant.network_bytes_sent", "As NetworkBytesReceived."),
        Member(
            "UpTime",
            _EMULATED,
            "Accountant.up_time",
            "Since QEMU wrote down its process number. None where that file cannot be seen (a "
            "host elsewhere).",
        ),
    ),
)
