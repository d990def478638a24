"""Check which machines can be maintained tonight, and what changes it for the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from innkeeper.cli.exit_codes import ExitCode, of_error, worst
from innkeeper.cli.terminal import Json, Session, facts, session_of, table
from innkeeper.errors import InnkeeperError, InvalidArgument
from innkeeper.wire.checks import (
    CheckList,
    DiskCheckMessage,
    DiskUndo,
    MachineCheckMessage,
    ObstacleMessage,
    SilentHostMessage,
)

_STYLES = {
    DiskUndo.OVERLAY: "",
    DiskUndo.READ_ONLY: "dim",
    DiskUndo.EXCLUDED: "yellow",
    DiskUndo.REFUSED: "red",
}


def add_to(app: typer.Typer) -> None:
    """Add the command to those of machines."""
    app.command("check")(check)


def check(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MACHINE]...", help="The machines' names; all where none is given."),
    ] = None,
    everyone: Annotated[bool, typer.Option("--all", help="All machines of all hosts.")] = False,
    json: Json = False,
) -> None:
    """Check which machines can be maintained tonight, and what changes it for the others.

    The answer comes from the checks that a night makes first. The exit code is 0 where all can, and 4 where
    one cannot.
    """
    session = session_of(context)
    if names and everyone:
        raise InvalidArgument("--all is all machines, and names are some.", advice="Leave one of them out.")
    found, codes = _some(session, names) if names else (session.inn.machines.check(), [])
    if session.json:
        session.answer(found)
    elif found.machines or found.silent:
        session.out.print(_answer(found, len(codes)))
    elif not codes:
        session.note("There are no machines.")
    if found.silent:
        codes.append(ExitCode.FAILED)
    if not all(each.can_be_maintained for each in found.machines):
        codes.append(ExitCode.REFUSED)
    raise typer.Exit(worst(codes))


def _some(session: Session, names: Sequence[str]) -> tuple[CheckList, list[ExitCode]]:
    """Check some machines; one that is not there does not stop the others."""
    found: list[MachineCheckMessage] = []
    codes: list[ExitCode] = []
    for name in dict.fromkeys(names):
        try:
            found.append(session.inn.machines[name].check())
        except InnkeeperError as error:
            session.complain(error)
            codes.append(of_error(error))
    return CheckList(machines=tuple(found)), codes


def _answer(found: CheckList, missing: int = 0) -> RenderableType:
    if len(found.machines) == 1 and not found.silent:
        return _of_one(found.machines[0])
    made = table("MACHINE", "TONIGHT", "ROLL BACK", "DISKS", whole=("TONIGHT",))
    for check in found.machines:
        made.add_row(Text(check.machine), _tonight(check), Text(check.roll_back.words), _disks(check))
    stuck = [each for each in found.machines if not each.can_be_maintained]
    parts: list[RenderableType] = [made] if found.machines else []
    for check in stuck:
        parts += [Text(), Text(check.machine, style="bold"), *_reasons(check)]
    for host in found.silent:
        parts += [Text(), *_silent(host)]
    parts += [Text(), _verdict(found, len(stuck), missing)]
    return Group(*parts)


def _of_one(check: MachineCheckMessage) -> RenderableType:
    sentence = "can be maintained tonight." if check.can_be_maintained else "cannot be maintained tonight."
    style = "green" if check.can_be_maintained else "yellow"
    parts: list[RenderableType] = [Text.assemble((check.machine, "bold"), " ", (sentence, style))]
    parts += _reasons(check)
    if check.disks:
        made = table("DISK", "UNDO", "IMAGE")
        for disk in check.disks:
            made.add_row(Text(disk.disk), Text(_undo(disk), style=_STYLES[disk.undo]), Text(disk.path or "–"))
        parts += [Text(), made]
    parts += [
        Text(),
        facts(
            {
                "Host": check.host,
                "Roll back brings back": check.roll_back.words,
                "Updated": f"through {check.updates_through.words}" if check.updates_through else "",
            }
        ),
    ]
    return Group(*parts)


def _tonight(check: MachineCheckMessage) -> Text:
    return Text("yes", style="green") if check.can_be_maintained else Text("no", style="yellow")


def _disks(check: MachineCheckMessage) -> Text:
    """The disks in a word each: what is as it should be is named alone."""
    words = {DiskUndo.OVERLAY: "", DiskUndo.REFUSED: " refused", DiskUndo.EXCLUDED: " left out"}
    groups = [
        Text(f"{', '.join(names)}{word}", style=_STYLES[undo])
        for undo, word in words.items()
        if (names := [disk.disk for disk in check.disks if disk.undo is undo])
    ]
    return Text("; ").join(groups) if groups else Text("–", style="dim")


def _undo(disk: DiskCheckMessage) -> str:
    if disk.undo is DiskUndo.OVERLAY:
        beside = disk.path.rpartition("/")[0] == disk.directory
        return "overlay beside it" if beside else f"overlay in {disk.directory}"
    return {
        DiskUndo.READ_ONLY: "takes no writes",
        DiskUndo.EXCLUDED: "left out by name",
        DiskUndo.REFUSED: "refused",
    }[disk.undo]


def _reasons(check: MachineCheckMessage) -> Iterator[RenderableType]:
    for obstacle in check.obstacles:
        yield from _reason(obstacle)
    for note in check.notes:
        yield _indented(Text(note, style="yellow"))


def _reason(obstacle: ObstacleMessage) -> Iterator[RenderableType]:
    yield _indented(Text(obstacle.sentence))
    advice = obstacle.advice.removesuffix(obstacle.command).strip()
    if advice and advice != "Run:":
        yield _indented(Text(advice, style="dim"))
    if obstacle.command:
        # One line, whatever the width: it is there to be copied.
        yield Text.assemble(("  → ", "dim"), (obstacle.command, "cyan"), no_wrap=True, overflow="ignore")


def _silent(host: SilentHostMessage) -> Iterator[RenderableType]:
    yield Text(f"Host {host.host}", style="bold")
    yield _indented(Text(host.sentence))
    if host.advice:
        yield _indented(Text(host.advice, style="dim"))


def _indented(text: Text) -> RenderableType:
    return Padding(text, (0, 0, 0, 2))


def _verdict(found: CheckList, stuck: int, missing: int) -> Text:
    if missing:
        asked, can = len(found.machines) + missing, len(found.machines) - stuck
        return Text(f"{can} of {asked} can be maintained; {missing} could not be looked at.", style="yellow")
    if found.all_can:
        return Text("All machines can be maintained.", style="green")
    silent = f" {len(found.silent)} hosts do not answer." if len(found.silent) > 1 else ""
    silent = " One host does not answer." if len(found.silent) == 1 else silent
    if not stuck:
        return Text(silent.strip(), style="yellow")
    return Text(f"{stuck} of {len(found.machines)} cannot be maintained.{silent}", style="yellow")
