"""A guest without a virtual machine and without an agent.

Its qemu-guest-agent runs programs of this computer: they work below a root directory of its own, by the shell
that the test wants.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from innkeeper.channels.kits.asking import KitAnswers
from innkeeper.channels.kits.kit import NEEDED, linux_kit
from innkeeper.channels.kits.ports import CommandEnd
from innkeeper.channels.kits.session import KitSession, read_kit_hello
from innkeeper.channels.ports import GuestAgent
from innkeeper.errors import AgentError, AgentSilent
from innkeeper.tasks.clock import SystemClock
from innkeeper.wire.guest_facts import GuestFacts
from tests.agent.rig import Guest

#: The shells that the kit is written for: Debian's, Alpine's, and that of the RHEL family, SUSE and Arch.
SHELLS: Mapping[str, Sequence[str]] = {
    "dash": ("dash",),
    "busybox": ("busybox", "ash"),
    "bash": ("bash", "--posix"),
}
MACHINE = "web-1"
#: Where the kit and all that it remembers lie.
KIT_DIRECTORY = "var/lib/innkeeper/kit"


class LocalCommands:
    """qemu-guest-agent of that guest (``GuestCommands``)."""

    def __init__(self, root: Path, environment: Mapping[str, str], shell: Sequence[str] = ("dash",)) -> None:
        self.root = root
        self._environment = environment
        self.shell = shell
        self.has_agent_port = False
        #: Of what its configuration forbids.
        self.blocked: set[str] = set()
        self.os_id = "debian"
        self.is_silent = False
        #: After so many more answers it is silent.
        self.answers_left: int | None = None
        #: What was run, without what a kit is installed by.
        self.verbs: list[str] = []
        #: What stands before every command: it enters another place, where the guest is there.
        self.enter: Sequence[str] = ()

    async def allowed(self) -> Mapping[str, bool]:
        self._expect_answer()
        return {name: name not in self.blocked for name in (*NEEDED, "guest-ping")}

    async def facts(self) -> GuestFacts:
        self._expect_answer()
        return GuestFacts(
            computer_name="", os_id=self.os_id, os_name=self.os_id, version="", version_id="", variant="",
            kernel_release="", kernel_version="", architecture="",
        )  # fmt: skip

    async def ping(self) -> None:
        self._expect_answer()

    async def run(self, argv: Sequence[str], *, stdin: bytes, timeout: float) -> CommandEnd:
        self._expect_answer()
        words = [self._inside(word) for word in argv]
        if argv[0] == "/bin/sh":
            words = [*self.shell, *words[1:]]
            if argv[1] != "-c":
                self.verbs.append(argv[2])
        process = await asyncio.create_subprocess_exec(
            *self.enter,
            *words,
            env={**self._environment, "INNKEEPER_ROOT": str(self.root)},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        stdout, stderr = await asyncio.wait_for(process.communicate(stdin), timeout)
        return CommandEnd(exit_code=process.returncode or 0, stdout=stdout, stderr=stderr)

    async def write_file(self, path: str, data: bytes) -> None:
        done = await self.run(("/bin/dd", f"of={self._inside(path)}"), stdin=data, timeout=30)
        if done.exit_code != 0:
            raise AgentError(f"{path} could not be written.", machine=MACHINE)

    def _inside(self, word: str) -> str:
        return f"{self.root}{word}" if word.startswith("/var/lib/innkeeper") else word

    def _expect_answer(self) -> None:
        if self.answers_left is not None:
            self.is_silent, self.answers_left = self.answers_left == 0, max(0, self.answers_left - 1)
        if self.is_silent:
            raise AgentSilent("qemu-guest-agent is not connected.", machine=MACHINE)


class KitHost:
    """The host of a guest without an agent, which is asked by its kit."""

    def __init__(self, guest: Guest, shell: str) -> None:
        guest.environment["PATH"] = f"{guest.root}/bin:{os.environ['PATH']}:/usr/sbin:/sbin"
        self._commands = LocalCommands(guest.root, guest.environment, SHELLS[shell])

    async def session(self, other_boot_than: str = "") -> GuestAgent:
        """A session."""
        assert not other_boot_than
        return await session_with(self._commands)


async def session_with(commands: LocalCommands) -> KitSession:
    """Put the kit into the guest, and greet it."""
    answers = KitAnswers(MACHINE, await asyncio.to_thread(linux_kit), commands)
    return KitSession(answers, read_kit_hello(await answers.ask("hello", timeout=60)), SystemClock())
