"""Copies of a machine's small state files in an undo point: UEFI variables, and the memory of its TPM.

A note beside the undo disks says what was kept, with digests. It is written when all copies are whole and
before the first undo disk is put on: where the undo disks are on and the note is there, the copies are those
of that moment, and nothing changes them any more.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Sequence
from pathlib import PurePath
from typing import Final

from innkeeper.errors import ErrorCode, MachineError, MachineUnfit, WrongState
from innkeeper.machines.machine import MachineState
from innkeeper.machines.ports.host import Host
from innkeeper.machines.undo.overlay_names import MARK
from innkeeper.machines.undo.refusals import in_place, is_beginning
from innkeeper.wire.events import Json
from innkeeper.wire.json_fields import JsonObject, as_object, as_row, as_str, get_list, get_str, refuse_newer

#: The version of a note's JSON. See docs/decisions/0043-journals-are-versioned.md before it changes.
_VERSION: Final = 1
_NOTE: Final = ".state"
_NOTE_BEGINS: Final = '{"version": '


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class StateFile:
    """One state file, and where its copy goes."""

    path: str
    copy: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class StatePlan:
    """The state files that an undo point covers."""

    files: tuple[StateFile, ...] = ()
    #: The file that says what was kept; empty in plans of release 0.1.0, which wrote none.
    note: str = ""

    @property
    def paths(self) -> Sequence[str]:
        """The files that an undo point may leave behind, the note last."""
        return [*(file.copy for file in self.files), *([self.note] if self.note else [])]

    def to_json(self) -> Json:
        """For the journal."""
        return {"files": [[file.path, file.copy] for file in self.files], "note": self.note}

    @classmethod
    def from_json(cls, data: Json) -> StatePlan:
        """From the journal. Raises ``JsonError``."""
        fields = as_object(data)
        return cls(files=get_list(fields, "files", _file), note=get_str(fields, "note"))

    @classmethod
    def from_first_release(cls, fields: JsonObject) -> StatePlan:
        """From the journal of release 0.1.0, whose plans knew UEFI variables alone."""
        path, copy = get_str(fields, "nvram_path"), get_str(fields, "nvram_copy")
        return cls(files=(StateFile(path=path, copy=copy),) if copy else ())


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Kept:
    """One state file as it was kept."""

    path: str
    copy: str
    #: The digest of its content; empty where the file was not there.
    digest: str


def plan_state(paths: Sequence[str], machine: str, run: int, folder: str) -> StatePlan:
    """Plan the copies of these files, each beside its file; the note goes to ``folder``."""
    if not paths:
        return StatePlan()
    files = tuple(StateFile(path=path, copy=f"{path}{MARK}{run}") for path in paths)
    return StatePlan(files=files, note=str(PurePath(folder) / f"{machine}{_NOTE}{MARK}{run}"))


async def noted_state(host: Host, machine: str, overlay: str, run: int) -> StatePlan | None:
    """What was kept of a machine with its undo disk ``overlay``, by the note beside it.

    ``None`` where there is none. Other machines' notes may lie there, of runs with the same number: its own
    bears its name, or names a file of its state where it was renamed since.
    """
    ending = f"{_NOTE}{MARK}{run}"
    folder = PurePath(overlay).parent
    beside = [path for path in await host.files.find(str(folder), ending) if path.endswith(ending)]
    own = set(await _state_files(host, machine))
    by_name = str(folder / f"{machine}{ending}")
    for note in sorted(beside, key=lambda path: path != by_name):
        kept = _read(await host.state_files.read_note(note)) or ()
        shares = bool(own & {each.path for each in kept})
        if shares or (note == by_name and not (own and kept)):
            return StatePlan(
                files=tuple(StateFile(path=each.path, copy=each.copy) for each in kept), note=note
            )
    return None


async def _state_files(host: Host, machine: str) -> Sequence[str]:
    """The files of a machine's state; none where they are out of reach now."""
    with contextlib.suppress(MachineUnfit):
        return await host.state_files.find(machine, leave_tpm_out=True)
    return ()


class StateCopies:
    """The copies that a plan describes, on the host that has the machine."""

    def __init__(self, host: Host, machine: str, plan: StatePlan) -> None:
        self._host = host
        self._machine = machine
        self._plan = plan

    async def keep(self) -> None:
        """Bring the copies up to date; what is kept already is left alone.

        Before the undo disks are on; of a running machine once beforehand, and once while it stands still.
        """
        if not self._plan.note:
            # A plan of release 0.1.0.
            for file in self._plan.files:
                await self._host.state_files.keep(file.path, file.copy)
            return
        known = {each.path: each for each in await self._noted() or ()}
        if all([await self._is_kept(file, known.get(file.path)) for file in self._plan.files]):
            return
        if not is_beginning(await self._host.state_files.read_note(self._plan.note), _NOTE_BEGINS):
            raise in_place(self._machine, self._plan.note)
        # Copies that are being made anew are nobody's.
        await self._host.disks.delete(self._plan.note)
        kept = [
            _Kept(path=f.path, copy=f.copy, digest=await self._host.state_files.keep(f.path, f.copy))
            for f in self._plan.files
        ]
        await self._host.state_files.write_note(self._plan.note, _note(self._machine, kept))

    async def put_back(self) -> None:
        """Make the state files what they were; looked at beforehand and afterwards. May be done again.

        Raises ``WrongState`` while the machine is on, and ``MachineError`` where a copy is not what was kept:
        nothing has been changed then.
        """
        if not self._plan.paths:
            return
        state = (await self._host.inventory.get(self._machine)).state
        if state not in (MachineState.TURNED_OFF, MachineState.SAVED):
            raise WrongState.of(self._machine, state, "get its firmware variables back")
        kept = await self._kept()
        for each in kept:
            if each.digest and not await self._is(each.copy, each.digest):
                raise self._damaged(each.copy)
        for each in kept:
            await self._put_back(each)
        state = (await self._host.inventory.get(self._machine)).state
        if state not in (MachineState.TURNED_OFF, MachineState.SAVED):
            # Somebody has started it in the middle, with some of them or with none.
            raise WrongState.of(self._machine, state, "get its firmware variables back")

    async def delete(self) -> None:
        """Delete the copies, and then the note."""
        for path in self._plan.paths:
            await self._host.disks.delete(path)

    # Machinery

    async def _put_back(self, kept: _Kept) -> None:
        if not kept.digest:
            await self._host.state_files.remove(kept.path)
        elif not await self._is(kept.path, kept.digest):
            await self._host.state_files.put_back(kept.copy, kept.path)
            if not await self._is(kept.path, kept.digest):
                raise self._damaged(kept.path)

    async def _kept(self) -> Sequence[_Kept]:
        noted = await self._noted()
        if noted is not None:
            return noted
        if self._plan.note:
            raise MachineError(
                f"{self._plan.note} is gone or damaged, which says what was kept of {self._machine} "
                "beside its disks.",
                machine=self._machine,
                code=ErrorCode.ERROR_FILE_NOT_FOUND,
                advice="Put the file back, or merge: the copies beside the machine's UEFI variables and TPM "
                "may be whole, but nothing tells.",
            )
        digests = {file: await self._digest(file.copy) for file in self._plan.files}
        return [
            _Kept(path=file.path, copy=file.copy, digest=digest) for file, digest in digests.items() if digest
        ]

    async def _noted(self) -> Sequence[_Kept] | None:
        return _read(await self._host.state_files.read_note(self._plan.note)) if self._plan.note else None

    async def _is_kept(self, file: StateFile, known: _Kept | None) -> bool:
        return known is not None and await self._digest(file.path) == known.digest

    async def _is(self, path: str, digest: str) -> bool:
        return await self._digest(path) == digest

    async def _digest(self, path: str) -> str:
        """The digest of a file; empty where it is not there."""
        there = await self._host.files.identity(path) is not None
        return await self._host.files.checksum(path) if there else ""

    def _damaged(self, path: str) -> MachineError:
        return MachineError(
            f"{path} is not what was kept of {self._machine} at its undo point.",
            machine=self._machine,
            code=ErrorCode.ERROR_INVALID_DATA,
            advice="The undo disks are left in place. Put the file back from a backup, or merge them.",
        )


def _note(machine: str, kept: Sequence[_Kept]) -> str:
    files = [[each.path, each.copy, each.digest] for each in kept]
    return json.dumps({"version": _VERSION, "machine": machine, "files": files})


def _read(text: str) -> Sequence[_Kept] | None:
    """What a note says; ``None`` where there is none, or one that a crash has cut short."""
    try:
        fields = as_object(json.loads(text))
    except ValueError:
        return None
    refuse_newer(fields, _VERSION)
    return get_list(fields, "files", _kept)


def _file(data: Json) -> StateFile:
    path, copy = map(as_str, as_row(data, 2))
    return StateFile(path=path, copy=copy)


def _kept(data: Json) -> _Kept:
    path, copy, digest = map(as_str, as_row(data, 3))
    return _Kept(path=path, copy=copy, digest=digest)
