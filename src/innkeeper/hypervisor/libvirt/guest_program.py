"""qemu-guest-agent as the program in a guest, where there is no task agent of ours.

Whatever comes back was written by the guest: it is read by the same readers as the task agent's words.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from innkeeper.channels.guest_statements import read_facts, read_parameters, read_sessions
from innkeeper.channels.statements import Unbelievable, clean_sentence
from innkeeper.errors import AgentError
from innkeeper.hypervisor.libvirt.guest_agent import GuestAgentCalls
from innkeeper.wire.events import Json
from innkeeper.wire.guest_facts import MAX_SESSIONS, Ability, GuestFacts, GuestParameter, LogonSession

T = TypeVar("T")

#: Where the task agent keeps its parameters too, so that a guest that gets one later keeps them.
_PARAMETERS = "/var/lib/innkeeper/parameters"
_MOST_PARAMETER_BYTES = 1024 * 1024
_EXEC_SECONDS = 60.0
_NO_VALUES: Mapping[str, Json] = {}

_LOCKED = (
    "loginctl list-sessions --no-legend | while read s rest; do "
    "loginctl show-session $s -p Class -p LockedHint -p Remote -p Name | tr '\\n' ' '; echo; done"
)


class QemuGuestProgram:
    """qemu-guest-agent in one guest (``machines.ports.guest_program.GuestProgram``)."""

    def __init__(self, machine: str, port: GuestAgentCalls) -> None:
        self._machine = machine
        self._port = port

    def knows(self, ability: Ability) -> bool:
        """Whether the agent can do this: tried each time, for the agent itself refuses what it may not."""
        return True

    async def version(self) -> str:
        """The agent's version."""
        message = await self._ask("guest-info")
        version = message.get("version") if isinstance(message, Mapping) else ""
        return f"qemu-guest-agent {clean_sentence(version)}"

    async def boot_id(self) -> str:
        """The boot identifier of the guest's Linux."""
        message = await self._port.read_file(self._machine, "/proc/sys/kernel/random/boot_id", 64)
        return clean_sentence(message.decode("ascii", "replace").strip())

    async def ping(self) -> None:
        """Return when it has answered."""
        await self._ask("guest-ping")

    async def facts(self) -> GuestFacts:
        """Facts of the guest."""
        name, system = await self._ask("guest-get-host-name"), await self._ask("guest-get-osinfo")
        if not isinstance(name, Mapping) or not isinstance(system, Mapping):
            raise self._liar()
        message = {
            "computer_name": name.get("host-name", ""),
            "os_id": system.get("id", ""),
            "os_name": system.get("pretty-name", ""),
            "version": system.get("version", ""),
            "version_id": system.get("version-id", ""),
            "variant": system.get("variant-id", ""),
            "kernel_release": system.get("kernel-release", ""),
            "kernel_version": system.get("kernel-version", ""),
            "architecture": system.get("machine", ""),
        }
        return self._believed(lambda: read_facts(message))

    async def sessions(self) -> Sequence[LogonSession]:
        """The users who are logged on; whether a screen is locked, where logind can be asked."""
        users = await self._ask("guest-get-users")
        if not isinstance(users, list):
            raise self._liar()
        locked = await self._locked_users()
        message = [
            {
                "user": user.get("user", ""),
                "since": int(seconds) if isinstance(seconds := user.get("login-time"), int | float) else 0,
                "locked": locked.get(str(user.get("user"))),
                "remote": None,
            }
            for user in users[:MAX_SESSIONS]
            if isinstance(user, Mapping)
        ]
        return self._believed(lambda: read_sessions({"sessions": message}))

    async def log_off(self) -> int:
        """End every user's sessions through logind."""
        users = {session.user for session in await self.sessions()}
        for user in sorted(users):
            await self._port.run(self._machine, ["loginctl", "terminate-user", user], timeout=_EXEC_SECONDS)
        return len(users)

    async def parameters(self) -> Mapping[str, GuestParameter]:
        """The named values in the file that the task agent would keep."""
        content = await self._port.read_file(self._machine, _PARAMETERS, _MOST_PARAMETER_BYTES)
        if not content:
            return {}
        try:
            message = json.loads(content)
        except (ValueError, RecursionError):
            return {}
        return self._believed(lambda: read_parameters({"parameters": message}))

    async def set_parameter(self, name: str, value: str | None, *, revision: int) -> None:
        """Write the file anew; two who write at once would lose one value, so the host does it alone."""
        kept = dict(await self.parameters())
        kept.pop(name, None)
        if value is not None:
            kept[name] = GuestParameter(value=value, revision=revision, by_guest=False)
        entries = {key: [each.value, each.revision, each.by_guest] for key, each in kept.items()}
        await self._port.run(
            self._machine, ["mkdir", "-p", "-m", "700", "/var/lib/innkeeper"], timeout=_EXEC_SECONDS
        )
        await self._port.write_file(self._machine, _PARAMETERS, json.dumps(entries).encode())

    async def set_time(self, seconds: float) -> None:
        """Set the guest's clock."""
        await self._ask("guest-set-time", {"time": int(seconds * 1_000_000_000)})

    async def reboot(self) -> None:
        """Ask for a reboot: the agent says nothing more when it has agreed."""
        await self._go_down("reboot")

    async def shut_down(self) -> None:
        """Ask for a power-off."""
        await self._go_down("powerdown")

    async def _go_down(self, mode: str) -> None:
        await self._ask("guest-ping")
        await self._port.send(self._machine, "guest-shutdown", {"mode": mode})

    async def _locked_users(self) -> Mapping[str, bool]:
        """Whether each user's screen is locked, as far as logind says."""
        try:
            message = await self._port.run(self._machine, ["/bin/sh", "-c", _LOCKED], timeout=_EXEC_SECONDS)
        except AgentError:
            return {}
        found = {}
        for line in message.stdout.decode("utf-8", "replace").splitlines()[:MAX_SESSIONS]:
            words = dict(word.split("=", 1) for word in line.split() if "=" in word)
            if words.get("LockedHint") in ("yes", "no"):
                found[words.get("Name", "")] = words["LockedHint"] == "yes"
        return found

    async def _ask(self, command: str, arguments: Mapping[str, Json] = _NO_VALUES) -> Json:
        return await self._port.call(self._machine, command, arguments)

    def _believed(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except (Unbelievable, AttributeError) as error:
            raise self._liar() from error

    def _liar(self) -> AgentError:
        return AgentError(
            f"qemu-guest-agent in {self._machine!r} answered with something that cannot be read.",
            machine=self._machine,
        )
