"""See what guests say of themselves, tell them what to do, and share named values with them."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.text import Text

from innkeeper.cli.live import all_started
from innkeeper.cli.terminal import Json, MachineName, MachineNames, NoWait, facts, session_of, table
from innkeeper.client import Machine
from innkeeper.errors import InnkeeperError
from innkeeper.wire.guest_os import (
    GuestMessage,
    IntegrationMessage,
    ParameterList,
    ParameterMessage,
    SessionList,
)
from innkeeper.wire.messages import Message

param_app = typer.Typer(
    name="param", help="Share named values with a machine's guest, both ways.", no_args_is_help=True
)

Force = Annotated[
    bool, typer.Option("--force", help="Ignore locked screens, and after a minute do it without the guest.")
]
Key = Annotated[str, typer.Argument(metavar="NAME", help="1 to 255 characters, no backslash.")]


class GuestAnswer(Message):
    """All that is known of a guest."""

    machine: str
    integration: IntegrationMessage
    guest: GuestMessage | None
    sessions: SessionList | None
    #: Why the guest cannot be asked, where it cannot.
    reason: str


def add_to(app: typer.Typer) -> None:
    """Add the commands to those of machines."""
    app.command("guest")(guest)
    app.command("restart")(restart)
    app.command("logoff")(log_off)
    app.add_typer(param_app)


def guest(context: typer.Context, name: MachineName, json: Json = False) -> None:
    """Show what a machine's guest says of itself, and who is logged on."""
    session = session_of(context)
    answer = _ask(session.inn.machines[name])
    if session.json:
        session.answer(answer)
        return
    session.out.print(facts(_facts(answer)))
    if answer.reason:
        session.note(answer.reason)
    if answer.sessions and answer.sessions.sessions:
        made = table("LOGGED ON", "SINCE", "FROM", "SCREEN")
        for each in answer.sessions.sessions:
            made.add_row(
                Text(each.user),
                session.moment(each.since) if each.since else "",
                _word(each.remote, "network", "here"),
                _word(each.locked, "locked", "open"),
            )
        session.out.print()
        session.out.print(made)


def restart(
    context: typer.Context,
    names: MachineNames,
    force: Force = False,
    no_wait: NoWait = False,
    json: Json = False,
) -> None:
    """Ask the guests of machines to reboot, and wait until they have. See `reset` for the button."""
    session = session_of(context)
    code = all_started(session, names, lambda each: each.guest_os.restart(forced=force), no_wait=no_wait)
    raise typer.Exit(code)


def log_off(context: typer.Context, names: MachineNames, no_wait: NoWait = False, json: Json = False) -> None:
    """Log everybody off from the guests of machines."""
    code = all_started(session_of(context), names, lambda each: each.guest_os.logoff(), no_wait=no_wait)
    raise typer.Exit(code)


@param_app.command("list")
def list_parameters(context: typer.Context, name: MachineName, json: Json = False) -> None:
    """List the named values that are known; also of a machine that is off."""
    session = session_of(context)
    known = session.inn.machines[name].guest_os.parameters.list()
    if session.json:
        session.answer(ParameterList(parameters=known))
        return
    if not known:
        session.note(f"No values yet. Set one: innkeeper machine param set {name} NAME VALUE")
        return
    made = table("NAME", "VALUE", "SET BY", "WHEN")
    for each in known:
        made.add_row(
            Text(each.name),
            Text(_shown(each.value)),
            "guest" if each.by_guest else "host",
            session.moment(each.at),
        )
    session.out.print(made)


@param_app.command("get")
def get_parameter(context: typer.Context, name: MachineName, key: Key, json: Json = False) -> None:
    """Print a named value, as the guest has it now."""
    session = session_of(context)
    value = session.inn.machines[name].guest_os.get_parameter(key)
    if session.json:
        session.answer(ParameterMessage(name=key, value=value))
    else:
        # As it is for a program, cleaned for a person: the guest wrote it.
        typer.echo(_shown(value) if session.out.is_terminal else value)


@param_app.command("set")
def set_parameter(
    context: typer.Context,
    name: MachineName,
    key: Key,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="At most 4,096 characters; - reads them.")],
) -> None:
    """Give the guest a named value; it is given again after a roll back."""
    text = sys.stdin.read() if value == "-" else value
    session_of(context).inn.machines[name].guest_os.set_parameter(key, text)


@param_app.command("delete")
def delete_parameter(context: typer.Context, name: MachineName, key: Key) -> None:
    """Take a named value back from the guest."""
    del session_of(context).inn.machines[name].guest_os.parameters[key]


def _ask(machine: Machine) -> GuestAnswer:
    """Ask what can be asked; a guest that is silent is an answer too."""
    integration = machine.guest_os.integration()
    try:
        message = machine.guest_os.read()
    except InnkeeperError as error:
        reason = f"{error.sentence} {error.advice}".strip()
        return GuestAnswer(
            machine=machine.name, integration=integration, guest=None, sessions=None, reason=reason
        )
    return GuestAnswer(
        machine=machine.name, integration=integration, guest=message, sessions=_sessions(machine), reason=""
    )


def _sessions(machine: Machine) -> SessionList | None:
    try:
        return machine.guest_os.sessions()
    except InnkeeperError:
        return None


def _facts(answer: GuestAnswer) -> dict[str, str]:
    message, agent = answer.guest, answer.integration
    shown = {"Machine": answer.machine}
    if message is not None:
        shown |= {
            "Computer": message.computer_name,
            "System": message.os_name,
            "Version": message.os_version,
            "Kernel": message.kernel,
            "Architecture": message.architecture,
        }
    heart = "" if agent.heartbeat is None else f"{agent.heartbeat} %"
    return shown | {
        "Agent": agent.version or "none answers",
        "Heartbeat": heart,
        "Clean shutdown": "yes" if agent.can_shut_down else "no",
        "Clock set by host": "yes" if agent.time_synchronised else "no",
    }


def _word(known: bool | None, yes: str, no: str) -> str:
    return "" if known is None else yes if known else no


def _shown(value: str) -> str:
    """A guest's text, so that it does nothing to a terminal."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in value)
