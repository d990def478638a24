"""Talk to qemu-guest-agent through libvirt, which resynchronises before each command.

Whatever comes back was written by the guest: it is checked before it is believed.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import math
import time
from collections.abc import Mapping, Sequence

import libvirt
import libvirt_qemu

from innkeeper.errors import AgentError, AgentSilent, ErrorCode
from innkeeper.hypervisor.libvirt.connection import Connection
from innkeeper.machines.ports.guest_agents import ExecResult
from innkeeper.wire.events import Json

#: Any one answer of the agent.
_ANSWER_TIMEOUT_S = 10
#: What has no answer.
_TELL_TIMEOUT_S = 3
#: A thaw, and how the guest stands with freezing: at once, or not before its hook has ended.
_THAW_TIMEOUT_S = 5
_FIRST_POLL_S = 0.05
_LAST_POLL_S = 1.0
#: More than any release of it knows.
_MOST_COMMANDS = 500
#: What goes into one write: libvirt and the agent bound the length of a line.
_WRITE_BYTES = 48 * 1024
#: What libvirt says where no answer came: a machine may have no agent, or one that a hook keeps busy.
_SILENT = (
    libvirt.VIR_ERR_AGENT_UNRESPONSIVE,
    libvirt.VIR_ERR_AGENT_UNSYNCED,
    # Newer than the oldest library that is used: the agent was there, and did not answer in time.
    getattr(libvirt, "VIR_ERR_AGENT_COMMAND_TIMEOUT", 112),
    libvirt.VIR_ERR_OPERATION_TIMEOUT,
)
_ADVICE = "See that qemu-guest-agent is installed and runs in the guest, and allows this command."


class GuestAgentCalls:
    """Calls to qemu-guest-agent in one host's machines."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def freeze(self, name: str, *, hook_seconds: float = 30.0) -> int:
        """Freeze the guest's file systems, whose hooks may take so long; returns how many."""
        command = "guest-fsfreeze-freeze"
        return _whole(name, command, await self._call(name, command, {}, timeout=math.ceil(hook_seconds)))

    async def thaw(self, name: str) -> int:
        """Thaw them; returns how many."""
        command = "guest-fsfreeze-thaw"
        return _whole(name, command, await self._call(name, command, {}, timeout=_THAW_TIMEOUT_S))

    async def is_frozen(self, name: str) -> bool:
        """Whether they are frozen, or some of them."""
        command = "guest-fsfreeze-status"
        status = await self._call(name, command, {}, timeout=_THAW_TIMEOUT_S)
        if status not in ("frozen", "thawed"):
            raise _liar(name, command)
        return status == "frozen"

    async def commands(self, name: str) -> Mapping[str, bool]:
        """The commands that it knows, and whether its configuration allows each."""
        told = (await self._ask(name, "guest-info", {})).get("supported_commands")
        if not isinstance(told, list):
            raise _liar(name, "guest-info")
        known = [each for each in told[:_MOST_COMMANDS] if isinstance(each, Mapping)]
        return {str(each.get("name")): each.get("enabled") is True for each in known}

    async def run(self, name: str, argv: Sequence[str], *, timeout: float, stdin: bytes = b"") -> ExecResult:
        """Run a command in the guest and wait for its end."""
        deadline = time.monotonic() + timeout
        what: dict[str, Json] = {"path": argv[0], "arg": list(argv[1:]), "capture-output": True}
        if stdin:
            what["input-data"] = base64.b64encode(stdin).decode()
        started = await self._ask(name, "guest-exec", what)
        process, pause = _integer(name, started, "pid"), _FIRST_POLL_S
        while True:
            answer = await self._ask(name, "guest-exec-status", {"pid": process})
            if answer.get("exited") is True:
                return _exec_result(name, answer)
            if time.monotonic() > deadline:
                raise AgentError(
                    f"{argv[0]} in {name!r} did not end in {timeout:g} s.",
                    machine=name,
                    code=ErrorCode.VM_E_TIMED_OUT,
                )
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LAST_POLL_S)

    async def write_file(self, name: str, path: str, data: bytes) -> None:
        """Write a file in the guest."""
        opened = await self._call(name, "guest-file-open", {"path": path, "mode": "wb"})
        if not isinstance(opened, int):
            raise _liar(name, "guest-file-open")
        try:
            for start in range(0, len(data), _WRITE_BYTES):
                await self._write(name, opened, data[start : start + _WRITE_BYTES])
        finally:
            await self._call(name, "guest-file-close", {"handle": opened})

    async def read_file(self, name: str, path: str, most: int) -> bytes:
        """A file of the guest's, up to so many bytes; empty where there is none."""
        try:
            opened = await self._call(name, "guest-file-open", {"path": path, "mode": "rb"})
        except AgentError:
            return b""
        if not isinstance(opened, int):
            raise _liar(name, "guest-file-open")
        try:
            read = await self._ask(name, "guest-file-read", {"handle": opened, "count": most})
            return _decoded(name, read, "buf-b64")
        finally:
            await self._call(name, "guest-file-close", {"handle": opened})

    async def call(self, name: str, command: str, arguments: Mapping[str, Json]) -> Json:
        """Ask the agent anything; what comes back is the guest's word."""
        return await self._call(name, command, arguments)

    async def send(self, name: str, command: str, arguments: Mapping[str, Json]) -> None:
        """Ask what has no answer once it is done."""
        line = json.dumps({"execute": command, "arguments": arguments})

        def work(connect: libvirt.virConnect) -> None:
            domain = connect.lookupByName(name)
            with contextlib.suppress(libvirt.libvirtError):
                libvirt_qemu.qemuAgentCommand(domain, line, _TELL_TIMEOUT_S, 0)

        await self._connection.command(work, f"run {command} in", name, final=False)

    async def _write(self, name: str, handle: int, chunk: bytes) -> None:
        while chunk:
            encoded = base64.b64encode(chunk).decode()
            answer = await self._ask(name, "guest-file-write", {"handle": handle, "buf-b64": encoded})
            written = _integer(name, answer, "count")
            if not 0 < written <= len(chunk):
                raise _liar(name, "guest-file-write")
            chunk = chunk[written:]

    async def _ask(self, name: str, command: str, arguments: Mapping[str, Json]) -> Mapping[str, Json]:
        answer = await self._call(name, command, arguments)
        if not isinstance(answer, Mapping):
            raise _liar(name, command)
        return answer

    async def _call(
        self, name: str, command: str, arguments: Mapping[str, Json], *, timeout: int = _ANSWER_TIMEOUT_S
    ) -> Json:
        line = json.dumps({"execute": command, "arguments": arguments})

        def work(connect: libvirt.virConnect) -> str:
            domain = connect.lookupByName(name)
            try:
                return str(libvirt_qemu.qemuAgentCommand(domain, line, timeout, 0))
            except libvirt.libvirtError as error:
                if _is_host_fault(error):
                    raise
                raise _agent_error(error, f"run {command} in", name) from error

        return _returned(
            name, command, await self._connection.command(work, f"run {command} in", name, final=False)
        )


def _is_host_fault(error: libvirt.libvirtError) -> bool:
    """A machine that is gone, or a wire that broke, is no fault of the agent's; all else is."""
    return error.get_error_code() in (
        libvirt.VIR_ERR_NO_DOMAIN,
        libvirt.VIR_ERR_RPC,
        libvirt.VIR_ERR_INVALID_CONN,
    )


def _agent_error(error: libvirt.libvirtError, doing: str, name: str) -> AgentError:
    kind = AgentSilent if error.get_error_code() in _SILENT else AgentError
    return kind(f"Failed to {doing} {name!r}: {error.get_error_message()}.", machine=name, advice=_ADVICE)


def _returned(name: str, command: str, answer: str) -> Json:
    try:
        parsed = json.loads(answer)
    except (ValueError, RecursionError) as error:
        raise _liar(name, command) from error
    if not isinstance(parsed, dict) or "return" not in parsed:
        raise _liar(name, command)
    returned: Json = parsed["return"]
    return returned


def _exec_result(name: str, answer: Mapping[str, Json]) -> ExecResult:
    # A command that a signal ended has no exit code; shells say 128 + signal.
    signal = answer.get("signal")
    code = 128 + signal if isinstance(signal, int) else _integer(name, answer, "exitcode")
    return ExecResult(
        exit_code=code, stdout=_decoded(name, answer, "out-data"), stderr=_decoded(name, answer, "err-data")
    )


def _decoded(name: str, answer: Mapping[str, Json], key: str) -> bytes:
    try:
        return base64.b64decode(str(answer.get(key, "")), validate=True)
    except ValueError as error:  # binascii.Error is one, and what is no ASCII is another
        raise _liar(name, "guest-exec-status") from error


def _whole(name: str, command: str, answer: Json) -> int:
    if not isinstance(answer, int):
        raise _liar(name, command)
    return answer


def _integer(name: str, answer: Mapping[str, Json], key: str) -> int:
    value = answer.get(key)
    if not isinstance(value, int):
        raise _liar(name, key)
    return value


def _liar(name: str, command: str) -> AgentError:
    return AgentError(
        f"qemu-guest-agent in {name!r} answered {command} with something that cannot be read.", machine=name
    )
