"""The kits that there are, and which one a guest takes."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib import resources

from innkeeper.channels.kits import powershell
from innkeeper.errors import AgentError, ErrorCode
from innkeeper.wire.guest_facts import GuestFacts

#: The parts of the Linux kit, in the order in which they make one file.
_LINUX_PARTS = (
    "head.sh",
    "words.sh",
    "run.sh",
    "cause.sh",
    "locks.sh",
    "room.sh",
    "apt.sh",
    "stepped.sh",
    "dnf.sh",
    "zypper.sh",
    "pacman.sh",
    "apk.sh",
    "worker.sh",
    "updates.sh",
    "networks.sh",
    "health.sh",
    "guest.sh",
    "verbs.sh",
)
#: Put a file in its place if it is what it should be, and clear away kits of former releases and what never
#: arrived whole, an hour after they were put: another service may be about to use its own.
_SETTLE_LINUX = """\
sum=$(sha256sum <"$1") || exit 1
if [ "${sum%% *}" != "$3" ]; then
    rm -f "$1"
    echo 'it did not arrive whole: is the disk full?' >&2
    exit 1
fi
mv -f "$1" "$2" || exit 1
set -- "${2%/*}" "${2##*/}"
find "$1" -type f \\( -name 'linux-*.sh' -o -name '*.new' \\) -mmin +60 ! -name "$2" -exec rm -f {} \\;
exit 0
"""
#: What a kit cannot do without.
NEEDED = ("guest-exec", "guest-exec-status", "guest-file-open", "guest-file-write", "guest-file-close")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Kit:
    """A program for one family of guests, as it is put into them."""

    #: For people and paths: ``linux``.
    name: str
    #: Whether it is for this guest.
    fits: Callable[[GuestFacts], bool]
    #: What it is made of.
    content: bytes
    #: Where it lies in the guest: a directory of root's alone. Its name is that of its content.
    directory: str
    ending: str
    #: What stands before the file in the command that runs it.
    interpreter: Sequence[str]
    #: Make the directory; and put a file that has arrived under one path, whole, in place of another.
    make_directory: Callable[[str], Sequence[str]]
    settle: Callable[[str, str, str], Sequence[str]]
    #: Whether there is a task agent for its guests, which does all that a kit cannot.
    has_task_agent: bool = True
    #: What it cannot do or tell in any guest, a sentence each; it says more itself once it is asked.
    limits: tuple[str, ...] = ()
    #: How the words of a question are written, so that they arrive as they are.
    write_word: Callable[[str], str] = str

    @property
    def digest(self) -> str:
        """The SHA-256 of its content, in lower-case hexadecimal."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def path(self) -> str:
        """The file in the guest."""
        return f"{self.directory}/{self.name}-{self.digest[:16]}{self.ending}"

    def arriving(self) -> str:
        """A file of its own for one arrival: two services may put the kit at once, and either be killed."""
        return f"{self.path}.{secrets.token_hex(4)}.new"

    def command(self, verb: str, *arguments: str) -> Sequence[str]:
        """The command that asks one question."""
        return [*self.interpreter, self.path, verb, *map(self.write_word, arguments)]

    def advice(self, machine: str) -> str:
        """What may be done instead of asking the kit."""
        if not self.has_task_agent:
            return "There is no task agent for Windows: look into the guest."
        return f"Look into the guest, or install the task agent: innkeeper machine prepare {machine}"


@functools.cache
def linux_kit() -> Kit:
    """Return the kit for Linux, whatever the distribution."""
    parts = resources.files("innkeeper.channels.kits").joinpath("linux")
    content = b"\n".join(parts.joinpath(name).read_bytes() for name in _LINUX_PARTS)
    return Kit(
        name="linux",
        fits=lambda facts: facts.os_id != "mswindows" and "bsd" not in facts.os_id.lower(),
        content=content,
        directory="/var/lib/innkeeper/kit",
        ending=".sh",
        interpreter=("/bin/sh",),
        make_directory=lambda directory: ("/bin/mkdir", "-p", "-m", "700", directory),
        settle=lambda arrived, path, digest: ("/bin/sh", "-c", _SETTLE_LINUX, "sh", arrived, path, digest),
        limits=(
            "How long its services usually take after a boot is not learnt.",
            "Its ports cannot be reached by channels, and it can book no update by itself.",
        ),
    )


@functools.cache
def windows_kit() -> Kit:
    """Return the kit for Windows, from Windows Server 2016 and Windows 10 on; untried on Windows."""
    return Kit(
        name="windows",
        fits=lambda facts: facts.os_id == "mswindows",
        content=powershell.source(),
        # Only administrators may write here, as against ProgramData, where anybody may be there first.
        directory="C:/Program Files/Innkeeper/kit",
        ending=".ps1",
        interpreter=powershell.RUN_FILE,
        make_directory=lambda directory: powershell.command(
            f"[void](New-Item -ItemType Directory -Force -Path {powershell.quoted(directory)})"
        ),
        settle=lambda arrived, path, digest: powershell.command(
            powershell.settle(arrived=arrived, path=path, digest=digest)
        ),
        has_task_agent=False,
        limits=(
            "Updates of Windows guests are untried on Windows: look at the report, and tell what was wrong.",
        ),
        write_word=powershell.word,
    )


def kits() -> Sequence[Kit]:
    """Return all kits, in the order in which they are tried."""
    return (linux_kit(), windows_kit())


def kit_for(machine: str, facts: GuestFacts) -> Kit:
    """Return the kit that fits a guest. Raises ``AgentError`` where there is none."""
    found = next((kit for kit in kits() if kit.fits(facts)), None)
    if found is None:
        raise AgentError(
            f"{facts.os_name or facts.os_id} in {machine} cannot be updated through qemu-guest-agent.",
            machine=machine,
            code=ErrorCode.ERROR_NOT_SUPPORTED,
            advice="Update it by hand.",
        )
    return found


def refuse_blocked(machine: str, allowed: Mapping[str, bool]) -> None:
    """Raise ``AgentError`` where the guest's qemu-guest-agent may not do what kits need."""
    blocked = [command for command in NEEDED if not allowed.get(command, False)]
    if blocked:
        raise AgentError(
            f"qemu-guest-agent in {machine} may not do what an update takes: {', '.join(blocked)}.",
            machine=machine,
            code=ErrorCode.E_ACCESSDENIED,
            advice=_advice_for(blocked),
        )


def _advice_for(blocked: Collection[str]) -> str:
    """The lines to change, by the releases of RHEL and its kin, which block these commands as delivered."""
    names = ",".join(blocked)
    return (
        "In the guest, change /etc/sysconfig/qemu-ga, then: systemctl restart qemu-guest-agent. RHEL 9.4 and "
        f"later, and 10: add {names} to --allow-rpcs= in FILTER_RPC_ARGS. RHEL 9.2 and 9.3: take them out of "
        "--block-rpcs=. Older ones: take them out of BLACKLIST_RPC. Other systems: see block-rpcs in "
        "/etc/qemu/qemu-ga.conf. Or install the task agent by hand, which needs none of it."
    )
