"""State files of simulated machines: small real files, which a boot writes to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from innkeeper.errors import ErrorCode, MachineUnfit
from innkeeper.hypervisor.simulated.simulation import Simulation
from innkeeper.hypervisor.state_files import LocalStateFiles

T = TypeVar("T")


class SimulatedStateFiles(LocalStateFiles):
    """The state files of simulated machines (``machines.ports.state_files.StateFiles``)."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    async def find(self, machine: str, *, leave_tpm_out: bool = False) -> Sequence[str]:
        """The paths of a machine's state files; a TPM without a path is out of reach."""
        nvram, tpm, has_tpm = await self._simulation.simulate(
            machine, lambda m, _: (m.nvram_path, m.tpm_path, m.has_tpm)
        )
        if has_tpm and not (tpm or leave_tpm_out):
            raise MachineUnfit(
                f"{machine} has a TPM that another program runs, whose state an undo point cannot keep.",
                machine=machine,
                code=ErrorCode.VM_E_UNSUPPORTED_HARDWARE,
                advice="Set leave_tpm_out = true in [policy.undo], where a roll back may leave the TPM "
                "as the update made it.",
            )
        return [path for path in (nvram, tpm) if path]

    async def _run(self, call: Callable[[], T]) -> T:
        return await self._simulation.blocking(call)
