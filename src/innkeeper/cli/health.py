"""Show a guest's health and what of it counts, and say what is no fault."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.text import Text

from innkeeper.cli.terminal import Json, MachineName, Session, facts, session_of, table
from innkeeper.cli.times import say_duration
from innkeeper.wire.configuration import IgnoredMessage
from innkeeper.wire.health import GuestHealthMessage, StakeMessage, Weight

_WEIGHTS = {
    Weight.FAULT: ("rolled back", "green"),
    Weight.WARNING: ("warned of", "yellow"),
    Weight.IGNORED: ("ignored", "cyan"),
    Weight.NOTHING: ("nothing", "dim"),
}


def add_to(app: typer.Typer) -> None:
    """Add the commands to those of machines."""
    for command in (health, ignore):
        app.command()(command)


def health(
    context: typer.Context,
    name: MachineName,
    everything: Annotated[bool, typer.Option("--all", help="What counts for nothing as well.")] = False,
    json: Json = False,
) -> None:
    """Show a guest's health now, and what the loss of each part by an update would count."""
    session = session_of(context)
    found = session.inn.machines[name].health()
    if session.json:
        session.answer(found)
        return
    session.out.print(facts(_facts(found)))
    for title, lines in (
        ("Failed now", found.failed_units),
        ("Failed in the last week, so that a failure is only warned of", found.failed_lately),
        ("Checks that fail now", [f"{check}: {text}" for check, text in found.failed_checks.items()]),
        ("Complaints of the package database", found.complaints),
    ):
        _print_list(session, title, lines)
    _print_boots(session, found)
    shown = [each for each in found.stakes if everything or each.weight is not Weight.NOTHING]
    _print_stakes(session, found, shown)


def ignore(
    context: typer.Context,
    name: MachineName,
    subjects: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FINDING]...",
            help="As the report names it: unit:shop.service, listener:tcp/8080, mount:/srv, network:eth1, "
            "check:web, packages. An asterisk stands for any characters.",
        ),
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Count them again.")] = False,
    json: Json = False,
) -> None:
    """Count a finding against no update of a machine any more, or list what is ignored.

    It is told in reports all the same. A run that is under way sees it at its next look.
    """
    session = session_of(context)
    machine = session.inn.machines[name]
    wanted = tuple(subjects or ())
    if remove and wanted:
        for each in wanted:
            machine.stop_ignoring(each)
        ignored = machine.ignored
    else:
        ignored = machine.ignore(*wanted) if wanted else machine.ignored
    if session.json:
        session.answer(IgnoredMessage(ignored=ignored))
    elif ignored:
        for each in ignored:
            session.out.print(Text(each))
    else:
        session.note(f"Everything counts for {name}. See what: innkeeper machine health {name}")


def _facts(found: GuestHealthMessage) -> dict[str, str]:
    return {
        "Machine": found.machine,
        "Init says": found.system_state,
        "Up for": "" if found.uptime_seconds is None else say_duration(found.uptime_seconds),
        "Kernel": found.kernel,
        "Reboot": "required" if found.reboot_required else "not required",
        "Ignored": ", ".join(found.ignored),
    }


def _print_list(session: Session, title: str, lines: Sequence[str]) -> None:
    if lines:
        session.out.print()
        session.out.print(Text(title, style="bold"))
        for line in lines:
            session.out.print(Text(f"  {line}"))


def _print_boots(session: Session, found: GuestHealthMessage) -> None:
    if not found.boots:
        return
    made = table("LAST BOOTS", "PORTS", "ALL BY", "LOAD", "FREE MIB", right=("PORTS", "LOAD", "FREE MIB"))
    for ago, boot in enumerate(reversed(found.boots), 1):
        all_by = say_duration(boot.last_port_seconds)
        made.add_row(Text(f"{ago} before"), str(boot.ports), all_by, f"{boot.load:.2f}", f"{boot.free_mib:,}")
    session.out.print()
    session.out.print(made)


def _print_stakes(session: Session, found: GuestHealthMessage, shown: Sequence[StakeMessage]) -> None:
    session.out.print()
    if not found.stakes:
        session.note("The guest's agent is too old to tell what there is: innkeeper machine prepare --force")
        return
    made = table("PART", "NOW", "ITS LOSS IS", whole=("ITS LOSS IS",))
    for each in shown:
        made.add_row(Text(each.subject), Text(each.now), Text(*_WEIGHTS[each.weight]))
    session.out.print(made)
    if hidden := len(found.stakes) - len(shown):
        session.note(f"{hidden} parts count for nothing: --all shows them.")
