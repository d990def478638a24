"""Show machines and command them."""

from __future__ import annotations

import fnmatch
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, ClassVar, NoReturn

import typer
from rich.text import Text

from innkeeper import client
from innkeeper.cli.lazy import LazyGroup
from innkeeper.cli.many import SELECTOR_HELP
from innkeeper.cli.nouns import MACHINE_COMMANDS
from innkeeper.cli.terminal import Json, MachineName, MachineNames, NoWait, Session, facts, session_of, table
from innkeeper.cli.times import parse_duration
from innkeeper.errors import InvalidArgument
from innkeeper.wire.commands import Command
from innkeeper.wire.host import HostAway
from innkeeper.wire.messages import MachineList, MachineMessage
from innkeeper.wire.states import GuestWay, MachineState
from innkeeper.wire.virtual_pc import SELECTOR_WORDS, StartupOption


class MachineGroup(LazyGroup):
    """All commands for machines; those of other modules are imported when they are used."""

    parts: ClassVar = MACHINE_COMMANDS


app = typer.Typer(
    name="machine", cls=MachineGroup, help="Show machines and command them.", no_args_is_help=True
)

#: Stands beside the state of a machine that is defined on several hosts.
_TWICE = "(!)"

_STYLES = {
    MachineState.RUNNING: "green",
    MachineState.PAUSED: "yellow",
    MachineState.SAVED: "cyan",
    MachineState.TURNED_OFF: "dim",
    MachineState.INVALID: "red",
}


@app.command("list")
def list_machines(
    context: typer.Context,
    select: Annotated[
        str | None, typer.Argument(metavar="[SELECTOR]", help=f"Only these. {SELECTOR_HELP}")
    ] = None,
    json: Json = False,
) -> None:
    """List the machines of all hosts, or those of a selector."""
    session = session_of(context)
    machines = session.inn.machines.list(select)
    if session.json:
        session.answer(MachineList(machines=machines))
        return
    away = session.inn.virtual_pc.read_hosts().away
    _say_away(session, away, machines, select)
    if not machines:
        if select is not None:
            _say_no_match(session, select)
        elif not away:
            session.note(
                "There are no machines. Create one (innkeeper machine create), or "
                "define one with libvirt: it appears here."
            )
        return
    made = table(
        "MACHINE",
        "STATE",
        "HOST",
        "MEMORY",
        "CPUS",
        "AGENT",
        "TONIGHT",
        "TASK",
        right=("MEMORY", "CPUS"),
        whole=("STATE", "AGENT", "TONIGHT"),
    )
    for machine in machines:
        made.add_row(
            Text(machine.title or machine.name),
            _state_seen(session, machine),
            Text(machine.host),
            f"{machine.memory_mib:,} MiB",
            str(machine.vcpus),
            _agent(machine),
            say_tonight(machine),
            str(machine.task_id or ""),
        )
    session.out.print(made)
    for machine in machines:
        if machine.also_on:
            session.out.print(Text(f"\n{_TWICE} {say_twice(machine)}", style="yellow"))


def say_twice(machine: MachineMessage) -> str:
    """A sentence on machines that are defined on other hosts too."""
    return (
        f"{machine.title or machine.name} is defined on {machine.host} and on {', '.join(machine.also_on)} "
        "with one UUID: it is started on one of them only. Undefine it (virsh undefine) where it does not "
        "belong."
    )


def _state_seen(session: Session, machine: MachineMessage) -> Text:
    """A machine's state, with when it was seen where that was a while ago, and a sign where it is twice."""
    state = say_state(machine.state)
    if machine.as_of is not None:
        state = Text(f"{state.plain}, {session.moment(machine.as_of)}", style="dim")
    return state.append(f" {_TWICE}", style="yellow") if machine.also_on else state


def missing_of(
    away: Sequence[HostAway], machines: Sequence[MachineMessage], select: str | None
) -> Sequence[str]:
    """Return the names of hosts away whose machines a selector may mean, and none of which is listed."""
    listed = {each for machine in machines for each in (machine.host_id, machine.host)}
    return [
        host.name
        for host in away
        if (host.id or host.name) not in listed and (select is None or _may_mean(select, host.name))
    ]


def _may_mean(select: str, host: str) -> bool:
    """Whether machines of a host can be among those of a selector, as far as its words name hosts."""
    parts: list[bool] = [True]
    is_denied = False
    for word in shlex.split(select):
        folded = word.casefold()
        if folded == "or":
            parts.append(True)
        elif folded == "not":
            is_denied = not is_denied
        elif folded != "and":
            glob = _glob_of_host(folded, is_denied=is_denied)
            if glob is not None:
                parts[-1] &= fnmatch.fnmatchcase(host.casefold(), glob) is not is_denied
            is_denied = False
    return any(parts)


def _glob_of_host(word: str, *, is_denied: bool) -> str | None:
    """What a word says of the host; of ``not host/name`` other machines of that host are meant too."""
    aspect, colon, value = word.partition(":")
    if colon and aspect == "host":
        return value
    named, slash, _ = word.removeprefix("name:").partition("/")
    return named if slash and not is_denied else None


def _say_no_match(session: Session, select: str) -> None:
    words = [word for word in shlex.split(select) if word.casefold() not in SELECTOR_WORDS]
    unknown = [
        f"“{word}”"
        for word in words
        if not word.casefold().startswith("state:") and not session.inn.machines.list(shlex.quote(word))
    ]
    why = f" None is called {' or '.join(unknown)}." if unknown else ""
    session.note(f"No machine matches “{select}”.{why} All: innkeeper machine list")


def _say_away(
    session: Session, away: Sequence[HostAway], machines: Sequence[MachineMessage], select: str | None
) -> None:
    """Sentences on hosts whose machines are listed as of a while ago, or are asked for and not listed."""
    seen_last = {each for m in machines if m.as_of is not None for each in (m.host_id, m.host)}
    old = [host.name for host in away if (host.id or host.name) in seen_last]
    missing = missing_of(away, machines, select)
    if old:
        session.note(
            f"{', '.join(old)} away: machines there are shown as seen last. Why: innkeeper host list"
        )
    if missing:
        session.note(f"{', '.join(missing)} away: no machine there is shown. Why: innkeeper host list")


@app.command()
def show(context: typer.Context, name: MachineName, json: Json = False) -> None:
    """Show all that is known of a machine."""
    from innkeeper.cli.machine_words import describe, show_devices

    session = session_of(context)
    found = session.inn.machines[name]
    machine = found.read()
    if session.json:
        session.answer(machine)
        return
    if machine.as_of is not None:
        seen = {"Seen last": session.moment_and_distance(machine.as_of)}
        session.out.print(facts(_facts(machine) | seen))
        session.note("Its host or its server is away, so its devices are not shown. Why: innkeeper host list")
        return
    made = found.configuration()
    session.out.print(facts(_facts(machine) | describe(made)))
    session.out.print()
    show_devices(session, made)


def start(
    context: typer.Context,
    names: MachineNames,
    fix_parents: Annotated[
        bool, typer.Option("--fix-parents", help="Start it although a parent of its disks was changed.")
    ] = False,
    no_wait: NoWait = False,
    json: Json = False,
) -> None:
    """Turn machines on, or restore their saved states."""
    option = StartupOption.FIX_PARENT_TIMESTAMP_MISMATCH if fix_parents else StartupOption.NORMAL
    _give(context, names, lambda machine: machine.startup2(option), no_wait)


def stop(
    context: typer.Context,
    names: MachineNames,
    timeout: Annotated[
        str | None, typer.Option(help="Give up after so long: 90s, 10m. Default: 5 minutes.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Pull the plug: the guest is not asked.")] = False,
    no_wait: NoWait = False,
    json: Json = False,
) -> None:
    """Ask the guests of machines to shut down, and wait until they have; with --force pull the plug."""
    if force and timeout is not None:
        raise InvalidArgument(
            "--timeout is for guests that are asked; --force asks none.", advice="Leave one of them out."
        )
    if force:
        _give(context, names, client.Machine.turn_off, no_wait)
    seconds = parse_duration(timeout).total_seconds() if timeout is not None else None
    _give(context, names, lambda machine: machine.shutdown(timeout_seconds=seconds), no_wait)


def _verb_of(command: Command) -> Callable[..., None]:
    """The verb of a command that takes nothing but machines."""

    def verb(
        context: typer.Context, names: MachineNames, no_wait: NoWait = False, json: Json = False
    ) -> None:
        _give(context, names, lambda machine: machine.command(command), no_wait)

    return verb


#: The verbs that take more than machines.
_VERBS: Mapping[Command, Callable[..., None]] = {Command.STARTUP: start, Command.SHUT_DOWN: stop}

for _command in Command:
    _verb = _VERBS.get(_command) or _verb_of(_command)
    for _name in dict.fromkeys(each.replace("_", "-") for each in _command.names):
        _help = None if _command in _VERBS else _command.declaration.what
        app.command(_name, help=_help, hidden=_name != _command.declaration.verb)(_verb)


@app.command()
def undo(
    context: typer.Context,
    names: MachineNames,
    merge: Annotated[bool, typer.Option("--merge", help="Keep what was written since.")] = False,
    discard: Annotated[
        bool, typer.Option("--discard", help="Discard what was written since, and what a run has left.")
    ] = False,
    to_running: Annotated[
        bool,
        typer.Option(
            "--to-running", help="Go back to the running moment, where memory was kept; nothing boots."
        ),
    ] = False,
    no_wait: NoWait = False,
    json: Json = False,
) -> None:
    """Merge or discard the undo disks of machines, as after a run that needs help.

    A machine that is on runs on while they are merged; to discard them it has to be off. With --to-running a
    machine that is on or off goes back to the moment of its undo point, memory included.
    """
    if merge + discard + to_running != 1:
        raise InvalidArgument(
            "Undo disks are merged, discarded, or gone back from to the running moment.",
            advice="Give one of --merge, --discard and --to-running.",
        )
    if to_running:
        _give(context, names, client.Machine.go_back_to_running, no_wait)
    _give(
        context,
        names,
        client.Machine.merge_undo_disks if merge else client.Machine.discard_undo_disks,
        no_wait,
    )


@app.command()
def prepare(
    context: typer.Context,
    names: MachineNames,
    force: Annotated[bool, typer.Option(help="Replace an agent that is there already.")] = False,
    no_wait: NoWait = False,
    json: Json = False,
) -> None:
    """Put the task agent into the guests of machines, through qemu-guest-agent."""
    _give(context, names, lambda machine: machine.prepare(force=force), no_wait)


def say_state(state: MachineState) -> Text:
    """A state in words and colour."""
    return Text(state.words, style=_STYLES.get(state, "blue"))


def _give(
    context: typer.Context, names: list[str], command: Callable[[client.Machine], client.Task], no_wait: bool
) -> NoReturn:
    from innkeeper.cli.live import all_started

    raise typer.Exit(all_started(session_of(context), names, command, no_wait=no_wait))


def _agent(machine: MachineMessage) -> Text:
    if machine.updates_through is GuestWay.QEMU_GUEST_AGENT:
        return Text("none; by qemu-ga", style="cyan")
    if machine.agent_connected:
        return Text("answers", style="green")
    has_port = machine.has_agent_port or machine.has_guest_agent_port
    return Text("silent", style="dim") if has_port else Text("no port", style="yellow")


def say_tonight(machine: MachineMessage) -> Text:
    """Return whether a machine can be maintained tonight, as was found when it was last looked at."""
    if machine.can_be_maintained is None:
        return Text("–", style="dim")
    return Text("yes", style="green") if machine.can_be_maintained else Text("no", style="yellow")


def _facts(machine: MachineMessage) -> dict[str, str]:
    return {
        "Machine": machine.title or machine.name,
        "State": say_state(machine.state).plain,
        "Host": machine.host,
        "Defined twice": say_twice(machine) if machine.also_on else "",
        "UUID": machine.uuid,
        "Memory": f"{machine.memory_mib:,} MiB",
        "CPUs": str(machine.vcpus),
        "Task agent": _agent(machine).plain,
        "Updated": f"through {machine.updates_through.words}" if machine.updates_through else "",
        "Tonight": f"cannot be maintained: {machine.obstacle}"
        if machine.obstacle
        else say_tonight(machine).plain,
        "Guest agent port": "yes" if machine.has_guest_agent_port else "no",
        "Roll back brings back": machine.roll_back.words if machine.roll_back else "",
        "Held by task": str(machine.task_id or ""),
    }
