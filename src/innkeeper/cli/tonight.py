"""Show what will happen tonight: to whom, when, on which host, and whether it fits."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from innkeeper.cli import live
from innkeeper.cli.exit_codes import ExitCode
from innkeeper.cli.terminal import Json, Session, session_of, table
from innkeeper.cli.update import say_status, say_verdict
from innkeeper.wire.messages import PlannedMessage, TonightMessage, UpdateList, UpdateMessage
from innkeeper.wire.states import Verdict

#: Of machines that are left out for the same reason, so many are named.
_NAMES_SHOWN = 5


def add_to(app: typer.Typer) -> None:
    """Put the command under the root."""
    app.command()(tonight)


def tonight(
    context: typer.Context,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Follow the night live, until nothing is left to do in it.")
    ] = False,
    json: Json = False,
) -> None:
    """Show what will happen in the next 24 hours, to whom, when, where, and whether it fits."""
    session = session_of(context)
    if watch:
        raise typer.Exit(_watch(session))
    night = session.inn.tonight()
    if session.json:
        session.answer(night)
        return
    session.out.print(_plan(session, night))


def _plan(session: Session, night: TonightMessage) -> RenderableType:
    span = f"{session.moment(night.at)} to {session.moment(night.until)}"
    if not night.entries:
        return Text(f"Nothing is booked for tonight ({span}).")
    made = table(
        "MACHINE", "UPDATE", "HOST", "WINDOW", "START", "END", "FITS", "ROLL BACK", whole=("MACHINE",)
    )
    for entry in night.entries:
        made.add_row(
            Text(entry.machine),
            Text(entry.label or entry.identifier),
            Text(entry.host),
            Text(entry.window or "–"),
            session.moment(entry.start),
            session.moment(entry.end),
            _fit(entry),
            Text(entry.roll_back.words if entry.roll_back else "", style="dim"),
        )
    left_out = [entry for entry in night.entries if not entry.fits]
    verdict = (
        Text("Everything fits.", style="green")
        if not left_out
        else Text(f"{len(left_out)} of {len(night.entries)} will not be done tonight.", style="yellow")
    )
    reasons = _reasons(session, [*left_out, *(each for each in night.entries if each.fits and each.reason)])
    return Group(Text(f"Tonight, {span}", style="dim"), Text(), made, Text(), verdict, *reasons)


def _fit(entry: PlannedMessage) -> Text:
    if entry.task_id is not None and entry.reason:
        return Text(f"on probation, task {entry.task_id}", style="yellow")
    if entry.task_id is not None:
        return Text(f"runs, task {entry.task_id}", style="cyan")
    return Text("fits", style="green") if entry.fits else Text("does not fit", style="yellow")


def _reasons(session: Session, left_out: Sequence[PlannedMessage]) -> list[Text]:
    """Return each reason with its next chance, once for all updates that it holds for."""
    machines: dict[str, list[str]] = {}
    for entry in left_out:
        chance = (
            f" Next chance: {session.moment_and_distance(entry.next_chance)}." if entry.next_chance else ""
        )
        machines.setdefault(f"{entry.reason or 'no reason is known.'}{chance}", []).append(entry.machine)
    return [Text(f"  {_some(names)}: {reason}") for reason, names in machines.items()]


def _some(names: Sequence[str]) -> str:
    """The names, or the first of many."""
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names) if more <= 0 else f"{', '.join(names[:_NAMES_SHOWN])} and {more} more"


def _watch(session: Session) -> ExitCode:
    """Follow the night until every booking has ended or waits for another night."""
    known: dict[tuple[str, str], UpdateMessage] = {}
    if session.json or not session.out.is_terminal:
        _watch_lines(session, known)
    else:
        with Live(console=session.out, refresh_per_second=8) as shown:
            while _read(session, known):
                shown.update(_rows(session, known))
                time.sleep(live.REFRESH_SECONDS)
            shown.update(_rows(session, known))
    if session.json:
        session.answer(UpdateList(updates=tuple(known.values())))
    good = (None, Verdict.KEPT, Verdict.NOTHING_TO_DO)
    bad = [update for update in known.values() if update.verdict not in good]
    return ExitCode.FAILED if bad else ExitCode.DONE


def _watch_lines(session: Session, known: dict[tuple[str, str], UpdateMessage]) -> None:
    message: dict[tuple[str, str], str] = {}
    more = True
    while more:
        more = _read(session, known)
        for key, update in known.items():
            line = (
                f"{update.machine}  {update.identifier}  {_phase(update).plain}  {say_status(update).plain}"
            )
            if message.get(key) != line and not session.json:
                session.out.print(Text(line))
            message[key] = line
        if more:
            time.sleep(live.REFRESH_SECONDS)


def _read(session: Session, known: dict[tuple[str, str], UpdateMessage]) -> bool:
    """Bring what is known up to date; whether there is anything left to do tonight."""
    tonight = {
        (entry.machine, entry.identifier): entry for entry in live.with_retries(session.inn.tonight).entries
    }
    for update in live.with_retries(session.inn.updates.list):
        key = (update.machine, update.identifier)
        if key in known or key in tonight:
            known[key] = update
    return any(entry.fits or entry.task_id is not None for entry in tonight.values())


def _rows(session: Session, known: dict[tuple[str, str], UpdateMessage]) -> RenderableType:
    made = table("MACHINE", "UPDATE", "STATUS", "PHASE", "", "", "LEFT", right=("LEFT",))
    for update in known.values():
        made.add_row(
            Text(update.machine),
            Text(update.label or update.identifier),
            say_status(update),
            _phase(update),
            live.bar(update.task) if update.task else "",
            live.percent(update.task) if update.task else "",
            live.left(update.task) if update.task else "",
        )
    return made


def _phase(update: UpdateMessage) -> Text:
    if update.verdict is not None:
        return say_verdict(update)
    if update.task is not None:
        return live.phase(update.task)
    return Text(update.reason or "waiting", style="dim")
