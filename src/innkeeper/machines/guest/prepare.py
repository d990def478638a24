"""Installation of the task agent in a guest, and of its port in the machine."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import hashlib
import json
import shlex
from collections.abc import Mapping

from innkeeper.errors import AgentError, InnkeeperError
from innkeeper.machines.guest.bundle import BUNDLE_NAME, agent_bundle
from innkeeper.machines.machine import Machine, MachineState
from innkeeper.machines.ports.guest_agents import ExecResult, QemuGuestAgents
from innkeeper.machines.ports.host import Host

__all__ = ["BUNDLE_NAME", "INSTALLED_BUNDLE", "Prepared", "agent_bundle", "cloud_init_user_data", "prepare"]

#: Where the agent installs itself in the guest.
INSTALLED_BUNDLE = f"/usr/local/lib/innkeeper/{BUNDLE_NAME}"
#: Where it lies until it has; root's own, so that nobody can put another file in its place.
_ARRIVED_BUNDLE = f"/root/{BUNDLE_NAME}"

#: Prints the first Python there is; RHEL 8 and its kin have one only for the platform's own use.
_FIND_PYTHON = (
    "for p in python3 /usr/libexec/platform-python; do command -v $p && exit 0; done; "
    "echo 'there is no Python 3' >&2; exit 3"
)
_NO_PYTHON = 3
_ASK_S = 60.0
#: Under emulation a systemctl takes seconds.
_INSTALL_S = 180.0

_BY_HAND = (
    f"Write the agent with 'python3 -m innkeeper.machines.guest.bundle {BUNDLE_NAME}', "
    f"copy it into the guest, and run 'python3 {BUNDLE_NAME} install' there as root."
)
_BLOCKED = (
    "RHEL and its kin block guest-exec and guest-file-*: allow them in /etc/sysconfig/qemu-ga (from 9.4 on "
    "add them to --allow-rpcs=, before take them out of --block-rpcs= or BLACKLIST_RPC), and restart "
    "qemu-guest-agent. Or do it by hand: " + _BY_HAND
)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """Changes that preparing a machine made; none when it was ready."""

    port_attached: bool
    agent_installed: bool


async def prepare(host: Host, name: str, *, force: bool = False) -> Prepared:
    """Add the agent's port to a machine, and install the agent in its guest through qemu-guest-agent.

    May be done again: what is there is left as it is, unless ``force`` installs the agent anew.
    Raises ``AgentError``, with what to do, where the guest cannot be reached or has no Python.
    """
    machine = await host.inventory.get(name)
    if not machine.has_agent_port:
        await host.agent_ports.attach(name)
    installed = await _install(host.guest_agents, machine, force=force)
    return Prepared(port_attached=not machine.has_agent_port, agent_installed=installed)


def cloud_init_user_data() -> str:
    """Return a cloud-config that installs the agent at a new guest's first boot."""
    # JSON is YAML, and needs no library to write.
    return "#cloud-config\n" + json.dumps(cloud_init_config(), indent=2) + "\n"


def cloud_init_config() -> Mapping[str, object]:
    """The cloud-config as a value, to be written with more in it."""
    return {
        "write_files": [
            {
                "path": _ARRIVED_BUNDLE,
                "permissions": "0600",
                "encoding": "b64",
                "content": base64.b64encode(agent_bundle()).decode(),
            }
        ],
        "runcmd": [["sh", "-c", _install_script()]],
    }


async def _install(agents: QemuGuestAgents, machine: Machine, *, force: bool) -> bool:
    _expect_reachable(machine)
    await _expect_python(agents, machine.name)
    bundle = await asyncio.to_thread(agent_bundle)
    if not force and await _is_installed(agents, machine.name, bundle):
        return False
    try:
        await agents.write_file(machine.name, _ARRIVED_BUNDLE, bundle)
    except InnkeeperError as exc:
        raise _blocked(machine.name, exc) from exc
    done = await _run(agents, machine.name, _install_script(), timeout=_INSTALL_S)
    if done.exit_code != 0:
        raise AgentError(
            f"The task agent could not install itself in {machine.title}: {_last_words(done)}",
            machine=machine.title,
            advice=_BY_HAND,
        )
    return True


def _expect_reachable(machine: Machine) -> None:
    if machine.state is not MachineState.RUNNING:
        raise AgentError(
            f"{machine.title} does not run, so nothing can be installed in its guest.",
            machine=machine.title,
            advice=f"Start it and prepare it again: 'innkeeper machine start {machine.title}'.",
        )
    if not machine.has_guest_agent_port:
        raise AgentError(
            f"{machine.title} has no qemu-guest-agent port, so its guest cannot be reached.",
            machine=machine.title,
            advice=_BY_HAND,
        )


async def _expect_python(agents: QemuGuestAgents, name: str) -> None:
    found = await _run(agents, name, _FIND_PYTHON, timeout=_ASK_S)
    if found.exit_code == _NO_PYTHON:
        raise AgentError(
            f"The guest of {name} has no Python 3, which the task agent needs.",
            machine=name,
            advice="Install its python3 package (Python 3.6 or later, nothing beside it).",
        )


async def _is_installed(agents: QemuGuestAgents, name: str, bundle: bytes) -> bool:
    """Whether this very agent lies in the guest, and runs where systemd can say so."""
    script = (
        f"sha256sum {INSTALLED_BUNDLE} 2>/dev/null && "
        "{ [ ! -d /run/systemd/system ] || systemctl is-active -q innkeeper-agent.service; }"
    )
    answer = await _run(agents, name, script, timeout=_ASK_S)
    digest = hashlib.sha256(bundle).hexdigest().encode()
    return answer.exit_code == 0 and answer.stdout.startswith(digest)


async def _run(agents: QemuGuestAgents, name: str, script: str, *, timeout: float) -> ExecResult:
    try:
        return await agents.run(name, ["/bin/sh", "-c", script], timeout=timeout)
    except InnkeeperError as exc:
        raise _blocked(name, exc) from exc


def _blocked(name: str, exc: InnkeeperError) -> AgentError:
    return AgentError(
        f"The guest of {name} could not be reached through qemu-guest-agent: {exc.sentence}",
        machine=name,
        advice=f"Install qemu-guest-agent in the guest and start it. {_BLOCKED}",
    )


def _install_script() -> str:
    arrived = shlex.quote(_ARRIVED_BUNDLE)
    return f"p=$({_FIND_PYTHON}) && $p -I -S {arrived} install && rm -f {arrived}"


def _last_words(done: ExecResult) -> str:
    text = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
    return text.splitlines()[-1][:300] if text else f"exit code {done.exit_code}"
