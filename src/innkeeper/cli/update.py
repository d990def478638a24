"""Book updates, and read their results."""

from __future__ import annotations

import json as json_format
import sys
import uuid
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from innkeeper.cli.explain import VERDICTS, explain
from innkeeper.cli.many import AllowEmpty, DryRun, Select, is_selector, print_lines
from innkeeper.cli.task import print_log
from innkeeper.cli.terminal import Json, MachineName, Session, facts, machine_names, session_of, table
from innkeeper.cli.times import parse_moment, say_duration
from innkeeper.errors import ErrorCode, InvalidArgument, UpdateError
from innkeeper.wire.messages import ReportMessage, UpdateList, UpdateMessage
from innkeeper.wire.states import MachineState, UpdateStatus

app = typer.Typer(name="update", help="Book updates, and read their results.", no_args_is_help=True)

Identifier = Annotated[str, typer.Argument(metavar="IDENTIFIER", help="The update's identifier.")]

_MOMENT = "Such as 22:00, 'tomorrow 02:00', 'in 10m' or 2026-11-30T02:00+01:00."


@app.command()
def book(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="MACHINE|SELECTOR",
            help="The machine's name, or many machines: such as 'label:web and not host:attic'.",
            autocompletion=machine_names,
        ),
    ],
    label: Annotated[str, typer.Option(help="A name for people, such as Security.")] = "Updates",
    identifier: Annotated[
        str | None,
        typer.Option(
            help=(
                "Its unique key on this machine; a booking with the same key "
                "that has not started is replaced."
            )
        ),
    ] = None,
    start: Annotated[str, typer.Option(help=f"Not before this. {_MOMENT}")] = "now",
    end: Annotated[str | None, typer.Option(help="No later start than this.")] = None,
    deadline: Annotated[str | None, typer.Option(help="Complete by this.")] = None,
    context_file: Annotated[
        str | None,
        typer.Option(
            "--context", metavar="FILE", help="Handed to the guest's task agent as it is; - for stdin."
        ),
    ] = None,
    packages: Annotated[
        str | None, typer.Option(help="Update these packages only: openssl,curl. All if left out.")
    ] = None,
    dry_run: DryRun = False,
    allow_empty: AllowEmpty = False,
    json: Json = False,
) -> None:
    """Book an update for a machine or for many; it runs when a window is open for the machine."""
    session = session_of(context)
    moments = {
        word: parse_moment(text, session.now, session.tz) if text else None
        for word, text in (("end", end), ("deadline", deadline))
    }
    key = str(uuid.uuid4()) if identifier is None else identifier
    begin = None if start == "now" else parse_moment(start, session.now, session.tz)
    if is_selector(name):
        lines = session.inn.machines.select(name).book_updates(
            label=label,
            identifier=key,
            start=begin,
            end=moments["end"],
            deadline=moments["deadline"],
            context=_context(context_file, packages),
            dry_run=dry_run,
            allow_empty=allow_empty,
        )
        print_lines(session, lines)
    if dry_run or allow_empty:
        raise InvalidArgument(
            f"“{name}” is one machine: --dry-run and --allow-empty are for selectors.",
            advice="Leave them out, or write a selector, such as 'name:web-1'.",
        )
    machine = session.inn.machines[name]
    update = machine.updates.book(
        label=label,
        identifier=key,
        start=begin,
        end=moments["end"],
        deadline=moments["deadline"],
        context=_context(context_file, packages),
    )
    message = update.read()
    if session.json:
        session.answer(message)
        return
    session.out.print(Text(f"Booked {message.identifier} for {message.machine}."))
    seen = machine.read()
    if seen.can_be_maintained is False:
        session.note(f"As it is, it would not be begun: {seen.obstacle}")
        session.note(f"All that is in the way, and what to do: innkeeper machine check {message.machine}")
    session.note("See when it runs with: innkeeper tonight")


@app.command("list")
def list_updates(
    context: typer.Context,
    machine: Annotated[str | None, typer.Option(help="Of this machine only.")] = None,
    json: Json = False,
) -> None:
    """List what is booked, and how it came out."""
    session = session_of(context)
    updates = session.inn.updates.list(machine)
    if session.json:
        session.answer(UpdateList(updates=updates))
        return
    if not updates:
        session.note("Nothing is booked. Book with: innkeeper update book MACHINE --label Security")
        return
    made = table("MACHINE", "IDENTIFIER", "LABEL", "NOT BEFORE", "STATUS", "VERDICT", "TASK")
    for update in updates:
        made.add_row(
            Text(update.machine),
            Text(update.identifier),
            Text(update.label),
            session.moment(update.start),
            say_status(update),
            say_verdict(update),
            str(update.task_id or ""),
        )
    session.out.print(made)


@app.command()
def show(context: typer.Context, name: MachineName, identifier: Identifier, json: Json = False) -> None:
    """Show an update and the report of its run."""
    session = session_of(context)
    update = session.inn.updates.find(name, identifier)
    detail = update.detail()
    if session.json:
        session.answer(detail)
        return
    session.out.print(facts(_facts(session, detail.update)))
    if detail.report is not None:
        print_report(session, detail.report)


app.command()(explain)


@app.command()
def log(
    context: typer.Context,
    name: MachineName,
    identifier: Identifier,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run has ended.")] = False,
    json: Json = False,
) -> None:
    """Print the log of an update's run."""
    session = session_of(context)
    update = session.inn.updates.find(name, identifier)
    task = update.task
    if task is None:
        raise UpdateError(
            f"The update “{identifier}” of {update.read().machine} has not started, so it has no log.",
            code=ErrorCode.ERROR_NOT_READY,
            advice="See when it runs with: innkeeper tonight",
        )
    print_log(session, task, follow=follow)


@app.command()
def delete(context: typer.Context, name: MachineName, identifier: Identifier, json: Json = False) -> None:
    """Take a booking back; one that runs is refused."""
    session = session_of(context)
    update = session.inn.updates.find(name, identifier)
    message = update.read()
    update.delete()
    if session.json:
        session.answer(message)
    else:
        session.out.print(Text(f"{message.identifier} is no longer booked for {message.machine}."))


@app.command()
def cancel(
    context: typer.Context,
    select: Select,
    identifier: Annotated[
        str | None, typer.Option(help="What is booked under this identifier only; all if left out.")
    ] = None,
    dry_run: DryRun = False,
    allow_empty: AllowEmpty = False,
    json: Json = False,
) -> None:
    """Take back what is booked for many machines and has not started; what runs is refused."""
    session = session_of(context)
    selection = session.inn.machines.select(select)
    print_lines(session, selection.cancel_updates(identifier, dry_run=dry_run, allow_empty=allow_empty))


def say_status(update: UpdateMessage) -> Text:
    """The documented status; one that has not started waits."""
    if update.task_id is None and update.verdict is None:
        return Text("waiting", style="dim")
    good = {UpdateStatus.SUCCESS: "green", UpdateStatus.FAILED: "red", UpdateStatus.TIMEOUT: "red"}
    return Text(update.status.name, style=good.get(update.status, "cyan"))


def say_verdict(update: UpdateMessage) -> Text:
    """Return the update's outcome, in words and colour."""
    return Text(*VERDICTS[update.verdict]) if update.verdict is not None else Text("")


def print_report(session: Session, report: ReportMessage) -> None:
    """Print what a run did: packages, reasons, checksums, phases."""
    word, style = VERDICTS[report.verdict]
    session.out.print()
    session.out.print(Text.assemble(("Verdict  ", "dim"), (word, style)))
    for reason in report.reasons:
        session.out.print(Text(f"         {reason}"))
    session.out.print(facts(_report_facts(session, report)))
    _print_packages(session, report)
    _print_checksums(session, report)
    phases = table("PHASE", "TOOK", right=("TOOK",))
    for phase in report.phases:
        phases.add_row(Text(phase.name), say_duration(phase.seconds))
    session.out.print()
    session.out.print(phases)


def _print_packages(session: Session, report: ReportMessage) -> None:
    if not report.packages:
        return
    made = table("PACKAGE", "OLD", "", "NEW")
    for package in report.packages:
        made.add_row(
            Text(package.name), Text(package.old_version or "–"), "→", Text(package.new_version or "removed")
        )
    session.out.print()
    session.out.print(made)


def _print_checksums(session: Session, report: ReportMessage) -> None:
    for checksum in report.checksums:
        same = checksum.before == checksum.after
        word = Text("as before", style="green") if same else Text("CHANGED", style="bold red")
        session.out.print()
        session.out.print(Text.assemble((f"{checksum.path}: ", ""), word))
        session.out.print(facts({"before": checksum.before, "after": checksum.after}))


def _state_words(name: str) -> str:
    """A machine's state for people; empty where it is not known."""
    return MachineState[name].words if name else ""


def _report_facts(session: Session, report: ReportMessage) -> dict[str, str]:
    took = say_duration((report.ended_at - report.started_at).total_seconds())
    return {
        "Ran": f"{session.moment(report.started_at)} to {session.moment(report.ended_at)} ({took})",
        "Found": _state_words(report.found_state),
        "Left": _state_words(report.left_state),
        "Reboots": report.reboot_words or str(report.reboots),
        "Undo point": report.undo_point,
        "Proof": f"{report.proof}: {report.proof_words}" if report.proof else "",
    }


def _facts(session: Session, update: UpdateMessage) -> dict[str, str]:
    return {
        "Machine": update.machine,
        "Identifier": update.identifier,
        "Label": update.label,
        "Status": say_status(update).plain,
        "Why": update.reason,
        "Next chance": session.moment_and_distance(update.next_chance) if update.next_chance else "",
        "Not before": session.moment_and_distance(update.start),
        "Latest start": session.moment_and_distance(update.end) if update.end else "",
        "Deadline": session.moment_and_distance(update.deadline) if update.deadline else "",
        "Booked": f"{session.moment_and_distance(update.booked_at)} by {update.booked_by}",
        "Context": f"{update.context_bytes:,} bytes" if update.context_bytes else "",
        "Task": str(update.task_id or ""),
    }


def _context(file: str | None, packages: str | None) -> bytes:
    if file is not None and packages is not None:
        raise InvalidArgument(
            "--context and --packages cannot be given together.", advice="Give one of them."
        )
    if packages is not None:
        names = [name.strip() for name in packages.split(",") if name.strip()]
        return json_format.dumps({"packages": names}).encode()
    if file is None:
        return b""
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except (OSError, ValueError) as error:  # a name with a null character is a ValueError
        raise InvalidArgument(
            f"The context {file} cannot be read: {getattr(error, 'strerror', None) or error}.",
            code=ErrorCode.ERROR_FILE_NOT_FOUND,
            advice="Give a readable file, or - for the standard input.",
        ) from error
