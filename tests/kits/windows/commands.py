"""The qemu-guest-agent of a Windows guest, as far as the host asks it: a recorded guest.

What is recorded is the kit's own answers over a Windows that was made after Microsoft's documentation. None
of it was taken from a machine.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence

from innkeeper.channels.kits.asking import KitAnswers
from innkeeper.channels.kits.kit import NEEDED, windows_kit
from innkeeper.channels.kits.ports import CommandEnd
from innkeeper.channels.kits.powershell import RUN_FILE
from innkeeper.channels.kits.session import KitSession, read_kit_hello
from innkeeper.errors import AgentError
from innkeeper.tasks.ports import Clock
from innkeeper.wire.guest_facts import GuestFacts
from tests.kits.windows.machine import Windows

MACHINE = "web-1"
#: What PowerShell may print for a file that is not there.
_USAGE = b"The argument '...' to the -File parameter does not exist.\r\n\r\nWindows PowerShell\r\n"


class WindowsCommands:
    """qemu-guest-agent of that guest (``GuestCommands``)."""

    has_agent_port = False

    def __init__(self, windows: Windows) -> None:
        self.windows = windows
        self.is_silent = False
        #: Files that were put there, by their paths.
        self.files: dict[str, bytes] = {}
        #: The questions that were asked.
        self.verbs: list[str] = []

    async def allowed(self) -> Mapping[str, bool]:
        """Everything, as virtio-win installs it."""
        self._expect_answer()
        return dict.fromkeys((*NEEDED, "guest-ping"), True)

    async def facts(self) -> GuestFacts:
        """What it says by ``guest-get-osinfo``."""
        self._expect_answer()
        return GuestFacts(
            computer_name="SRV-1",
            os_id="mswindows",
            os_name="Windows Server 2022 Standard",
            version="Microsoft Windows Server 2022",
            version_id="2022",
            variant="server",
            kernel_release="20348",
            kernel_version="10.0",
            architecture="x86_64",
        )

    async def ping(self) -> None:
        """Answer, or not."""
        self._expect_answer()

    async def run(self, argv: Sequence[str], *, stdin: bytes, timeout: float) -> CommandEnd:
        """Run the kit where it lies; what installs it is done as it says."""
        self._expect_answer()
        if tuple(argv[: len(RUN_FILE)]) != RUN_FILE:
            return self._install(base64.b64decode(argv[-1]).decode("utf-16-le"))
        path, verb, *words = argv[len(RUN_FILE) :]
        if self.files.get(path) != windows_kit().content:
            return CommandEnd(exit_code=0xFFFD0000, stdout=_USAGE, stderr=b"")
        self.verbs.append(verb)
        return CommandEnd(exit_code=0, stdout=self.windows.ask(verb, *words, stdin=stdin), stderr=b"")

    async def write_file(self, path: str, data: bytes) -> None:
        """Write a file."""
        self._expect_answer()
        self.files[path] = data

    def _install(self, script: str) -> CommandEnd:
        kit = windows_kit()
        moved = re.search(r"Move-Item -Force -LiteralPath '([^']+)' -Destination '([^']+)'", script)
        if moved is not None:
            arrived, path = moved.groups()
            assert path == kit.path
            assert f".Hash -ne '{hashlib.sha256(self.files[arrived]).hexdigest()}'" in script
            self.files[path] = self.files.pop(arrived)
        else:
            assert f"New-Item -ItemType Directory -Force -Path '{kit.directory}'" in script
        return CommandEnd(exit_code=0, stdout=b"", stderr=b"")

    def _expect_answer(self) -> None:
        if self.is_silent or self.windows.is_down:
            raise AgentError("qemu-guest-agent is not connected.", machine=MACHINE)


async def session_with(commands: WindowsCommands, clock: Clock) -> KitSession:
    """Put the kit into the guest, and greet it."""
    answers = KitAnswers(MACHINE, windows_kit(), commands)
    return KitSession(answers, read_kit_hello(await answers.ask("hello", timeout=60)), clock)
