"""Remember over a kill of the service which instances it has begun.

The store says durably that an instance is to be carried; only after that is it begun. What happened between
the two at a kill cannot be told from the store, and a note there after each start would cost another wait
for the disk. A page of memory that is mapped from a file outlives the process and costs nothing. It need not
outlive the computer: then every program has ended, and what was to be carried counts as begun.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Self

_SLOT_BYTES: Final = 64
_SLOTS: Final = 16_384
_MAGIC: Final = b"innkeeper starts 1 "
_FREE: Final = 0
_INTENDED: Final = 1
_BEGUN: Final = 2
#: Signs are removed in groups: a single one is not worth a thread's turn.
_SWEPT_TOGETHER: Final = 64
_SWEEPER: Final = ThreadPoolExecutor(1, thread_name_prefix="innkeeper-signs")
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class MemoryStarts:
    """``Starts`` for tests and simulations: kept by whoever plays the computer."""

    def __init__(self) -> None:
        self._begun: dict[str, bool] = {}

    def intend(self, run_id: str) -> None:
        """This server will begin it."""
        self._begun.setdefault(run_id, False)

    def begin(self, run_id: str) -> None:
        """Its first action has begun."""
        self._begun[run_id] = True

    def sign(self, run_id: str) -> bytes | None:
        """Nothing that a program could leave here."""

    def forget(self, run_id: str) -> None:
        """It has ended."""
        self._begun.pop(run_id, None)

    def may_have_begun(self, run_id: str) -> bool:
        """``False`` only where it certainly has not."""
        return self._begun.get(run_id, True)


class MappedStarts:
    """``Starts`` in a file of fixed slots, mapped into memory.

    A slot's mark is written after its id, one byte: whatever moment a kill picks, a reader finds the slot
    as it was before or after. Where all slots are taken nothing is noted, which counts as begun. The signs
    that programs make themselves are files in a directory beside it.
    """

    def __init__(self, memory: mmap.mmap, signs: Path) -> None:
        """``signs`` is there. Blocks: what programs have left in it is taken over."""
        self._memory = memory
        self._signs = signs
        self._to_remove: list[str] = []
        self._slots: dict[str, int] = {}
        self._free: list[int] = []
        for place in range(_SLOTS * _SLOT_BYTES, 0, -_SLOT_BYTES):
            if memory[place] == _FREE:
                self._free.append(place)
            else:
                run_id = memory[place + 1 : place + _SLOT_BYTES].rstrip(b"\0").decode(errors="replace")
                self._slots[run_id] = place
        for sign in signs.iterdir():
            self.begin(f"{{{sign.name}}}")
            sign.unlink()

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the notes of this server, or begin them anew where the computer has started since. Blocks."""
        heading = _MAGIC + _BOOT_ID.read_bytes().strip()
        size = (_SLOTS + 1) * _SLOT_BYTES
        signs = path.with_name(f"{path.name}.signs")
        signs.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.pread(descriptor, len(heading), 0) != heading or os.fstat(descriptor).st_size != size:
                os.ftruncate(descriptor, 0)
                os.ftruncate(descriptor, size)
                os.pwrite(descriptor, heading, 0)
            return cls(mmap.mmap(descriptor, size), signs)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Let go of the file."""
        self._memory.close()

    def keep(self, live: Mapping[str, object]) -> None:
        """Forget all but these: what a kill has left of others."""
        for run_id in [each for each in self._slots if each not in live]:
            self.forget(run_id)

    @property
    def is_crowded(self) -> bool:
        """Whether kills have left so much that it should ``keep`` what is live alone."""
        return len(self._slots) > _SLOTS // 2

    def intend(self, run_id: str) -> None:
        """This server will begin it."""
        if run_id in self._slots or not self._free:
            return
        place = self._free.pop()
        self._memory[place + 1 : place + _SLOT_BYTES] = run_id.encode().ljust(_SLOT_BYTES - 1, b"\0")
        self._memory[place] = _INTENDED
        self._slots[run_id] = place

    def begin(self, run_id: str) -> None:
        """Its first action has begun."""
        place = self._slots.get(run_id)
        if place is not None:
            self._memory[place] = _BEGUN

    def sign(self, run_id: str) -> bytes | None:
        """The file of this instance."""
        return os.fsencode(self._signs / run_id.strip("{}"))

    def forget(self, run_id: str) -> None:
        """It has ended."""
        place = self._slots.pop(run_id, None)
        if place is not None:
            self._memory[place] = _FREE
            self._free.append(place)
        # A sign that stays behind harms nobody: its id never comes again.
        self._to_remove.append(run_id.strip("{}"))
        if len(self._to_remove) >= _SWEPT_TOGETHER:
            names, self._to_remove = self._to_remove, []
            _SWEEPER.submit(_remove, self._signs, names)

    def may_have_begun(self, run_id: str) -> bool:
        """``False`` only where it certainly has not."""
        place = self._slots.get(run_id)
        return place is None or self._memory[place] == _BEGUN


def _remove(directory: Path, names: Sequence[str]) -> None:
    for name in names:
        with contextlib.suppress(OSError):
            (directory / name).unlink()
