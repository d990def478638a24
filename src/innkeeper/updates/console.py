"""Find the lines of a console that say why a guest does not come up."""

from __future__ import annotations

import re
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
#: What was said before such an end, and names its cause.
_CAUSES: Final = re.compile(
    r"\[FAILED\]|\[ TIME \]|Timed out waiting for device|Gave up waiting for (the )?root|"
    r"ALERT! .* does not exist|Unable to mount root fs|VFS: Cannot open root device|"
    r"^error: |^BdsDxe: failed|Failed to mount|Unable to find a medium|"
    r"dracut-initqueue.*timeout|Warning: /dev/\S+ does not exist|"
    r"Out of memory: Killed process|[Oo]om-kill|No space left on device|unexpectedly inconsistent|"
    r"run fsck (manually|MANUALLY)"
)
#: What a guest that hangs may have said.
_TROUBLE: Final = re.compile(
    r"Out of memory: Killed process|BUG: |soft lockup|hung_task|blocked for more than \d+ seconds|"
    r"I/O error|EXT4-fs error|Remounting filesystem read-only|XFS .*(Corruption|Shutdown)|Oops"
)


def why_not_up(text: str) -> tuple[str, ...]:
    """The lines that say how the last boot ended, and why; none where it says nothing of that kind."""
    lines = [*_lines(text)]
    at = _last_end(lines)
    if at is None:
        return tuple(dict.fromkeys(line for line in lines if _TROUBLE.search(line)))[-_MOST_LINES:]
    begun = max((n for n in range(at) if any(end.search(lines[n]) for end in _ENDS)), default=-1)
    causes = dict.fromkeys(line for line in lines[begun + 1 : at] if _CAUSES.search(line))
    return (*[line for line in causes if line != lines[at]][: _MOST_LINES - 1], lines[at])


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
