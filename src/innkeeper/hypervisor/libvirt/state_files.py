"""Find where libvirt keeps the UEFI variables and the TPM of a machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import libvirt

from innkeeper.errors import ErrorCode, MachineUnfit
from innkeeper.hypervisor.domain.fields import Attribute, Element
from innkeeper.hypervisor.libvirt.connection import Connection
from innkeeper.hypervisor.libvirt.definition import Definition
from innkeeper.hypervisor.libvirt.domains import current
from innkeeper.hypervisor.libvirt.uris import HostUri
from innkeeper.hypervisor.state_files import TPM_FILES, LocalStateFiles, unreachable

_LEAVE_OUT = (
    "Or set leave_tpm_out = true in [policy.undo], where a roll back may leave the TPM as the update made it."
)


class LibvirtStateFiles(LocalStateFiles):
    """The state files of one host's machines (``machines.ports.state_files.StateFiles``)."""

    def __init__(self, uri: HostUri, connection: Connection) -> None:
        self._uri = uri
        self._connection = connection

    async def find(self, machine: str, *, leave_tpm_out: bool = False) -> Sequence[str]:
        """The paths of a machine's state files. Raises ``MachineUnfit``."""

        def work(connect: libvirt.virConnect) -> Sequence[str]:
            definition = current(connect.lookupByName(machine))
            return self._find(definition, leave_tpm_out=leave_tpm_out)

        return await self._connection.ask(work, "find the firmware and the TPM of", machine)

    def _find(self, definition: Definition, *, leave_tpm_out: bool) -> Sequence[str]:
        variables = self._variables(definition)
        if variables and (why := self._out_of_reach(variables)):
            raise self._refusal(
                definition, "The UEFI variables", f"are kept in {variables[0]}", why, "libvirt"
            )
        try:
            return [*variables, *self._tpms(definition)]
        except MachineUnfit:
            if leave_tpm_out:
                return variables
            raise

    # UEFI variables

    def _variables(self, definition: Definition) -> Sequence[str]:
        firmware = FirmwareElement(definition.node)
        if firmware.nvram_kind not in ("", "file"):
            raise MachineUnfit(
                f"The UEFI variables of {definition.name} lie on a {firmware.nvram_kind} source, not in a "
                "file: an undo point cannot keep them.",
                machine=definition.name,
                advice=f"Let <nvram> name a file: virsh edit {definition.name}",
            )
        if path := definition.nvram_file or definition.nvram:
            return [path]
        folder = self._uri.saved_directory
        if firmware.automatic != "efi" or firmware.stateless == "yes":
            return []
        if folder is None:
            return ["a folder of libvirt's"]
        # libvirt chooses the firmware at each start, and the file with it.
        return [str(folder.parent / "nvram" / f"{definition.name}_VARS.{kind}") for kind in ("fd", "qcow2")]

    # TPM

    def _tpms(self, definition: Definition) -> Iterator[str]:
        for tpm in map(TpmElement, definition.node.iterfind("devices/tpm")):
            if tpm.backend != "emulator":
                raise _foreign(definition.name, tpm)
            paths = self._files_of(definition, tpm)
            if why := self._out_of_reach(paths):
                kept = f"keeps its state in {Path(paths[0]).parent}"
                raise self._refusal(definition, "The TPM", kept, why, "swtpm", _LEAVE_OUT)
            yield from paths

    def _files_of(self, definition: Definition, tpm: TpmElement) -> list[str]:
        names = TPM_FILES.get(tpm.version, TPM_FILES["2.0"])
        if tpm.source_kind == "file":
            return [tpm.source_path]
        if tpm.source_kind == "dir":
            return [str(Path(tpm.source_path) / Path(name).name) for name in names]
        folder = self._uri.tpm_directory
        return [str((folder or Path("/")) / definition.uuid / name) for name in names]

    def _out_of_reach(self, paths: Sequence[str]) -> str:
        """Why these files cannot be kept from here, after the sentence that names them; empty if they can."""
        if not self._uri.is_local:
            return f", on the other computer {self._uri.host}, and Innkeeper copies them on its own alone"
        where = unreachable(paths) if self._uri.saved_directory else paths[0]
        return where and f", but Innkeeper may not read and replace {where}"

    def _refusal(
        self, definition: Definition, what: str, kept: str, why: str, program: str, way_out: str = ""
    ) -> MachineUnfit:
        there = (
            f"Run Innkeeper there, as root or as the user that runs {program}."
            if self._uri.is_local
            else "Run a server of Innkeeper on that computer, on one PostgreSQL with this one."
        )
        return MachineUnfit(
            f"{what} of {definition.name} {kept}{why}.",
            machine=definition.name,
            code=ErrorCode.E_ACCESSDENIED,
            advice=f"{there} {way_out}".strip(),
        )


def _foreign(machine: str, tpm: TpmElement) -> MachineUnfit:
    what = {"passthrough": "the host's own TPM", "external": "a TPM that another program runs"}
    return MachineUnfit(
        f"{machine} has {what.get(tpm.backend, f'a TPM of the kind {tpm.backend}')}, "
        "whose state an undo point cannot keep.",
        machine=machine,
        code=ErrorCode.VM_E_UNSUPPORTED_HARDWARE,
        advice=f"Give it an emulated one (backend type 'emulator'): virsh edit {machine}. {_LEAVE_OUT}",
    )


class FirmwareElement(Element):
    """``<os>``: where the firmware and its variables come from."""

    automatic = Attribute("os", "firmware")
    nvram_kind = Attribute("os/nvram", "type")
    stateless = Attribute("os/loader", "stateless")


class TpmElement(Element):
    """``<tpm>``: a TPM and who plays it."""

    backend = Attribute("backend", "type")
    version = Attribute("backend", "version", "2.0")
    source_kind = Attribute("backend/source", "type")
    source_path = Attribute("backend/source", "path")
