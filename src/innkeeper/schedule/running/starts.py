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
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Self

_SLOT_BYTES: Final = 64
_SLOTS: Final = 16_384
_MAGIC: Final = b"innkeeper starts 2 "
_FREE: Final = 0
_INTENDED: Final = 1
_BEGUN: Final = 2
#: Signs are taken back in groups: a single one is not worth a thread's turn.
_CLEARED_TOGETHER: Final = 64
_CLEANER: Final = ThreadPoolExecutor(1, thread_name_prefix="innkeeper-signs")
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class MemoryStarts:
    """``Starts`` for tests and simulations, kept in memory."""

    def __init__(self) -> None:
        self._begun: dict[str, bool] = {}

    def intend(self, run_id: str) -> None:
        """Record that this server will begin an instance."""
        self._begun.setdefault(run_id, False)

    def begin(self, run_id: str) -> None:
        """Record that the first action has begun."""
        self._begun[run_id] = True

    def sign(self, run_id: str) -> bytes | None:
        """Return ``None``: a simulated program can leave no file."""

    def forget(self, run_id: str) -> None:
        """Forget an instance that has ended."""
        self._begun.pop(run_id, None)

    def may_have_begun(self, run_id: str) -> bool:
        """``False`` only where the instance has certainly not begun."""
        return self._begun.get(run_id, True)


class MappedStarts:
    """``Starts`` in a file of fixed slots, mapped into memory.

    A slot's mark is written after its id, one byte: whatever moment a kill picks, a reader finds the slot
    as it was before or after. Where all slots are taken nothing is noted, which counts as begun.

    The sign that a program makes itself is an empty file for its slot: one that is opened to be truncated
    has a new time, and the time 0 takes the sign back. The files stay for the next instances, as to make and
    remove one each time costs more than the start itself: ext4 gives out no inode again that was freed within
    the last minute, and looks at each of them first.
    """

    def __init__(self, memory: mmap.mmap, signs: Path) -> None:
        """``signs`` is the directory of programs' files. Blocks: what it holds is taken over."""
        self._memory = memory
        self._signs = os.fsencode(signs)
        self._slots: dict[str, int] = {}
        self._free: list[int] = []
        #: Places whose sign a program was asked to make.
        self._signed: set[int] = set()
        self._to_clear: list[int] = []
        for place in _made(signs):
            if memory[place] != _FREE:
                memory[place] = _BEGUN
            self._clear_one(place)
        for place in range(_SLOTS * _SLOT_BYTES, 0, -_SLOT_BYTES):
            if memory[place] == _FREE:
                self._free.append(place)
            else:
                run_id = memory[place + 1 : place + _SLOT_BYTES].rstrip(b"\0").decode(errors="replace")
                self._slots[run_id] = place

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open this server's notes, or new ones where the computer has started since. Blocks."""
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
        """Close the file."""
        self._memory.close()

    def keep(self, live: Mapping[str, object]) -> None:
        """Forget all instances but these, which kills have left."""
        for run_id in [each for each in self._slots if each not in live]:
            self.forget(run_id)

    @property
    def is_crowded(self) -> bool:
        """Whether kills have left so much that ``keep`` should be called."""
        return len(self._slots) > _SLOTS // 2

    def intend(self, run_id: str) -> None:
        """Record that this server will begin an instance."""
        if run_id in self._slots or not self._free:
            return
        place = self._free.pop()
        self._memory[place + 1 : place + _SLOT_BYTES] = run_id.encode().ljust(_SLOT_BYTES - 1, b"\0")
        self._memory[place] = _INTENDED
        self._slots[run_id] = place

    def begin(self, run_id: str) -> None:
        """Record that the first action has begun."""
        place = self._slots.get(run_id)
        if place is not None:
            self._memory[place] = _BEGUN

    def sign(self, run_id: str) -> bytes | None:
        """Return the file of this instance's slot."""
        place = self._slots.get(run_id)
        if place is None:
            return None
        self._signed.add(place)
        return self._path(place)

    def forget(self, run_id: str) -> None:
        """Forget an instance that has ended."""
        place = self._slots.pop(run_id, None)
        if place is None:
            return
        self._memory[place] = _FREE
        if place not in self._signed:
            self._free.append(place)
            return
        self._signed.discard(place)
        self._to_clear.append(place)
        if len(self._to_clear) >= _CLEARED_TOGETHER:
            places, self._to_clear = self._to_clear, []
            _CLEANER.submit(self._clear, places)

    def may_have_begun(self, run_id: str) -> bool:
        """``False`` only where the instance has certainly not begun."""
        place = self._slots.get(run_id)
        return place is None or self._memory[place] == _BEGUN

    def _path(self, place: int) -> bytes:
        return b"%b/%d" % (self._signs, place)

    def _clear(self, places: Sequence[int]) -> None:
        """Remove signs in a thread, then free their slots."""
        for place in places:
            with contextlib.suppress(OSError):  # a place that keeps its sign is not taken again
                self._clear_one(place)
                self._free.append(place)

    def _clear_one(self, place: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.utime(self._path(place), ns=(0, 0))


def _made(signs: Path) -> Iterator[int]:
    """Return the slots whose signs exist."""
    places = range(_SLOT_BYTES, (_SLOTS + 1) * _SLOT_BYTES, _SLOT_BYTES)
    for sign in signs.iterdir():
        if not sign.name.isdecimal() or int(sign.name) not in places:
            sign.unlink()  # another version made it
        elif sign.stat().st_mtime_ns:
            yield int(sign.name)
