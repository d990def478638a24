"""Updates that wait for this guest; none is installed."""

import re
import shutil
from typing import Callable, Dict, List, Optional

from innkeeper.agent.backends.cause import cause
from innkeeper.agent.command import ask
from innkeeper.agent.plugin import PluginError
from innkeeper.wire.session import Message

_MAX_UPDATES = 2000
_MAX_TEXT = 200
_REFRESH_S = 240.0
_ASK_S = 120.0
#: ``Inst name [old] (new Debian-Security:12/stable [amd64])``; without ``[old]`` for what is new.
_APT = re.compile(r"Inst (\S+)(?: \[([^\]]*)\])? \((\S+)((?: [^\[\)]*)?)")
#: ``name.arch   version   repository``
_DNF = re.compile(r"(\S+)\.(\w+)\s+(\S+)\s+(\S+)\s*\Z")


def waiting() -> Message:
    """The updates that wait, after a look at the sources; raises ``PluginError`` where none can be asked."""
    for program, collect in _KNOWN.items():
        if shutil.which(program) is not None:
            found = collect()
            return {"updates": found[:_MAX_UPDATES], "count": len(found)}
    raise PluginError("This guest has no package manager that this agent knows.")


def _apt() -> List[Message]:
    _expect(["apt-get", "-q", "-o", "DPkg::Lock::Timeout=60", "update"], _REFRESH_S)
    plan = _expect(["apt-get", "-q", "-s", "-o", "Debug::NoLocking=1", "dist-upgrade"], _ASK_S)
    return read_apt(plan)


def _dnf() -> List[Message]:
    # 100 is no failure: updates wait.
    return read_dnf(_expect(["dnf", "-q", "--refresh", "check-update"], _REFRESH_S, good=(0, 100)))


def _zypper() -> List[Message]:
    return read_zypper(_expect(["zypper", "--non-interactive", "list-updates"], _REFRESH_S))


def read_apt(text: str) -> List[Message]:
    """Read what ``apt-get -s dist-upgrade`` would install."""
    found = []
    for match in (_APT.match(line) for line in text.splitlines()):
        if match:
            origin = match.group(4).strip()
            found.append(
                _update(match.group(1), match.group(2), match.group(3), "security" in origin.lower())
            )
    return found


def read_dnf(text: str) -> List[Message]:
    """Read the table of ``dnf check-update``, up to what it obsoletes."""
    found = []
    for line in text.splitlines():
        if line.startswith("Obsoleting"):
            break
        match = _DNF.match(line)
        if match:
            found.append(_update(match.group(1), None, match.group(3), None))
    return found


def read_zypper(text: str) -> List[Message]:
    """Read the table of ``zypper list-updates``."""
    found = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) >= 6 and cells[0] == "v":
            found.append(_update(cells[2], cells[3], cells[4], None))
    return found


def _update(name: str, installed: Optional[str], available: str, security: Optional[bool]) -> Message:
    return {
        "name": name[:_MAX_TEXT],
        "installed": (installed or "")[:_MAX_TEXT],
        "available": available[:_MAX_TEXT],
        "security": security,
    }


def _expect(argv: List[str], timeout: float, good: "tuple[int, ...]" = (0,)) -> str:
    answer = ask(argv, timeout=timeout)
    if answer.code not in good:
        raise PluginError(f"{argv[0]} ended with {answer.code}: {cause(answer.output)}")
    return answer.output


_KNOWN: Dict[str, Callable[[], List[Message]]] = {"apt-get": _apt, "dnf": _dnf, "zypper": _zypper}
