"""Find the line that says why a program failed, in all that it printed: rarely the last one."""

import re
from typing import List, Optional, Pattern, Tuple

_MAX_CHARS = 300
#: How many lines before a script's failure may say why it failed.
_BEFORE = 3
#: What is printed before a script is run, or of something else: what a script says comes after it.
_HEADING = re.compile(
    r"^ *(Running scriptlet|Preparing|Upgrading|Installing|Cleanup|Verifying|Obsoleting) *:"
    r"|^Installation of |^Additional rpm output|^Output of |^ *Executing |^\(\d+/\d+\)|^rpm: "
    r"|^(Setting up|Unpacking|Preparing to|Processing triggers|Removing) |^\(Reading database"
    r"|^(upgrading|installing|removing) "
)

#: What breaks anything: with its own line it needs no other. The first explains those below it.
_ROOTS: Tuple[Pattern[str], ...] = tuple(
    re.compile(words, re.IGNORECASE)
    for words in (
        r"Out of memory|Cannot allocate memory|oom-kill",
        r"No space left on device|Disk quota exceeded",
        r"Input/output error|\bI/O error",
        r"Read-only file system",
        r"Kernel panic",
        r"\bKilled$",
        r"Segmentation fault",
    )
)
#: The line that names package and script, and how many lines below it belong to it.
_KINDS: Tuple[Tuple[Pattern[str], int], ...] = (
    (re.compile(r"dpkg: error processing (package|archive) "), 1),
    (re.compile(r"scriptlet failed, exit status|%\w+ script failed|rror in \S+ scriptlet"), 0),
    (re.compile(r"Non-fatal \w+ scriptlet failure|command failed to execute correctly"), 0),
    (re.compile(r": (script )?exited with error"), 0),
    (re.compile(r"E: Could not get lock|E: Unable to acquire|was locked by another process"), 0),
    (re.compile(r"is locked by the application with pid|can't create transaction lock"), 0),
    (re.compile(r"There are no enabled repositories"), 0),
    (re.compile(r"Digest verification failed for file|not found on medium|Valid metadata not found"), 0),
    (re.compile(r"Problem retrieving files from"), 1),
    (re.compile(r"is not signed|is expired|NO_PUBKEY|GPG check FAILED|Signature verification failed"), 0),
    (re.compile(r"Failed to fetch |Curl error|failed retrieving file"), 0),
    (re.compile(r"incorrect checksum|Cannot download|is corrupted"), 0),
    (re.compile(r"^ERROR: unable to select packages"), 2),
    (re.compile(r"^Detected \d+ file conflict"), 5),
    (re.compile(r"^ ?\S+ : (Pre)?Depends: |nothing provides|conflicts with file|Transaction test error"), 1),
    (re.compile(r"^Problem(: | \d+: )"), 2),
    (re.compile(r"^Error message: "), 0),
)
_SCRIPT = re.compile(r"script|exited with error|dpkg: error processing|command failed to execute")
#: What says no more than that something failed.
_EMPTY = re.compile(
    r"Sub-process .* returned an error code|Some index files failed|Unable to fetch some archives"
    r"|held broken packages|install failed|erase skipped|All mirrors were tried|Transaction failed"
    r"|Please see the above|Close this appl|Errors were encountered while processing|^Error: *$"
    r"|Errors occurred, no packages|failed to commit transaction|failed to synchronize",
    re.IGNORECASE,
)
_ERROR = re.compile(r"^(e:|error|dpkg: error|dpkg-deb: error)", re.IGNORECASE)


def cause(output: str) -> str:
    """Return the sentence that says why, or else the last one that says anything."""
    lines = [line.rstrip() for line in output.splitlines() if line.strip()]
    found = next(filter(None, (_at(lines, pattern, below) for pattern, below in _KINDS)), None)
    root = _root(lines)
    if found is not None:
        failure, said = " ".join(found[1]), " ".join(_said(lines, found[0]))
        return _cut([f"{failure}; it said: {said}" if said else failure])
    return _cut(root or [_last(lines)])


def _at(lines: List[str], pattern: Pattern[str], below: int) -> Optional[Tuple[int, List[str]]]:
    for number, line in enumerate(lines):
        if pattern.search(line):
            return number, lines[number : number + 1 + below]
    return None


def _said(lines: List[str], number: int) -> List[str]:
    """Return what a script printed last before it failed: the disk that is full, where one is."""
    if not _SCRIPT.search(lines[number]):
        return []
    words: List[str] = []
    for line in reversed(lines[max(0, number - _BEFORE) : number]):
        if _HEADING.match(line):
            break
        words.insert(0, line)
    return _root(words) or words


def _root(lines: List[str]) -> List[str]:
    return [line for words in _ROOTS for line in lines if words.search(line)][:1]


def _last(lines: List[str]) -> str:
    errors = [line for line in lines if _ERROR.match(line) and not _EMPTY.search(line)]
    others = [line for line in lines if not _EMPTY.search(line)]
    return (errors or others or lines or ["it printed nothing"])[-1]


def _cut(lines: List[str]) -> str:
    """Join, and cut between two words: half a name is none."""
    text = " ".join(" ".join(line.split()) for line in lines)
    text = text[2:] if text.startswith("- ") else text
    if len(text) <= _MAX_CHARS:
        return text
    return text[:_MAX_CHARS].rpartition(" ")[0] + " …"
