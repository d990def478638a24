"""Let the tiny guest start by UEFI, with a TPM, and use both: a variable, and a sealed secret."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from innkeeper.machines.ports.host import Host
from tests.guests.machines import TinyMachine

_CODE = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
#: The firmware needs more than the guest.
_MEMORY_MIB = 256
_TPM = "<tpm model='tpm-tis'><backend type='emulator' version='2.0'/></tpm>"


def firmware_is_missing() -> str:
    """What this computer lacks for such a guest; empty where it has all."""
    if not _CODE.exists():
        return "needs OVMF"
    return "" if shutil.which("swtpm") and shutil.which("swtpm_setup") else "needs swtpm"


def with_firmware(definition: str) -> str:
    """The definition of a tiny machine, with UEFI and a TPM."""
    loader = f"<loader readonly='yes' type='pflash'>{_CODE}</loader>"
    return (
        definition.replace("<kernel>", f"{loader}<kernel>")
        .replace(">160</memory>", f">{_MEMORY_MIB}</memory>")
        .replace("<memballoon", f"{_TPM}<memballoon")
    )


async def make_tpms_by_this_user() -> None:
    """Tell what manufactures TPMs where to keep its keys: once, where an ordinary user runs libvirt."""
    command = ("swtpm_setup", "--create-config-files", "skip-if-exist")
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    assert await process.wait() == 0


async def in_the_guest(host: Host, machine: TinyMachine, *statements: str) -> str:
    """Let the guest do this in one go, and return what it prints.

    There are ``write(value)`` and ``read()`` of a UEFI variable; ``seal(secret)`` to the TPM under a handle
    that outlives reboots, ``unseal()``, which returns the secret or the TPM's refusal, and ``clear()``, after
    which nothing that was sealed before can ever be unsealed.
    """
    program = "\n".join((_IN_THE_GUEST, *statements))
    command = ("/usr/bin/python3", "-I", "-S", "-c", program)
    done = await host.guest_agents.run(machine.name, command, timeout=60)
    assert done.exit_code == 0, done
    return done.stdout.decode().strip()


#: TPM commands as the specification's third part has them: there are no TPM programs in the tiny guest.
_IN_THE_GUEST = """
import fcntl, os, struct
VARIABLE = "/sys/firmware/efi/efivars/Innkeeper-5c1ef42b-8a0a-4c9a-9a58-5d8a3a6f9f6e"
OWNER, LOCKOUT, KEPT = 0x40000001, 0x4000000A, 0x81000100
PASSWORD = struct.pack(">IIHBH", 9, 0x40000009, 0, 0, 0)
IMMUTABLE = 0x10

def write(value):
    # The kernel protects variables that it does not know.
    if os.path.exists(VARIABLE):
        with open(VARIABLE) as file:
            fcntl.ioctl(file, 0x40086602, struct.pack("l", 0))
    descriptor = os.open(VARIABLE, os.O_WRONLY | os.O_CREAT, 0o644)
    os.write(descriptor, struct.pack("<I", 7) + value.encode())
    os.close(descriptor)

def read():
    return open(VARIABLE, "rb").read()[4:].decode() if os.path.exists(VARIABLE) else ""

def command(tpm, code, handles, rest=b""):
    body = struct.pack(f">{len(handles)}I", *handles) + PASSWORD + rest
    os.write(tpm, struct.pack(">HII", 0x8002, 10 + len(body), code) + body)
    answer = os.read(tpm, 4096)
    return struct.unpack(">I", answer[6:10])[0], answer[10:]

def open_tpm():
    return os.open("/dev/tpmrm0", os.O_RDWR)

def sized(data):
    return struct.pack(">H", len(data)) + data

def seal(secret):
    tpm = open_tpm()
    # A sealed object of the owner: of this TPM, usable with its (empty) password, no dictionary attacks.
    public = struct.pack(">HHIHHH", 0x8, 0xB, 1 << 1 | 1 << 4 | 1 << 6 | 1 << 10, 0, 0x10, 0)
    wanted = sized(sized(b"") + sized(secret.encode())) + sized(public) + sized(b"") + struct.pack(">I", 0)
    failed, answer = command(tpm, 0x131, [OWNER], wanted)
    assert not failed, hex(failed)
    made = struct.unpack(">I", answer[:4])[0]
    failed, _ = command(tpm, 0x120, [OWNER, made], struct.pack(">I", KEPT))
    assert not failed, hex(failed)

def unseal():
    failed, answer = command(open_tpm(), 0x15E, [KEPT])
    return f"refused {failed:#x}" if failed else answer[6:6 + struct.unpack(">H", answer[4:6])[0]].decode()

def clear():
    failed, _ = command(open_tpm(), 0x126, [LOCKOUT])
    assert not failed, hex(failed)
"""
