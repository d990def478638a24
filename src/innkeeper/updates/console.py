"""Find the lines of a console that say why a guest does not come up."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

#: So many lines are quoted, and so much of each.
_MOST_LINES: Final = 3
_MOST_CHARS: Final = 200

#: What terminals are told beside the text, and the kernel's time before its lines.
_CONTROLS = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[@-Z\\-_()].?|[\x00-\x08\x0b-\x1f\x7f]")
_KERNEL_TIME = re.compile(r"^(?:<\d+>)?\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? ")
_PANIC = re.compile(r"Kernel panic - not syncing\b(?!.*end Kernel panic)")
_END_OF_PANIC = "end Kernel panic"

#: Why a boot has come to nothing, the end of it first. Of each kind the last one counts.
_ENDS: Final[Sequence[re.Pattern[str]]] = (
    _PANIC,
    re.compile(
        r"You are in (emergency|rescue) mode|Cannot open access to console, the root account is locked"
    ),
    re.compile(r"Dropping to a shell|Entering emergency mode|Press Enter for maintenance|for maintenance\b"),
    re.compile(r"grub rescue>|GNU GRUB  version|Minimal BASH-like line editing"),
    re.compile(r"No bootable (device|option)|Boot failed: not a bootable disk|No more network devices"),
    re.compile(r"Failed to (execute|start) /sbin/init|No init found|switch_root: .*failed", re.IGNORECASE),
)
#: What names a cause, or follows from one: the kinds in the order in which they explain the ones below.
_CAUSES: Final[Sequence[re.Pattern[str]]] = (
    # The kernel of RHEL 7 says "Kill process". A group of processes at its own limit is another matter.
    re.compile(r"(?<!cgroup )[Oo]ut of memory: Kill(ed)? process|Out of memory and no killable processes"),
    re.compile(
        r"invoked oom-killer|oom-kill:(?!constraint=CONSTRAINT_MEMCG)|page allocation failure|"
        r"Under memory pressure|soft lockup.*\[(kswapd|kcompactd)|task (kswapd|kcompactd)\S* blocked for more"
    ),
    re.compile(r"No space left on device|Disk quota exceeded"),
    re.compile(
        r"I/O error|[Ii]nput/output error|EXT4-fs error|XFS .*(Corruption|[Ss]hut(down|ting down))|"
        r"BTRFS (error|critical)|unexpectedly inconsistent|run fsck (manually|MANUALLY)"
    ),
    re.compile(r"Remounting filesystem read-only|Read-only file system"),
    re.compile(
        r"Timed out waiting for device|Gave up waiting for (the )?root|ALERT! .* does not exist|"
        r"Unable to mount root fs|VFS: Cannot open root device|^error: |^BdsDxe: failed|"
        r"Unable to find a medium|dracut-initqueue.*timeout|Warning: /dev/\S+ does not exist"
    ),
    re.compile(r"BUG: (?!soft lockup)|Oops|general protection fault"),
    re.compile(r"\[FAILED\]|\[ TIME \]|Failed to mount"),
    re.compile(r"segfault at|traps: .* trap "),
    re.compile(r"soft lockup|hung_task|blocked for more than \d+ seconds"),
    re.compile(r"Memory cgroup out of memory: Kill(ed)? process"),
)
#: What of a line says the same in other lines of its kind.
_NUMBERS = re.compile(r"\b(0x)?[0-9a-f]*\d[0-9a-f]*")


def why_not_up(text: str) -> tuple[str, ...]:
    """The lines that say how the last boot ended, and why; none where it says nothing of that kind."""
    lines = [*_lines(text)]
    at = _last_end(lines)
    if at is None:
        return _causes(lines)[:_MOST_LINES]
    begun = max((n for n in range(at) if any(end.search(lines[n]) for end in _ENDS)), default=-1)
    causes = [line for line in _causes(lines[begun + 1 : at]) if line != lines[at]]
    return (*causes[: _MOST_LINES - 1], lines[at])


def _causes(lines: Sequence[str]) -> tuple[str, ...]:
    """The lines that name one: the first of each kind, then the second of each."""
    found: dict[str, tuple[int, int]] = {}
    of_kind: Counter[int] = Counter()
    seen: set[str] = set()
    for line in lines:
        kind = next((n for n, words in enumerate(_CAUSES) if words.search(line)), None)
        if kind is not None and (told := _NUMBERS.sub("", line)) not in seen:
            seen.add(told)
            found[line] = (of_kind[kind], kind)
            of_kind[kind] += 1
    return tuple(sorted(found, key=found.__getitem__))


def panics(text: str) -> int:
    """How often a kernel has panicked."""
    return sum(1 for line in _lines(text) if _PANIC.search(line) and _END_OF_PANIC not in line)


def _last_end(lines: Sequence[str]) -> int | None:
    """Where the boot ends: a panic prints more behind its line, and a shell's prompt comes last."""
    for end in _ENDS:
        found = [n for n, line in enumerate(lines) if end.search(line) and _END_OF_PANIC not in line]
        if found:
            return found[-1]
    return None


def _lines(text: str) -> Iterator[str]:
    for raw in re.split(r"[\r\n]+", text):
        line = _KERNEL_TIME.sub("", _CONTROLS.sub("", raw).strip())
        line = " ".join("".join(c for c in line if c.isprintable()).split())
        if line:
            yield line if len(line) <= _MOST_CHARS else line[:_MOST_CHARS] + " …"
