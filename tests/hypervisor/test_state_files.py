"""Where libvirt keeps UEFI variables and TPMs is known, and what cannot be kept is refused by name."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from innkeeper.errors import ErrorCode, MachineNotFound, MachineUnfit
from innkeeper.hypervisor.libvirt.uris import HostUri
from innkeeper.hypervisor.state_files import unreachable
from innkeeper.machines.ports.host import Host
from tests.disks.killing import on_a_small_file_system
from tests.guests.machines import EMULATED

_UUID = "2f0e2a5c-8d0e-4a6e-9f0d-3f1c2b7a9e51"
_PFLASH = "<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader>"
_EMULATED = "<tpm model='tpm-tis'><backend type='emulator' version='{}'/></tpm>"
_EXTERNAL_TPM = """<tpm model='tpm-tis'><backend type='external'>
  <source type='unix' mode='connect' path='/tmp/t'/></backend></tpm>"""
_NETWORK_VARIABLES = """<nvram type='network'>
  <source protocol='nbd' name='vars'><host name='h' port='10809'/></source></nvram>"""


@pytest.fixture
async def found(embedded_hypervisor: Host) -> AsyncIterator[Callable[..., Awaitable[list[str]]]]:
    """Define a machine with this firmware and these devices, and say where its state files are."""
    host = embedded_hypervisor

    async def find(firmware: str = "", devices: str = "", *, leave_tpm_out: bool = False) -> list[str]:
        attribute = "firmware='efi'" if firmware == "efi" else ""
        await host.definitions.define(
            f"""<domain type='{EMULATED}'><name>found</name><uuid>{_UUID}</uuid>
            <memory unit='MiB'>64</memory>
            <os {attribute}><type machine='q35'>hvm</type>{firmware if firmware != "efi" else ""}</os>
            <features><acpi/></features><devices>{devices}</devices></domain>"""
        )
        return list(await host.state_files.find("found", leave_tpm_out=leave_tpm_out))

    yield find
    with contextlib.suppress(MachineNotFound):
        await host.definitions.undefine("found")


@pytest.fixture
def root(state_directory: Path) -> Path:
    """Where the embedded hypervisor keeps its files."""
    return state_directory / "hv"


@pytest.mark.qemu
async def test_variables_are_found_however_they_are_named(
    found: Callable[..., Awaitable[list[str]]], root: Path
) -> None:
    """By libvirt's own name, by the name of the definition, or by the name that a start will give them."""
    assert await found(_PFLASH) == [f"{root}/lib/qemu/nvram/found_VARS.fd"]
    assert await found(f"{_PFLASH}<nvram>/var/tmp/my.fd</nvram>") == ["/var/tmp/my.fd"]
    source = (
        "<nvram type='file' template='/usr/share/OVMF/OVMF_VARS_4M.fd'><source file='/var/tmp/s.fd'/></nvram>"
    )
    assert await found(f"{_PFLASH}{source}") == ["/var/tmp/s.fd"]
    assert await found("efi") == [f"{root}/lib/qemu/nvram/found_VARS.{each}" for each in ("fd", "qcow2")]
    assert await found() == []


@pytest.mark.qemu
async def test_a_tpm_is_found_by_the_machines_identifier(
    found: Callable[..., Awaitable[list[str]]], root: Path
) -> None:
    """Each version has files of its own."""
    folder = f"{root}/lib/swtpm/{_UUID}"
    assert await found(devices=_EMULATED.format("2.0")) == [
        f"{folder}/tpm2/tpm2-00.permall",
        f"{folder}/tpm2/tpm2-00.volatilestate",
    ]
    assert (await found(devices=_EMULATED.format("1.2")))[0] == f"{folder}/tpm1.2/tpm-00.permall"


@pytest.mark.qemu
@pytest.mark.parametrize(
    ("firmware", "devices", "words"),
    [
        (
            f"{_PFLASH}{_NETWORK_VARIABLES}",
            "",
            "UEFI variables of found lie on a network source",
        ),
        (
            "",
            "<tpm model='tpm-tis'><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>",
            "found has the host's own TPM",
        ),
        (
            "",
            _EXTERNAL_TPM,
            "found has a TPM that another program runs",
        ),
    ],
)
async def test_state_that_cannot_be_kept_is_refused_by_name(
    found: Callable[..., Awaitable[list[str]]], firmware: str, devices: str, words: str
) -> None:
    """With the way out; a TPM may be left out by choice."""
    with pytest.raises(MachineUnfit, match=words) as caught:
        await found(firmware, devices)
    assert "virsh edit found" in caught.value.advice
    if devices:
        assert await found(firmware, devices, leave_tpm_out=True) == []


@pytest.mark.qemu
@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_state_out_of_reach_is_refused_by_name(
    found: Callable[..., Awaitable[list[str]]], root: Path
) -> None:
    """As under the system's libvirt, which runs swtpm as a user of its own."""
    folder = root / "lib/swtpm" / _UUID
    folder.mkdir(parents=True)
    try:
        folder.chmod(0)
        with pytest.raises(MachineUnfit, match=f"may not read and replace {folder}") as caught:
            await found(devices=_EMULATED.format("2.0"))
        assert caught.value.code is ErrorCode.E_ACCESSDENIED
        assert "leave_tpm_out" in caught.value.advice
        assert await found(_PFLASH, _EMULATED.format("2.0"), leave_tpm_out=True) == [
            f"{root}/lib/qemu/nvram/found_VARS.fd"
        ]
    finally:
        folder.chmod(stat.S_IRWXU)
        folder.rmdir()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_this_user_cannot_put_back_is_out_of_reach(tmp_path: Path) -> None:
    """Closed files and folders, and files that are still to be made where only others may make them."""
    path = tmp_path / "vars.fd"
    assert unreachable([str(path)]) == ""
    path.write_bytes(b"")
    assert unreachable([str(path)]) == ""
    path.chmod(0)
    assert unreachable([str(path)]) == str(path)
    path.unlink()
    assert unreachable(["/etc/innkeeper-nowhere/vars.fd"]) == "/etc"
    assert unreachable(["/etc/passwd"]) == "/etc"


@pytest.mark.parametrize(
    ("uri", "folder"),
    [
        ("qemu:///system", "/var/lib/libvirt/swtpm"),
        ("qemu:///embed?root=/r", "/r/lib/swtpm"),
        ("qemu:///session", "/home/ana/.config/libvirt/qemu/swtpm"),
        ("qemu+ssh://far/system", "/var/lib/libvirt/swtpm"),
    ],
)
def test_each_driver_keeps_tpms_in_a_place_of_its_own(
    uri: str, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As libvirt's drivers do."""
    monkeypatch.setenv("XDG_CONFIG_HOME", "/home/ana/.config")
    assert str(HostUri.parse(uri).tpm_directory) == folder


def test_a_full_file_system_leaves_no_half_copy_and_hinders_no_roll_back(tmp_path: Path) -> None:
    """The refusal says so; and a copy that was taken before goes back without any room."""
    printed = on_a_small_file_system(tmp_path, 128 << 10, _ON_A_FULL_DISK)
    assert printed.splitlines() == [
        f"0x80070070 vars.fd could not be copied for the undo point. {_NO_ROOM}",
        "vars.fd",
        "before 0",
    ]


_NO_ROOM = "vars.fd.innkeeper-7: There is no space left on the host volume."
_ON_A_FULL_DISK = """
import asyncio, os
from pathlib import Path
from innkeeper.errors import DiskError
from innkeeper.hypervisor.state_files import LocalStateFiles
files, path, copy = LocalStateFiles(), Path("vars.fd"), Path("vars.fd.innkeeper-7")
path.write_bytes(bytes(100 << 10))
try:
    asyncio.run(files.keep(str(path), str(copy)))
except DiskError as error:
    print(f"{error.code:#x} {error.sentence}")
print(*sorted(os.listdir(".")))
path.write_bytes(b"before")
asyncio.run(files.keep(str(path), str(copy)))
path.write_bytes(b"after")
with open("filler", "wb", buffering=0) as filler:
    try:
        while True:
            filler.write(bytes(4096))
    except OSError:
        pass
room = os.statvfs(".").f_bavail
asyncio.run(files.put_back(str(copy), str(path)))
print(path.read_text(), room)
"""
