"""Look at machines and command them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer
from rich.text import Text

from innkeeper.cli.live import started
from innkeeper.cli.machine_words import describe, show_devices
from innkeeper.cli.terminal import Json, MachineName, NoWait, facts, session_of, table
from innkeeper.client import Machine, Task
from innkeeper.wire.messages import MachineList, MachineMessage
from innkeeper.wire.states import MachineState
from innkeeper.wire.virtual_pc import StartupOption

app = typer.Typer(name="machine", help="Look at machines and command them.", no_args_is_help=True)

_STYLES = {
    MachineState.RUNNING: "green",
    MachineState.PAUSED: "yellow",
    MachineState.SAVED: "cyan",
    MachineState.TURNED_OFF: "dim",
    MachineState.INVALID: "red",
}


@app.command("list")
def list_machines(context: typer.Context, json: Json = False) -> None:
    """List all machines of all hosts."""
    session = session_of(context)
    machines = session.inn.machines.list()
    if session.json:
        session.answer(MachineList(machines=machines))
        return
    if not machines:
        session.note(
            "No machine is known. Define one with libvirt (virt-install, virsh define), and it is here."
        )
        return
    made = table("MACHINE", "STATE", "HOST", "MEMORY", "CPUS", "AGENT", "TASK", right=("MEMORY", "CPUS"))
    for machine in machines:
        made.add_row(
            Text(machine.name),
            say_state(machine.state),
            Text(machine.host),
            f"{machine.memory_mib:,} MiB",
            str(machine.vcpus),
            _agent(machine),
            str(machine.task_id or ""),
        )
    session.out.print(made)


@app.command()
def show(context: typer.Context, name: MachineName, json: Json = False) -> None:
    """Show all that is known of a machine."""
    session = session_of(context)
    found = session.inn.machines[name]
    machine = found.read()
    if session.json:
        session.answer(machine)
        return
    made = found.configuration()
    session.out.print(facts(_facts(machine) | describe(made)))
    session.out.print()
    show_devices(session, made)


@app.command()
def start(
    context: typer.Context,
    name: MachineName,
    fix_parents: Annotated[
        bool, typer.Option("--fix-parents", help="Start it although a parent of its disks was changed.")
    ] = False,
    no_wait: NoWait = False,
    json: Json = False,
) -> None:
    """Turn a machine on, or restore its saved state."""
    option = StartupOption.FIX_PARENT_TIMESTAMP_MISMATCH if fix_parents else StartupOption.NORMAL
    _command(context, name, lambda machine: machine.startup2(option), no_wait)


@app.command()
def save(context: typer.Context, name: MachineName, no_wait: NoWait = False, json: Json = False) -> None:
    """Save a machine's memory to disk and stop it."""
    _command(context, name, Machine.save, no_wait)


@app.command()
def stop(context: typer.Context, name: MachineName, no_wait: NoWait = False, json: Json = False) -> None:
    """Pull a machine's plug: its guest is not asked. See `shutdown` for asking it."""
    _command(context, name, Machine.turn_off, no_wait)


@app.command()
def shutdown(context: typer.Context, name: MachineName, no_wait: NoWait = False, json: Json = False) -> None:
    """Ask a machine's guest to shut down, and wait until it has."""
    _command(context, name, Machine.shutdown, no_wait)


@app.command()
def pause(context: typer.Context, name: MachineName, no_wait: NoWait = False, json: Json = False) -> None:
    """Stop a machine's processors; its memory stays."""
    _command(context, name, Machine.pause, no_wait)


@app.command()
def resume(context: typer.Context, name: MachineName, no_wait: NoWait = False, json: Json = False) -> None:
    """Let a paused machine run on."""
    _command(context, name, Machine.resume, no_wait)


@app.command()
def reset(context: typer.Context, name: MachineName, no_wait: NoWait = False, json: Json = False) -> None:
    """Press a machine's reset button: its guest is not asked."""
    _command(context, name, Machine.reset, no_wait)


@app.command()
def undo(
    context: typer.Context,
    name: MachineName,
    merge: Annotated[
        bool, typer.Option("--merge/--discard", help="Keep what was written since, or throw it away.")
    ],
    no_wait: NoWait = False,
    json: Json = False,
) -> None:
    """Merge or discard the undo disks of a machine that is off, as after a run that needs help."""
    _command(context, name, Machine.merge_undo_disks if merge else Machine.discard_undo_disks, no_wait)


@app.command()
def prepare(
    context: typer.Context,
    name: MachineName,
    force: Annotated[bool, typer.Option(help="Replace an agent that is there already.")] = False,
    no_wait: NoWait = False,
    json: Json = False,
) -> None:
    """Put the task agent into a machine's guest, through qemu-guest-agent."""
    _command(context, name, lambda machine: machine.prepare(force=force), no_wait)


def say_state(state: MachineState) -> Text:
    """A state in words and colour."""
    return Text(state.name.lower().replace("_", " "), style=_STYLES.get(state, "blue"))


def _command(context: typer.Context, name: str, command: Callable[[Machine], Task], no_wait: bool) -> None:
    session = session_of(context)
    raise typer.Exit(started(session, command(session.inn.machines[name]), no_wait=no_wait))


def _agent(machine: MachineMessage) -> Text:
    if machine.agent_connected:
        return Text("answers", style="green")
    return Text("silent", style="dim") if machine.has_agent_port else Text("no port", style="yellow")


def _facts(machine: MachineMessage) -> dict[str, str]:
    return {
        "Machine": machine.name,
        "State": say_state(machine.state).plain,
        "Host": machine.host,
        "UUID": machine.uuid,
        "Memory": f"{machine.memory_mib:,} MiB",
        "CPUs": str(machine.vcpus),
        "Starts with host": "yes" if machine.autostart else "no",
        "Task agent": _agent(machine).plain,
        "Guest agent port": "yes" if machine.has_guest_agent_port else "no",
        "Held by task": str(machine.task_id or ""),
    }
