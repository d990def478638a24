"""Declare: the accountant."""

from innkeeper.client.virtual_pc.member import Carriage, Interface, Member

_DIRECT = Carriage.DIRECT
_EMULATED = Carriage.EMULATED

ACCOUNTANT = Interface(
    "IVMAccountant",
    (
        Member(
            "CPUUtilization",
            _EMULATED,
            "",
            "Delta of domainListGetStats cpu.time / (wall × vcpus), sampled by service each 1 s; "
            "not running → S_FALSE and 0.",
        ),
        Member(
            "CPUUtilizationHistory",
            _EMULATED,
            "",
            "Ring buffer of 60 one-second samples kept by the service sampler; all zeros when off.",
        ),
        Member(
            "DiskBytesRead",
            _DIRECT,
            "",
            "Sum block.N.rd.bytes (domainListGetStats BLOCK); save a baseline at power- "
            "up/reset/restore – QEMU counters do not reset on guest reset.",
        ),
        Member("DiskBytesWritten", _DIRECT, "", "Sum block.N.wr.bytes, same baseline rule."),
        Member(
            "NetworkBytesReceived",
            _DIRECT,
            "",
            "Sum net.N.rx.bytes (tap/bridge only; user-mode net has no host counter → guest- "
            "network-get-interfaces statistics via agent, else S_FALSE).",
        ),
        Member("NetworkBytesSent", _DIRECT, "", "Sum net.N.tx.bytes, same limits."),
        Member(
            "UpTime",
            _EMULATED,
            "",
            "Innkeeper’s timestamp at lifecycle STARTED/RESTORED (store in domain metadata so it "
            "survives service restart); nearest: /proc/PID/stat starttime of QEMU.",
        ),
    ),
)
